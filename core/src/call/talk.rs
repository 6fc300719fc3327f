//! Two legs talk: the answer, and every change of a stream after it.

use serde::{Deserialize, Serialize};

use super::leg::{Answer, Leg};
use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::codec::Codec;
use crate::description::{Description, Direction, Formats};
use crate::event::{BridgeMode, Fact, LegState};
use crate::id::{BridgeId, LegId};
use crate::leg::{LegCommand, Party};
use crate::media::BridgeKind;
use crate::negotiate;

/// Who talks with the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Talking {
    pub callee: LegId,
    pub bridge: BridgeId,
    /// Who was asked to change because the other's formats do not fit.
    aligning: Option<Aligning>,
}

/// A leg was asked to fit.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Aligning {
    leg: LegId,
    /// What the other leg had agreed to when it was asked.
    to: Formats,
    /// How often it has been asked in a row.
    tries: u8,
}

/// How often a leg is asked to follow one that changes again before it has followed.
const TRIES: u8 = 3;

impl Talking {
    /// The caller talks with `callee`.
    pub fn new(callee: LegId, bridge: BridgeId) -> Self {
        Talking { callee, bridge, aligning: None }
    }
}

impl Call {
    /// `callee` has answered: the caller is answered with `formats` and both are joined.
    pub(super) fn connect(&mut self, desk: &mut Desk<'_>, callee: LegId, formats: Formats) {
        let bridge = desk.ids.bridge();
        self.state = State::Talking(Talking::new(callee, bridge));
        self.answer_caller(desk, formats);
        self.answered = true;
        desk.fact(Fact::CallAnswered { call: self.id, by: callee });
        self.bridge_with(desk, callee, bridge);
        self.align(desk, callee);
    }

    /// Joins the caller's sound with that of `callee`.
    pub(super) fn bridge_with(&mut self, desk: &mut Desk<'_>, callee: LegId, bridge: BridgeId) {
        desk.fact(Fact::BridgeCreated { bridge, call: self.id, mode: BridgeMode::Relay });
        desk.fact(Fact::BridgeEntered { bridge, leg: callee, legs: 1 });
        if let Some(caller) = &self.caller {
            desk.fact(Fact::BridgeEntered { bridge, leg: caller.id, legs: 2 });
        }
        let port = |leg: &Leg| leg.port.map(|port| port.port);
        let caller_port = self.caller.as_ref().and_then(port);
        let callee_port = self.leg_mut(callee).and_then(|leg| port(leg));
        if let (Some(a), Some(b)) = (caller_port, callee_port) {
            desk.bridge(bridge, BridgeKind::Relay { a, b });
        }
    }

    /// Answers the caller, in the name of the callee if there is one.
    pub(super) fn answer_caller(&mut self, desk: &mut Desk<'_>, formats: Formats) {
        let callee = match &self.state {
            State::Talking(talking) => self.branches.iter().find(|branch| branch.id == talking.callee),
            State::Arriving
            | State::Dialing(_)
            | State::Flow(_)
            | State::Joining(_)
            | State::Settling { .. } => None,
        };
        let connected = callee.map(|callee| callee.party.clone());
        if let Some(caller) = &mut self.caller {
            caller.answer(desk, formats, connected);
        }
    }

    /// Who called has our answer; when that was an offer, here is its answer.
    pub(super) fn confirmed(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Option<Description>) {
        if let (Some(leg), Some(answer)) = (self.leg_mut(leg), answer)
            && let Some(offer) = leg.pending.take()
        {
            leg.agree(desk, offer, answer, Answer::Theirs);
            if leg.agreed().is_empty() {
                return self.nothing_in_common(desk);
            }
        }
        match &self.state {
            State::Talking(talking) => {
                let callee = talking.callee;
                self.align(desk, callee);
            }
            State::Flow(_) => self.flow_answered(desk),
            State::Joining(_) => self.go_on_joining(desk),
            State::Arriving | State::Dialing(_) | State::Settling { .. } => {}
        }
    }

