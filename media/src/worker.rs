//! One media worker without its sockets: told the time, datagrams and commands; answers with
//! datagrams, events and what became of its ports.
//!
//! It has the shape of [`dialtone_core::Machine`], except that a datagram is borrowed from the
//! receive buffer instead of owned, and that the output is an [`Outbox`] which is used again. So the
//! engine drives it with real sockets and a simulator with virtual time.
//!
//! **Invariant**: nothing here allocates while packets are relayed or a tick runs; only commands do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, ReadyPort, Stream};
use dialtone_core::{BridgeId, Mono, PortId, Wall};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::counters::{Counters, DropReason};
use crate::generator::Generator;
use crate::grid::Grid;
use crate::leg::{Hears, Leg, SilenceLimits, TICK_MS};
use crate::outbox::{Channel, Outbox, PortChange, Slot};
use crate::prompt::PromptLibrary;
use crate::tone::{Ringback, Tone};

/// Between two rounds of reports and silence checks.
pub const ROUND: Duration = Duration::from_secs(1);

/// A tick that begins so long after it was due is counted as late: a quarter of a packet of 20 ms.
pub const TICK_LATE: Duration = Duration::from_millis(5);

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its number, as in [`PortId::worker`].
    pub number: u16,
    /// When silence is told of.
    pub silence: SilenceLimits,
    /// What can be played.
    pub prompts: Arc<PromptLibrary>,
    /// Seed of sources, first numbers and names; workers of one seed draw different ones.
    pub seed: [u8; 32],
    /// What the wall clock read at [`Mono::ZERO`], for the NTP times in reports.
    pub wall_at_zero: Wall,
}

/// One worker's state.
pub struct Worker {
    config: WorkerConfig,
    random: ChaCha12Rng,
    legs: Vec<Option<Box<Leg>>>,
    free: Vec<Slot>,
    slots: HashMap<u32, Slot>,
    configured: usize,
    ticking: Vec<Slot>,
    tick: Grid,
    round: Grid,
    counters: Counters,
}

