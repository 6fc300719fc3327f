//! Two answered legs are brought together: onto one worker, with formats that can be relayed. Then they talk.
//!
//! Legs that were answered at different times, or in different calls, may hear through different workers
//! and have nothing in common that both send. One of them is then asked to change (a re-INVITE onto a new
//! port, with the other's formats), and if it refuses, the other one. Neither hears anything meanwhile, so
//! that it may not take for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::leg::Leg;
use super::talk::Talking;
use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::description::{Description, Direction};
use crate::id::LegId;
use crate::leg::LegCommand;
use crate::media::ReadyPort;
use crate::negotiate;
use crate::time::Mono;

/// How often one of the two is asked before they count as incompatible.
const TRIES: u8 = 4;

/// How long they may take to fit. A far end that says nothing, or nothing more, is given up after 32 s
/// (RFC 3261 §14.1, §9.1); then there is time left to ask the other one.
const PATIENCE: Duration = Duration::from_secs(40);

/// Who is to talk with the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Joining {
    pub callee: LegId,
    /// Who is asked to change next.
    next: LegId,
    tries: u8,
    /// When they are given up.
    until: Mono,
}

impl Joining {
    pub fn deadline(&self) -> Mono {
        self.until
    }
}

/// What stands between two legs.
struct Gap {
    other: LegId,
    /// Where the one that is asked must be, when that is elsewhere.
    worker: Option<u16>,
}

impl Call {
    /// Lets the caller, who has been answered before, talk with `callee`, who has been too. If one of them
    /// must change for it, `first` is asked first.
    pub(super) fn join(&mut self, desk: &mut Desk<'_>, callee: LegId, first: LegId) {
        let until = desk.now + PATIENCE;
        self.state = State::Joining(Joining { callee, next: first, tries: 0, until });
        self.go_on_joining(desk);
    }

    /// One of them has answered: do they fit now?
    pub(super) fn go_on_joining(&mut self, desk: &mut Desk<'_>) {
        let State::Joining(joining) = &mut self.state else { return };
        let callee = self.branches.iter().find(|branch| branch.id == joining.callee);
        let (Some(caller), Some(callee)) = (&self.caller, callee) else { return };
        if caller.pending.is_some() || callee.pending.is_some() {
            return; // What they will have agreed to is not known yet.
        }
        let (of_caller, of_callee) = (caller.worker(), callee.worker());
        let together = of_caller == of_callee;
        let (caller, callee, agreed) = (caller.id, callee.id, [caller.agreed(), callee.agreed()]);
        if together && negotiate::can_relay(&agreed[0], &agreed[1]) {
            return self.joined(desk, callee);
        }
        if joining.tries == TRIES {
            return self.join_failed(desk, Cause::IncompatibleDestination);
        }
        joining.tries += 1;
        let asked = joining.next;
        joining.next = if asked == caller { callee } else { caller };
        let (other, worker) = if asked == caller { (callee, of_callee) } else { (caller, of_caller) };
        self.close_gap(desk, asked, Gap { other, worker: worker.filter(|_| !together) });
    }

    fn close_gap(&mut self, desk: &mut Desk<'_>, asked: LegId, gap: Gap) {
        let formats = self.leg_mut(gap.other).map(|leg| leg.agreed()).unwrap_or_default();
        let Some(leg) = self.leg_mut(asked) else { return };
        let Some(old) = leg.port else { return };
        let port = match gap.worker {
            Some(worker) => desk.ports.take(Some(worker), old.rtp.is_ipv6()),
            None => Some(old),
        };
        let (Some(port), false) = (port, formats.is_empty()) else {
            let cause = if formats.is_empty() { Cause::IncompatibleDestination } else { Cause::NoCircuit };
            return self.join_failed(desk, cause);
        };
        let moves = gap.worker.is_some();
        leg.ask_for(desk, port, formats, moves);
        self.ports_out += u32::from(moves);
    }

    fn joined(&mut self, desk: &mut Desk<'_>, callee: LegId) {
        let bridge = desk.ids.bridge();
        self.state = State::Talking(Talking::new(callee, bridge));
        if !std::mem::replace(&mut self.answered, true) {
            desk.fact(crate::event::Fact::CallAnswered { call: self.id, by: callee });
        }
        self.bridge_with(desk, callee, bridge);
        if let (Some(caller), Some(callee)) =
            (&self.caller, self.branches.iter().find(|branch| branch.id == callee))
        {
            caller.command(desk, LegCommand::Connected { party: callee.party.clone() });
            callee.command(desk, LegCommand::Connected { party: caller.party.clone() });
        }
        self.transfer_completed(desk, Some(callee));
    }

    /// The far end of a leg that was to be joined has hung up.
    pub(super) fn callee_hung_up(&mut self, desk: &mut Desk<'_>, leg: LegId, cause: Cause) {
        if let Some(callee) = self.take_branch(leg) {
            callee.close(desk, cause);
            self.transfer_failed(desk, cause);
        }
    }

    /// The callee is given up; the caller goes back to where it came from.
    pub(super) fn join_failed(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let State::Joining(joining) = &self.state else { return };
        if let Some(callee) = self.take_branch(joining.callee) {
            callee.hang_up(desk, cause);
        }
        self.transfer_failed(desk, cause);
    }
}

impl Leg {
    /// The worker that its port lives on.
    pub fn worker(&self) -> Option<u16> {
        self.port.map(|port| port.port.worker)
    }

    /// Asks its far end to change to these formats, at `port`: its own, or one that it `moves` to.
    fn ask_for(
        &mut self,
        desk: &mut Desk<'_>,
        port: ReadyPort,
        formats: crate::description::Formats,
        moves: bool,
    ) {
        let ptime = self.remote.as_ref().and_then(|remote| remote.ptime_ms);
        let formats = super::talk::numbered_for(self, formats);
        let offer: Description = negotiate::describe(&port, formats, Direction::SendRecv, ptime);
        if moves {
            desk.port_legs.insert(port.port, (self.call, self.id));
            self.next_port = Some(port);
        }
        self.pending = Some(offer.clone());
        self.command(desk, LegCommand::Modify { offer });
    }
}
