//! INVITE client transaction: RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.
//!
//! ```text
//!  Calling ──1xx──▶ Proceeding ──300-699──▶ Completed ──D──▶ Terminated
//!   │ │ A: INVITE       │                     ▲ 300-699: ACK
//!   │ └──────────300-699┼─────────────────────┘
//!   │ B: timeout        └──2xx──▶ Accepted ──M──▶ Terminated      (2xx also from Calling)
//!   ▼
//!  Terminated
//! ```
//!
//! The ACK to a refusal is made here (§17.1.1.3); the ACK to a 2xx is the dialog's.
//!
//! One that has gone on to another target (RFC 3263 §4.3) is late: what it still hears is told apart.

use std::time::Duration;

use bytes::Bytes;
use dialtone_core::Mono;
use serde::{Deserialize, Serialize};

use super::Action;
use super::timing::{Timers, Timing};
use crate::message::{MAX_FORWARDS, Method, Name, Request, Response};
use crate::wire::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// See the module.
#[derive(Debug)]
pub(super) struct InviteClient {
    state: State,
    timers: Timers,
    timing: Timing,
    reliable: bool,
    /// Whether another target gets the request when nobody answers in time.
    hurried: bool,
    /// Whether another target has got it, or another INVITE taken its place.
    late: bool,
    /// Whether nobody waits for its answer any more.
    dismissed: bool,
    request: Request,
    bytes: Bytes,
    ack: Option<Bytes>,
    /// The ACK of each 2xx, by its To tag.
    accepted: Vec<(String, Path, Bytes)>,
}

/// Dialogs that one INVITE of ours can make; what answers beyond that is dropped.
const DIALOGS_MAX: usize = 8;

/// Whose a 2xx to an INVITE of ours is.
pub(crate) enum Answerer {
    /// It has been acknowledged, with this and that way.
    Known(Path, Bytes),
    /// It is to be acknowledged.
    New,
    /// There are too many.
    Surplus,
}

impl InviteClient {
    pub fn start(now: Mono, timing: Timing, reliable: bool, request: Request, out: &mut Vec<Action>) -> Self {
        let bytes = request.to_bytes();
        out.push(Action::Send(bytes.clone()));
        let mut timers = Timers::default();
        if !reliable {
            timers.resend_after(now, timing.t1); // timer A
        }
        timers.leave_after(now, timing.patience()); // timer B
        InviteClient {
            state: State::Calling,
            timers,
            timing,
            reliable,
            hurried: false,
            late: false,
            dismissed: false,
            request,
            bytes,
            ack: None,
            accepted: Vec::new(),
        }
    }

    /// The request that it carries; a CANCEL is made from it.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whose the 2xx with this To tag is.
    pub fn answerer(&self, tag: &str) -> Answerer {
        match self.accepted.iter().find(|(known, ..)| known == tag) {
            Some((_, path, ack)) => Answerer::Known(*path, ack.clone()),
            None if self.accepted.len() < DIALOGS_MAX => Answerer::New,
            None => Answerer::Surplus,
        }
    }

    /// A 2xx is acknowledged; each repetition of it is owed the same.
    pub fn acknowledged(&mut self, tag: &str, path: Path, ack: Bytes) {
        self.accepted.push((tag.to_owned(), path, ack));
    }

    /// Whether a provisional answer has come and no final one, so that a CANCEL may be sent
    /// (RFC 3261 §9.1).
    pub fn can_cancel(&self) -> bool {
        self.state == State::Proceeding
    }