    /// If what a leg agreed to does not fit what the other one agreed to, it is asked to change. The
    /// caller has been told once, so it is the callee whom an answer's alignment asks.
    fn align(&mut self, desk: &mut Desk<'_>, asked: LegId) {
        self.align_again(desk, asked, 0);
    }

    fn align_again(&mut self, desk: &mut Desk<'_>, asked: LegId, tries: u8) {
        let agreed = self.shared_with_other(asked);
        if agreed.is_empty() {
            return; // The other's answer to our offer is still under way.
        }
        let Some(leg) = self.leg_mut(asked) else { return };
        if leg.pending.is_some() || negotiate::can_relay(&agreed, &leg.agreed()) {
            return;
        }
        if let Some(offer) = leg.describe(numbered_for(leg, agreed.clone()), Direction::SendRecv) {
            leg.pending = Some(offer.clone());
            leg.command(desk, LegCommand::Modify { offer });
            if let State::Talking(talking) = &mut self.state {
                talking.aligning = Some(Aligning { leg: asked, to: agreed, tries: tries + 1 });
            }
        }
    }

    /// A leg has changed: does the other still fit?
    fn align_with(&mut self, desk: &mut Desk<'_>, changed: LegId) {
        let State::Talking(talking) = &self.state else { return };
        let other = if talking.callee == changed {
            self.caller.as_ref().map(|caller| caller.id)
        } else {
            Some(talking.callee)
        };
        if let Some(other) = other {
            self.align(desk, other);
        }
    }

    /// A far end asks to change its stream: hold, resume, another address, other codecs.
    pub(super) fn modify_offered(&mut self, desk: &mut Desk<'_>, leg: LegId, offer: Option<Description>) {
        let (id, shared) = (leg, self.shared_with_other(leg));
        let Some(leg) = self.leg_mut(leg) else { return };
        let Some(offer) = offer else {
            // RFC 3261 §14.2: a re-INVITE without offer asks for ours; we repeat what stands, unless another
            // offer of ours waits for its turn or its answer (RFC 3264 §4).
            let Some(local) = leg.local.clone().filter(|_| leg.pending.is_none()) else {
                return leg.command(desk, LegCommand::RefuseModify { cause: Cause::TemporaryFailure });
            };
            let description = Description { direction: Direction::SendRecv, ..local };
            leg.pending = Some(description.clone());
            leg.command(desk, LegCommand::AcceptModify { description });
            return;
        };
        let formats = negotiate::answer(&offer.formats, &shared);
        let answer = leg.describe(formats.clone(), negotiate::answer_direction(&offer));
        match answer {
            Some(description) if !formats.is_empty() => {
                let description = Description { ptime_ms: offer.ptime_ms, ..description };
                let held = offer.is_hold();
                leg.agree(desk, description.clone(), offer, Answer::Ours);
                leg.command(desk, LegCommand::AcceptModify { description });
                leg.set_held(desk, held);
                self.align_with(desk, id);
            }
            Some(_) | None => {
                leg.command(desk, LegCommand::RefuseModify { cause: Cause::IncompatibleDestination });
            }
        }
    }

    /// A far end agreed to our change, or answered the offer that it had asked for, or says once more, and
    /// perhaps differently, how it takes what stands.
    pub(super) fn modified(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Description) {
        let id = leg;
        let Some(leg) = self.leg_mut(leg) else { return };
        let Some(offer) = leg.pending.take().or_else(|| leg.local.clone()) else { return };
        leg.take_next_port(desk);
        let held = answer.is_hold();
        leg.agree(desk, offer, answer, Answer::Theirs);
        leg.set_held(desk, held);
        if leg.agreed().is_empty() {
            return self.nothing_in_common(desk);
        }
        self.fits_now(desk, id);
    }

    /// An answer took nothing of what we offered: nobody would hear anything.
    fn nothing_in_common(&mut self, desk: &mut Desk<'_>) {
        match &self.state {
            State::Joining(_) => self.join_failed(desk, Cause::IncompatibleDestination),
            State::Arriving
            | State::Dialing(_)
            | State::Flow(_)
            | State::Talking(_)
            | State::Settling { .. } => self.end(desk, Cause::IncompatibleDestination, None),
        }
    }

