//! The network, the media engine and the store that the switch under test talks with.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dialtone::ladder::{Rung, What};
use dialtone::recorder::{Recorder, summary};
use dialtone::switch::{Effect, Input, Switch, SwitchCounts};
use dialtone_core::cdr::{Cdr, CdrFold};
use dialtone_core::command::{Command, Reply};
use dialtone_core::event::Side;
use dialtone_core::media::{MediaCommand, MediaEvent, Quality, ReadyPort};
use dialtone_core::pbx::{Limits, ReplyTo};
use dialtone_core::site::Site;
use dialtone_core::{Event, Fact, Mono, Now, PortId, Wall};
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::registrar::{ContactPolicy, PersistToken, ReachPolicy};
use dialtone_signaling::stack::{SipInput, Socket, StackConfig};
use dialtone_signaling::ua::{IdentityPolicy, Reliability};
use dialtone_signaling::wire::{FlowId, Opens, Path, Transport, TransportEvent};

use super::phone::Phone;
use super::set::Set;
use super::site;
use super::zone::Zone;

/// A handle; clones are the same world.
#[derive(Clone)]
pub struct World(pub(super) Rc<RefCell<Inner>>);

pub struct Inner {
    pub switch: Switch,
    pub now: Now,
    inputs: VecDeque<Input>,
    pub sets: Vec<Set>,
    pub recorder: Recorder,
    pub fold: CdrFold,
    pub cdrs: Vec<Cdr>,
    pub events: Vec<Event>,
    pub effects: Vec<(Mono, Effect)>,
    pub replies: Vec<Reply>,
    pub wire: Vec<Rung>,
    /// Ports by how often they were released.
    pub released: HashMap<PortId, u32>,
    pub persist_held: Option<Vec<PersistToken>>,
    pub zone: Zone,
    /// Connections that are gone.
    pub gone: HashSet<FlowId>,
    measures: bool,
    next_port: u32,
    /// Our tag by branch, or Call-ID, of the INVITE that we answered, and when.
    pub tags: HashMap<String, (String, Mono)>,
}

/// What a test may choose before the world begins.
pub struct Options {
    pub site: Site,
    pub contacts: ContactPolicy,
    pub reliability: Reliability,
    /// Of extensions that differ from the default.
    pub identities: Vec<(&'static str, IdentityPolicy)>,
    pub reach: ReachPolicy,
    pub stack: StackConfig,
    pub limits: Limits,
    /// Media ports of each family on each of two workers.
    pub ports: u32,
    /// Whether the engine says at once what a released port measured; otherwise never.
    pub measures: bool,
}

pub fn udp4() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5060))
}

pub fn tls4() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5061))
}

