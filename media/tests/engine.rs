//! The engine with real sockets on loopback. Nothing sleeps: every wait is for a packet or an event.
// A failed expectation is how a test reports.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Quality, ReadyPort, Stream};
use dialtone_core::{BridgeId, NodeId, PortId};
use dialtone_media::counters::DropReason;
use dialtone_media::g711::Law;
use dialtone_media::{Engine, EngineConfig, EngineError, MediaAddress, PromptLibrary, rtcp};
use rtc_rtp::{Header, Packet};
use rtc_shared::marshal::{Marshal, Unmarshal};
use smallvec::smallvec;

/// Longer than anything here takes on a busy machine; only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(20);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A running engine and what it told.
struct Lab {
    engine: Engine,
    events: Receiver<MediaEvent>,
    ready: VecDeque<ReadyPort>,
    bridges: u32,
}

fn config(ports: RangeInclusive<u16>) -> EngineConfig {
    let prompts = Arc::new(PromptLibrary::embedded().unwrap());
    EngineConfig { ports, reserve: 2, ..EngineConfig::new(vec![V4.into()], prompts, [9; 32]) }
}

impl Lab {
    fn start(config: EngineConfig) -> Self {
        let (sender, events) = sync_channel(64);
        let engine = Engine::start(config, move |event| match sender.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(event)) => Err(event),
        });
        Self { engine: engine.unwrap(), events, ready: VecDeque::new(), bridges: 0 }
    }

    fn new() -> Self {
        Self::start(config(20_000..=29_999))
    }

    /// The next event that is wanted; ports that become ready meanwhile are kept.
    fn event<T>(&mut self, mut wanted: impl FnMut(&MediaEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
            if let Some(found) = wanted(&event) {
                return found;
            }
            if let MediaEvent::Ready { ports } = event {
                self.ready.extend(ports);
            }
        }
    }

    fn port(&mut self, ip: IpAddr) -> ReadyPort {
        loop {
            if let Some(index) = self.ready.iter().position(|ready| ready.rtp.ip() == ip) {
                return self.ready.remove(index).unwrap();
            }
            let ports = self.event(|event| match event {
                MediaEvent::Ready { ports } => Some(ports.clone()),
                _ => None,
            });
            self.ready.extend(ports);
        }
    }

    fn send(&self, command: MediaCommand) {
        self.engine.send(command).expect("room in the ring");
    }

    fn configure(&self, port: PortId, stream: Stream) {
        self.send(MediaCommand::Configure { port, stream });
    }

    fn bridge(&mut self, kind: BridgeKind) -> BridgeId {
        self.bridges += 1;
        let bridge = BridgeId::new(NodeId(1), 1, self.bridges);
        self.send(MediaCommand::Bridge { bridge, kind });
        bridge
    }

    fn release(&mut self, port: PortId) -> Quality {
        self.send(MediaCommand::Release { port });
        self.event(|event| match event {
            MediaEvent::Released { port: released, quality } if *released == port => Some(*quality),
            _ => None,
        })
    }

    fn latched(&mut self) -> (PortId, SocketAddr) {
        self.event(|event| match event {
            MediaEvent::Latched { port, source } => Some((*port, *source)),
            _ => None,
        })
    }

    /// A phone with a port of ours, negotiated.
    fn phone(&mut self, ip: IpAddr, codec: Codec, payload_type: u8) -> Phone {
        let ours = self.port(ip);
        let phone = Phone::new(ours, ip);
        self.configure(ours.port, phone.stream(codec, payload_type));
        phone
    }

    fn relay(&mut self, a: &Phone, b: &Phone) {
        self.bridge(BridgeKind::Relay { a: a.ours.port, b: b.ours.port });
    }

    fn hold(&mut self, phone: &Phone, feed: Feed) -> BridgeId {
        self.bridge(BridgeKind::Hold { port: phone.ours.port, feed })
    }
}

/// A phone's sockets, and the port of ours that serves it.
struct Phone {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    ours: ReadyPort,
}

fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Phone {
    fn new(ours: ReadyPort, ip: IpAddr) -> Self {
        Self { rtp: socket(ip), rtcp: socket(ip), ours }
    }

    fn stream(&self, codec: Codec, payload_type: u8) -> Stream {
        Stream {
            rtp: self.rtp.local_addr().unwrap(),
            rtcp: self.rtcp.local_addr().unwrap(),
            receive: smallvec![(payload_type, codec), (101, Codec::TelephoneEvent)],
            send: smallvec![(codec, payload_type), (Codec::TelephoneEvent, payload_type + 1)],
            direction: Direction::SendRecv,
            ptime_ms: 20,
            relatch: false,
        }
    }

    fn say(&self, payload_type: u8, sequence: u16, text: &[u8]) {
        say_from(&self.rtp, self.ours.rtp, payload_type, sequence, text);
    }

    fn hear(&self) -> Packet {
        let mut bytes = [0; 2000];
        let (length, from) = self.rtp.recv_from(&mut bytes).expect("a packet in time");
        assert_eq!(from, self.ours.rtp, "packets leave from where they are received");
        Packet::unmarshal(&mut Bytes::copy_from_slice(&bytes[..length])).unwrap()
    }
}

fn say_from(socket: &UdpSocket, to: SocketAddr, payload_type: u8, sequence: u16, text: &[u8]) {
    let header = Header {
        version: 2,
        payload_type,
        sequence_number: sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc: 0xC0FFEE,
        ..Header::default()
    };
    let packet = Packet { header, payload: Bytes::copy_from_slice(text) };
    socket.send_to(&packet.marshal().unwrap(), to).unwrap();
}

#[test]
fn a_relay_carries_both_ways_under_other_payload_types() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Pcma, 8);
    let b = lab.phone(V4, Codec::Pcma, 110);
    lab.relay(&a, &b);
    a.say(8, 1, b"hello");
    let first = b.hear();
    assert_eq!((first.header.payload_type, &first.payload[..]), (110, &b"hello"[..]));
    b.say(110, 700, b"who is it");
    let back = a.hear();
    assert_eq!((back.header.payload_type, &back.payload[..]), (8, &b"who is it"[..]));
    a.say(101, 2, b"key");
    let key = b.hear();
    assert_eq!((key.header.payload_type, &key.payload[..]), (111, &b"key"[..]));
    assert_eq!(key.header.ssrc, first.header.ssrc);
    assert_eq!(key.header.sequence_number, first.header.sequence_number.wrapping_add(1));
    assert_ne!(first.header.ssrc, 0xC0FFEE);
    let quality = lab.release(a.ours.port);
    assert_eq!((quality.received_packets, quality.sent_packets, quality.lost_packets), (2, 1, 0));
    assert_eq!((quality.received_bytes, quality.sent_bytes), (8, 9));
    assert_eq!(lab.engine.metrics().total("dialtone_media_ticks_total"), 0, "a relay needs no tick");
    assert_eq!(lab.engine.metrics().total("dialtone_media_packets_in_total"), 3);
}

#[test]
fn ipv6_and_ipv4_meet() {
    let mut config = config(20_000..=29_999);
    config.addresses = vec![MediaAddress::from(V4), MediaAddress::from(V6)];
    let mut lab = Lab::start(config);
    let (a, b) = (lab.phone(V6, Codec::Pcmu, 0), lab.phone(V4, Codec::Pcmu, 0));
    lab.relay(&a, &b);
    a.say(0, 1, b"six");
    assert_eq!(&b.hear().payload[..], b"six");
    b.say(0, 1, b"four");
    assert_eq!(&a.hear().payload[..], b"four");
    let (_, source) = lab.latched();
    assert_eq!(source, a.rtp.local_addr().unwrap());
}

#[test]
fn a_reserve_larger_than_a_turn_becomes_ready_unasked() {
    let config = config(20_000..=29_999);
    let addresses = vec![V4.into(), V6.into()];
    let mut lab = Lab::start(EngineConfig { reserve: 100, workers: 1, addresses, ..config });
    while lab.ready.len() < 200 {
        let ports = lab.event(|event| match event {
            MediaEvent::Ready { ports } => Some(ports.clone()),
            _ => None,
        });
        lab.ready.extend(ports);
    }
}

#[test]
fn an_injector_is_not_heard_and_does_not_turn_the_stream() {
    let mut lab = Lab::new();
    let (a, b) = (lab.phone(V4, Codec::Pcma, 8), lab.phone(V4, Codec::Pcma, 8));
    lab.relay(&a, &b);
    // Behind a translator: the phone sends from elsewhere than signaling said.
    let outside = socket(V4);
    say_from(&outside, a.ours.rtp, 8, 1, b"real");
    assert_eq!(&b.hear().payload[..], b"real");
    assert_eq!(lab.latched(), (a.ours.port, outside.local_addr().unwrap()));
    let injector = socket(V4);
    say_from(&injector, a.ours.rtp, 8, 2, b"evil");
    say_from(&outside, a.ours.rtp, 8, 2, b"real too");
    assert_eq!(&b.hear().payload[..], b"real too", "the injected packet came first and was not passed on");
    b.say(8, 1, b"answer");
    let mut bytes = [0; 100];
    let (length, _) = outside.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[12..length], b"answer");
    let quality = lab.release(a.ours.port);
    assert_eq!((quality.received_packets, quality.dropped_packets), (2, 1));
    assert_eq!(lab.engine.metrics().dropped(DropReason::WrongSource), 1);
}

