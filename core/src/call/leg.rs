//! One party of a call, as the call sees it.

use serde::{Deserialize, Serialize};

use super::Desk;
use crate::cause::Cause;
use crate::description::{Description, Direction, Formats};
use crate::event::{Fact, LegState, Side};
use crate::id::{CallId, LegId};
use crate::leg::{EarlyOffer, Journey, LegCommand, Number, Party};
use crate::media::{BridgeKind, Feed, MediaCommand, ReadyPort};
use crate::negotiate;
use crate::pbx::PbxOutput;

/// Who gave the answer of the last exchange: its order is the one in which both will send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// We did.
    Ours,
    /// The far end did.
    Theirs,
}

/// A leg and what was agreed with its far end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Leg {
    pub id: LegId,
    pub call: CallId,
    pub endpoint: Number,
    pub side: Side,
    pub party: Party,
    pub state: LegState,
    pub port: Option<ReadyPort>,
    /// What we last said, once it stands or is on its way.
    pub local: Option<Description>,
    /// What they last said: an offer before we answered, an answer after.
    pub remote: Option<Description>,
    answer: Answer,
    /// Whether its port knows both.
    configured: bool,
    /// Our offer that they have not answered.
    pub pending: Option<Description>,
    /// Whether it can be offered something before it is answered.
    pub early_offer: EarlyOffer,
    /// How its call came here; of a leg of ours, from here.
    pub journey: Journey,
    /// The port that this offer names, when it is another one.
    pub next_port: Option<ReadyPort>,
    /// Whether its far end has put us on hold.
    pub held: bool,
}

impl Leg {
    /// Adds a leg to `call` and says so.
    pub fn create(
        desk: &mut Desk<'_>,
        (call, id): (CallId, LegId),
        (endpoint, party): (Number, Party),
        (side, state): (Side, LegState),
        dialed: &str,
    ) -> Leg {
        desk.legs.insert(id, call);
        desk.fact(Fact::LegCreated {
            leg: id,
            call,
            endpoint: endpoint.clone(),
            side,
            state,
            party: party.clone(),
            dialed: dialed.to_owned(),
        });
        desk.device(|endpoints| endpoints.leg(&endpoint, id, side, state, false));
        Leg {
            id,
            call,
            endpoint,
            side,
            party,
            state,
            port: None,
            local: None,
            remote: None,
            answer: Answer::Theirs,
            configured: false,
            pending: None,
            early_offer: EarlyOffer::Impossible,
            journey: Journey::default(),
            next_port: None,
            held: false,
        }
    }

    /// Takes a port for it; false when none is left.
    pub fn take_port(&mut self, desk: &mut Desk<'_>, worker: Option<u16>, ipv6: bool) -> bool {
        self.port = desk.ports.take(worker, ipv6);
        if let Some(port) = self.port {
            desk.port_legs.insert(port.port, (self.call, self.id));
        }
        self.port.is_some()
    }

    pub fn command(&self, desk: &mut Desk<'_>, command: LegCommand) {
        desk.out.push(PbxOutput::Leg { leg: self.id, command });
    }

    pub fn set_state(&mut self, desk: &mut Desk<'_>, state: LegState) {
        if self.state != state {
            self.state = state;
            desk.fact(Fact::LegStateChanged { leg: self.id, state });
            self.tell_device(desk);
        }
    }

    pub fn set_held(&mut self, desk: &mut Desk<'_>, held: bool) {
        if self.held != held {
            self.held = held;
            let leg = self.id;
            desk.fact(if held { Fact::LegHeld { leg } } else { Fact::LegResumed { leg } });
            self.tell_device(desk);
        }
    }

    fn tell_device(&self, desk: &mut Desk<'_>) {
        let (id, side, state, held) = (self.id, self.side, self.state, self.held);
        desk.device(|endpoints| endpoints.leg(&self.endpoint, id, side, state, held));
    }

    /// Our description of its stream with these formats; `None` without a port.
    pub fn describe(&self, formats: Formats, direction: Direction) -> Option<Description> {
        let ptime = self.remote.as_ref().and_then(|remote| remote.ptime_ms);
        self.port.as_ref().map(|port| negotiate::describe(port, formats, direction, ptime))
    }

