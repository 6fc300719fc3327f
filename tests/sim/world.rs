//! A run: the switch, the workers, the phones and the network on one virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use dialtone::switch::{Effect, Input, Switch, SwitchCounts};
use dialtone_core::command::Command;
use dialtone_core::pbx::{Limits, ReplyTo};
use dialtone_core::{Cause, Mono, Now, Wall};
use dialtone_signaling::stack::{SipInput, Socket};
use dialtone_signaling::wire::{FlowId, Path, Transport};

use super::checks::Checks;
use super::faults::Faults;
use super::media::Media;
use super::net::{self, Net};
use super::phone::{Out, Phone, Wake};
use super::picture::Picture;
use super::plant::Plant;
use super::rng::Rng;
use super::site;
use super::swarm::Swarm;

/// What happens at some time.
pub enum Happening {
    Input(Input),
    /// A message of a phone arrives.
    Arrives(Path, bytes::Bytes),
    /// A message for a phone arrives.
    Delivered(Path, bytes::Bytes),
    Woken(usize, u32, Wake),
    /// A phone's person does something.
    Act(usize),
    Fault,
    /// Phones send sound.
    Sound,
    /// A worker binds another port, of IPv6 or not.
    Restock(u16, bool),
    /// A phone notices that its connection is gone.
    Noticed(usize),
}

struct Planned {
    at: Mono,
    order: u64,
    what: Happening,
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Planned {}

pub struct World {
    pub swarm: Swarm,
    pub now: Mono,
    pub switch: Switch,
    pub media: Media,
    pub phones: Vec<Phone>,
    pub net: Net,
    pub checks: Checks,
    pub picture: Option<Picture>,
    pub faults: Faults,
    pub rng: Rng,
    pub acting: bool,
    plans: BinaryHeap<Reverse<Planned>>,
    order: u64,
    plant: Plant,
    hash: Option<DefaultHasher>,
    out: Vec<Effect>,
    stuck: u32,
}

const EPOCH: i64 = 1_795_361_388_000_000;

pub fn at(mono: Mono) -> Now {
    let micros = i64::try_from(mono.as_nanos() / 1000).unwrap_or(i64::MAX / 2);
    Now { mono, wall: Wall::from_micros(EPOCH + micros) }
}

impl World {
    pub fn new(swarm: Swarm, plant: Plant) -> World {
        let (whole, subscribers) = site::site(&swarm, true);
        let limits = Limits { calls_max: 30, ..Limits::default() };
        let switch = Switch::new(site::config(&swarm), limits, whole, subscribers);
        let phones: Vec<Phone> = site::devices(&swarm)
            .into_iter()
            .enumerate()
            .map(|(at, number)| Phone::new(&swarm, at, number))
            .collect();
        let mut world = World {
            now: Mono::ZERO,
            switch,
            media: Media::new(swarm.seed, Wall::from_micros(EPOCH)),
            net: Net::new(swarm.seed, swarm.network.clone(), phones.len()),
            faults: Faults::new(swarm.seed, phones.len()),
            phones,
            checks: Checks::default(),
            picture: None,
            rng: Rng::new(swarm.seed, 4),
            acting: true,
            plans: BinaryHeap::new(),
            order: 0,
            plant,
            hash: None,
            out: Vec::new(),
            stuck: 0,
            swarm,
        };
        world.begin();
        world
    }

    /// From now on the effects are hashed.
    pub fn hashing(&mut self) {
        self.hash = Some(DefaultHasher::new());
    }

    pub fn hash(&self) -> u64 {
        self.hash.as_ref().map_or(0, Hasher::finish)
    }

    fn begin(&mut self) {
        let sockets = [false, true].into_iter().flat_map(|ipv6| {
            let socket = |transport, flow| Socket { transport, flow, local: net::ours(transport, ipv6) };
            let listener = FlowId(0);
            let streams = [socket(Transport::Tcp, listener), socket(Transport::Tls, listener)];
            [socket(Transport::Udp, net::udp(ipv6))].into_iter().chain(streams)
        });
        let sockets = sockets.collect();
        self.input(Input::Sip(SipInput::Sockets(sockets)));
        for worker in 0..2 {
            for ipv6 in [false, true] {
                let ready = self.media.stock(self.now, worker, self.swarm.ports, ipv6);
                self.input(Input::Media(ready));
            }
        }
        for phone in 0..self.phones.len() {
            let after = self.rng.millis(0, 800);
            self.plan(after, Happening::Woken(phone, 0, Wake::Register));
            let after = self.rng.millis(1500, 1500 + self.swarm.pace_ms);
            self.plan(after, Happening::Act(phone));
        }
        self.plan(Duration::from_millis(500), Happening::Sound);
        let after = self.rng.millis(1000, 1000 + self.swarm.fault_ms);
        self.plan(after, Happening::Fault);
    }

    pub fn plan(&mut self, after: Duration, what: Happening) {
        self.order += 1;
        self.plans.push(Reverse(Planned { at: self.now + after, order: self.order, what }));
    }