#[test]
fn a_renegotiation_lets_the_source_move() {
    let mut lab = Lab::new();
    let (a, b) = (lab.phone(V4, Codec::Pcma, 8), lab.phone(V4, Codec::Pcma, 8));
    lab.relay(&a, &b);
    a.say(8, 1, b"before");
    assert_eq!(&b.hear().payload[..], b"before");
    assert_eq!(lab.latched().0, a.ours.port);
    let moved = Phone::new(a.ours, V4);
    lab.configure(a.ours.port, Stream { relatch: true, ..moved.stream(Codec::Pcma, 8) });
    a.say(8, 2, b"under way");
    assert_eq!(&b.hear().payload[..], b"under way");
    moved.say(8, 3, b"here");
    assert_eq!(&b.hear().payload[..], b"here");
    assert_eq!(lab.latched(), (a.ours.port, moved.rtp.local_addr().unwrap()));
    a.say(8, 4, b"old");
    moved.say(8, 5, b"new");
    assert_eq!(&b.hear().payload[..], b"new");
}

#[test]
fn an_echo_comes_back_on_a_line_of_our_own() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Opus, 107);
    lab.hold(&a, Feed::Echo);
    for sequence in [10, 11, 14] {
        a.say(107, sequence, &[sequence as u8; 40]);
    }
    let heard: Vec<_> = (0..3).map(|_| a.hear()).collect();
    let first = &heard[0].header;
    for (packet, ahead) in heard.iter().zip([0, 1, 4]) {
        assert_eq!(packet.header.payload_type, 107);
        assert_eq!(packet.header.sequence_number, first.sequence_number.wrapping_add(ahead));
        assert_eq!(packet.header.timestamp, first.timestamp.wrapping_add(u32::from(ahead) * 160));
        assert_eq!(packet.payload[..], [10 + ahead as u8; 40]);
    }
    assert_ne!(first.ssrc, 0xC0FFEE);
}

#[test]
fn a_tone_arrives_with_its_frequency_and_level() {
    let mut lab = Lab::new();
    for (codec, law, payload_type) in [(Codec::Pcmu, Law::Mu, 0), (Codec::Pcma, Law::A, 8)] {
        let a = lab.phone(V4, codec, payload_type);
        lab.hold(&a, Feed::Tone { hz: 1004, level_dbm0: -16 });
        let packets: Vec<_> = (0..25).map(|_| a.hear()).collect();
        for pair in packets.windows(2) {
            let (before, after) = (&pair[0].header, &pair[1].header);
            assert_eq!(after.sequence_number, before.sequence_number.wrapping_add(1));
            assert_eq!(after.payload_type, payload_type);
        }
        let samples: Vec<f64> = packets
            .iter()
            .flat_map(|packet| packet.payload.iter().map(|code| f64::from(law.decode(*code))))
            .collect();
        assert_eq!(samples.len(), 4000);
        let level = |hz: f64| 20.0 * (amplitude(&samples, hz) / law.zero_dbm0_amplitude()).log10();
        assert!((level(1004.0) + 16.0).abs() < 1.0, "{law:?}: {} dBm0", level(1004.0));
        for elsewhere in [504.0, 904.0, 1104.0, 2008.0, 3012.0] {
            assert!(level(elsewhere) < -45.0, "{law:?}: {} dBm0 at {elsewhere} Hz", level(elsewhere));
        }
    }
}

/// Goertzel's filter: the amplitude of the sine of this frequency.
fn amplitude(samples: &[f64], hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / 8000.0).cos();
    let (s1, s2) = samples.iter().fold((0.0, 0.0), |(s1, s2), sample| (sample + coefficient * s1 - s2, s1));
    2.0 * (s1 * s1 + s2 * s2 - coefficient * s1 * s2).max(0.0).sqrt() / samples.len() as f64
}