pub fn udp6() -> SocketAddr {
    "[2001:db8::1]:5060".parse().unwrap()
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(choose: impl FnOnce(&mut Options)) -> World {
        let mut options = Options {
            site: site::sample(),
            contacts: ContactPolicy::default(),
            reliability: Reliability::default(),
            identities: Vec::new(),
            reach: ReachPolicy::default(),
            stack: site::config(),
            limits: Limits::default(),
            ports: 20,
            measures: true,
        };
        choose(&mut options);
        let subscribers =
            site::subscribers(options.contacts, options.reliability, options.reach, &options.identities);
        let switch = Switch::new(options.stack, options.limits, Arc::new(options.site), subscribers);
        let inner = Inner {
            switch,
            now: at(Mono::ZERO),
            inputs: VecDeque::new(),
            sets: Vec::new(),
            recorder: Recorder::default(),
            fold: CdrFold::default(),
            cdrs: Vec::new(),
            events: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            wire: Vec::new(),
            released: HashMap::new(),
            persist_held: None,
            zone: Zone::default(),
            gone: HashSet::new(),
            measures: options.measures,
            next_port: 1,
            tags: HashMap::new(),
        };
        let world = World(Rc::new(RefCell::new(inner)));
        let socket = |transport, flow, local| Socket { transport, flow: FlowId(flow), local };
        world.input(Input::Sip(SipInput::Sockets(vec![
            socket(Transport::Udp, 1, udp4()),
            socket(Transport::Udp, 2, udp6()),
            socket(Transport::Tcp, 0, udp4()),
            socket(Transport::Tls, 0, tls4()),
        ])));
        world.stock(options.ports);
        world
    }

    /// Both workers have bound so many ports of each family.
    pub fn stock(&self, count: u32) {
        let mut ports = Vec::new();
        for worker in [0_u16, 1] {
            for ip in ["10.0.0.1", "2001:db8::1"] {
                // The pool hands out the last one first.
                let first = self.0.borrow().next_port;
                self.0.borrow_mut().next_port += count;
                for number in (first..first + count).rev() {
                    let rtp = SocketAddr::new(ip.parse().unwrap(), 10_000 + 2 * number as u16);
                    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
                    ports.push(ReadyPort { port: PortId { worker, number }, rtp, rtcp });
                }
            }
        }
        self.input(Input::Media(MediaEvent::Ready { ports }));
    }

    /// A phone of this extension with an address of its own, over UDP.
    pub fn phone(&self, number: &str) -> Phone {
        let host = 11 + self.0.borrow().sets.len();
        self.phone_at(number, Transport::Udp, &format!("10.0.0.{host}:5060"))
    }

    /// The same, registered.
    pub fn registered(&self, number: &str) -> Phone {
        let phone = self.phone(number);
        phone.register(3600);
        phone
    }

    pub fn phone_at(&self, number: &str, transport: Transport, address: &str) -> Phone {
        let address = address.parse().unwrap();
        let at = self.0.borrow().sets.len();
        let set = Set::new(number, transport, address, at);
        if transport.is_reliable() {
            self.input(Input::Sip(SipInput::Transport(TransportEvent::FlowUp { path: set.path() })));
        }
        self.0.borrow_mut().sets.push(set);
        Phone { world: self.clone(), at }
    }

    /// Something happens, and all that follows at once.
    pub fn input(&self, input: Input) {
        self.0.borrow_mut().take(input);
    }

    /// A new site comes into force.
    pub fn apply(&self, site: Site) {
        let subscribers =
            site::subscribers(ContactPolicy::default(), Reliability::default(), ReachPolicy::default(), &[]);
        self.input(Input::Site { site: Arc::new(site), subscribers });
    }

    /// What was sent last could not be sent.
    pub fn send_failed(&self) {
        self.send_to_failed("");
    }

    /// What was sent last to whoever has an address that begins like this could not be sent.
    pub fn send_to_failed(&self, address: &str) {
        let ticket = self.0.borrow().effects.iter().rev().find_map(|(_, effect)| match effect {
            Effect::Send(transmit) => {
                transmit.path.remote.to_string().starts_with(address).then_some(transmit.ticket)
            }
            _ => None,
        });
        let event = TransportEvent::SendFailed { ticket: ticket.expect("something that was sent") };
        self.input(Input::Sip(SipInput::Transport(event)));
    }

    pub fn media(&self, event: MediaEvent) {
        self.input(Input::Media(event));
    }

    pub fn command(&self, command: Command) -> Reply {
        self.input(Input::Command { reply_to: ReplyTo(1), command });
        self.0.borrow().replies.last().cloned().unwrap()
    }

    /// Time passes; every deadline on the way is kept.
    pub fn advance(&self, ms: u64) {
        let mut inner = self.0.borrow_mut();
        let target = inner.now.mono + Duration::from_millis(ms);
        let mut stuck = 0;
        while let Some(due) = inner.switch.deadline().filter(|due| *due <= target) {
            stuck = if due <= inner.now.mono { stuck + 1 } else { 0 };
            assert!(stuck < 1000, "a deadline that does not move on");
            inner.now = at(due.max(inner.now.mono));
            let (now, mut out) = (inner.now, Vec::new());
            inner.switch.expire(now, &mut out);
            inner.absorb(out);
            inner.pump();
        }
        inner.now = at(target);
    }

    /// From now on the store takes its time.
    pub fn hold_persist(&self) {
        self.0.borrow_mut().persist_held.get_or_insert_default();
    }

    /// The store has written what it held.
    pub fn persist(&self) {
        let held = self.0.borrow_mut().persist_held.take().unwrap_or_default();
        for token in held {
            self.input(Input::Sip(SipInput::Persisted(token)));
        }
    }

    /// The store could not write what it held.
    pub fn lose(&self) {
        let held = self.0.borrow_mut().persist_held.take().unwrap_or_default();
        for token in held {
            self.input(Input::Sip(SipInput::NotPersisted(token)));
        }
    }

    /// Whether another call would be refused.
    pub fn is_full(&self) -> bool {
        self.0.borrow().switch.is_full()
    }

    pub fn counts(&self) -> SwitchCounts {
        self.0.borrow().switch.counts()
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.borrow().events.clone()
    }

    pub fn facts(&self) -> Vec<Fact> {
        self.0.borrow().events.iter().map(|event| event.fact.clone()).collect()
    }

    pub fn cdrs(&self) -> Vec<Cdr> {
        self.0.borrow().cdrs.clone()
    }
}

