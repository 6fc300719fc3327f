//! INVITE server transaction: RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1.
//!
//! ```text
//!  Proceeding ──300-699──▶ Completed ──ACK──▶ Confirmed ──I──▶ Terminated
//!      │ INVITE: repeat 1xx     │ G: repeat, INVITE: repeat
//!      │                        └──H: no ACK──▶ Terminated
//!      └──2xx──▶ Accepted ──L──▶ Terminated       (INVITE: absorbed)
//! ```
//!
//! A 2xx is repeated by the dialog until its ACK comes (RFC 3261 §13.3.1.4), over any transport.

use bytes::Bytes;
use dialtone_core::Mono;
use serde::{Deserialize, Serialize};

use super::Action;
use super::timing::{Timers, Timing};
use crate::message::{Request, Response};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// See the module.
#[derive(Debug)]
pub(super) struct InviteServer {
    state: State,
    timers: Timers,
    timing: Timing,
    reliable: bool,
    /// What was last sent.
    last: Bytes,
}

impl InviteServer {
    pub fn start(timing: Timing, reliable: bool, request: &Request, out: &mut Vec<Action>) -> Self {
        // At once rather than after 200 ms: it stops the caller's retransmissions whatever we are about
        // to wait for (RFC 3261 §17.2.1).
        let last = Response::to(request, 100).to_bytes();
        out.push(Action::Send(last.clone()));
        InviteServer { state: State::Proceeding, timers: Timers::default(), timing, reliable, last }
    }

    /// Whether a 2xx was sent, so that an ACK is not for here.
    pub fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    pub fn retransmitted(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Proceeding | State::Completed => out.push(Action::Send(self.last.clone())),
            State::Confirmed | State::Accepted | State::Terminated => {}
        }
    }

    /// An ACK with the branch of the INVITE: to a refusal of ours.
    pub fn ack(&mut self, now: Mono, out: &mut Vec<Action>) {
        match self.state {
            State::Completed => {
                self.timers = Timers::default();
                if self.reliable {
                    return self.terminate(out); // timer I is zero on a reliable transport
                }
                self.state = State::Confirmed;
                self.timers.leave_after(now, self.timing.t4); // timer I
            }
            State::Proceeding | State::Confirmed | State::Accepted | State::Terminated => {}
        }
    }

    pub fn respond(&mut self, now: Mono, response: &Response, out: &mut Vec<Action>) {
        match (self.state, response.status) {
            (State::Proceeding, 100..=199) => self.send(response, out),
            (State::Proceeding, 200..=299) => {
                self.send(response, out);
                self.state = State::Accepted;
                self.timers.leave_after(now, self.timing.patience()); // timer L
            }
            (State::Proceeding, _) => {
                self.send(response, out);
                self.state = State::Completed;
                if !self.reliable {
                    self.timers.resend_after(now, self.timing.t1); // timer G
                }
                self.timers.leave_after(now, self.timing.patience()); // timer H
            }
            (State::Accepted, 200..=299) => self.send(response, out),
            (State::Completed | State::Confirmed | State::Accepted | State::Terminated, _) => {}
        }
    }

    pub fn transport_failed(&mut self, out: &mut Vec<Action>) {
        match self.state {
            // RFC 6026 §7.1: a failed 1xx or 2xx is reported; the transaction lives on.
            State::Proceeding | State::Accepted => out.push(Action::Failed),
            State::Completed => {
                out.push(Action::Failed);
                self.terminate(out);
            }
            State::Confirmed | State::Terminated => {}
        }
    }

    pub fn expire(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.timers.take_leave(now) {
            if self.state == State::Completed {
                out.push(Action::Timeout);
            }
            return self.terminate(out);
        }
        if let Some(interval) = self.timers.take_resend(now) {
            out.push(Action::Send(self.last.clone()));
            self.timers.resend_after(now, (interval * 2).min(self.timing.t2));
        }
    }

    /// Whether the peer owes the ACK to a refusal.
    pub fn waits(&self) -> bool {
        self.state == State::Completed
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn send(&mut self, response: &Response, out: &mut Vec<Action>) {
        self.last = response.to_bytes();
        out.push(Action::Send(self.last.clone()));
    }

    fn terminate(&mut self, out: &mut Vec<Action>) {
        self.state = State::Terminated;
        self.timers = Timers::default();
        out.push(Action::Done);
    }
}
