//! What concerns two calls, or a call and somebody who joins it from outside: an attended transfer, and a leg
//! that takes another one's place.
//!
//! In an attended transfer the transferor has two calls. Whoever it talks with in the first one is connected
//! with the far side of the second: a leg, branches that ring, or a flow. The older call goes on and takes the
//! legs of the other, which ends; only a flow keeps its own call, as it is known by it. Both conversations are
//! the older one from then on.

use super::dial::Dialing;
use super::leg::Leg;
use super::transfer::Transfer;
use super::{Arrival, Call, Desk, State};
use crate::cause::Cause;
use crate::description::Formats;
use crate::event::{Fact, LegState, Side, TransferKind};
use crate::id::{BridgeId, LegId};
use crate::leg::TransferProgress;
use crate::media::Feed;
use crate::negotiate;

/// The transferor's two legs.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    /// On which it asked.
    pub first: LegId,
    /// Whose far side is the target.
    pub second: LegId,
}

/// Whom the transferee is connected with.
enum Far {
    Leg(Leg),
    Dialing(Dialing, Vec<Leg>),
    /// It stays where it is.
    Flow,
}

impl Call {
    /// An attended transfer. `first` is the call of the leg that asked.
    pub fn transfer_between(desk: &mut Desk<'_>, first: &mut Call, second: &mut Call, legs: Pair) {
        if let Err(cause) = may_merge(first, second, legs) {
            return first.refuse_transfer(desk, legs.first, cause);
        }
        first.dismiss_transferor(desk);
        second.dismiss_transferor(desk);
        let Some((transferor, transferee, bridge)) = first.part(legs.first) else { return };
        let to = second.number_beyond(legs.second);
        let stays = matches!(second.state, State::Flow(_)) || second.id < first.id;
        let survivor = if stays { second.id } else { first.id };
        desk.fact(Fact::TransferBegan {
            call: survivor,
            kind: TransferKind::Attended,
            transferor: transferor.id,
            transferee: transferee.id,
            bridge,
            to: to.clone(),
            second: Some(legs.second),
            second_bridge: second.bridge(),
        });
        first.left_bridge(desk, bridge, [&transferor, &transferee]);
        transferor.hears(desk, Feed::Nothing);
        transferee.hears(desk, Feed::Nothing);
        let Some((gone, far)) = second.give_up(desk, legs.second) else { return };
        let cause = Cause::NormalClearing;
        gone.hang_up(desk, cause);
        let (survivor, other) = if stays { (second, first) } else { (first, second) };
        survivor.merge(desk, other, cause);
        let transferee = survivor.adopt(desk, other, transferee);
        let transferor = survivor.adopt(desk, other, transferor);
        survivor.caller = Some(transferee);
        survivor.transfer = Some(Transfer::new(TransferKind::Attended, transferor, to));
        survivor.say_progress(desk, TransferProgress::Trying);
        survivor.take_far(desk, other, far);
    }

    fn take_far(&mut self, desk: &mut Desk<'_>, other: &mut Call, far: Far) {
        match far {
            Far::Leg(leg) => {
                let leg = self.adopt(desk, other, leg);
                let id = leg.id;
                if let Some(caller) = &self.caller {
                    desk.fact(Fact::ConnectedLine { leg: caller.id, party: leg.party.clone() });
                    desk.fact(Fact::ConnectedLine { leg: id, party: caller.party.clone() });
                }
                self.branches = vec![leg];
                self.join(desk, id, id);
            }
            Far::Dialing(dialing, branches) => {
                self.branches = branches.into_iter().map(|branch| self.adopt(desk, other, branch)).collect();
                let rings = self.branches.iter().any(|branch| branch.state != LegState::Down);
                self.state = State::Dialing(dialing.for_somebody_else(rings));
                if rings {
                    self.caller.iter().for_each(|caller| caller.hears(desk, Feed::Ringback));
                    self.say_progress(desk, TransferProgress::Ringing);
                }
            }
            Far::Flow => {
                self.feed_again(desk);
                self.flow_has_caller(desk);
                self.transfer_completed(desk, None);
            }
        }
    }

