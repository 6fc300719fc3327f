//! One leg: which role it was born in, and what it shares whatever the role.
//!
//! ```text
//!  inbound:  Offered ──200──▶ Up ──BYE──▶ (gone)        outbound: Calling ──2xx──▶ Up
//!               └──300-699──▶ (gone)                        └──300-699, timeout──▶ (gone)
//! ```

use std::sync::Arc;

use dialtone_core::{Description, LegEvent, LegId, Mono, Number};

use super::Desk;
use super::cause::{reason_value, status_of};
use super::inbound::Offered;
use super::outbound::Calling;
use super::session::Session;
use crate::message::{self, Headers, Method, Name, RawUri, Request, Response};
use crate::sdp::{CONTENT_TYPE, Origin, RemoteSdp, SdpWriter};
use crate::wire::Path;

/// The role decides what may happen next.
pub(crate) enum State {
    /// Inbound, not answered.
    Offered(Box<Offered>),
    /// Outbound, not answered.
    Calling(Box<Calling>),
    /// Answered.
    Up(Box<Session>),
    /// Nothing more will be heard of it.
    Gone,
}

/// See the module.
pub(crate) struct Leg {
    pub id: LegId,
    /// The extension at its far end.
    pub endpoint: Number,
    pub sdp: SdpWriter,
    pub remote_sdp: Option<Arc<RemoteSdp>>,
    /// Whether calls still want to hear of it; false once they said `HangUp` or it said `HungUp`.
    pub wanted: bool,
    pub state: State,
    /// Under which key it stands among the calls that are offered, while it does.
    pub offered: Option<Arc<[u8]>>,
    /// When it stands in the heap of deadlines.
    pub scheduled: Option<Mono>,
}

/// What a body said.
pub(crate) enum Body {
    /// There was none.
    Empty,
    /// A description that can be used.
    Audio(Description),
    /// Something that we cannot use; the status that is owed, and why.
    Unusable(u16, &'static str),
}

impl Leg {
    pub fn new(id: LegId, endpoint: Number, session_id: u64, state: State) -> Self {
        let sdp = SdpWriter::new(Origin { session_id, version: 1 });
        Leg { id, endpoint, sdp, remote_sdp: None, wanted: true, state, offered: None, scheduled: None }
    }

    /// Tells calls, unless they have stopped listening.
    pub fn tell(&mut self, desk: &mut Desk<'_>, event: LegEvent) {
        if self.wanted {
            self.wanted = !matches!(event, LegEvent::HungUp { .. });
            desk.out.push(crate::stack::SipOutput::Leg { leg: self.id, event });
        }
    }

    /// Reads the session description of a message and keeps it for our answer to it.
    pub fn read_body(&mut self, headers: &Headers, body: &message::Body) -> Body {
        if body.is_empty() {
            return Body::Empty;
        }
        if !headers.has_content_type(CONTENT_TYPE) {
            return Body::Unusable(415, "application/sdp is needed");
        }
        let Ok(remote) = body.sdp() else {
            return Body::Unusable(400, "malformed session description");
        };
        match remote.description() {
            Some(description) => {
                self.remote_sdp = Some(Arc::clone(remote));
                Body::Audio(description.clone())
            }
            None => Body::Unusable(488, "no audio line that can be used"),
        }
    }

    /// Puts our answer to their last offer, or our offer when there was none, into a message.
    pub fn write_answer(&mut self, local: &Description, answers: bool) -> bytes::Bytes {
        match &self.remote_sdp {
            Some(remote) if answers => self.sdp.answer(local, remote),
            Some(_) | None => self.sdp.offer(local),
        }
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Offered(offered) => offered.deadline(),
            State::Gone => None,
            State::Calling(calling) => calling.deadline(),
            State::Up(session) => session.deadline(),
        }
    }

    /// The tag of our answers, or of our requests.
    pub fn local_tag(&self) -> Option<&str> {
        match &self.state {
            State::Offered(offered) => Some(&offered.tag),
            State::Up(session) => Some(&session.dialog.local_tag),
            State::Calling(_) | State::Gone => None,
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// The extension's name at which our contacts are addressed.
    pub fn contact(&self, desk: &Desk<'_>, path: Path, asked: &RawUri) -> String {
        desk.identity.contact(path, self.id, asked)
    }

    /// An answer to a request of theirs within this leg, with what every answer of a dialog carries.
    pub fn response(
        &self,
        desk: &Desk<'_>,
        request: &Request,
        status: u16,
        tag: &str,
        path: Path,
    ) -> Response {
        let mut response = Response::to(request, status);
        response.tag_to(|| tag);
        if status < 300 && request.method == Method::Invite {
            response.headers.copy(&Name::RecordRoute, &request.headers);
            response.headers.push(Name::Contact, self.contact(desk, path, &request.uri));
        }
        desk.identity.sign(&mut response);
        response
    }
}

/// An answer that refuses, with its Reason (RFC 3326, RFC 6432).
pub(crate) fn refusal(mut response: Response, cause: dialtone_core::Cause) -> Response {
    response.headers.push(Name::Reason, reason_value(cause));
    if status_of(cause) == 503 {
        response.headers.push(Name::RetryAfter, "5");
    }
    response
}
