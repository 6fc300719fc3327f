//! One call: a caller's leg, the legs that serve it, and what is going on between them.
//!
//! ```text
//!   Offered ──▶ Dialing ──Answered──▶ Talking ──┐
//!      │           │ refused, no answer,        │ HungUp, silence, command
//!      │           │ caller gave up             ▼
//!      └──▶ Flow ──┴────────────────────▶ Settling ──every port measured──▶ gone
//! ```
//!
//! A transfer leads from Talking back to Dialing or Flow, with a caller that was answered before; who is dialed
//! for it is brought together with it in Joining.
//!
//! A call does not know how a leg signals or how sound moves; it tells both what it wants through
//! [`Desk`]. It never waits: what must be awaited is a state.

mod dial;
mod early;
mod end;
mod flow;
mod join;
mod leg;
mod merge;
mod pickup;
mod redirect;
mod talk;
mod transfer;
mod wait;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::dial::Dialing;
use self::flow::Running;
use self::join::Joining;
use self::leg::Leg;
pub(crate) use self::merge::Pair;
use self::talk::Talking;
use self::transfer::Transfer;
use crate::app::{About, AppCommand, AppEvent};
use crate::cause::Cause;
use crate::description::Description;
use crate::endpoint::Endpoints;
use crate::event::{Fact, LegState, Side};
use crate::id::{BridgeId, CallId, ConversationId, IdMap, IdSource, LegId, PortId};
use crate::leg::{EarlyOffer, Journey, LegCommand, LegEvent, Number, Party};
use crate::media::{BridgeKind, MediaCommand, MediaEvent};
use crate::pbx::{Limits, PbxOutput};
use crate::ports::PortPool;
use crate::route::{Destination, route};
use crate::site::Site;
use crate::time::Mono;

/// What a call works with while it handles one input.
pub(crate) struct Desk<'a> {
    pub now: Mono,
    pub limits: &'a Limits,
    pub ids: &'a mut IdSource,
    pub ports: &'a mut PortPool,
    pub endpoints: &'a mut Endpoints,
    pub legs: &'a mut IdMap<LegId, CallId>,
    pub port_legs: &'a mut IdMap<PortId, (CallId, LegId)>,
    pub out: &'a mut Vec<PbxOutput>,
}

impl Desk<'_> {
    fn fact(&mut self, fact: Fact) {
        self.out.push(PbxOutput::Fact(fact));
    }

    fn media(&mut self, command: MediaCommand) {
        self.out.push(PbxOutput::Media(command));
    }

    fn bridge(&mut self, bridge: BridgeId, kind: BridgeKind) {
        self.media(MediaCommand::Bridge { bridge, kind });
    }

    fn app(&mut self, call: CallId, what: AppEvent) {
        self.out.push(PbxOutput::App(About { call, what }));
    }

    fn device(&mut self, change: impl FnOnce(&mut Endpoints) -> Option<Fact>) {
        self.out.extend(change(self.endpoints).map(PbxOutput::Fact));
    }
}

/// Whoever calls, as their leg arrived.
pub(crate) struct Arrival {
    pub leg: LegId,
    pub endpoint: Number,
    pub caller: Party,
    pub dialed: Number,
    pub device: Option<String>,
    pub offer: Option<Description>,
    pub early_offer: EarlyOffer,
    pub ipv6: bool,
    pub over_tls: bool,
    pub journey: Journey,
}

