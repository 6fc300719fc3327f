//! What one turn of the control thread costs with many calls up.
//!
//! Goal: a turn under 5 µs on average with 10,000 live calls. A turn is [`Switch::expire`] and
//! [`Switch::handle`] for one input. One comes every millisecond, about 110 new calls a second: what was said in
//! the last 32 seconds is still held by transactions, and ends in some later turn.
//!
//! Turns are timed one by one, by the CPU time of the thread. Asking for it costs as much as a small turn, so
//! what two askings with nothing between them cost is taken off each turn; the longest turn keeps it. What
//! the transport does before the control thread has a message (parsing it, reading its headers and its
//! session description) is outside of the measurement, and so is whatever carries out effects.
//!
//! The mean hides that an INVITE does the work of ten other turns: each kind is told by itself.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use dialtone::switch::{Effect, Input, Switch};
use dialtone_core::id::PortId;
use dialtone_core::media::{MediaCommand, MediaEvent, Quality, ReadyPort};
use dialtone_core::pbx::Limits;
use dialtone_core::site::{Extension, Site};
use dialtone_core::{Codec, Mono, NodeId, Now, Wall};
use dialtone_signaling::auth::{Accounts, NonceKey};
use dialtone_signaling::message::{Message, Name, Request, Response};
use dialtone_signaling::registrar::ExpiryPolicy;
use dialtone_signaling::registrar::GruuKey;
use dialtone_signaling::stack::{SipInput, Socket, StackConfig, Subscriber, Subscribers};
use dialtone_signaling::transaction::Timing;
use dialtone_signaling::ua::Identity;
use dialtone_signaling::wire::{Credentials, FlowId, Path, Transport, TransportEvent};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIVE_CALLS: usize = 10_000;
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A switch with phones that do as they are told, and a stopwatch around its turns.
struct Bench {
    switch: Switch,
    now: Now,
    effects: Vec<Effect>,
    calls: u64,
    kinds: BTreeMap<&'static str, Kind>,
    /// What asking for the time costs.
    clock: Duration,
    next_port: u32,
}

/// The turns of one kind.
#[derive(Clone, Copy, Default)]
struct Kind {
    turns: u32,
    spent: Duration,
    longest: Duration,
}

