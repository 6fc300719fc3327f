//! The switch: everything that decides, as one value.
//!
//! ```text
//!            ┌────────── Switch ──────────┐
//!  Input ──▶ │ Stack ⇄ Pbx ⇄ Flows        │ ──▶ Effect
//!            └────────────────────────────┘
//! ```
//!
//! [`Switch::handle`] applies one [`Input`] and pushes [`Effect`]s; [`Switch::expire`] fires timers;
//! [`Switch::deadline`] says when to come back. It is told the time, owns every call, leg, dialog and
//! binding, and does no I/O: the same inputs give the same effects, which is what tests and replays use.
//!
//! **Invariant:** events leave with a gap-free `seq`, in the order in which they happened.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use dialtone_core::app::{About, AppEvent};
use dialtone_core::command::{Command, Reply};
use dialtone_core::event::Fact;
use dialtone_core::media::{MediaCommand, MediaEvent};
use dialtone_core::pbx::{Limits, Pbx, PbxInput, PbxOutput, ReplyTo};
use dialtone_core::site::Site;
use dialtone_core::{Event, IdSource, LegId, Machine, Mono, Now};
use dialtone_ivr::Flows;
use dialtone_signaling::locate::Question;
use dialtone_signaling::registrar::{BindingChange, PersistToken};
use dialtone_signaling::stack::{SipInput, SipOutput, Stack, StackConfig, StackCounts, Subscribers, Wire};
use dialtone_signaling::wire::{FlowId, Transmit};

/// Everything that can happen to the system.
#[derive(Clone, Debug)]
pub enum Input {
    /// Signaling: the network, the store, the sockets.
    Sip(SipInput),
    /// The media engine.
    Media(MediaEvent),
    /// Somebody outside asks for something.
    Command {
        /// Who wants the reply.
        reply_to: ReplyTo,
        /// What is asked.
        command: Command,
    },
    /// A new site: both halves at once.
    Site {
        /// For calls.
        site: Arc<Site>,
        /// For signaling.
        subscribers: Arc<Subscribers>,
    },
    /// The shell has fallen behind in keeping records, or has caught up: no new calls meanwhile.
    Congested(bool),
    /// A fact about the process itself.
    Process(Fact),
}

/// Everything that the system can ask for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Put this on the wire.
    Send(Transmit),
    /// Close a connection.
    Close(FlowId),
    /// Ask DNS; say [`LookedUp`](dialtone_signaling::wire::TransportEvent::LookedUp) when it has answered, or cannot.
    LookUp(Question),
    /// Tell the media engine.
    Media(MediaCommand),
    /// Tell everybody.
    Publish(Event),
    /// Keep these changes of bindings, all or none; say [`SipInput::Persisted`] when they are safe, if somebody
    /// waits.
    Persist {
        /// What.
        changes: Vec<BindingChange>,
        /// Who waits.
        notify: Option<PersistToken>,
    },
    /// Answer a command.
    Reply {
        /// Whose.
        reply_to: ReplyTo,
        /// The answer.
        reply: Reply,
    },
    /// For the flight recorder.
    Trace(Traced),
}

/// A SIP message of a leg.
#[derive(Clone, Debug)]
pub struct Traced {
    /// When.
    pub at: Now,
    /// The leg.
    pub leg: LegId,
    /// The peer.
    pub peer: SocketAddr,
    /// The message.
    pub wire: Wire,
}

/// Counts for metrics, all of this instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounts {
    /// Signaling.
    pub stack: StackCounts,
    /// Calls that are not over.
    pub calls: usize,
    /// Legs that calls know.
    pub legs: usize,
    /// Calls that were refused because their records could not have been kept, since the start.
    pub turned_away: u64,
    /// Flows that run.
    pub flows: usize,
    /// Media ports that can be handed out.
    pub ports_ready: usize,
    /// Media ports in use.
    pub ports_used: u32,
    /// Events published.
    pub events: u64,
}

/// What one part of the switch says to another, within a turn.
enum Inner {
    Sip(SipInput),
    Pbx(PbxInput),
    App(About<AppEvent>),
}

/// See the module.
pub struct Switch {
    stack: Stack,
    pbx: Pbx,
    flows: Flows,
    seq: u64,
    inner: VecDeque<Inner>,
    sip_out: Vec<SipOutput>,
    pbx_out: Vec<PbxOutput>,
}

impl Switch {
    /// A switch without calls.
    pub fn new(stack: StackConfig, limits: Limits, site: Arc<Site>, subscribers: Arc<Subscribers>) -> Self {
        // Even: signaling names the legs that arrive with odd numbers.
        let ids = IdSource::new(stack.node, stack.boot, 2, 2);
        Switch {
            stack: Stack::new(stack, subscribers),
            pbx: Pbx::new(site, limits, ids),
            flows: Flows::default(),
            seq: 0,
            inner: VecDeque::new(),
            sip_out: Vec::new(),
            pbx_out: Vec::new(),
        }
    }