#[test]
fn a_prompt_is_played_and_its_end_told() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Pcma, 8);
    let bridge = lab.hold(&a, Feed::Prompt { prompt: "welcome".into() });
    let welcome = Arc::clone(PromptLibrary::embedded().unwrap().get("welcome").unwrap());
    let mut heard = Vec::new();
    while heard.len() < welcome.len() {
        heard.extend_from_slice(&a.hear().payload);
    }
    assert!(welcome.iter().zip(&heard).all(|(sample, code)| Law::A.encode(*sample) == *code));
    let ended = lab.event(|event| match event {
        MediaEvent::PlayEnded { port, bridge, complete } => Some((*port, *bridge, *complete)),
        _ => None,
    });
    assert_eq!(ended, (a.ours.port, bridge, true));
    let bridge = lab.hold(&a, Feed::Prompt { prompt: "missing".into() });
    let ended = lab.event(|event| match event {
        MediaEvent::PlayEnded { bridge, complete, .. } => Some((*bridge, *complete)),
        _ => None,
    });
    assert_eq!(ended, (bridge, false));
}

#[test]
fn a_release_says_goodbye_closes_and_rests() {
    let base = free_ports(4);
    let mut config = config(base..=base + 3);
    config.reserve = 1;
    config.quarantine = Duration::from_secs(3600);
    let mut lab = Lab::start(config);
    let a = lab.phone(V4, Codec::Pcma, 8);
    // The reserve is filled again as soon as the first port is taken.
    let second = lab.port(V4);
    assert_ne!(second.rtp, a.ours.rtp);
    lab.hold(&a, Feed::Echo);
    a.say(8, 1, b"x");
    a.hear();
    let quality = lab.release(a.ours.port);
    assert_eq!((quality.received_packets, quality.sent_packets), (1, 1));
    let mut bytes = [0; 200];
    let (length, from) = a.rtcp.recv_from(&mut bytes).unwrap();
    assert_eq!(from, a.ours.rtcp);
    assert!(rtcp::parse(&bytes[..length], 0).unwrap().goodbye);
    // Closed: the numbers can be bound again by somebody else. Ours rest.
    drop(UdpSocket::bind(a.ours.rtp).unwrap());
    drop(UdpSocket::bind(a.ours.rtcp).unwrap());
    let b = Phone::new(second, V4);
    lab.configure(second.port, b.stream(Codec::Pcma, 8));
    while lab.engine.metrics().total("dialtone_media_ports_exhausted_total") == 0 {
        lab.hold(&b, Feed::Echo);
        b.say(8, 1, b"still alive");
        b.hear();
    }
    assert_eq!(lab.engine.metrics().total("dialtone_media_ports_quarantined"), 1);
    assert_eq!(lab.engine.metrics().total("dialtone_media_ports_bound"), 1);
    assert!(lab.ready.is_empty());
}

#[test]
fn an_exhausted_range_recovers() {
    let base = free_ports(2);
    let mut config = config(base..=base + 1);
    config.quarantine = Duration::from_millis(10);
    let mut lab = Lab::start(config);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        // Two were wanted, one exists; it comes again each time that it has rested.
        let a = lab.phone(V4, Codec::Pcma, 8);
        assert_eq!(a.ours.rtp.port(), base);
        numbers.push(a.ours.port.number);
        lab.release(a.ours.port);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "a port's id is never used twice");
    assert!(lab.engine.metrics().total("dialtone_media_ports_exhausted_total") >= 1);
}

#[test]
fn silence_is_told() {
    let mut lab =
        Lab::start(EngineConfig { rtp_timeout: Duration::from_millis(50), ..config(20_000..=29_999) });
    let a = lab.phone(V4, Codec::Pcma, 8);
    let (port, silence) = lab.event(|event| match event {
        MediaEvent::Silent { port, silence } => Some((*port, *silence)),
        _ => None,
    });
    assert_eq!(port, a.ours.port);
    assert!(silence >= Duration::from_millis(50));
}