impl Kind {
    fn and(self, other: Kind) -> Kind {
        Kind {
            turns: self.turns + other.turns,
            spent: self.spent + other.spent,
            longest: self.longest.max(other.longest),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mean = self.spent.checked_div(self.turns.max(1)).unwrap_or_default();
        write!(f, "mean {mean:?} over {} turns, longest {:?}", self.turns, self.longest)
    }
}

/// CPU time of this thread: what other work on the machine does not disturb.
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a turn of nothing would seem to cost.
fn clock_cost() -> Duration {
    const ASKED: u32 = 100_000;
    let nothing = || {
        let begin = cpu_time();
        black_box(cpu_time().saturating_sub(begin))
    };
    (0..ASKED).map(|_| nothing()).sum::<Duration>() / ASKED
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn path(port: u16) -> Path {
    Path { transport: Transport::Udp, flow: FlowId(1), local: address(5060), remote: address(port) }
}

impl Bench {
    fn new() -> Self {
        let numbers = ["1001", "1002"];
        let extension = |number: &&str| Extension {
            number: (*number).to_owned(),
            name: "Somebody".into(),
            codecs: Codec::VOICE.to_vec(),
            ring_timeout: Duration::from_secs(30),
            pickup_groups: Vec::new(),
        };
        let site = Site {
            name: "bench".into(),
            extensions: numbers.iter().map(|number| ((*number).to_owned(), extension(number))).collect(),
            ..Site::default()
        };
        let accounts = Arc::new(Accounts::new("dialtone", &[], numbers.map(|number| (number, "secret"))));
        let by_number: HashMap<_, _> = numbers.map(|n| (n.to_owned(), Subscriber::default())).into();
        let stack = StackConfig {
            identity: Identity {
                domain: "dialtone".into(),
                aliases: Vec::new(),
                product: "bench".into(),
                net: Default::default(),
            },
            calls: Default::default(),
            timing: Timing::default(),
            dns: Default::default(),
            expiry: ExpiryPolicy::default(),
            transactions_max: 1_000_000,
            legs_max: 1_000_000,
            node: NodeId(1),
            boot: 1,
            seed: [7; 32],
            nonce_key: NonceKey::new([9; 32]),
            gruu_key: GruuKey::new([8; 32]),
        };
        let limits = Limits { calls_max: 100_000, branches_max: 8, ..Limits::default() };
        let mut bench = Bench {
            switch: Switch::new(stack, limits, Arc::new(site), Arc::new(Subscribers { accounts, by_number })),
            now: Now { mono: Mono::from_millis(1), wall: Wall::from_micros(1_795_361_388_000_000) },
            effects: Vec::new(),
            calls: 0,
            kinds: BTreeMap::new(),
            clock: clock_cost(),
            next_port: 0,
        };
        let sockets = vec![Socket { transport: Transport::Udp, flow: FlowId(1), local: address(5060) }];
        bench.turn("sockets", Input::Sip(SipInput::Sockets(sockets)));
        bench.register();
        bench
    }

    /// One turn as the control thread makes it: timers, then the input.
    fn turn(&mut self, kind: &'static str, input: Input) {
        self.now.mono = self.now.mono + Duration::from_millis(1);
        self.now.wall = Wall::from_micros(self.now.wall.as_micros() + 1000);
        let begin = cpu_time();
        self.switch.expire(self.now, &mut self.effects);
        self.switch.handle(self.now, input, &mut self.effects);
        let spent = cpu_time().saturating_sub(begin);
        let kind = self.kinds.entry(kind).or_default();
        *kind = kind.and(Kind { turns: 1, spent: spent.saturating_sub(self.clock), longest: spent });
    }

    fn total(&self) -> Kind {
        self.kinds.values().copied().fold(Kind::default(), Kind::and)
    }

    /// As the transport does: the message is parsed from bytes of its own, and read before it is handed over.
    fn receive(&mut self, kind: &'static str, port: u16, message: Bytes, credentials: Credentials) {
        let message = Message::parse(message).expect("the bench writes legal messages");
        message.read();
        let event = TransportEvent::Received { path: path(port), message, credentials };
        self.turn(kind, Input::Sip(SipInput::Transport(event)));
    }

    fn text(&mut self, kind: &'static str, port: u16, text: String, account: Option<&str>) {
        let credentials = account.map_or(Credentials::None, |account| Credentials::Good {
            account: account.to_owned(),
            nonce: NonceKey::new([9; 32]).issue(address(port).ip(), "dialtone", self.now.wall, 0),
            nonce_count: 1,
        });
        self.receive(kind, port, Bytes::from(text), credentials);
    }

    fn register(&mut self) {
        let register = "REGISTER sip:dialtone SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKr;rport\r\n\
                        From: <sip:1002@dialtone>;tag=r\r\nTo: <sip:1002@dialtone>\r\nCall-ID: r\r\n\
                        CSeq: 1 REGISTER\r\nContact: <sip:1002@127.0.0.1:5062>\r\nExpires: 86400\r\n\r\n";
        self.text("REGISTER", 5062, register.to_owned(), Some("1002"));
        self.effects.clear();
    }

    fn stock_ports(&mut self) {
        let ready = |number: u32| ReadyPort {
            port: PortId { worker: 0, number },
            rtp: address(10_000),
            rtcp: address(10_001),
        };
        let ports = (self.next_port..self.next_port + 2).map(ready).collect();
        self.next_port += 2;
        self.turn("ports ready", Input::Media(MediaEvent::Ready { ports }));
    }

    /// Everything sent to a phone since the last look.
    fn sent_to(&mut self, port: u16) -> Vec<Message> {
        let to_port = |effect: &Effect| match effect {
            Effect::Send(transmit) if transmit.path.remote.port() == port => Some(transmit.payload.clone()),
            _ => None,
        };
        let payloads: Vec<Bytes> = self.effects.iter().filter_map(to_port).collect();
        payloads.into_iter().filter_map(|payload| Message::parse(payload).ok()).collect()
    }

    fn released(&mut self) {
        let release = |effect: &Effect| match effect {
            Effect::Media(MediaCommand::Release { port }) => Some(*port),
            _ => None,
        };
        let ports: Vec<PortId> = self.effects.iter().filter_map(release).collect();
        self.effects.clear();
        for port in ports {
            self.turn(
                "port released",
                Input::Media(MediaEvent::Released { port, quality: Quality::default() }),
            );
        }
    }

    fn request(&self, method: &str, call: u64, cseq: u32, to_tag: &str, body: &str) -> String {
        format!(
            "{method} sip:1002@dialtone SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK{call}{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Ann\" <sip:1001@dialtone>;tag=a{call}\r\nTo: <sip:1002@dialtone>{to_tag}\r\n\
             Call-ID: call{call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:1001@127.0.0.1:5061>\r\n\
             User-Agent: bench\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn answer(&mut self, invite: &Request, status: u16) {
        let mut response = Response::to(invite, status);
        response.tag_to(|| "b");
        response.headers.push(Name::Contact, "<sip:1002@127.0.0.1:5062>");
        if status == 200 {
            response.set_body("application/sdp", Bytes::from_static(SDP.as_bytes()));
        }
        let kind = if status == 180 { "180" } else { "200 to INVITE" };
        self.receive(kind, 5062, response.to_bytes(), Credentials::None);
    }

    /// INVITE, 180, 200, ACK: gives the tag that ends it.
    fn set_up(&mut self) -> (u64, String) {
        self.calls += 1;
        let call = self.calls;
        self.stock_ports();
        self.effects.clear();
        self.text("INVITE", 5061, self.request("INVITE", call, 1, "", SDP), Some("1001"));
        let invite = self.sent_to(5062).into_iter().find_map(|message| match message {
            Message::Request(request) => Some(request),
            Message::Response(_) => None,
        });
        let invite = invite.expect("the callee is invited");
        self.answer(&invite, 180);
        self.effects.clear();
        self.answer(&invite, 200);
        let tag = self.sent_to(5061).into_iter().find_map(|message| match message {
            Message::Response(response) if response.status == 200 => {
                response.headers.to().ok()?.tag().map(str::to_owned)
            }
            Message::Request(_) | Message::Response(_) => None,
        });
        let tag = tag.expect("the caller is answered");
        self.effects.clear();
        self.text("ACK", 5061, self.request("ACK", call, 1, &format!(";tag={tag}"), ""), None);
        self.effects.clear();
        (call, tag)
    }

    /// BYE, and 200 from the other side.
    fn tear_down(&mut self, (call, tag): (u64, String)) {
        self.text("BYE", 5061, self.request("BYE", call, 2, &format!(";tag={tag}"), ""), None);
        let bye = self.sent_to(5062).into_iter().find_map(|message| match message {
            Message::Request(request) => Some(request),
            Message::Response(_) => None,
        });
        let bye = bye.expect("the callee is told");
        self.released();
        self.receive("200 to BYE", 5062, Response::to(&bye, 200).to_bytes(), Credentials::None);
        self.effects.clear();
    }
}

fn turns(c: &mut Criterion) {
    for live in [0, LIVE_CALLS] {
        let mut bench = Bench::new();
        for _ in 0..live {
            let _ = bench.set_up();
        }
        assert_eq!(bench.switch.counts().calls, live);
        bench.kinds.clear();
        c.bench_function(&format!("call of 9 turns, {live} live calls"), |b| {
            b.iter_custom(|rounds| {
                let before = bench.total().spent;
                for _ in 0..rounds {
                    let call = bench.set_up();
                    bench.tear_down(black_box(call));
                }
                bench.total().spent - before
            });
        });
        println!("a turn with {live} live calls: {} (clock: {:?})", bench.total(), bench.clock);
        for (kind, turns) in &bench.kinds {
            println!("  {kind}: {turns}");
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = turns
}
criterion_main!(benches);
