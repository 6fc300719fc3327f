//! One leg: which role it was born in, and what it shares whatever the role.
//!
//! ```text
//!  inbound:  Offered ──200──▶ Up ──BYE──▶ (gone)        outbound: Calling ──2xx──▶ Up
//!               └──300-699──▶ (gone)                        └──300-699, timeout──▶ (gone)
//! ```

use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::{Description, LegCommand, LegEvent, LegId, Mono, Number};

use super::Desk;
use super::cause::reason_value;
use super::dialog::Dialog;
use super::exchange::Exchange;
use super::inbound::Offered;
use super::outbound::Calling;
use super::policy::{IdentityPolicy, Peer, Reliability};
use super::refer::Refers;
use super::session::Session;
use crate::message::{self, ContentError, Headers, Method, Name, RawUri, Request, Response};
use crate::registrar::Nat;
use crate::sdp::{CONTENT_TYPE, Origin, RemoteSdp, SdpWriter};
use crate::transaction::TxId;
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
    /// Our tag: in To when they called, in From when we did.
    pub tag: String,
    pub reliability: Reliability,
    /// What its far end is believed and told about who calls and who answered.
    pub asserts: IdentityPolicy,
    pub peer: Peer,
    /// What its far end is believed about where it is.
    pub nat: Nat,
    pub sdp: SdpWriter,
    pub remote_sdp: Option<Arc<RemoteSdp>>,
    pub exchange: Exchange,
    /// Whether calls still want to hear of it; false once they said `HangUp` or it said `HungUp`.
    pub wanted: bool,
    pub state: State,
    pub refers: Refers,
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
    /// A leg that is neither offered nor calling yet.
    pub fn new(id: LegId, endpoint: Number, tag: String, session_id: u64, reliability: Reliability) -> Self {
        Leg {
            id,
            endpoint,
            tag,
            reliability,
            asserts: IdentityPolicy::default(),
            nat: Nat::default(),
            peer: Peer::default(),
            sdp: SdpWriter::new(Origin { session_id, version: 1 }),
            remote_sdp: None,
            exchange: Exchange::default(),
            wanted: true,
            state: State::Gone,
            refers: Refers::default(),
            offered: None,
            scheduled: None,
        }
    }

    /// Calls want something.
    pub fn command(&mut self, desk: &mut Desk<'_>, command: LegCommand) {
        match (&self.state, command) {
            (_, LegCommand::TransferProgress(progress)) => self.transfer_progress(desk, progress),
            (_, LegCommand::RefuseTransfer { cause }) => self.refuse_transfer(desk, cause),
            (State::Offered(_), command) => self.command_offered(desk, command),
            (State::Calling(_), command) => self.command_calling(desk, command),
            (State::Up(_), command) => self.command_up(desk, command),
            (State::Gone, _) => {}
        }
    }

    /// A request of ours was answered.
    pub fn answered(&mut self, desk: &mut Desk<'_>, tx: TxId, response: Response) {
        match &self.state {
            State::Calling(calling) if calling.tx == tx => self.invite_answered(desk, response),
            _ if self.refers.notified(tx, Some(response.status)) => {}
            State::Gone => {}
            _ if self.exchange.is_about(tx) => self.change_answered(desk, tx, &response),
            State::Up(_) => self.repeated_2xx(desk, tx, &response),
            // An answer to a PRACK: that it was heard is all that it can say.
            State::Calling(_) | State::Offered(_) => {}
        }
    }

    /// A request of ours was not answered.
    pub fn unanswered(&mut self, desk: &mut Desk<'_>, tx: TxId, unreachable: bool) {
        match &self.state {
            State::Calling(calling) if calling.tx == tx => self.invite_timed_out(desk, unreachable),
            _ if self.refers.notified(tx, None) => {}
            State::Calling(_) | State::Offered(_) | State::Up(_) if self.exchange.is_about(tx) => {
                self.change_timed_out(desk, tx, unreachable);
            }
            State::Calling(_) | State::Offered(_) | State::Up(_) | State::Gone => {}
        }
    }

    /// Fires its timers.
    pub fn expire(&mut self, desk: &mut Desk<'_>) {
        self.expire_refers(desk);
        match &self.state {
            State::Offered(_) => self.expire_offered(desk),
            State::Calling(_) => self.expire_calling(desk),
            State::Up(_) => self.expire_up(desk),
            State::Gone => return,
        }
        self.expire_change(desk);
    }

    /// The dialog with whoever has this tag.
    pub fn dialog(&mut self, remote_tag: &str) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Offered(offered) => Some(&mut offered.dialog),
            State::Calling(calling) => calling.forks.get(remote_tag).map(|fork| &mut fork.dialog),
            State::Up(session) => Some(&mut session.dialog),
            State::Gone => None,
        }
        .filter(|dialog| dialog.remote_tag == remote_tag)
    }

    /// Its far end has left one way for another.
    pub fn moves(&mut self, from: Path, to: Path) {
        match &mut self.state {
            State::Offered(offered) => offered.dialog.moves(from, to),
            State::Calling(calling) => calling.forks.all_mut().for_each(|fork| fork.dialog.moves(from, to)),
            State::Up(session) => session.dialog.moves(from, to),
            State::Gone => {}
        }
    }

    /// Whether a request with this Call-ID and this From tag belongs to it (RFC 3261 §12.2.2).
    pub fn is_for(&self, call_id: &str, remote_tag: &str) -> bool {
        match &self.state {
            State::Offered(offered) => offered.dialog.is_for(call_id, remote_tag),
            State::Calling(calling) => {
                calling.forks.all().iter().any(|fork| fork.dialog.is_for(call_id, remote_tag))
            }
            State::Up(session) => session.dialog.is_for(call_id, remote_tag),
            State::Gone => false,
        }
    }

    /// Whether a request that has our tag in From, and this Call-ID, is one of ours that came back.
    pub fn sent(&self, call_id: &str) -> bool {
        match &self.state {
            State::Calling(calling) => calling.has_call_id(call_id),
            State::Up(session) => session.dialog.call_id == call_id,
            State::Offered(_) | State::Gone => false,
        }
    }

    /// Tells calls, unless they have stopped listening.
    pub fn tell(&mut self, desk: &mut Desk<'_>, event: LegEvent) {
        if self.wanted {
            self.wanted = !matches!(event, LegEvent::HungUp { .. } | LegEvent::Redirected { .. });
            desk.out.push(crate::stack::SipOutput::Leg { leg: self.id, event });
        }
    }

    /// Reads the session description of a message and keeps it for our answer to it.
    pub fn read_body(&mut self, headers: &Headers, body: &message::Body) -> Body {
        let part;
        let body = if headers.is_plain(CONTENT_TYPE) {
            body
        } else {
            match headers.content(body, CONTENT_TYPE) {
                Ok(Some(found)) => {
                    part = message::Body::from(found);
                    &part
                }
                Ok(None) => return Body::Empty,
                Err(ContentError::Unsupported) => return Body::Unusable(415, "application/sdp is needed"),
                Err(ContentError::Malformed) => return Body::Unusable(400, "malformed multipart body"),
            }
        };
        if body.is_empty() {
            return Body::Empty;
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

    /// The same of a message that answers our offer: with a description, that offer stands.
    pub fn read_answer(&mut self, headers: &Headers, body: &message::Body) -> Body {
        let body = self.read_body(headers, body);
        if let Body::Audio(_) = body {
            self.sdp.answered();
        }
        body
    }

    /// Puts our answer to their last offer, or our offer when there was none, into a message.
    pub fn write_answer(&mut self, desk: &Desk<'_>, path: Path, local: &Description, answers: bool) -> Bytes {
        let shown = desk.identity.described(local, path);
        match &self.remote_sdp {
            Some(remote) if answers => self.sdp.answer(&shown, remote),
            Some(_) | None => self.sdp.offer(&shown),
        }
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        let state = match &self.state {
            State::Offered(offered) => offered.deadline(),
            State::Calling(calling) => calling.deadline(),
            State::Up(session) => session.deadline(),
            State::Gone => None,
        };
        state.into_iter().chain(self.exchange.deadline()).chain(self.refers.deadline()).min()
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone) && self.refers.is_over()
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
        if status < 300 && matches!(request.method, Method::Invite | Method::Update) {
            response.headers.copy(&Name::RecordRoute, &request.headers);
            response.headers.push(Name::Contact, self.contact(desk, path, &request.uri));
            desk.identity.supported(&mut response.headers, self.reliability);
        }
        desk.identity.sign(&mut response);
        response
    }
}

/// An answer that refuses, with its Reason (RFC 3326, RFC 6432).
pub(crate) fn refusal(mut response: Response, cause: dialtone_core::Cause) -> Response {
    response.headers.push(Name::Reason, reason_value(cause));
    if response.status == 503 {
        response.headers.push(Name::RetryAfter, "5");
    }
    response
}
