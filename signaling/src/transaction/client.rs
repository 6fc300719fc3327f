//! Non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! ```text
//!  Trying ──1xx──▶ Proceeding ──200-699──▶ Completed ──K──▶ Terminated
//!   │ E: request      │ E: request, T2       ▲
//!   ├────200-699──────┼──────────────────────┘
//!   └──F: timeout─────┴──▶ Terminated
//! ```

use std::time::Duration;

use bytes::Bytes;
use dialtone_core::Mono;
use serde::{Deserialize, Serialize};

use super::Action;
use super::timing::{Timers, Timing};
use crate::message::{Request, Response};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    state: State,
    timers: Timers,
    timing: Timing,
    reliable: bool,
    hurried: bool,
    bytes: Bytes,
}

impl Client {
    pub fn start(
        now: Mono,
        timing: Timing,
        reliable: bool,
        request: &Request,
        out: &mut Vec<Action>,
    ) -> Self {
        let bytes = request.to_bytes();
        out.push(Action::Send(bytes.clone()));
        let mut timers = Timers::default();
        if !reliable {
            timers.resend_after(now, timing.t1); // timer E
        }
        timers.leave_after(now, timing.patience()); // timer F
        Client { state: State::Trying, timers, timing, reliable, hurried: false, bytes }
    }

    pub fn response(&mut self, now: Mono, response: Response, out: &mut Vec<Action>) {
        match (self.state, response.status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                if std::mem::take(&mut self.hurried) {
                    self.timers.leave_after(now, self.timing.patience());
                }
                out.push(Action::Respond(response));
            }
            (State::Trying | State::Proceeding, _) => {
                out.push(Action::Respond(response));
                self.timers = Timers::default();
                if self.reliable {
                    self.terminate(out); // timer K is zero on a reliable transport
                } else {
                    self.state = State::Completed;
                    self.timers.leave_after(now, self.timing.t4); // timer K
                }
            }
            (State::Completed | State::Terminated, _) => {}
        }
    }

    pub fn transport_failed(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Trying | State::Proceeding => {
                out.push(Action::Failed);
                self.terminate(out);
            }
            State::Completed | State::Terminated => {}
        }
    }

    pub fn expire(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.timers.take_leave(now) {
            if matches!(self.state, State::Trying | State::Proceeding) {
                out.push(Action::Timeout);
            }
            return self.terminate(out);
        }
        if let Some(interval) = self.timers.take_resend(now) {
            out.push(Action::Send(self.bytes.clone()));
            let next = match self.state {
                State::Trying => (interval * 2).min(self.timing.t2),
                State::Proceeding | State::Completed | State::Terminated => self.timing.t2,
            };
            self.timers.resend_after(now, next);
        }
    }

    /// Another way is wanted when nobody answers for so long (RFC 3263 §4.3).
    pub fn hurry(&mut self, now: Mono, patience: Duration) {
        self.hurried = true;
        self.timers.leave_after(now, patience.min(self.timing.patience()));
    }

    /// Whether the peer owes an answer.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn terminate(&mut self, out: &mut Vec<Action>) {
        self.state = State::Terminated;
        self.timers = Timers::default();
        out.push(Action::Done);
    }
}