    /// Whether another call would be refused because there are as many calls, dialogs or transactions as may be.
    pub fn is_full(&self) -> bool {
        self.pbx.is_full() || self.stack.is_full()
    }

    /// For metrics and for the drain.
    pub fn counts(&self) -> SwitchCounts {
        SwitchCounts {
            stack: self.stack.counts(),
            calls: self.pbx.calls(),
            legs: self.pbx.legs(),
            turned_away: self.pbx.turned_away(),
            flows: self.flows.running(),
            ports_ready: self.pbx.ports().ready(),
            ports_used: self.pbx.ports().used(),
            events: self.seq,
        }
    }

    /// Runs to completion; pushes what must be done.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Sip(input) => self.inner.push_back(Inner::Sip(input)),
            Input::Media(event) => self.inner.push_back(Inner::Pbx(PbxInput::Media(event))),
            Input::Command { reply_to, command } => {
                self.inner.push_back(Inner::Pbx(PbxInput::Command { reply_to, command }));
            }
            Input::Site { site, subscribers } => {
                self.inner.push_back(Inner::Sip(SipInput::Subscribers(subscribers)));
                self.inner.push_back(Inner::Pbx(PbxInput::Site(site)));
            }
            Input::Congested(congested) => self.pbx.set_congested(congested),
            Input::Process(fact) => self.publish(now, fact, out),
        }
        self.settle(now, out);
    }

    /// Fires every timer that is due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.stack.expire(now, &mut self.sip_out);
        self.drain_sip(now, out);
        self.pbx.expire(now.mono, &mut self.pbx_out);
        self.drain_pbx(now, out);
        let mut asked = Vec::new();
        self.flows.expire(now.mono, &mut asked);
        self.inner.extend(asked.into_iter().map(|asked| Inner::Pbx(PbxInput::App(asked))));
        self.settle(now, out);
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        [self.stack.deadline(), self.pbx.deadline(), self.flows.deadline()].into_iter().flatten().min()
    }

    /// Lets the parts talk until they have nothing more to say.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(inner) = self.inner.pop_front() {
            match inner {
                Inner::Sip(input) => {
                    self.stack.handle(now, input, &mut self.sip_out);
                    self.drain_sip(now, out);
                }
                Inner::Pbx(input) => {
                    self.pbx.handle(now.mono, input, &mut self.pbx_out);
                    self.drain_pbx(now, out);
                }
                Inner::App(event) => {
                    let mut asked = Vec::new();
                    self.flows.handle(now.mono, event, &mut asked);
                    self.inner.extend(asked.into_iter().map(|asked| Inner::Pbx(PbxInput::App(asked))));
                }
            }
        }
    }

    fn drain_sip(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut outputs = std::mem::take(&mut self.sip_out);
        for output in outputs.drain(..) {
            match output {
                SipOutput::Transmit(transmit) => out.push(Effect::Send(transmit)),
                SipOutput::LookUp(question) => out.push(Effect::LookUp(question)),
                SipOutput::Close { flow } => out.push(Effect::Close(flow)),
                SipOutput::Leg { leg, event } => {
                    self.inner.push_back(Inner::Pbx(PbxInput::Leg { leg, event }))
                }
                SipOutput::Contact(change) => self.inner.push_back(Inner::Pbx(PbxInput::Contact(change))),
                SipOutput::Persist { changes, notify } => out.push(Effect::Persist { changes, notify }),
                SipOutput::AuthFailed { account, source } => {
                    self.publish(now, Fact::AuthFailed { account, source }, out);
                }
                SipOutput::Trace { leg, peer, wire } => {
                    out.push(Effect::Trace(Traced { at: now, leg, peer, wire }));
                }
            }
        }
        self.sip_out = outputs;
    }

    fn drain_pbx(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut outputs = std::mem::take(&mut self.pbx_out);
        for output in outputs.drain(..) {
            match output {
                PbxOutput::Leg { leg, command } => {
                    self.inner.push_back(Inner::Sip(SipInput::Leg { leg, command }));
                }
                PbxOutput::Media(command) => out.push(Effect::Media(command)),
                PbxOutput::App(event) => self.inner.push_back(Inner::App(event)),
                PbxOutput::Fact(fact) => self.publish(now, fact, out),
                PbxOutput::Reply { reply_to, reply } => out.push(Effect::Reply { reply_to, reply }),
            }
        }
        self.pbx_out = outputs;
    }

    fn publish(&mut self, now: Now, fact: Fact, out: &mut Vec<Effect>) {
        self.seq += 1;
        out.push(Effect::Publish(Event { seq: self.seq, at: now, fact }));
    }
}