    /// A far end refused our change. Only who brings two legs together asks for one.
    pub(super) fn modify_refused(&mut self, desk: &mut Desk<'_>, leg: LegId, _cause: Cause) {
        let id = leg;
        let Some(leg) = self.leg_mut(leg) else { return };
        if leg.pending.take().is_some() {
            leg.drop_next_port(desk);
            self.fits_now(desk, id);
        }
    }

    /// A leg has answered our offer one way or another: if the two do not fit now, somebody is asked.
    fn fits_now(&mut self, desk: &mut Desk<'_>, id: LegId) {
        if matches!(self.state, State::Joining(_)) {
            return self.go_on_joining(desk);
        }
        let other = self.shared_with_other(id);
        let Some(agreed) = self.leg_mut(id).map(|leg| leg.agreed()) else { return };
        let State::Talking(talking) = &mut self.state else { return };
        let asked = talking.aligning.take_if(|aligning| aligning.leg == id);
        if negotiate::can_relay(&other, &agreed) {
            return;
        }
        match asked {
            // The other one has changed since: what this one was asked for is not what is needed.
            Some(asked) if asked.to != other && asked.tries < TRIES => {
                self.align_again(desk, id, asked.tries);
            }
            // It was asked to fit and does not.
            Some(_) => self.end(desk, Cause::IncompatibleDestination, None),
            None => self.align_with(desk, id),
        }
    }

    /// What the rest of the call can exchange with this leg.
    fn shared_with_other(&mut self, leg: LegId) -> Formats {
        let callee = match &self.state {
            State::Talking(talking) => Some(talking.callee),
            State::Joining(joining) => Some(joining.callee),
            // The branch that the caller hears goes by what the caller was told.
            State::Dialing(dialing) if dialing.hears(leg) => None,
            // Nobody is at the other end yet: what stands can be kept.
            State::Dialing(_) => {
                return self.leg_mut(leg).map(|own| own.agreed_or_offered()).unwrap_or_default();
            }
            State::Arriving | State::Flow(_) | State::Settling { .. } => None,
        };
        let other = match callee.filter(|callee| *callee != leg) {
            Some(callee) => self.branches.iter().find(|branch| branch.id == callee),
            None => self.caller.as_ref(),
        };
        other.map(Leg::agreed).unwrap_or_default()
    }
}

impl Leg {
    /// Tells the leg of somebody who called to answer: with what it was told before, when it was told something.
    pub fn answer(&mut self, desk: &mut Desk<'_>, formats: Formats, connected: Option<Party>) {
        let description = match (&self.local, &self.remote) {
            (Some(committed), _) => Some(committed.clone()),
            // It was offered something before, and may not have answered yet.
            (None, None) if self.pending.is_some() => self.pending.clone(),
            (None, Some(offer)) => self.describe(formats, negotiate::answer_direction(offer)),
            (None, None) => self.describe(numbered_for(self, formats), Direction::SendRecv),
        };
        let Some(description) = description else { return };
        match self.remote.clone() {
            Some(offer) if self.local.is_none() => self.agree(desk, description.clone(), offer, Answer::Ours),
            Some(_) => self.stands(desk),
            None => self.pending = Some(description.clone()),
        }
        self.command(desk, LegCommand::Answer { description, connected });
        self.set_state(desk, LegState::Up);
    }
}

/// The same formats under the payload types that this leg knows them by (RFC 3264 §8.3.2: a number keeps
/// its meaning for the session), and our usual ones otherwise.
pub(super) fn numbered_for(leg: &Leg, formats: Formats) -> Formats {
    let number = |codec: Codec| {
        let known = leg.local.as_ref().and_then(|local| local.format(codec));
        known.map_or(codec.default_payload_type(), |format| format.payload_type)
    };
    formats.into_iter().map(|format| crate::Format { payload_type: number(format.codec), ..format }).collect()
}