impl Arrival {
    /// It gets no call.
    pub fn refuse(self, desk: &mut Desk<'_>, cause: Cause) {
        desk.out.push(PbxOutput::Leg { leg: self.leg, command: LegCommand::HangUp { cause } });
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    /// Not routed yet.
    Arriving,
    /// Branches ring.
    Dialing(Dialing),
    /// A flow runs.
    Flow(Running),
    /// Two legs that were answered apart are made to fit.
    Joining(Joining),
    /// Two legs talk.
    Talking(Talking),
    /// All legs have ended; ports still owe what they measured.
    Settling { cause: Cause, by: Option<LegId>, until: Mono },
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    id: CallId,
    conversation: ConversationId,
    site: Arc<Site>,
    dialed: Number,
    /// The one device that is meant.
    device: Option<String>,
    /// Whether anybody, or a flow, has answered.
    answered: bool,
    /// The transfer that is under way, or whose transferor has not hung up.
    transfer: Option<Transfer>,
    /// The caller's leg; `None` once it has ended.
    caller: Option<Leg>,
    branches: Vec<Leg>,
    /// Ports that were taken and not yet measured.
    ports_out: u32,
    state: State,
    /// When this call stands in the heap of deadlines.
    pub(crate) scheduled: Option<Mono>,
}

impl Call {
    /// Somebody wants something.
    pub fn begin(
        desk: &mut Desk<'_>,
        site: Arc<Site>,
        id: CallId,
        arrival: Arrival,
        refusal: Option<Cause>,
    ) -> Self {
        let Arrival { leg, endpoint, caller, dialed, device, offer, early_offer, ipv6, journey, .. } =
            arrival;
        let conversation = ConversationId::from(id);
        desk.fact(Fact::CallStarted {
            call: id,
            conversation,
            leg,
            from: caller.clone(),
            dialed: dialed.clone(),
        });
        let mut leg =
            Leg::create(desk, (id, leg), (endpoint, caller), (Side::Inbound, LegState::Ring), &dialed);
        leg.remote = offer;
        leg.early_offer = early_offer;
        leg.journey = journey;
        let mut call = Call {
            id,
            conversation,
            site,
            dialed,
            device,
            answered: false,
            transfer: None,
            caller: Some(leg),
            branches: Vec::new(),
            ports_out: 0,
            state: State::Arriving,
            scheduled: None,
        };
        match refusal {
            Some(cause) => call.end(desk, cause, None),
            None => {
                let dialed = call.dialed.clone();
                call.route(desk, &dialed, ipv6);
            }
        }
        call
    }

    /// Connects the caller with whatever this number means.
    fn route(&mut self, desk: &mut Desk<'_>, dialed: &str, ipv6: bool) {
        let site = Arc::clone(&self.site);
        let destination = route(&site, dialed);
        let Some(caller) = &mut self.caller else { return };
        desk.fact(Fact::RouteTaken {
            call: self.id,
            leg: caller.id,
            dialed: dialed.to_owned(),
            to: destination.routed(),
        });
        let ipv6 = caller.remote.as_ref().map_or(ipv6, |offer| offer.rtp.is_ipv6());
        if destination != Destination::Nowhere && caller.port.is_none() {
            if !caller.take_port(desk, None, ipv6) {
                return self.end(desk, Cause::NoCircuit, None);
            }
            self.ports_out += 1;
        }
        match destination {
            Destination::Extension(extension) => self.dial_extension(desk, extension),
            Destination::RingGroup(group) => self.dial_group(desk, group),
            Destination::Flow(flow) => self.start_flow(desk, flow),
            Destination::Nowhere => self.transfer_failed(desk, Cause::UnallocatedNumber),
        }
    }

    /// Its name.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// One of its legs says something.
    pub fn leg_event(&mut self, desk: &mut Desk<'_>, leg: LegId, event: LegEvent) {
        if self.is_aside(leg) {
            return self.aside_event(desk, leg, event);
        }
        let from_caller = self.caller.as_ref().is_some_and(|caller| caller.id == leg);
        match event {
            // A leg is offered once, and that began the call.
            LegEvent::Offered { .. } => {}
            LegEvent::HungUp { cause, by } if from_caller => {
                self.end(desk, cause, by.is_peer().then_some(leg));
            }
            LegEvent::HungUp { cause, by } => self.branch_hung_up(desk, leg, cause, by),
            LegEvent::Ringing { early } => self.branch_progress(desk, leg, LegState::Ringing, early),
            LegEvent::Progress { early } => self.branch_progress(desk, leg, LegState::Early, early),
            LegEvent::Answered { description, connected, private } => {
                self.answered_as(desk, leg, connected, private);
                self.branch_answered(desk, leg, description);
            }
            LegEvent::Redirected { to } => self.branch_redirected(desk, leg, to),
            LegEvent::Confirmed { description } => self.confirmed(desk, leg, description),
            LegEvent::ModifyOffered { offer } => self.modify_offered(desk, leg, offer),
            LegEvent::Modified { description } => self.modified(desk, leg, description),
            LegEvent::ModifyRefused { cause } => self.modify_refused(desk, leg, cause),
            LegEvent::TransferAsked { to } => self.transfer_asked(desk, leg, to),
        }
    }