impl Worker {
    /// A worker without ports.
    pub fn new(config: WorkerConfig) -> Self {
        let mut random = ChaCha12Rng::from_seed(config.seed);
        random.set_stream(u64::from(config.number));
        Self {
            config,
            random,
            legs: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            configured: 0,
            ticking: Vec::new(),
            tick: Grid::new(Duration::from_millis(u64::from(TICK_MS))),
            round: Grid::new(ROUND),
            counters: Counters::default(),
        }
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// For what the shell sees and the worker cannot: what the kernel took and refused.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Ports in the reserve, and ports that calls use.
    pub fn ports(&self) -> (usize, usize) {
        (self.slots.len() - self.configured, self.configured)
    }

    /// Takes a bound port into the reserve. The slot names it in datagrams, from now until
    /// [`PortChange::Closed`].
    pub fn adopt(&mut self, now: Mono, ready: ReadyPort) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            // So that neither a tick nor a release ever has to grow a list.
            self.ticking.reserve(self.legs.len());
            self.free.reserve(self.legs.len());
            Slot(self.legs.len() as u32 - 1)
        });
        self.slots.insert(ready.port.number, slot);
        self.legs[slot.index()] = Some(Box::new(Leg::new(now, ready, &mut self.random)));
        slot
    }

    /// Carries out a command. One for a port that is gone is counted and ignored.
    pub fn command(&mut self, now: Mono, command: MediaCommand, out: &mut Outbox) {
        match command {
            MediaCommand::Configure { port, stream } => self.configure(now, port, stream, out),
            MediaCommand::Bridge { bridge, kind: BridgeKind::Relay { a, b } } => self.join(now, bridge, a, b),
            MediaCommand::Bridge { bridge, kind: BridgeKind::Hold { port, feed } } => {
                self.hold(now, bridge, port, &feed, out);
            }
            MediaCommand::Release { port } => self.release(now, port, out),
        }
    }

    /// A datagram arrived.
    pub fn datagram(
        &mut self,
        now: Mono,
        slot: Slot,
        channel: Channel,
        source: SocketAddr,
        bytes: &[u8],
        out: &mut Outbox,
    ) {
        self.counters.packets_in += 1;
        self.counters.bytes_in += bytes.len() as u64;
        let done = match channel {
            Channel::Rtp => self.rtp(now, slot, source, bytes, out),
            Channel::Rtcp => {
                let wall_us = self.wall_us(now);
                let leg = self.leg(slot).ok_or(DropReason::Unconfigured);
                leg.and_then(|leg| leg.rtcp(now, wall_us, source, bytes))
            }
        };
        if let Err(reason) = done {
            self.counters.drop(reason);
        }
    }

    fn rtp(
        &mut self,
        now: Mono,
        slot: Slot,
        source: SocketAddr,
        bytes: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let leg = self.leg(slot).ok_or(DropReason::Unconfigured)?;
        let heard = leg.rtp(now, source, bytes)?;
        let port = leg.ready.port;
        let hearer = match leg.hears {
            Hears::Leg(partner) => Some(partner),
            Hears::Itself => Some(slot),
            Hears::Nothing | Hears::Generator { .. } => None,
        };
        if heard.latched {
            self.counters.latches += 1;
            out.events.push(MediaEvent::Latched { port, source });
        }
        let hearer = hearer.ok_or(DropReason::Unheard)?;
        let payload = &bytes[heard.header.payload.clone()];
        let leg = self.leg(hearer).ok_or(DropReason::Unheard)?;
        leg.relay(now, hearer, &heard, payload, out)
    }

    /// Does what is due. Work that does not fit into `out` is left for the next call, and
    /// [`Worker::deadline`] says that it is due at once.
    pub fn expire(&mut self, now: Mono, out: &mut Outbox) {
        if self.tick.begin(now, self.ticking.len()) {
            self.counters.ticks += 1;
            self.counters.late_ticks += u64::from(self.tick.late() > TICK_LATE);
            self.counters.skipped_ticks += self.tick.skipped();
        }
        while let Some(index) = self.tick.step(self.ticking.len()) {
            if !out.has_room() {
                return self.tick.step_back();
            }
            self.tick_leg(self.ticking[index], out);
        }
        self.round.begin(now, self.legs.len());
        while let Some(index) = self.round.step(self.legs.len()) {
            if !out.has_room() {
                return self.round.step_back();
            }
            self.visit(now, Slot(index as u32), out);
        }
    }

    /// When [`Worker::expire`] has work; `None` while no port is in use.
    pub fn deadline(&self) -> Option<Mono> {
        match (self.tick.deadline(), self.round.deadline()) {
            (Some(tick), Some(round)) => Some(tick.min(round)),
            (tick, round) => tick.or(round),
        }
    }

    /// Says goodbye on every line, before the process ends. Returns the next leg to go on with, when
    /// `out` is full.
    pub fn farewell(&mut self, now: Mono, from: usize, out: &mut Outbox) -> Option<usize> {
        let wall_us = self.wall_us(now);
        for index in from..self.legs.len() {
            if !out.has_room() {
                return Some(index);
            }
            if let Some(leg) = &mut self.legs[index] {
                leg.farewell(now, wall_us, Slot(index as u32), out);
            }
        }
        None
    }

    fn tick_leg(&mut self, slot: Slot, out: &mut Outbox) {
        let (at, late) = (self.tick.at(), self.tick.skipped() > 0);
        let Some(leg) = self.leg(slot) else { return };
        if leg.tick(at, late, slot, out) {
            let (port, bridge) = (leg.ready.port, leg.bridge);
            out.events.extend(bridge.map(|bridge| MediaEvent::PlayEnded { port, bridge, complete: true }));
            self.retick(at, slot);
        }
    }

    fn visit(&mut self, now: Mono, slot: Slot, out: &mut Outbox) {
        let wall_us = self.wall_us(now);
        let Some(leg) = &mut self.legs[slot.index()] else { return };
        if let Some(silence) = leg.silence(now, self.config.silence) {
            self.counters.silences += 1;
            out.events.push(MediaEvent::Silent { port: leg.ready.port, silence });
        }
        leg.report(now, wall_us, &mut self.random, slot, out);
    }

    fn configure(&mut self, now: Mono, port: PortId, stream: Stream, out: &mut Outbox) {
        let Some(slot) = self.slot(port) else { return };
        let Some(leg) = &mut self.legs[slot.index()] else { return };
        if leg.configure(now, stream, &mut self.random) {
            self.configured += 1;
            self.round.arm(now);
            out.ports.push(PortChange::Taken(slot));
        }
        self.sound(now, slot, out);
    }

    fn join(&mut self, now: Mono, bridge: BridgeId, a: PortId, b: PortId) {
        let (Some(a), Some(b)) = (self.slot(a), self.slot(b)) else {
            // The one that is left hears nothing, rather than what it heard before.
            for port in [a, b] {
                if let Some(slot) = self.find(port) {
                    self.leave(slot);
                    self.retick(now, slot);
                }
            }
            return;
        };
        if a == b {
            self.counters.commands_ignored += 1;
            return;
        }
        for (slot, partner) in [(a, b), (b, a)] {
            let joined = self.leg(slot).is_some_and(|leg| matches!(leg.hears, Hears::Leg(p) if p == partner));
            if !joined {
                self.leave(slot);
            }
        }
        for (slot, partner) in [(a, b), (b, a)] {
            let Some(leg) = self.leg(slot) else { continue };
            leg.bridge = Some(bridge);
            if matches!(leg.hears, Hears::Nothing) {
                leg.hear(Hears::Leg(partner));
            }
            self.retick(now, slot);
        }
    }

    fn hold(&mut self, now: Mono, bridge: BridgeId, port: PortId, feed: &Feed, out: &mut Outbox) {
        let Some(slot) = self.slot(port) else { return };
        self.leave(slot);
        let generator = match feed {
            Feed::Nothing | Feed::Echo => None,
            Feed::Tone { hz, level_dbm0 } => Some(Generator::Tone(Tone::new(*hz, *level_dbm0))),
            Feed::Ringback => Some(Generator::Ringback(Ringback::default())),
            Feed::Prompt { prompt } => match self.config.prompts.get(prompt) {
                Some(samples) => Some(Generator::Prompt { samples: Arc::clone(samples), position: 0 }),
                None => {
                    self.counters.prompts_unknown += 1;
                    out.events.push(MediaEvent::PlayEnded { port, bridge, complete: false });
                    None
                }
            },
        };
        let Some(leg) = self.leg(slot) else { return };
        leg.bridge = Some(bridge);
        leg.hear(match (generator, feed) {
            (Some(generator), _) => leg.generator(generator),
            (None, Feed::Echo) => Hears::Itself,
            (None, _) => Hears::Nothing,
        });
        self.sound(now, slot, out);
    }

    /// After a change of format, direction or feed: whether the leg's generator sounds, and ticks.
    fn sound(&mut self, now: Mono, slot: Slot, out: &mut Outbox) {
        let Some(leg) = self.leg(slot) else { return };
        let Hears::Generator { generator, .. } = &leg.hears else { return self.retick(now, slot) };
        let mute = leg.is_configured() && leg.g711().is_none();
        if mute {
            let ended = generator.ends().then_some(leg.bridge).flatten();
            let port = leg.ready.port;
            if ended.is_some() {
                leg.hear(Hears::Nothing);
            }
            self.counters.feeds_without_format += 1;
            out.events.extend(ended.map(|bridge| MediaEvent::PlayEnded { port, bridge, complete: false }));
        }
        self.retick(now, slot);
    }

    fn release(&mut self, now: Mono, port: PortId, out: &mut Outbox) {
        let Some(slot) = self.slot(port) else { return };
        self.leave(slot);
        self.retick(now, slot);
        let wall_us = self.wall_us(now);
        let Some(mut leg) = self.legs[slot.index()].take() else { return };
        leg.farewell(now, wall_us, slot, out);
        if leg.is_configured() {
            self.configured -= 1;
            if self.configured == 0 {
                self.round.disarm();
            }
        }
        self.slots.remove(&port.number);
        self.free.push(slot);
        out.ports.push(PortChange::Closed(slot));
        out.events.push(MediaEvent::Released { port, quality: leg.quality() });
    }

    /// Takes a leg out of its bridge; a partner stays behind and hears nothing.
    fn leave(&mut self, slot: Slot) {
        let Some(leg) = self.leg(slot) else { return };
        let partner = match leg.hears {
            Hears::Leg(partner) => Some(partner),
            Hears::Nothing | Hears::Itself | Hears::Generator { .. } => None,
        };
        leg.hear(Hears::Nothing);
        leg.bridge = None;
        if let Some(partner) = partner.and_then(|partner| self.leg(partner)) {
            partner.hear(Hears::Nothing);
            partner.bridge = None;
        }
    }

    /// Puts a leg on the list of those that tick, or takes it off; the tick runs while there are any.
    fn retick(&mut self, now: Mono, slot: Slot) {
        let end = self.ticking.len() as u32;
        let Some(leg) = self.leg(slot) else { return };
        match (leg.wants_tick(), leg.ticking) {
            (true, None) => {
                leg.ticking = Some(end);
                self.ticking.push(slot);
                self.tick.arm(now);
            }
            (false, Some(index)) => {
                leg.ticking = None;
                self.ticking.swap_remove(index as usize);
                if let Some(moved) = self.ticking.get(index as usize).copied()
                    && let Some(moved) = self.leg(moved)
                {
                    moved.ticking = Some(index);
                }
                if self.ticking.is_empty() {
                    self.tick.disarm();
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn leg(&mut self, slot: Slot) -> Option<&mut Leg> {
        self.legs.get_mut(slot.index())?.as_deref_mut()
    }

    /// The slot of a port that a command names; one that is gone is counted.
    fn slot(&mut self, port: PortId) -> Option<Slot> {
        let found = self.find(port);
        self.counters.commands_ignored += u64::from(found.is_none());
        found
    }

    fn find(&self, port: PortId) -> Option<Slot> {
        self.slots.get(&port.number).copied().filter(|_| port.worker == self.config.number)
    }

    fn wall_us(&self, now: Mono) -> u64 {
        (self.config.wall_at_zero.as_micros().unsigned_abs()).saturating_add(now.as_nanos() / 1000)
    }
}