    /// Runs until then, or until something is wrong.
    pub fn run_until(&mut self, end: Mono) {
        while self.checks.is_fine() {
            let planned = self.plans.peek().map(|Reverse(planned)| planned.at);
            let deadline = self.switch.deadline();
            let Some(next) = [planned, deadline, self.media.deadline()].into_iter().flatten().min() else {
                break;
            };
            if next > end {
                break;
            }
            self.stuck = if next <= self.now { self.stuck + 1 } else { 0 };
            if self.stuck > 20_000 {
                return self.checks.fail("a deadline does not move on", format!("{next:?}"));
            }
            self.now = next.max(self.now);
            if planned == Some(next)
                && let Some(Reverse(planned)) = self.plans.pop()
            {
                self.happen(planned.what);
            } else if deadline == Some(next) {
                self.turn(None);
            } else {
                let came = self.media.expire(self.now);
                self.sounded(came);
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Input(input) => self.input(input),
            Happening::Arrives(path, bytes) => self.arrives(path, bytes),
            Happening::Delivered(path, bytes) => self.delivered(path, bytes),
            Happening::Woken(at, epoch, wake) => {
                if self.phones[at].epoch == epoch {
                    self.with_phone(at, |phone| phone.woken(wake));
                }
            }
            Happening::Act(at) => self.act(at),
            Happening::Fault => self.fault(),
            Happening::Sound => self.sound(),
            Happening::Restock(worker, ipv6) => {
                let ready = self.media.stock(self.now, worker, 1, ipv6);
                self.input(Input::Media(ready));
            }
            Happening::Noticed(at) => self.with_phone(at, |phone| {
                phone.connection_lost();
                phone.register();
            }),
        }
    }

    pub fn input(&mut self, input: Input) {
        self.turn(Some(input));
    }

    /// A turn of the switch: an input, or what is due.
    fn turn(&mut self, input: Option<Input>) {
        let (now, mut out) = (at(self.now), std::mem::take(&mut self.out));
        match input {
            Some(input) => self.switch.handle(now, input, &mut out),
            None => self.switch.expire(now, &mut out),
        }
        self.plant.effects(&mut out);
        for effect in out.drain(..) {
            self.absorb(effect);
        }
        self.out = out;
        let counts = self.counts();
        self.checks.step(counts);
    }

    pub fn counts(&self) -> SwitchCounts {
        self.plant.counts(self.switch.counts())
    }

    fn absorb(&mut self, effect: Effect) {
        if let Some(hash) = &mut self.hash {
            match &effect {
                Effect::Send(transmit) => (format!("{:?}", transmit.path), &transmit.payload).hash(hash),
                Effect::Trace(_) => {}
                other => format!("{other:?}").hash(hash),
            }
        }
        if let Some(picture) = &mut self.picture {
            picture.effect(&effect, self.now, &self.phones);
        }
        match effect {
            Effect::Send(transmit) => self.sent(transmit),
            Effect::Media(command) => {
                self.checks.media(&command);
                let came = self.media.command(self.now, command);
                self.sounded(came);
            }
            Effect::Publish(event) => self.checks.event(&event, &self.plant),
            Effect::Persist { notify: Some(token), .. } => {
                let late = self.net.faults && self.rng.chance(self.swarm.persist_late);
                let lost = self.net.faults && self.rng.chance(self.swarm.persist_lost);
                let after = if late { self.rng.millis(300, 5000) } else { Duration::from_millis(2) };
                let said = if lost { SipInput::NotPersisted(token) } else { SipInput::Persisted(token) };
                self.plan(after, Happening::Input(Input::Sip(said)));
            }
            // Every address here is a number.
            Effect::LookUp(question) => self.checks.fail("nobody is looked up", format!("{question:?}")),
            Effect::Close(flow) => self.break_flow(flow, Duration::ZERO),
            Effect::Persist { notify: None, .. } | Effect::Reply { .. } | Effect::Trace(_) => {}
        }
    }

    /// Lets a phone do something, and carries out what it wants.
    pub fn with_phone(&mut self, at: usize, what: impl FnOnce(&mut Phone)) {
        let phone = &mut self.phones[at];
        phone.now = self.now;
        what(phone);
        let (epoch, mut out) = (phone.epoch, std::mem::take(&mut phone.out));
        for out in out.drain(..) {
            match out {
                Out::Wake(after, wake) => self.plan(after, Happening::Woken(at, epoch, wake)),
                Out::Send(message) => self.leaves(at, message),
            }
        }
        self.phones[at].out = out;
    }

    pub fn command(&mut self, command: Command) {
        self.input(Input::Command { reply_to: ReplyTo(1), command });
    }

    pub fn reload(&mut self, whole: bool) {
        let (site, subscribers) = site::site(&self.swarm, whole);
        self.input(Input::Site { site: Arc::clone(&site), subscribers });
    }

    pub fn hang_up_all(&mut self) {
        self.command(Command::HangUpAll { cause: Cause::NormalClearing });
    }
}
