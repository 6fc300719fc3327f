//! Every call of this machine: routes inputs to the call that they are about.
//!
//! **Invariant:** a leg or port is in an index exactly as long as its call may still hear of it.
//! **Invariant:** nothing here scans all calls in one turn; what concerns all of them is swept in slices.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::{About, AppCommand, AppEvent};
use crate::call::{Arrival, Call, Desk, Pair};
use crate::cause::Cause;
use crate::command::{Command, Reply};
use crate::endpoint::{ContactChange, Endpoints};
use crate::event::Fact;
use crate::id::{CallId, IdMap, IdSource, LegId, PortId};
use crate::leg::{LegCommand, LegEvent, TransferTo};
use crate::machine::Machine;
use crate::media::{MediaCommand, MediaEvent};
use crate::ports::PortPool;
use crate::site::Site;
use crate::time::Mono;

/// Bounds of what one machine takes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Calls at a time; one more is refused with [`Cause::Congestion`]. As many again may settle meanwhile.
    pub calls_max: usize,
    /// Branches of one call; further contacts do not ring.
    pub branches_max: usize,
    /// How often one dialing follows a phone that sends the call elsewhere.
    pub redirections_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { calls_max: 10_000, branches_max: 64, redirections_max: 5 }
    }
}

/// Names a command so that its reply finds who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplyTo(pub u64);

/// What can happen to the PBX.
#[derive(Clone, Debug)]
pub enum PbxInput {
    /// A leg says something.
    Leg {
        /// Which.
        leg: LegId,
        /// What.
        event: LegEvent,
    },
    /// The media engine says something.
    Media(MediaEvent),
    /// A flow asks for something.
    App(About<AppCommand>),
    /// An endpoint can be reached elsewhere.
    Contact(ContactChange),
    /// Somebody outside asks for something.
    Command {
        /// Who wants the reply.
        reply_to: ReplyTo,
        /// What is asked.
        command: Command,
    },
    /// A new site is in force for calls that begin from now on.
    Site(Arc<Site>),
}

/// What the PBX asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum PbxOutput {
    /// Tell a leg.
    Leg {
        /// Which.
        leg: LegId,
        /// What.
        command: LegCommand,
    },
    /// Tell the media engine.
    Media(MediaCommand),
    /// Tell a flow.
    App(About<AppEvent>),
    /// Tell everybody.
    Fact(Fact),
    /// Answer a command.
    Reply {
        /// Whose.
        reply_to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
}

/// Calls that one turn of a sweep ends.
const SWEEP: usize = 32;

/// Calls that tables have room for from the start: growing one moves all of it within some turn.
const RESERVED_MAX: usize = 1 << 14;

/// See the module.
#[derive(Debug)]
pub struct Pbx {
    site: Arc<Site>,
    limits: Limits,
    ids: IdSource,
    calls: IdMap<CallId, Box<Call>>,
    /// Those of `calls` that settle.
    settling: usize,
    legs: IdMap<LegId, CallId>,
    port_legs: IdMap<PortId, (CallId, LegId)>,
    ports: PortPool,
    endpoints: Endpoints,
    deadlines: BinaryHeap<Reverse<(Mono, CallId)>>,
    draining: bool,
    congested: bool,
    /// Calls that were refused while `congested`, since the start.
    turned_away: u64,
    /// Calls that must still be ended, and why.
    sweep: VecDeque<(CallId, Cause)>,
}

impl Pbx {
    /// An empty PBX. `ids` must not collide with the ids that signaling gives to inbound legs.
    pub fn new(site: Arc<Site>, limits: Limits, ids: IdSource) -> Self {
        let calls = limits.calls_max.min(RESERVED_MAX);
        let legs = calls * 2;
        Pbx {
            site,
            limits,
            ids,
            calls: IdMap::with_capacity_and_hasher(calls, Default::default()),
            settling: 0,
            legs: IdMap::with_capacity_and_hasher(legs, Default::default()),
            port_legs: IdMap::with_capacity_and_hasher(legs, Default::default()),
            ports: PortPool::default(),
            endpoints: Endpoints::with_room(legs),
            deadlines: BinaryHeap::with_capacity(calls),
            draining: false,
            congested: false,
            turned_away: 0,
            sweep: VecDeque::new(),
        }
    }

    /// Calls that are not over, including those that still settle.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Legs that calls know.
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    /// The ports that can be handed out, and those that are.
    pub fn ports(&self) -> &PortPool {
        &self.ports
    }

