//! Relaying and ticking allocate nothing: counted by an allocator that watches one thread.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, ReadyPort, Stream};
use dialtone_core::{BridgeId, Mono, NodeId, PortId, Wall};
use dialtone_media::outbox::{Channel, Outbox, Slot};
use dialtone_media::rtp::Fixed;
use dialtone_media::worker::{Worker, WorkerConfig};
use dialtone_media::{PromptLibrary, SilenceLimits};
use smallvec::smallvec;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell without a
// destructor, so it may be touched at any time of the thread's life.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const LEGS: u32 = 100;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Half of the legs relay, the other half hears prompts, tones and the ringing tone.
fn worker(out: &mut Outbox) -> (Worker, Vec<Slot>) {
    let mut worker = Worker::new(WorkerConfig {
        number: 0,
        silence: SilenceLimits { rtp: Duration::from_secs(3), hold: Duration::from_secs(9) },
        prompts: Arc::new(PromptLibrary::embedded().unwrap()),
        seed: [1; 32],
        wall_at_zero: Wall::from_micros(0),
    });
    let now = Mono::ZERO;
    let mut slots = Vec::new();
    for number in 0..LEGS {
        let port = PortId { worker: 0, number };
        slots.push(worker.adopt(now, ReadyPort { port, rtp: at(2), rtcp: at(3) }));
        let stream = Stream {
            rtp: at(5000 + number as u16),
            rtcp: at(6000 + number as u16),
            receive: smallvec![(8, Codec::Pcma)],
            send: smallvec![(Codec::Pcma, 8)],
            direction: Direction::SendRecv,
            ptime_ms: 20,
            relatch: false,
        };
        worker.command(now, MediaCommand::Configure { port, stream }, out);
        let kind = match number {
            0..50 if number % 2 == 1 => {
                BridgeKind::Relay { a: PortId { worker: 0, number: number - 1 }, b: port }
            }
            0..50 => continue,
            _ if number % 3 == 0 => BridgeKind::Hold { port, feed: Feed::Ringback },
            _ if number % 3 == 1 => {
                BridgeKind::Hold { port, feed: Feed::Prompt { prompt: "welcome".into() } }
            }
            _ => BridgeKind::Hold { port, feed: Feed::Tone { hz: 1004, level_dbm0: -10 } },
        };
        let bridge = BridgeId::new(NodeId(1), 1, number);
        worker.command(now, MediaCommand::Bridge { bridge, kind }, out);
        out.clear_datagrams();
        out.events.clear();
        out.ports.clear();
    }
    (worker, slots)
}

#[test]
fn packets_and_ticks_allocate_nothing() {
    let mut out = Outbox::default();
    let (mut worker, slots) = worker(&mut out);
    let before = ALLOCATIONS.get();
    let (mut sent, mut events) = (0, 0);
    let mut settle = |out: &mut Outbox| {
        sent += out.datagrams().len();
        events += out.events.len();
        out.clear_datagrams();
        out.events.clear();
    };
    // Latching, relaying, ticks, reports, the end of prompts and silence: all of it, for ten seconds.
    for step in 0..500u16 {
        let now = Mono::from_millis(u64::from(step) * 20);
        for (index, slot) in slots.iter().take(50).enumerate() {
            let fixed = Fixed {
                marker: false,
                payload_type: 8,
                sequence: step,
                timestamp: u32::from(step) * 160,
                ssrc: index as u32,
            };
            let mut packet = [0xD5; 172];
            packet[..12].copy_from_slice(&fixed.to_bytes());
            worker.datagram(now, *slot, Channel::Rtp, at(5000 + index as u16), &packet, &mut out);
            worker.datagram(now, *slot, Channel::Rtp, at(1), &packet, &mut out);
            settle(&mut out);
        }
        while worker.deadline().is_some_and(|deadline| deadline <= now) {
            worker.expire(now, &mut out);
            settle(&mut out);
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(sent > 45_000, "{sent} packets were really sent");
    assert!(events >= 50 + 16 + 50, "{events} events: latched, ended, silent");
}