#[test]
fn a_report_arrives_and_one_is_understood() {
    let mut lab = Lab::new();
    let a = lab.phone(V4, Codec::Pcma, 8);
    lab.hold(&a, Feed::Echo);
    a.say(8, 1, b"x");
    let ssrc = a.hear().header.ssrc;
    let mut bytes = [0; 200];
    let (length, from) = a.rtcp.recv_from(&mut bytes).unwrap();
    assert_eq!(from, a.ours.rtcp);
    let report = rtcp::parse(&bytes[..length], 0xC0FFEE).unwrap();
    assert_eq!(report.about_us.unwrap().highest & 0xFFFF, 1);
    let block = rtcp::ReportBlock {
        about: ssrc,
        lost: 3,
        last_report: report.sender_report.unwrap(),
        ..rtcp::ReportBlock::default()
    };
    let mut answer = [0; rtcp::COMPOUND_MAX];
    let compound = rtcp::Compound {
        ssrc: 0xC0FFEE,
        sender: None,
        block: Some(block),
        cname: b"phone...........",
        goodbye: false,
    };
    let length = compound.write(&mut answer);
    a.rtcp.send_to(&answer[..length], a.ours.rtcp).unwrap();
    // An echo of what was said after the report shows that the report was read.
    a.say(8, 2, b"y");
    a.hear();
    let quality = lab.release(a.ours.port);
    assert_eq!(quality.peer_lost_packets, 3);
    assert!(quality.round_trip_us.is_some_and(|us| us < 20_000_000));
}

#[test]
fn a_full_sink_delays_and_loses_nothing_that_counts() {
    let (sender, events) = sync_channel(1);
    let engine = Engine::start(config(20_000..=29_999), move |event| match sender.try_send(event) {
        Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        Err(TrySendError::Full(event)) => Err(event),
    })
    .unwrap();
    let mut lab = Lab { engine, events, ready: VecDeque::new(), bridges: 0 };
    let phones: Vec<_> = (0..8).map(|_| lab.phone(V4, Codec::Pcma, 8)).collect();
    for phone in &phones {
        lab.bridge(BridgeKind::Hold { port: phone.ours.port, feed: Feed::Prompt { prompt: "none".into() } });
        lab.send(MediaCommand::Release { port: phone.ours.port });
    }
    let (mut ended, mut released) = (0, 0);
    while (ended, released) != (8, 8) {
        lab.event(|event| {
            ended += u32::from(matches!(event, MediaEvent::PlayEnded { .. }));
            released += u32::from(matches!(event, MediaEvent::Released { .. }));
            Some(())
        });
    }
}

#[test]
fn workers_share_the_work_and_the_end_is_said() {
    let mut lab = Lab::start(EngineConfig { workers: 2, ..config(20_000..=29_999) });
    let (mut phones, mut workers) = (Vec::new(), BTreeSet::new());
    while workers.len() < 2 {
        let phone = lab.phone(V4, Codec::Pcma, 8);
        workers.insert(phone.ours.port.worker);
        phones.push(phone);
    }
    for phone in &phones {
        lab.hold(phone, Feed::Echo);
        phone.say(8, 1, b"x");
        phone.hear();
    }
    // A command for a worker that does not exist is ignored like one for a port that does not.
    lab.send(MediaCommand::Release { port: PortId { worker: 99, number: 0 } });
    let Lab { engine, events, .. } = lab;
    drop(engine);
    for phone in &phones {
        let mut bytes = [0; 200];
        loop {
            let (length, _) = phone.rtcp.recv_from(&mut bytes).unwrap();
            if rtcp::parse(&bytes[..length], 0).unwrap().goodbye {
                break;
            }
        }
    }
    while events.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Disconnected) {}
}

#[test]
fn what_cannot_start_says_why() {
    let start = |change: fn(&mut EngineConfig)| {
        let mut config = config(20_000..=29_999);
        change(&mut config);
        Engine::start(config, |_| Ok(())).unwrap_err()
    };
    assert!(matches!(start(|config| config.workers = 0), EngineError::Workers(0)));
    assert!(matches!(start(|config| config.addresses.clear()), EngineError::NoAddress));
    assert!(matches!(start(|config| config.ports = 20_000..=20_000), EngineError::Ports(_)));
    let foreign = start(|config| config.addresses = vec![IpAddr::from([192, 0, 2, 1]).into()]);
    assert!(foreign.to_string().contains("192.0.2.1"), "{foreign}");
    let anywhere = start(|config| config.addresses = vec![IpAddr::from([0, 0, 0, 0]).into()]);
    assert!(matches!(anywhere, EngineError::Advertise(_)));
}

/// The first of this many neighboring ports that nobody has bound, starting at an even one, outside of
/// the range of the other tests.
fn free_ports(count: u16) -> u16 {
    let mut from = 16_000 + (std::process::id() % 300) as u16 * 8;
    loop {
        let bound: Option<Vec<_>> =
            (from..from + count).map(|port| UdpSocket::bind((V4, port)).ok()).collect();
        // Other threads of this process start at the same place: each takes its ports out of it.
        if bound.is_some() && TAKEN.lock().unwrap().insert(from) {
            return from;
        }
        from = 16_000 + (from - 16_000 + 8) % 3_900;
    }
}

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