    /// Whether no new calls are taken.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// While set, new calls are refused: their records could not be kept.
    pub fn set_congested(&mut self, congested: bool) {
        self.congested = congested;
    }

    /// Calls that were refused because their records could not have been kept, since the start.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    fn desk<'a>(
        &'a mut self,
        now: Mono,
        out: &'a mut Vec<PbxOutput>,
    ) -> (&'a mut IdMap<CallId, Box<Call>>, Desk<'a>) {
        let desk = Desk {
            now,
            limits: &self.limits,
            ids: &mut self.ids,
            ports: &mut self.ports,
            endpoints: &mut self.endpoints,
            legs: &mut self.legs,
            port_legs: &mut self.port_legs,
            out,
        };
        (&mut self.calls, desk)
    }

    /// Lets a call do something, then sees whether it is over or wants to be woken.
    fn with_call(
        &mut self,
        now: Mono,
        id: CallId,
        out: &mut Vec<PbxOutput>,
        what: impl FnOnce(&mut Call, &mut Desk<'_>),
    ) -> bool {
        let (calls, mut desk) = self.desk(now, out);
        let Some(call) = calls.get_mut(&id) else { return false };
        let settled = call.is_settling();
        what(call, &mut desk);
        let over = call.finished(&mut desk);
        let settles = call.is_settling() && !over;
        if over {
            calls.remove(&id);
        } else {
            self.schedule(id);
        }
        self.settling = self.settling + usize::from(settles) - usize::from(settled);
        true
    }

    fn schedule(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let deadline = call.deadline();
        if let Some(at) = deadline
            && call.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            call.scheduled = Some(at);
            self.deadlines.push(Reverse((at, id)));
        }
    }

    /// Whether another call would be refused because there are as many as may be.
    pub fn is_full(&self) -> bool {
        let running = self.calls.len() - self.settling;
        running >= self.limits.calls_max || self.settling >= self.limits.calls_max
    }

    fn offered(&mut self, now: Mono, arrival: Arrival, out: &mut Vec<PbxOutput>) {
        if self.congested {
            // Not even a record that it was refused: it would wait with the others, and callers try again.
            self.turned_away += 1;
            let command = LegCommand::HangUp { cause: Cause::Congestion };
            return out.push(PbxOutput::Leg { leg: arrival.leg, command });
        }
        let full = self.draining || self.is_full();
        let refusal = full.then_some(Cause::Congestion);
        let id = self.ids.call();
        let site = Arc::clone(&self.site);
        let (calls, mut desk) = self.desk(now, out);
        let call = Call::begin(&mut desk, site, id, arrival, refusal);
        if !call.finished(&mut desk) {
            let settles = call.is_settling();
            calls.insert(id, Box::new(call));
            self.settling += usize::from(settles);
            self.schedule(id);
        }
    }

    /// Somebody calls to take a leg's place: it joins that leg's call and begins none.
    fn replace(&mut self, now: Mono, arrival: Arrival, replaced: LegId, out: &mut Vec<PbxOutput>) {
        let leg = arrival.leg;
        match self.legs.get(&replaced) {
            Some(&call) => {
                self.with_call(now, call, out, |call, desk| call.replace(desk, arrival, replaced));
            }
            // The leg has ended a moment ago (RFC 3891 §3: 603 is for dialogs that are over).
            None => {
                let command = LegCommand::HangUp { cause: Cause::CallRejected };
                out.push(PbxOutput::Leg { leg, command });
            }
        }
    }

    /// The far end of one leg wants whom it talks with connected with the far side of its second leg.
    fn attended(&mut self, now: Mono, legs: Pair, out: &mut Vec<PbxOutput>) {
        let Some(&first) = self.legs.get(&legs.first) else { return };
        let second = self.legs.get(&legs.second).copied().filter(|second| *second != first);
        let (calls, mut desk) = self.desk(now, out);
        let Some(mut second) = second.and_then(|second| calls.remove(&second)) else {
            let command = LegCommand::RefuseTransfer { cause: Cause::CallRejected };
            return out.push(PbxOutput::Leg { leg: legs.first, command });
        };
        let mut first = calls.remove(&first).expect("a leg is in the index as long as its call");
        Call::transfer_between(&mut desk, &mut first, &mut second, legs);
        // Neither settled, or its leg would not be known.
        let over = [first, second].map(|call| (call.finished(&mut desk), call));
        for (_, call) in over.into_iter().filter(|(over, _)| !over) {
            let id = call.id();
            self.settling += usize::from(call.is_settling());
            self.calls.insert(id, call);
            self.schedule(id);
        }
    }

    fn media(&mut self, now: Mono, event: MediaEvent, out: &mut Vec<PbxOutput>) {
        let port = match &event {
            MediaEvent::Ready { ports } => return self.ports.stock(ports.iter().copied()),
            MediaEvent::Released { port, .. } => {
                self.ports.gone(*port);
                *port
            }
            MediaEvent::Latched { port, .. }
            | MediaEvent::Silent { port, .. }
            | MediaEvent::PlayEnded { port, .. } => *port,
        };
        let Some(&(call, leg)) = self.port_legs.get(&port) else { return };
        if matches!(event, MediaEvent::Released { .. }) {
            self.port_legs.remove(&port);
        }
        self.with_call(now, call, out, |call, desk| call.media_event(desk, leg, event));
    }

    fn command(&mut self, now: Mono, reply_to: ReplyTo, command: Command, out: &mut Vec<PbxOutput>) {
        let reply = match command {
            Command::HangUp { call, cause } => {
                if self.with_call(now, call, out, |call, desk| call.hang_up(desk, cause)) {
                    Reply::Done
                } else {
                    Reply::NoSuchCall { call }
                }
            }
            Command::Drain => {
                if !std::mem::replace(&mut self.draining, true) {
                    let calls = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
                    out.push(PbxOutput::Fact(Fact::Draining { calls }));
                }
                Reply::Done
            }
            Command::HangUpAll { cause } => {
                self.sweep.extend(self.calls.keys().map(|call| (*call, cause)));
                Reply::Done
            }
        };
        out.push(PbxOutput::Reply { reply_to, reply });
    }
}