fn at(mono: Mono) -> Now {
    let micros = i64::try_from(mono.as_nanos() / 1000).unwrap();
    Now { mono, wall: Wall::from_micros(1_795_361_388_000_000 + micros) }
}

impl Inner {
    pub fn take(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let (now, mut out) = (self.now, Vec::new());
            self.switch.handle(now, input, &mut out);
            self.absorb(out);
        }
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects.push((self.now.mono, effect.clone()));
            match effect {
                Effect::Send(transmit) => {
                    let message = Message::parse(transmit.payload).expect("what we send can be read");
                    self.check_message(transmit.path.transport, &message);
                    let is_gone = self.gone.contains(&transmit.path.flow);
                    match transmit.opens {
                        Opens::At(remote) if is_gone => {
                            self.arrive(Path { remote, ..transmit.path }, message)
                        }
                        Opens::Nowhere if is_gone => {
                            let event = TransportEvent::SendFailed { ticket: transmit.ticket };
                            self.inputs.push_back(Input::Sip(SipInput::Transport(event)));
                        }
                        Opens::At(_) | Opens::Nowhere | Opens::Named(_) | Opens::Peer => {
                            self.arrive(transmit.path, message)
                        }
                    }
                }
                Effect::Media(MediaCommand::Release { port }) => {
                    *self.released.entry(port).or_default() += 1;
                    let quality = Quality { received_packets: 1, sent_packets: 1, ..Quality::default() };
                    if self.measures {
                        self.inputs.push_back(Input::Media(MediaEvent::Released { port, quality }));
                    }
                }
                Effect::Media(command) => self.check_media(&command),
                Effect::Publish(event) => {
                    let seq = self.events.last().map_or(1, |last| last.seq + 1);
                    assert_eq!(event.seq, seq, "the stream has no gaps");
                    self.recorder.event(&event);
                    self.cdrs.extend(self.fold.apply(&event));
                    self.events.push(event);
                }
                Effect::Persist { notify: Some(token), .. } => match &mut self.persist_held {
                    Some(held) => held.push(token),
                    None => self.inputs.push_back(Input::Sip(SipInput::Persisted(token))),
                },
                Effect::Persist { notify: None, .. } => {}
                Effect::LookUp(question) => self.inputs.extend(self.zone.ask(question)),
                Effect::Close(flow) => {
                    let event = TransportEvent::FlowDown { flow };
                    self.inputs.push_back(Input::Sip(SipInput::Transport(event)));
                }
                Effect::Reply { reply, .. } => self.replies.push(reply),
                Effect::Trace(traced) => self.recorder.message(traced),
            }
        }
        self.check_step();
    }

    /// A message of the switch reaches a phone, which may react at once.
    fn arrive(&mut self, path: Path, message: Message) {
        let Some(at) = self.sets.iter().position(|set| set.is_at(path)) else {
            let to = path.remote;
            self.rung(&to.to_string(), true, &message);
            return;
        };
        let number = self.sets[at].number.clone();
        self.rung(&number, true, &message);
        for reaction in self.sets[at].receive(message) {
            self.leave(at, reaction);
        }
    }

    /// A phone sends a message; the transport stamps it and hands it to the switch.
    pub fn leave(&mut self, at: usize, message: Message) {
        let now = self.now.wall;
        let set = &mut self.sets[at];
        let (path, number) = (set.path(), set.number.clone());
        let mut message = Message::parse(message.to_bytes()).expect("what a phone sends can be read");
        let credentials = match &message {
            Message::Request(request) => set.credentials(request, now),
            Message::Response(_) => Default::default(),
        };
        set.last_sent = Some(message.clone());
        self.rung(&number, false, &message);
        if let Message::Request(request) = &mut message {
            let mut via = request.via().unwrap().clone();
            via.stamp(path.remote);
            request.headers.set_top(&Name::Via, &via);
            assert_eq!(request.check(), Ok(()));
        }
        message.read();
        let received = TransportEvent::Received { path, message, credentials };
        self.inputs.push_back(Input::Sip(SipInput::Transport(received)));
    }

    pub fn send(&mut self, at: usize, message: impl Into<Message>) {
        self.leave(at, message.into());
        self.pump();
    }

    pub fn rung(&mut self, peer: &str, sent: bool, message: &Message) {
        let at_us = self.now.mono.as_nanos() / 1000;
        let (side, text) = (Side::Inbound, String::new());
        let what = What::Message { side, peer: peer.into(), sent, summary: summary(message), text };
        self.wire.push(Rung { at_us, what });
    }
}