    /// The other call ends here, and its conversation is this one's, or this one's is its.
    fn merge(&mut self, desk: &mut Desk<'_>, other: &mut Call, cause: Cause) {
        let into = self.conversation.min(other.conversation);
        let from = self.conversation.max(other.conversation);
        (self.conversation, other.conversation) = (into, into);
        desk.fact(Fact::ConversationMerged { call: other.id, survivor: self.id, into, from });
        other.settle(desk, cause);
    }

    /// A leg of `from` belongs here from now on, with its ports.
    fn adopt(&mut self, desk: &mut Desk<'_>, from: &mut Call, mut leg: Leg) -> Leg {
        if leg.call != self.id {
            desk.fact(Fact::LegMoved { leg: leg.id, from: leg.call, call: self.id });
            desk.legs.insert(leg.id, self.id);
            for port in leg.port.into_iter().chain(leg.next_port) {
                desk.port_legs.insert(port.port, (self.id, leg.id));
                from.ports_out = from.ports_out.saturating_sub(1);
                self.ports_out += 1;
            }
            leg.call = self.id;
        }
        leg
    }

    /// Takes this leg out of the call, and its far side, unless that is a flow, which stays.
    fn give_up(&mut self, desk: &mut Desk<'_>, leg: LegId) -> Option<(Leg, Far)> {
        match std::mem::replace(&mut self.state, State::Arriving) {
            State::Talking(talking) => {
                self.state = State::Talking(talking);
                let (leg, far, bridge) = self.part(leg)?;
                self.left_bridge(desk, bridge, [&leg, &far]);
                far.hears(desk, Feed::Nothing);
                Some((leg, Far::Leg(far)))
            }
            State::Dialing(dialing) => {
                let branches = std::mem::take(&mut self.branches);
                Some((self.caller.take()?, Far::Dialing(dialing, branches)))
            }
            State::Flow(running) => {
                let leg = self.caller.take()?;
                if let Some(bridge) = running.bridge {
                    desk.fact(Fact::BridgeLeft { bridge, leg: leg.id, legs: 0 });
                    desk.fact(Fact::BridgeDestroyed { bridge, call: self.id });
                }
                self.state = State::Flow(running);
                Some((leg, Far::Flow))
            }
            state @ (State::Arriving | State::Joining(_) | State::Settling { .. }) => {
                self.state = state;
                None
            }
        }
    }

    fn bridge(&self) -> Option<BridgeId> {
        match &self.state {
            State::Talking(talking) => Some(talking.bridge),
            State::Flow(running) => running.bridge,
            State::Arriving | State::Dialing(_) | State::Joining(_) | State::Settling { .. } => None,
        }
    }

    /// What leads to the far side of this leg: the number that was dialed, or whoever dialed it.
    fn number_beyond(&self, leg: LegId) -> String {
        match &self.caller {
            Some(caller) if caller.id != leg => caller.party.number.clone(),
            Some(_) | None => self.dialed.clone(),
        }
    }