    pub fn response(&mut self, now: Mono, response: Response, out: &mut Vec<Action>) {
        match (self.state, response.status) {
            // Its time runs on, whatever they still announce.
            (State::Calling | State::Proceeding, 100..=199) if self.dismissed => {}
            // It is cancelled once; what ends it then is its final answer, or RFC 3261 §9.1.
            (State::Proceeding, 100..=199) if self.late => {}
            (State::Calling, 100..=199) if self.late => {
                self.state = State::Proceeding;
                self.timers.leave_after(now, self.timing.patience());
                out.push(Action::Respond(response));
            }
            (State::Calling | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                self.timers = Timers::default();
                out.push(Action::Respond(response));
            }
            (State::Calling | State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.timers = Timers::default();
                self.timers.leave_after(now, self.timing.patience()); // timer M
                out.push(Action::Respond(response));
            }
            (State::Calling | State::Proceeding, _) => {
                let ack = ack(&self.request, &response).to_bytes();
                out.push(Action::Send(ack.clone()));
                self.ack = Some(ack);
                self.timers = Timers::default();
                if self.reliable {
                    self.state = State::Terminated; // timer D is zero on a reliable transport
                } else {
                    self.state = State::Completed;
                    self.timers.leave_after(now, self.timing.absorb_refusals()); // timer D
                }
                out.push(Action::Respond(response));
                self.end_if_terminated(out);
            }
            (State::Accepted, 200..=299) => out.push(Action::Respond(response)),
            (State::Completed, 300..=699) => out.extend(self.ack.clone().map(Action::Send)),
            (State::Accepted | State::Completed | State::Terminated, _) => {}
        }
    }

    pub fn transport_failed(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Calling | State::Proceeding => {
                out.extend((!self.late).then_some(Action::Failed));
                self.terminate(out);
            }
            // An ACK that was lost on its way is sent again when the refusal is.
            State::Completed | State::Accepted | State::Terminated => {}
        }
    }

    pub fn expire(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.timers.take_leave(now) {
            if self.state == State::Calling && !self.late && !self.dismissed {
                out.push(Action::Timeout);
                if self.hurried {
                    self.late = true;
                    return self.timers.leave_after(now, self.timing.patience());
                }
            }
            return self.terminate(out);
        }
        if let Some(interval) = self.timers.take_resend(now) {
            out.push(Action::Send(self.bytes.clone()));
            self.timers.resend_after(now, interval * 2); // timer A doubles without limit
        }
    }

    /// Another way is wanted when nobody answers for so long (RFC 3263 §4.3).
    pub fn hurry(&mut self, now: Mono, patience: Duration) {
        self.hurried = true;
        self.timers.leave_after(now, patience.min(self.timing.patience()));
    }

    /// Whether the peer owes a final answer that somebody waits for.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding) && !self.late
    }

    /// Whether it was given up for another target, which is the one that counts.
    pub fn is_late(&self) -> bool {
        self.late
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Nobody waits for its answer any more, and one that comes is acknowledged all the same.
    pub fn dismiss(&mut self, now: Mono) {
        if self.waits() {
            (self.hurried, self.dismissed) = (false, true);
            self.timers = Timers::default();
            self.timers.leave_after(now, self.timing.patience());
        }
    }

    /// Another INVITE has taken its place before anything was heard: it is not repeated any more, and is late.
    pub fn give_way(&mut self, now: Mono) {
        if self.state == State::Calling && !self.late {
            self.late = true;
            self.timers = Timers::default();
            self.timers.leave_after(now, self.timing.patience());
        }
    }

    /// Gives it up without telling anybody.
    pub fn abandon(&mut self, out: &mut Vec<Action>) {
        self.terminate(out);
    }

    fn terminate(&mut self, out: &mut Vec<Action>) {
        self.state = State::Terminated;
        self.timers = Timers::default();
        self.end_if_terminated(out);
    }

    fn end_if_terminated(&self, out: &mut Vec<Action>) {
        if self.state == State::Terminated {
            out.push(Action::Done);
        }
    }
}

/// The ACK to a refusal: same branch, same CSeq number, the To of the response (RFC 3261 §17.1.1.3).
fn ack(invite: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::Ack, invite.uri.clone());
    if let Some(via) = invite.headers.elements(&Name::Via).next() {
        ack.headers.push(Name::Via, bytes::Bytes::copy_from_slice(via));
    }
    ack.headers.push(Name::MaxForwards, MAX_FORWARDS);
    ack.headers.copy(&Name::Route, &invite.headers);
    ack.headers.copy(&Name::From, &invite.headers);
    // RFC 3261 §17.1.1.3: the To of the response, tag and all; one that nobody can read is not passed on.
    let to = if response.headers.to().is_ok() { &response.headers } else { &invite.headers };
    ack.headers.copy(&Name::To, to);
    ack.headers.copy(&Name::CallId, &invite.headers);
    if let Ok(cseq) = invite.cseq() {
        ack.headers.push(Name::CSeq, format!("{} ACK", cseq.number));
    }
    ack
}
