//! What the engine's relay costs per packet, against the least that any relay can cost: a bare loop of
//! epoll, recvmmsg and sendmmsg over as many sockets, fed at the same rate in the same run.
//! `cargo bench --bench relay`
//!
//! The figure is the CPU time of the relaying thread alone, by the kernel's own account of it. Both
//! take turns, because the machine's mood changes by the second; the median of the rounds counts. Not
//! criterion's kind of measurement: the work happens on another thread, at a rate that we set.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "common/bare.rs"]
mod bare;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::time::{Duration, Instant};

use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent, ReadyPort, Stream};
use dialtone_core::{BridgeId, NodeId};
use dialtone_media::{Engine, EngineConfig, PromptLibrary};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// G.711 of 20 ms, with its header.
const PACKET_LEN: usize = 172;
/// Packets per second of one leg.
const LEG_RATE: u32 = 50;
/// Slices of 20 ms in which a round of packets is sent, so that it is no burst.
const SLICES: usize = 20;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let smoke = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, duration) =
        if smoke { (1, Duration::from_millis(200)) } else { (7, Duration::from_millis(1500)) };
    println!("relay: CPU per packet of the relaying thread, median of {rounds} rounds of {duration:?}\n");
    println!("{:>8} {:>10} {:>10} {:>10} {:>7}  rounds", "legs", "packets/s", "floor", "engine", "ratio");
    for legs in [100, 400] {
        let mut floor = Floor::start(legs);
        let mut engine = RunningEngine::start(legs);
        let (mut floor_ns, mut engine_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms caches, latches sources and fills the ARP of the loopback; it is not counted.
        for round in 0..=rounds {
            let bare = measure(&mut floor.phones, "floor", duration);
            let real = measure(&mut engine.phones, "media-0", duration);
            if round > 0 {
                floor_ns.push(bare);
                engine_ns.push(real);
                ratios.push(real / bare);
            }
        }
        let (low, high) =
            (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(0.0, f64::max));
        println!(
            "{legs:>8} {:>10} {:>7.2} us {:>7.2} us {:>7.2}  {low:.2} to {high:.2}",
            legs as u32 * LEG_RATE,
            median(&mut floor_ns) / 1000.0,
            median(&mut engine_ns) / 1000.0,
            median(&mut ratios),
        );
        floor.stop();
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Sends at the legs' rate for a while and hears what comes back. Returns the nanoseconds of CPU that
/// the thread of this name used per packet.
fn measure(phones: &mut [Phone], thread: &str, duration: Duration) -> f64 {
    let task = task(thread);
    let (cpu_before, heard_before) = (cpu_ns(&task), phones.iter().map(|phone| phone.heard).sum::<u64>());
    let sent = drive(phones, duration);
    let (cpu_after, heard_after) = (cpu_ns(&task), phones.iter().map(|phone| phone.heard).sum::<u64>());
    let heard = heard_after - heard_before;
    assert!(heard * 100 >= sent * 95, "{thread}: {heard} of {sent} packets arrived");
    (cpu_after - cpu_before) as f64 / heard as f64
}

/// A phone that says one packet in 20 ms.
struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    packet: [u8; PACKET_LEN],
    sequence: u16,
    heard: u64,
}

impl Phone {
    fn new(to: SocketAddr, socket: UdpSocket, ssrc: u32) -> Self {
        socket.set_nonblocking(true).unwrap();
        let mut packet = [0xD5; PACKET_LEN];
        packet[..12].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Self { socket, to, packet, sequence: 0, heard: 0 }
    }

    fn say(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        u64::from(self.socket.send_to(&self.packet, self.to).is_ok())
    }

    fn hear(&mut self) {
        let mut packet = [0; 256];
        while let Ok((PACKET_LEN, _)) = self.socket.recv_from(&mut packet) {
            self.heard += 1;
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn drive(phones: &mut [Phone], duration: Duration) -> u64 {
    let (start, slice) = (Instant::now(), Duration::from_millis(20) / SLICES as u32);
    let (mut sent, mut step) = (0, 0u32);
    let per_slice = phones.len().div_ceil(SLICES);
    while start.elapsed() < duration {
        for slot in phones.chunks_mut(per_slice) {
            for phone in slot {
                phone.hear();
                sent += phone.say();
            }
            step += 1;
            std::thread::sleep((slice * step).saturating_sub(start.elapsed()));
        }
    }
    std::thread::sleep(Duration::from_millis(20));
    phones.iter_mut().for_each(Phone::hear);
    sent
}

/// The folder of a thread of this process.
fn task(name: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let mut paths = tasks.map(|task| task.unwrap().path().display().to_string());
    let wanted = format!("{name}\n");
    paths.find(|path| fs::read_to_string(format!("{path}/comm")).is_ok_and(|comm| comm == wanted)).unwrap()
}

/// The first field of schedstat: nanoseconds on a CPU.
fn cpu_ns(task: &str) -> u64 {
    let text = fs::read_to_string(format!("{task}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

struct RunningEngine {
    _engine: Engine,
    phones: Vec<Phone>,
}

impl RunningEngine {
    fn start(legs: usize) -> Self {
        let prompts = Arc::new(PromptLibrary::default());
        let config = EngineConfig { reserve: legs, ..EngineConfig::new(vec![LOCALHOST], prompts, [3; 32]) };
        let (sender, events) = sync_channel(legs + 64);
        let engine = Engine::start(config, move |event| match sender.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(event)) => Err(event),
        })
        .unwrap();
        let mut ready: Vec<ReadyPort> = Vec::new();
        while ready.len() < legs {
            if let MediaEvent::Ready { ports } = events.recv().unwrap() {
                ready.extend(ports);
            }
        }
        ready.truncate(legs);
        let mut phones = Vec::new();
        for (index, ready) in ready.iter().enumerate() {
            let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
            let stream = Stream {
                rtp: socket.local_addr().unwrap(),
                rtcp: SocketAddr::new(LOCALHOST, 9),
                receive: [(8, Codec::Pcma), (101, Codec::TelephoneEvent)].into_iter().collect(),
                send: [(Codec::Pcma, 8), (Codec::TelephoneEvent, 101)].into_iter().collect(),
                direction: Direction::SendRecv,
                ptime_ms: 20,
                relatch: false,
            };
            command(&engine, MediaCommand::Configure { port: ready.port, stream });
            phones.push(Phone::new(ready.rtp, socket, index as u32));
        }
        for (number, pair) in ready.chunks_exact(2).enumerate() {
            let kind = BridgeKind::Relay { a: pair[0].port, b: pair[1].port };
            let bridge = BridgeId::new(NodeId(1), 1, number as u32);
            command(&engine, MediaCommand::Bridge { bridge, kind });
        }
        Self { _engine: engine, phones }
    }
}

fn command(engine: &Engine, command: MediaCommand) {
    engine.send(command).expect("room in the ring");
}

/// The bare relay, and the phones that it joins in pairs.
struct Floor {
    phones: Vec<Phone>,
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Floor {
    fn start(legs: usize) -> Self {
        let mut relay = Vec::new();
        let mut phones = Vec::new();
        for index in 0..legs {
            let (ours, theirs) =
                (UdpSocket::bind((LOCALHOST, 0)).unwrap(), UdpSocket::bind((LOCALHOST, 0)).unwrap());
            let to = ours.local_addr().unwrap();
            relay.push((ours, theirs.local_addr().unwrap()));
            phones.push(Phone::new(to, theirs, index as u32));
        }
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("floor".into()).spawn(move || bare::run(&relay, &stopping));
        Self { phones, thread: Some(thread.unwrap()), stop }
    }

    fn stop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