    /// Both descriptions stand: the port is told.
    pub fn agree(&mut self, desk: &mut Desk<'_>, local: Description, remote: Description, answer: Answer) {
        let moved = self.remote.as_ref().is_none_or(|old| old.rtp != remote.rtp);
        let Some(port) = self.port else { return };
        if self.local.as_ref() == Some(&local) && self.remote.as_ref() == Some(&remote) && self.configured {
            return self.stands(desk); // Early media, and then the same answer again.
        }
        let stream = negotiate::stream(&local, &remote, moved);
        let rtp = remote.rtp;
        self.local = Some(local);
        self.remote = Some(remote);
        self.answer = answer;
        self.configured = true;
        if let Some(codec) = self.agreed().iter().map(|format| format.codec).find(|codec| codec.is_voice()) {
            desk.fact(Fact::LegNegotiated { leg: self.id, codec, remote: rtp });
        }
        desk.media(MediaCommand::Configure { port: port.port, stream });
    }

    /// Our offer has been answered: the port that it named, when that is another one, is its port from now on.
    pub fn take_next_port(&mut self, desk: &mut Desk<'_>) {
        if let Some(next) = self.next_port.take()
            && let Some(old) = self.port.replace(next)
        {
            desk.media(MediaCommand::Release { port: old.port });
            self.configured = false;
        }
    }

    /// Our offer has been refused.
    pub fn drop_next_port(&mut self, desk: &mut Desk<'_>) {
        if let Some(next) = self.next_port.take() {
            desk.media(MediaCommand::Release { port: next.port });
        }
    }

    /// What was agreed stands and means more than before: an answer after early media. Silence counts from
    /// now on, as nobody owed a packet before.
    pub fn stands(&self, desk: &mut Desk<'_>) {
        if let (Some(port), Some(local), Some(remote), true) =
            (self.port, &self.local, &self.remote, self.configured)
        {
            let stream = negotiate::stream(local, remote, false);
            desk.media(MediaCommand::Configure { port: port.port, stream });
        }
    }

    /// The formats that packets to and from it may have, under our payload types, in the order of
    /// whoever answered.
    pub fn agreed(&self) -> Formats {
        match (&self.local, &self.remote, self.answer) {
            (Some(local), Some(remote), Answer::Theirs) => negotiate::answer(&local.formats, &remote.formats),
            (Some(local), Some(remote), Answer::Ours) => negotiate::shared(&local.formats, &remote.formats),
            (None, ..) | (_, None, _) => Formats::new(),
        }
    }

    /// The same, or what we offered while it has not answered.
    pub fn agreed_or_offered(&self) -> Formats {
        match (&self.local, &self.remote) {
            (Some(local), None) => local.formats.clone(),
            (Some(_), Some(_)) | (None, _) => self.agreed(),
        }
    }

    /// The same, or what our offer says that it has not answered.
    pub fn agreed_or_pending(&self) -> Formats {
        match &self.pending {
            Some(offer) => offer.formats.clone(),
            None => self.agreed(),
        }
    }

    /// Its far end hears this from now on.
    pub fn hears(&self, desk: &mut Desk<'_>, feed: Feed) {
        if let Some(port) = self.port {
            let bridge = desk.ids.bridge();
            desk.bridge(bridge, BridgeKind::Hold { port: port.port, feed });
        }
    }

    /// Ends it.
    pub fn hang_up(self, desk: &mut Desk<'_>, cause: Cause) {
        self.command(desk, LegCommand::HangUp { cause });
        self.close(desk, cause);
    }

    /// Forgets it: its port goes back, its index entries go. The caller of this says `HangUp` first,
    /// unless the far end hung up.
    pub fn close(self, desk: &mut Desk<'_>, cause: Cause) {
        desk.legs.remove(&self.id);
        for port in self.port.into_iter().chain(self.next_port) {
            desk.media(MediaCommand::Release { port: port.port });
        }
        desk.fact(Fact::LegEnded { leg: self.id, call: self.call, cause });
        desk.device(|endpoints| endpoints.leg_ended(self.id));
    }
}
