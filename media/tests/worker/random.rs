//! Anything, in any order.

use std::time::Duration;

use dialtone_core::PortId;
use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Stream};
use dialtone_media::outbox::Slot;
use proptest::prelude::*;

use crate::lab::{Lab, packet, pcma, stream};

#[derive(Clone, Debug)]
enum Act {
    Adopt,
    Configure { port: u32, codec: bool, direction: u8, relatch: bool },
    Relay { a: u32, b: u32 },
    Hold { port: u32, feed: u8 },
    Release { port: u32 },
    Packet { slot: u32, source: u16, bytes: Vec<u8> },
    Sound { slot: u32, source: u16, sequence: u16, timestamp: u32 },
    Report { slot: u32, source: u16, bytes: Vec<u8> },
    Pass { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
    let port = || 0u32..6;
    prop_oneof![
        2 => Just(Act::Adopt),
        4 => (port(), any::<bool>(), 0u8..4, any::<bool>())
            .prop_map(|(port, codec, direction, relatch)| Act::Configure { port, codec, direction, relatch }),
        3 => (port(), port()).prop_map(|(a, b)| Act::Relay { a, b }),
        3 => (port(), 0u8..6).prop_map(|(port, feed)| Act::Hold { port, feed }),
        1 => port().prop_map(|port| Act::Release { port }),
        2 => (port(), 1u16..4, bytes()).prop_map(|(slot, source, bytes)| Act::Packet { slot, source, bytes }),
        8 => (port(), 1u16..4, any::<u16>(), any::<u32>())
            .prop_map(|(slot, source, sequence, timestamp)| Act::Sound { slot, source, sequence, timestamp }),
        1 => (port(), 1u16..4, bytes()).prop_map(|(slot, source, bytes)| Act::Report { slot, source, bytes }),
        3 => (0u64..3000).prop_map(|ms| Act::Pass { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens in whatever order: no panic, each port is released once, and a worker without
    /// ports has nothing left to do.
    #[test]
    fn any_order_of_events_is_survived(acts in proptest::collection::vec(act(), 1..150)) {
        let mut lab = Lab::new();
        let port = |number| PortId { worker: 3, number };
        for (step, act) in acts.into_iter().enumerate() {
            match act {
                Act::Adopt => drop(lab.port()),
                Act::Configure { port: number, codec, direction, relatch } => {
                    let direction = Direction::new(direction & 1 != 0, direction & 2 != 0);
                    let form = if codec { pcma() } else { stream(Codec::Opus, 107) };
                    let stream = Stream { direction, relatch, ..form };
                    lab.command(MediaCommand::Configure { port: port(number), stream });
                }
                Act::Relay { a, b } => lab.bridge(step as u32, BridgeKind::Relay { a: port(a), b: port(b) }),
                Act::Hold { port: number, feed } => {
                    let feed = match feed {
                        0 => Feed::Nothing,
                        1 => Feed::Echo,
                        2 => Feed::Ringback,
                        3 => Feed::Prompt { prompt: "welcome".into() },
                        4 => Feed::Prompt { prompt: "unknown".into() },
                        _ => Feed::Tone { hz: 1004, level_dbm0: 0 },
                    };
                    lab.hold(step as u32, port(number), feed);
                }
                Act::Release { port: number } => lab.command(MediaCommand::Release { port: port(number) }),
                Act::Packet { slot, source, bytes } => lab.packet(Slot(slot), source, &bytes),
                Act::Sound { slot, source, sequence, timestamp } => {
                    lab.packet(Slot(slot), source, &packet(8, sequence, timestamp, b"x"));
                }
                Act::Report { slot, source, bytes } => lab.report(Slot(slot), source, &bytes),
                Act::Pass { ms } => lab.pass(Duration::from_millis(ms)),
            }
        }
        for number in 0..lab.ports {
            lab.command(MediaCommand::Release { port: port(number) });
        }
        prop_assert_eq!(lab.worker.ports(), (0, 0));
        prop_assert_eq!(lab.worker.deadline(), None);
        let released = lab.events.iter().filter(|event| matches!(event, MediaEvent::Released { .. }));
        prop_assert_eq!(released.count(), lab.ports as usize);
    }
}
