//! The end of a call, from whichever state: every leg is told, every port goes back, and the last fact
//! waits until the ports have said what they measured.

use std::time::Duration;

use super::{Call, Desk, State};
use crate::app::AppEvent;
use crate::cause::Cause;
use crate::event::{DialOutcome, Fact};
use crate::id::{BridgeId, LegId};
use crate::leg::LegCommand;

/// How long the record waits for measurements; a worker answers within milliseconds.
const SETTLE: Duration = Duration::from_secs(2);

impl Call {
    /// Ends the call. `by` is the leg whose far end hung up; `None` when we end it.
    pub(super) fn end(&mut self, desk: &mut Desk<'_>, cause: Cause, by: Option<LegId>) {
        if matches!(self.state, State::Settling { .. }) {
            return; // It has ended; whoever says so again is late.
        }
        let state = self.settling(desk, cause, by);
        match by {
            Some(leg) => desk.fact(Fact::HangupRequested { leg, by_peer: true, cause }),
            None => {
                if let Some(caller) = &self.caller {
                    desk.fact(Fact::HangupRequested { leg: caller.id, by_peer: false, cause });
                }
            }
        }
        self.abandon_transfer(desk, cause);
        match state {
            State::Talking(talking) => self.leave_bridge(desk, talking.bridge, by),
            State::Flow(running) => {
                if let Some(bridge) = running.bridge {
                    self.leave_bridge(desk, bridge, by);
                }
                desk.fact(Fact::FlowEnded { call: self.id, flow: running.flow });
                desk.app(self.id, AppEvent::Ended);
            }
            State::Dialing(_) => {
                let outcome = if by.is_some() { DialOutcome::Cancelled } else { DialOutcome::Unreachable };
                self.drop_branches(desk, outcome, cause);
            }
            State::Arriving | State::Joining(_) | State::Settling { .. } => {}
        }
        for leg in self.caller.take().into_iter().chain(std::mem::take(&mut self.branches)) {
            if by != Some(leg.id) {
                leg.command(desk, LegCommand::HangUp { cause });
            }
            leg.close(desk, cause);
        }
    }

    /// Ends a call all of whose legs have ended, or moved to another one.
    pub(super) fn settle(&mut self, desk: &Desk<'_>, cause: Cause) {
        self.settling(desk, cause, None);
    }

    fn settling(&mut self, desk: &Desk<'_>, cause: Cause, by: Option<LegId>) -> State {
        let settling = State::Settling { cause, by, until: desk.now + SETTLE };
        std::mem::replace(&mut self.state, settling)
    }

    /// Whoever hung up leaves first.
    fn leave_bridge(&self, desk: &mut Desk<'_>, bridge: BridgeId, by: Option<LegId>) {
        let mut legs: Vec<LegId> = self.caller.iter().chain(&self.branches).map(|leg| leg.id).collect();
        legs.sort_by_key(|leg| by != Some(*leg));
        let count = u32::try_from(legs.len()).unwrap_or(u32::MAX);
        for (left, leg) in (1..).zip(legs) {
            desk.fact(Fact::BridgeLeft { bridge, leg, legs: count - left });
        }
        desk.fact(Fact::BridgeDestroyed { bridge, call: self.id });
    }
}
