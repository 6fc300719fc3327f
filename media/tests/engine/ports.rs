//! Ports: made ready ahead, released, rested, used up.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::time::Duration;

use dialtone_core::codec::Codec;
use dialtone_core::media::{Feed, MediaEvent};
use dialtone_media::{EngineConfig, rtcp};

use crate::lab::{Lab, Phone, V4, V6, config};

#[test]
fn a_reserve_larger_than_a_turn_becomes_ready_unasked() {
    let config = config(20_000..=29_999);
    let addresses = vec![V4, V6];
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
