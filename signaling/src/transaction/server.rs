//! Non-INVITE server transaction: RFC 3261 §17.2.2.
//!
//! ```text
//!  Trying ──1xx──▶ Proceeding ──200-699──▶ Completed ──J──▶ Terminated
//!    │ request: absorbed  │ request: repeat 1xx   ▲ request: repeat
//!    └──200-699───────────┴───────────────────────┘
//! ```

use bytes::Bytes;
use dialtone_core::Mono;
use serde::{Deserialize, Serialize};

use super::Action;
use super::timing::{Timers, Timing};
use crate::message::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Server {
    state: State,
    timers: Timers,
    timing: Timing,
    reliable: bool,
    last: Option<Bytes>,
}

impl Server {
    pub fn start(timing: Timing, reliable: bool) -> Self {
        Server { state: State::Trying, timers: Timers::default(), timing, reliable, last: None }
    }

    pub fn retransmitted(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Proceeding | State::Completed => out.extend(self.last.clone().map(Action::Send)),
            State::Trying | State::Terminated => {}
        }
    }

    pub fn respond(&mut self, now: Mono, response: &Response, out: &mut Vec<Action>) {
        match (self.state, response.status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                self.send(response, out);
            }
            (State::Trying | State::Proceeding, _) => {
                self.send(response, out);
                if self.reliable {
                    self.terminate(out); // timer J is zero on a reliable transport
                } else {
                    self.state = State::Completed;
                    self.timers.leave_after(now, self.timing.patience()); // timer J
                }
            }
            (State::Completed | State::Terminated, _) => {}
        }
    }

    pub fn transport_failed(&mut self, out: &mut Vec<Action>) {
        match self.state {
            State::Proceeding | State::Completed => {
                out.push(Action::Failed);
                self.terminate(out);
            }
            State::Trying | State::Terminated => {}
        }
    }

    pub fn expire(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.timers.take_leave(now) {
            self.terminate(out);
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn send(&mut self, response: &Response, out: &mut Vec<Action>) {
        let bytes = response.to_bytes();
        out.push(Action::Send(bytes.clone()));
        self.last = Some(bytes);
    }

    fn terminate(&mut self, out: &mut Vec<Action>) {
        self.state = State::Terminated;
        self.timers = Timers::default();
        out.push(Action::Done);
    }
}
