//! The engine as a whole: start, workers, silence, a reader that is behind, the end.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::mpsc::{RecvTimeoutError, TrySendError, sync_channel};
use std::time::Duration;

use dialtone_core::PortId;
use dialtone_core::codec::Codec;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent};
use dialtone_media::{Engine, EngineConfig, EngineError, rtcp};

use crate::lab::{Lab, PATIENCE, V4, config};

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
    let foreign = start(|config| config.addresses = vec![IpAddr::from([192, 0, 2, 1])]);
    assert!(foreign.to_string().contains("192.0.2.1"), "{foreign}");
}
