//! What one turn of the control thread costs with many calls up.
//!
//! Goal: a turn under 5 µs on average with 10,000 live calls. A turn is [`Switch::expire`] and
//! [`Switch::handle`] for one input. One comes every millisecond, about 110 new calls a second: what was said in
//! the last 32 seconds is still held by transactions, and ends in some later turn.
//!
//! The turns of many calls at different points of their course come mixed, a round of them in a row, as a busy control
//! thread finds them in its queue; what the phones do is done between rounds, as other threads and machines would.
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
use dialtone_signaling::message::{Message, Method, Name, Request, Response};
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
/// Turns in a row, each of another call: about nine of each kind of turn.
const AT_ONCE: usize = 81;
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
    nonces: i64,
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
            nonces: 0,
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
    fn received(&mut self, port: u16, message: Bytes, account: Option<&str>) -> Input {
        let message = Message::parse(message).expect("the bench writes legal messages");
        message.read();
        let credentials = account.map_or(Credentials::None, |account| {
            // Each call proves itself by a nonce of its own.
            self.nonces += 1;
            let at = Wall::from_micros(self.now.wall.as_micros() - self.nonces % 1000);
            let nonce = NonceKey::new([9; 32]).issue(address(port).ip(), "dialtone", at, 0);
            Credentials::Good { account: account.to_owned(), nonce, nonce_count: 1 }
        });
        Input::Sip(SipInput::Transport(TransportEvent::Received { path: path(port), message, credentials }))
    }

    fn register(&mut self) {
        let register = "REGISTER sip:dialtone SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKr;rport\r\n\
                        From: <sip:1002@dialtone>;tag=r\r\nTo: <sip:1002@dialtone>\r\nCall-ID: r\r\n\
                        CSeq: 1 REGISTER\r\nContact: <sip:1002@127.0.0.1:5062>\r\nExpires: 86400\r\n\r\n";
        let input = self.received(5062, Bytes::from(register), Some("1002"));
        self.turn("REGISTER", input);
        self.effects.clear();
    }

    fn ports(&mut self) -> Input {
        let ready = |number: u32| ReadyPort {
            port: PortId { worker: 0, number },
            rtp: address(10_000),
            rtcp: address(10_001),
        };
        let ports = (self.next_port..self.next_port + 2).map(ready).collect();
        self.next_port += 2;
        Input::Media(MediaEvent::Ready { ports })
    }

    /// As many turns in a row as there are calls, each with what comes next in its call: as a busy control thread has
    /// them, and with no work of the phones in between. Calls that stay up at their ACK are taken out.
    fn round(&mut self, calls: &mut Vec<Call>, stay: bool) {
        calls.retain(|call| !(stay && call.next == Step::Bye));
        let inputs: Vec<(Step, Input)> = calls.iter_mut().map(|call| (call.next, call.input(self))).collect();
        for (call, (step, input)) in calls.iter_mut().zip(inputs) {
            self.turn(step.name(), input);
            // As the control thread does: what a turn brought is handed on before the next.
            call.take(self.effects.drain(..));
        }
        calls.iter_mut().for_each(Call::read);
        for call in calls.iter_mut().filter(|call| call.next == Step::Gone) {
            *call = self.call();
        }
    }

    fn call(&mut self) -> Call {
        self.calls += 1;
        Call {
            number: self.calls,
            next: Step::Ports,
            asked: None,
            tag: String::new(),
            released: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Calls of which each is a step further than the last.
    fn staggered(&mut self, count: usize) -> Vec<Call> {
        let mut calls = Vec::with_capacity(count);
        for step in 0..count {
            calls.push(self.call());
            if step % STEPS == 0 {
                self.round(&mut calls, false);
            }
        }
        calls
    }
}

/// The next turn of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ports,
    Invite,
    Ringing,
    Answer,
    Ack,
    Bye,
    Released,
    ReleasedToo,
    ByeAnswer,
    Gone,
}

