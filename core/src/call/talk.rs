//! Two legs talk: the answer, and every change of a stream after it.

use serde::{Deserialize, Serialize};

use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::codec::Codec;
use crate::description::{Description, Direction, Formats};
use crate::event::{BridgeMode, Fact, LegState};
use crate::id::{BridgeId, LegId};
use crate::leg::LegCommand;
use crate::media::BridgeKind;
use crate::negotiate;

/// Who talks with the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Talking {
    pub callee: LegId,
    pub bridge: BridgeId,
}

impl Call {
    /// `callee` has answered: the caller is answered with `formats` and both are joined.
    pub(super) fn connect(&mut self, desk: &mut Desk<'_>, callee: LegId, formats: Formats) {
        let bridge = desk.ids.bridge();
        self.state = State::Talking(Talking { callee, bridge });
        self.answer_caller(desk, formats);
        desk.fact(Fact::CallAnswered { call: self.id, by: callee });
        desk.fact(Fact::BridgeCreated { bridge, call: self.id, mode: BridgeMode::Relay });
        desk.fact(Fact::BridgeEntered { bridge, leg: callee, legs: 1 });
        if let Some(caller) = &self.caller {
            desk.fact(Fact::BridgeEntered { bridge, leg: caller.id, legs: 2 });
        }
        let port = |leg: &super::Leg| leg.port.map(|port| port.port);
        let caller_port = self.caller.as_ref().and_then(port);
        let callee_port = self.leg_mut(callee).and_then(|leg| port(leg));
        if let (Some(a), Some(b)) = (caller_port, callee_port) {
            desk.bridge(bridge, BridgeKind::Relay { a, b });
        }
        self.align(desk, callee);
    }

    /// Tells the caller's leg to answer: with what it was told before, when it was told something.
    pub(super) fn answer_caller(&mut self, desk: &mut Desk<'_>, formats: Formats) {
        let Some(caller) = &mut self.caller else { return };
        let description = match (&caller.local, &caller.remote) {
            (Some(committed), _) => Some(committed.clone()),
            (None, Some(offer)) => caller.describe(formats, negotiate::answer_direction(offer)),
            (None, None) => caller.describe(own_numbers(formats), Direction::SendRecv),
        };
        let Some(description) = description else { return };
        match caller.remote.clone() {
            Some(offer) if caller.local.is_none() => caller.agree(desk, description.clone(), offer),
            Some(_) => {}
            None => caller.pending = Some(description.clone()),
        }
        caller.command(desk, LegCommand::Answer { description });
        caller.set_state(desk, LegState::Up);
    }

    /// The caller has our answer; when that was an offer, here is its answer.
    pub(super) fn caller_confirmed(&mut self, desk: &mut Desk<'_>, answer: Option<Description>) {
        if let (Some(caller), Some(answer)) = (&mut self.caller, answer)
            && let Some(offer) = caller.pending.take()
        {
            caller.agree(desk, offer, answer);
        }
        match &self.state {
            State::Talking(talking) => {
                let callee = talking.callee;
                self.align(desk, callee);
            }
            State::Flow(_) => self.flow_answered(desk),
            State::Arriving | State::Dialing(_) | State::Settling { .. } => {}
        }
    }

    /// If what the callee agreed to does not fit what the caller agreed to, the callee is asked to
    /// change: the caller has been told once.
    fn align(&mut self, desk: &mut Desk<'_>, callee: LegId) {
        let Some(caller) = &self.caller else { return };
        let agreed = caller.agreed();
        if agreed.is_empty() {
            return; // The caller's answer to our offer is still under way.
        }
        let Some(leg) = self.branches.iter_mut().find(|branch| branch.id == callee) else { return };
        if leg.pending.is_some() || negotiate::can_relay(&agreed, &leg.agreed()) {
            return;
        }
        if let Some(offer) = leg.describe(own_numbers(agreed), Direction::SendRecv) {
            leg.pending = Some(offer.clone());
            leg.command(desk, LegCommand::Modify { offer });
        }
    }

    /// A far end asks to change its stream: hold, resume, another address, other codecs.
    pub(super) fn modify_offered(&mut self, desk: &mut Desk<'_>, leg: LegId, offer: Option<Description>) {
        let shared = self.shared_with_other(leg);
        let Some(leg) = self.leg_mut(leg) else { return };
        let Some(offer) = offer else {
            // RFC 3261 §14.2: a re-INVITE without offer asks for ours; we repeat what stands.
            let description =
                leg.local.clone().map(|local| Description { direction: Direction::SendRecv, ..local });
            if let Some(description) = description {
                leg.pending = Some(description.clone());
                leg.command(desk, LegCommand::AcceptModify { description });
            }
            return;
        };
        let formats = negotiate::answer(&offer.formats, &shared);
        let answer = leg.describe(formats.clone(), negotiate::answer_direction(&offer));
        match answer {
            Some(description) if !formats.is_empty() => {
                let description = Description { ptime_ms: offer.ptime_ms, ..description };
                let held = offer.is_hold();
                leg.agree(desk, description.clone(), offer);
                leg.command(desk, LegCommand::AcceptModify { description });
                leg.set_held(desk, held);
            }
            Some(_) | None => {
                leg.command(desk, LegCommand::RefuseModify { cause: Cause::IncompatibleDestination });
            }
        }
    }

    /// A far end agreed to our change.
    pub(super) fn modified(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Description) {
        let Some(leg) = self.leg_mut(leg) else { return };
        let Some(offer) = leg.pending.take() else { return };
        let held = answer.is_hold();
        leg.agree(desk, offer, answer);
        leg.set_held(desk, held);
        let State::Talking(Talking { callee, .. }) = self.state else { return };
        let agreed = |leg: Option<&super::Leg>| leg.map(super::Leg::agreed).unwrap_or_default();
        let from_callee = agreed(self.branches.iter().find(|branch| branch.id == callee));
        if !negotiate::can_relay(&agreed(self.caller.as_ref()), &from_callee) {
            self.end(desk, Cause::IncompatibleDestination, None);
        }
    }

    /// A far end refused our change. Only an alignment asks for one, and without it nobody hears.
    pub(super) fn modify_refused(&mut self, desk: &mut Desk<'_>, leg: LegId, _cause: Cause) {
        let Some(leg) = self.leg_mut(leg) else { return };
        if leg.pending.take().is_some() {
            self.end(desk, Cause::IncompatibleDestination, None);
        }
    }

    /// What the rest of the call can exchange with this leg.
    fn shared_with_other(&mut self, leg: LegId) -> Formats {
        let other = match &self.state {
            State::Talking(talking) if talking.callee == leg => self.caller.as_ref(),
            State::Talking(talking) => self.branches.iter().find(|branch| branch.id == talking.callee),
            State::Arriving | State::Flow(_) | State::Dialing(_) | State::Settling { .. } => {
                self.caller.as_ref()
            }
        };
        other.map(super::Leg::agreed).unwrap_or_default()
    }
}

/// The same formats under the payload types of our own offers.
fn own_numbers(formats: Formats) -> Formats {
    formats
        .into_iter()
        .map(|format| crate::Format { payload_type: Codec::default_payload_type(format.codec), ..format })
        .collect()
}
