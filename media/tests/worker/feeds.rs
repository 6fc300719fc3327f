//! What a leg hears when no other leg feeds it, and when the worker ticks.

use std::sync::Arc;
use std::time::Duration;

use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Stream};
use dialtone_media::PromptLibrary;
use dialtone_media::counters::DropReason;
use dialtone_media::g711::Law;
use dialtone_media::outbox::PortChange;

use crate::lab::{Lab, SECOND, at, bridge, packet, pcma, sent_ssrc, stream};

#[test]
fn one_line_whatever_feeds_it() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.hold(1, b, Feed::Ringback);
    lab.pass(SECOND);
    lab.bridge(2, BridgeKind::Relay { a, b });
    for step in 0..50u16 {
        lab.packet(a_slot, 5000, &packet(8, 900 + step, 77 + u32::from(step) * 160, &[0xD5; 160]));
        lab.pass(SECOND / 50);
    }
    lab.hold(3, b, Feed::Nothing);
    lab.pass(SECOND);
    lab.hold(4, b, Feed::Echo);
    lab.packet(b_slot, 6000, &packet(8, 4, 4, &[0xD5; 160]));
    lab.hold(5, b, Feed::Tone { hz: 1004, level_dbm0: -10 });
    lab.pass(SECOND);

    let sent = lab.rtp();
    assert_eq!(sent.len(), 50 + 50 + 1 + 50);
    assert!(sent.iter().all(|(sent, header)| sent.slot == b_slot && header.ssrc == sent_ssrc(&lab)));
    for pair in sent.windows(2) {
        let [(before_sent, before), (after_sent, after)] = pair else { unreachable!() };
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        let passed = after.timestamp.wrapping_sub(before.timestamp);
        let real = (after_sent.at.since(before_sent.at).as_millis() * 8) as u32;
        assert!(passed.abs_diff(real) <= 160 && passed >= 160, "{passed} in {real}");
    }
    let marked: Vec<_> = (0..sent.len()).filter(|index| sent[*index].1.marker).collect();
    assert_eq!(marked, [0, 50, 100, 101]);
}