const STEPS: usize = 9;

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Ports => "ports ready",
            Step::Invite => "INVITE",
            Step::Ringing => "180",
            Step::Answer => "200 to INVITE",
            Step::Ack => "ACK",
            Step::Bye => "BYE",
            Step::Released | Step::ReleasedToo => "port released",
            Step::ByeAnswer => "200 to BYE",
            Step::Gone => "nothing",
        }
    }

    fn following(self) -> Step {
        match self {
            Step::Ports => Step::Invite,
            Step::Invite => Step::Ringing,
            Step::Ringing => Step::Answer,
            Step::Answer => Step::Ack,
            Step::Ack => Step::Bye,
            Step::Bye => Step::Released,
            Step::Released => Step::ReleasedToo,
            Step::ReleasedToo => Step::ByeAnswer,
            Step::ByeAnswer | Step::Gone => Step::Gone,
        }
    }
}

/// A call from 1001 to 1002, as both phones see it.
struct Call {
    number: u64,
    next: Step,
    /// What 1002 was asked last.
    asked: Option<Request>,
    /// Our tag towards 1001.
    tag: String,
    released: Vec<PortId>,
    /// What has been sent to 1001 and 1002, and not read.
    sent: Vec<(u16, Bytes)>,
}

impl Call {
    fn input(&mut self, bench: &mut Bench) -> Input {
        match self.next {
            Step::Ports => bench.ports(),
            Step::Invite => bench.received(5061, self.request("INVITE", 1, SDP), Some("1001")),
            Step::Ringing => self.answer(bench, 180),
            Step::Answer => self.answer(bench, 200),
            Step::Ack => bench.received(5061, self.request("ACK", 1, ""), None),
            Step::Bye => bench.received(5061, self.request("BYE", 2, ""), None),
            Step::Released | Step::ReleasedToo => {
                let port = self.released.pop().expect("both ports are let go");
                Input::Media(MediaEvent::Released { port, quality: Quality::default() })
            }
            Step::ByeAnswer => self.answer(bench, 200),
            Step::Gone => unreachable!("a call that is gone is replaced"),
        }
    }

    fn request(&self, method: &str, cseq: u32, body: &str) -> Bytes {
        let call = self.number;
        let tag = if self.tag.is_empty() { String::new() } else { format!(";tag={}", self.tag) };
        let text = format!(
            "{method} sip:1002@dialtone SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK{call}{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Ann\" <sip:1001@dialtone>;tag=a{call}\r\nTo: <sip:1002@dialtone>{tag}\r\n\
             Call-ID: call{call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:1001@127.0.0.1:5061>\r\n\
             User-Agent: bench\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Bytes::from(text)
    }

    fn answer(&self, bench: &mut Bench, status: u16) -> Input {
        let asked = self.asked.as_ref().expect("1002 is asked before it answers");
        let mut response = Response::to(asked, status);
        response.tag_to(|| "b");
        response.headers.push(Name::Contact, "<sip:1002@127.0.0.1:5062>");
        if status == 200 && asked.method == Method::Invite {
            response.set_body("application/sdp", Bytes::from_static(SDP.as_bytes()));
        }
        bench.received(5062, response.to_bytes(), None)
    }

    /// What its turn brought.
    fn take(&mut self, effects: impl Iterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(transmit) => self.sent.push((transmit.path.remote.port(), transmit.payload)),
                Effect::Media(MediaCommand::Release { port }) => self.released.push(port),
                _ => {}
            }
        }
        self.next = self.next.following();
    }

    /// What both phones were sent.
    fn read(&mut self) {
        for (port, payload) in self.sent.drain(..) {
            match Message::parse(payload) {
                Ok(Message::Request(request)) if port == 5062 && request.method != Method::Ack => {
                    self.asked = Some(request);
                }
                Ok(Message::Response(response)) if response.status == 200 => {
                    let to = response.headers.to().expect("an answer has a To");
                    self.tag = to.tag().map(str::to_owned).unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

fn turns(c: &mut Criterion) {
    for live in [0, LIVE_CALLS] {
        let mut bench = Bench::new();
        while bench.switch.counts().calls < live {
            let count = (live - bench.switch.counts().calls).min(AT_ONCE);
            let mut calls: Vec<Call> = (0..count).map(|_| bench.call()).collect();
            while !calls.is_empty() {
                bench.round(&mut calls, true);
            }
        }
        assert_eq!(bench.switch.counts().calls, live);
        let mut calls = bench.staggered(AT_ONCE);
        bench.kinds.clear();
        c.bench_function(&format!("{AT_ONCE} turns in {AT_ONCE} calls, {live} live calls"), |b| {
            b.iter_custom(|rounds| {
                let before = bench.total().spent;
                for _ in 0..rounds {
                    bench.round(&mut calls, false);
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