    /// Somebody calls to take the place of one of two who talk, or of one who rings (RFC 3891 §3, seen from the
    /// call).
    pub fn replace(&mut self, desk: &mut Desk<'_>, arrival: Arrival, replaced: LegId) {
        if !self.may_be_replaced(replaced, &arrival) {
            return arrival.refuse(desk, Cause::BearerNotAuthorized);
        }
        if self.rings(replaced) {
            return self.pick_up(desk, arrival, replaced);
        }
        if let Err(cause) = self.may_transfer(replaced) {
            return arrival.refuse(desk, cause);
        }
        let far = self.caller.iter().chain(&self.branches).find(|leg| leg.id != replaced);
        let Some((far, agreed, worker)) = far.map(|far| (far.id, far.agreed(), far.worker())) else { return };
        let Some((fresh, formats)) = self.take_in(desk, arrival, agreed, worker) else { return };
        let leg = fresh.id;
        self.dismiss_transferor(desk);
        let Some((gone, far_leg, bridge)) = self.part(replaced) else { return };
        desk.fact(Fact::LegReplaced { call: self.id, leg, replaced });
        desk.fact(Fact::ConnectedLine { leg: far, party: fresh.party.clone() });
        desk.fact(Fact::ConnectedLine { leg, party: far_leg.party.clone() });
        self.left_bridge(desk, bridge, [&gone, &far_leg]);
        far_leg.hears(desk, Feed::Nothing);
        self.caller = Some(fresh);
        self.branches = vec![far_leg];
        self.answer_caller(desk, formats);
        let cause = Cause::NormalClearing;
        gone.hang_up(desk, cause);
        self.join(desk, far, far);
    }

    /// A leg for somebody who joins this call, with a port on that worker, and what it is to be answered with: of what
    /// `theirs` can do, whatever it offers. `None` when it has been refused.
    pub(super) fn take_in(
        &mut self,
        desk: &mut Desk<'_>,
        arrival: Arrival,
        theirs: Formats,
        worker: Option<u16>,
    ) -> Option<(Leg, Formats)> {
        let formats = match &arrival.offer {
            Some(offer) => negotiate::answer(&offer.formats, &theirs),
            None => theirs,
        };
        if formats.is_empty() {
            arrival.refuse(desk, Cause::IncompatibleDestination);
            return None;
        }
        let Arrival { leg, endpoint, caller, dialed, offer, ipv6, journey, .. } = arrival;
        let ids = (self.id, leg);
        let mut fresh = Leg::create(desk, ids, (endpoint, caller), (Side::Inbound, LegState::Ring), &dialed);
        fresh.remote = offer;
        fresh.journey = journey;
        let ipv6 = fresh.remote.as_ref().map_or(ipv6, |offer| offer.rtp.is_ipv6());
        if !fresh.take_port(desk, worker, ipv6) {
            fresh.hang_up(desk, Cause::NoCircuit);
            return None;
        }
        self.ports_out += 1;
        Some((fresh, formats))
    }
}

/// Whether both calls are such that this can be; otherwise why not.
fn may_merge(first: &Call, second: &Call, legs: Pair) -> Result<(), Cause> {
    first.may_transfer(legs.first)?;
    let endpoint = |call: &Call, id: LegId| {
        let mut legs = call.caller.iter().chain(&call.branches);
        legs.find(|leg| leg.id == id).map(|leg| leg.endpoint.clone())
    };
    let (asks, other) = (endpoint(first, legs.first), endpoint(second, legs.second));
    if other.is_none() {
        return Err(Cause::TemporaryFailure); // It stands aside: its call is being handed over itself.
    }
    if asks != other {
        return Err(Cause::BearerNotAuthorized); // Nobody hands over another one's call.
    }
    let waits = second.caller.as_ref().is_some_and(|caller| caller.id == legs.second);
    match &second.state {
        State::Talking(_) => second.may_transfer(legs.second),
        State::Dialing(_) if waits && !second.caller_is_up() => Ok(()),
        State::Flow(running) if waits => {
            let far = first.caller.iter().chain(&first.branches).find(|leg| leg.id != legs.first);
            let flow = second.site.flows.get(&running.flow);
            let speaks =
                |(far, flow): (&Leg, _)| super::flow::formats_for(flow, Some(&far.agreed())).is_some();
            if far.zip(flow).is_some_and(speaks) { Ok(()) } else { Err(Cause::IncompatibleDestination) }
        }
        State::Arriving | State::Dialing(_) | State::Flow(_) | State::Joining(_) | State::Settling { .. } => {
            Err(Cause::TemporaryFailure)
        }
    }
}