#[test]
fn an_idle_or_relaying_worker_does_not_tick() {
    let mut lab = Lab::new();
    let (spare, _) = lab.port();
    assert_eq!(lab.worker.deadline(), None, "a reserve needs no time");
    let ((a, a_slot), (b, _)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    for sequence in 0..100 {
        lab.packet(a_slot, 5000, &packet(8, sequence, 0, b"x"));
        lab.pass(SECOND / 50);
        assert_eq!(lab.worker.deadline().unwrap().as_nanos() % 1_000_000_000, 0, "the slow round alone");
    }
    assert_eq!(lab.worker.counters().ticks, 0);
    lab.hold(2, a, Feed::Tone { hz: 425, level_dbm0: -10 });
    lab.pass(SECOND);
    assert_eq!(lab.worker.counters().ticks, 50);
    // Held by the peer: a tone that nobody may hear stops the tick.
    let stream = Stream { rtp: at(5000), direction: Direction::RecvOnly, ..pcma() };
    lab.command(MediaCommand::Configure { port: a, stream });
    lab.pass(SECOND);
    assert_eq!(lab.worker.counters().ticks, 50);
    for port in [a, b, spare] {
        lab.command(MediaCommand::Release { port });
    }
    assert_eq!(lab.worker.deadline(), None);
    assert_eq!(lab.worker.ports(), (0, 0));
}

#[test]
fn a_late_tick_is_skipped_and_the_clock_moves_on() {
    let mut lab = Lab::new();
    let (a, _) = lab.leg(5000, pcma());
    lab.hold(1, a, Feed::Tone { hz: 1004, level_dbm0: -10 });
    lab.pass(Duration::from_millis(60));
    let before = lab.sent.len();
    // The process was stopped for 110 ms.
    lab.now = lab.now + Duration::from_millis(110);
    lab.pass(Duration::from_millis(20));
    assert_eq!((lab.worker.counters().late_ticks, lab.worker.counters().skipped_ticks), (1, 4));
    let sent = lab.rtp();
    assert_eq!(sent.len(), before + 2, "no burst");
    let ((_, last), (_, next)) = (&sent[before - 1], &sent[before]);
    assert_eq!(next.sequence, last.sequence.wrapping_add(1));
    assert_eq!(next.timestamp, last.timestamp.wrapping_add(5 * 160));
    assert!(next.marker);
}

#[test]
fn generated_packets_have_the_negotiated_duration() {
    for (ptime_ms, packets) in
        [(10, 120), (20, 60), (30, 40), (40, 30), (60, 20), (120, 10), (0, 120), (255, 10)]
    {
        let mut lab = Lab::new();
        let (a, _) = lab.leg(5000, Stream { ptime_ms, ..pcma() });
        lab.hold(1, a, Feed::Tone { hz: 425, level_dbm0: -10 });
        lab.pass(Duration::from_millis(1200));
        let sent = lab.rtp();
        assert!(sent.len().abs_diff(packets) <= 1, "{ptime_ms} ms: {}", sent.len());
        let samples = 8 * u32::from(ptime_ms.clamp(10, 120));
        for pair in sent.windows(2) {
            assert_eq!(pair[1].1.payload.len() as u32, samples);
            assert_eq!(pair[1].1.timestamp, pair[0].1.timestamp.wrapping_add(samples));
        }
    }
}

#[test]
fn a_prompt_is_heard_sample_for_sample() {
    for (codec, law) in [(Codec::Pcmu, Law::Mu), (Codec::Pcma, Law::A)] {
        let mut lab = Lab::new();
        let (a, _) = lab.leg(5000, stream(codec, 77));
        lab.hold(9, a, Feed::Prompt { prompt: "welcome".into() });
        lab.pass(10 * SECOND);
        let welcome = Arc::clone(PromptLibrary::embedded().unwrap().get("welcome").unwrap());
        let heard: Vec<u8> = lab.rtp().iter().flat_map(|(sent, _)| sent.bytes[12..].to_vec()).collect();
        let expected: Vec<u8> = welcome.iter().map(|sample| law.encode(*sample)).collect();
        assert_eq!(heard[..expected.len()], expected);
        assert!(heard[expected.len()..].iter().all(|code| law.decode(*code).abs() <= 8));
        assert_eq!(lab.events, [MediaEvent::PlayEnded { port: a, bridge: bridge(9), complete: true }]);
        assert_eq!(lab.worker.deadline().unwrap().as_nanos() % 1_000_000_000, 0, "and the tick has ended");
    }
}

#[test]
fn what_cannot_be_played_says_so_at_once() {
    let ended = |port, number| MediaEvent::PlayEnded { port, bridge: bridge(number), complete: false };
    let mut lab = Lab::new();
    let (a, _) = lab.leg(5000, pcma());
    lab.hold(1, a, Feed::Prompt { prompt: "no such prompt".into() });
    let (b, _) = lab.leg(6000, stream(Codec::Opus, 107));
    lab.hold(2, b, Feed::Prompt { prompt: "welcome".into() });
    lab.hold(3, b, Feed::Tone { hz: 425, level_dbm0: -10 });
    lab.pass(SECOND);
    assert_eq!(lab.events, [ended(a, 1), ended(b, 2)]);
    assert!(lab.rtp().is_empty());
    let counters = lab.worker.counters();
    assert_eq!((counters.prompts_unknown, counters.feeds_without_format, counters.ticks), (1, 2, 0));
    // Opus first, G.711 behind it: the generator takes the second.
    let mut both = stream(Codec::Opus, 107);
    both.send.push((Codec::Pcmu, 0));
    let (c, _) = lab.leg(7000, both);
    lab.hold(4, c, Feed::Prompt { prompt: "welcome".into() });
    lab.pass(10 * SECOND);
    assert!(lab.rtp().iter().all(|(_, header)| header.payload_type == 0));
    assert_eq!(
        lab.events.last(),
        Some(&MediaEvent::PlayEnded { port: c, bridge: bridge(4), complete: true })
    );
}

#[test]
fn a_prompt_goes_on_unheard_while_the_peer_holds_us() {
    let mut lab = Lab::new();
    let (a, _) = lab.leg(5000, Stream { direction: Direction::RecvOnly, ..pcma() });
    lab.hold(1, a, Feed::Prompt { prompt: "welcome".into() });
    lab.pass(10 * SECOND);
    assert!(lab.rtp().is_empty());
    assert_eq!(lab.events, [MediaEvent::PlayEnded { port: a, bridge: bridge(1), complete: true }]);
}

#[test]
fn a_bridge_may_come_before_what_was_negotiated() {
    let mut lab = Lab::new();
    let (a, slot) = lab.port();
    lab.hold(1, a, Feed::Tone { hz: 425, level_dbm0: -10 });
    lab.packet(slot, 5000, &packet(8, 1, 0, b"x"));
    lab.pass(SECOND);
    assert!(lab.sent.is_empty() && lab.events.is_empty());
    assert_eq!(lab.dropped(DropReason::Unconfigured), 1);
    lab.command(MediaCommand::Configure { port: a, stream: Stream { rtp: at(5000), ..pcma() } });
    lab.pass(SECOND);
    assert_eq!(lab.rtp().len(), 50);
    assert_eq!(lab.changes, [PortChange::Taken(slot)]);
}

#[test]
fn a_tick_of_many_legs_is_done_in_steps() {
    let mut lab = Lab::new();
    for index in 0..1000 {
        let (port, _) = lab.leg(5000 + index * 2, pcma());
        lab.hold(u32::from(index), port, Feed::Tone { hz: 425, level_dbm0: -10 });
    }
    lab.pass(Duration::from_millis(20));
    assert_eq!(lab.rtp().len(), 1000);
    let mut slots: Vec<_> = lab.rtp().iter().map(|(sent, _)| sent.slot.0).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 1000, "each leg once");
}