impl Machine for Pbx {
    type Input = PbxInput;
    type Output = PbxOutput;

    fn handle(&mut self, now: Mono, input: PbxInput, out: &mut Vec<PbxOutput>) {
        match input {
            PbxInput::Leg {
                leg,
                event:
                    LegEvent::Offered {
                        endpoint,
                        caller,
                        dialed,
                        device,
                        offer,
                        early_offer,
                        ipv6,
                        over_tls,
                        journey,
                        replaces,
                    },
            } => {
                let arrival = Arrival {
                    leg,
                    endpoint,
                    caller,
                    dialed,
                    device,
                    offer,
                    early_offer,
                    ipv6,
                    over_tls,
                    journey,
                };
                match replaces {
                    Some(replaced) => self.replace(now, arrival, replaced, out),
                    None => self.offered(now, arrival, out),
                }
            }
            PbxInput::Leg { leg: first, event: LegEvent::TransferAsked { to: TransferTo::Leg(second) } } => {
                self.attended(now, Pair { first, second }, out);
            }
            PbxInput::Leg { leg, event } => {
                // A leg that was told to hang up is forgotten; what it still says changes nothing.
                if let Some(&call) = self.legs.get(&leg) {
                    self.with_call(now, call, out, |call, desk| call.leg_event(desk, leg, event));
                }
            }
            PbxInput::Media(event) => self.media(now, event, out),
            PbxInput::App(About { call, what }) => {
                self.with_call(now, call, out, |call, desk| call.app_command(desk, what));
            }
            PbxInput::Contact(change) => {
                let mut facts = Vec::new();
                self.endpoints.apply(change, &mut facts);
                out.extend(facts.into_iter().map(PbxOutput::Fact));
            }
            PbxInput::Command { reply_to, command } => self.command(now, reply_to, command, out),
            PbxInput::Site(site) => {
                let extensions = u32::try_from(site.extensions.len()).unwrap_or(u32::MAX);
                out.push(PbxOutput::Fact(Fact::SiteApplied { name: site.name.clone(), extensions }));
                self.site = site;
            }
        }
    }

    fn expire(&mut self, now: Mono, out: &mut Vec<PbxOutput>) {
        for _ in 0..SWEEP {
            let Some((call, cause)) = self.sweep.pop_front() else { break };
            self.with_call(now, call, out, |call, desk| call.hang_up(desk, cause));
        }
        while let Some(&Reverse((at, id))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            // A call that has been over or scheduled earlier since is not meant.
            if let Some(call) = self.calls.get_mut(&id)
                && call.scheduled == Some(at)
            {
                call.scheduled = None;
                self.with_call(now, id, out, |call, desk| call.expire(desk));
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        if self.sweep.is_empty() {
            self.deadlines.peek().map(|Reverse((at, _))| *at)
        } else {
            Some(Mono::ZERO)
        }
    }
}