    /// The engine says something about one of its ports.
    pub fn media_event(&mut self, desk: &mut Desk<'_>, leg: LegId, event: MediaEvent) {
        match event {
            MediaEvent::Ready { .. } => {}
            MediaEvent::Latched { source, .. } => desk.fact(Fact::LegLatched { leg, source }),
            MediaEvent::Silent { silence, .. } => {
                // A leg that has ended meanwhile has nobody left to be silent towards, and one that was not
                // answered owes no sound: many phones send none before. Who stands aside is heard by nobody.
                if !self.is_aside(leg) && self.leg_mut(leg).is_some_and(|leg| leg.state == LegState::Up) {
                    let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
                    desk.fact(Fact::LegSilent { leg, silence_ms });
                    self.end(desk, Cause::RecoveryOnTimer, None);
                }
            }
            MediaEvent::PlayEnded { bridge, .. } => self.play_ended(desk, bridge),
            MediaEvent::Released { quality, .. } => {
                desk.fact(Fact::LegMeasured { leg, call: self.id, quality });
                self.ports_out = self.ports_out.saturating_sub(1);
            }
        }
    }

    /// Its flow asks for something.
    pub fn app_command(&mut self, desk: &mut Desk<'_>, command: AppCommand) {
        self.flow_asks(desk, command);
    }

    /// Somebody outside ends it.
    pub fn hang_up(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        self.end(desk, cause, None);
    }

    /// Fires its timer, when due.
    pub fn expire(&mut self, desk: &mut Desk<'_>) {
        if self.transfer.as_ref().and_then(Transfer::deadline).is_some_and(|until| until <= desk.now) {
            self.dismiss_transferor(desk);
        }
        match &self.state {
            State::Dialing(dialing) if dialing.deadline() <= desk.now => self.ring_timeout(desk),
            State::Flow(running) if running.deadline().is_some_and(|deadline| deadline <= desk.now) => {
                self.end(desk, Cause::RecoveryOnTimer, None);
            }
            State::Joining(joining) if joining.deadline() <= desk.now => {
                self.join_failed(desk, Cause::RecoveryOnTimer);
            }
            State::Arriving
            | State::Dialing(_)
            | State::Flow(_)
            | State::Joining(_)
            | State::Talking(_)
            | State::Settling { .. } => {}
        }
    }

    /// The next instant at which `expire` or `finished` has something to say.
    pub fn deadline(&self) -> Option<Mono> {
        let state = match &self.state {
            State::Dialing(dialing) => Some(dialing.deadline()),
            State::Flow(running) => running.deadline(),
            State::Joining(joining) => Some(joining.deadline()),
            State::Settling { until, .. } => Some(*until),
            State::Arriving | State::Talking(_) => None,
        };
        state.into_iter().chain(self.transfer.as_ref().and_then(Transfer::deadline)).min()
    }

    /// Whether all that it waits for is what its ports measured.
    pub fn is_settling(&self) -> bool {
        matches!(self.state, State::Settling { .. })
    }

    /// Whether it is over and its last fact has been told.
    pub fn finished(&self, desk: &mut Desk<'_>) -> bool {
        match &self.state {
            State::Settling { cause, by, until } if self.ports_out == 0 || *until <= desk.now => {
                desk.fact(Fact::CallEnded { call: self.id, cause: *cause, by: *by });
                true
            }
            State::Arriving
            | State::Settling { .. }
            | State::Dialing(_)
            | State::Flow(_)
            | State::Joining(_)
            | State::Talking(_) => false,
        }
    }

    fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        let aside = self.transfer.as_mut().and_then(|transfer| transfer.leg.as_mut());
        let mut legs = self.caller.iter_mut().chain(&mut self.branches).chain(aside);
        legs.find(|candidate| candidate.id == leg)
    }

    fn take_branch(&mut self, leg: LegId) -> Option<Leg> {
        let place = self.branches.iter().position(|branch| branch.id == leg)?;
        Some(self.branches.remove(place))
    }
}
