//! Reports, silence and the end of a leg.

use std::time::Duration;

use dialtone_core::description::Direction;
use dialtone_core::media::{Feed, MediaCommand, MediaEvent, Quality, Stream};
use dialtone_media::counters::DropReason;
use dialtone_media::outbox::Channel;
use dialtone_media::rtcp::{self, COMPOUND_MAX, Compound, ReportBlock, SenderInfo};

use crate::lab::{Lab, SECOND, at, packet, pcma, sent_ssrc};

#[test]
fn silence_is_told_once_per_silent_period() {
    let mut lab = Lab::new();
    let (a, slot) = lab.leg(5000, pcma());
    let silent =
        |lab: &Lab| lab.events.iter().filter(|event| matches!(event, MediaEvent::Silent { .. })).count();
    lab.pass(59 * SECOND);
    assert_eq!(silent(&lab), 0);
    lab.pass(120 * SECOND);
    assert_eq!(silent(&lab), 1);
    lab.packet(slot, 5000, &packet(8, 1, 0, b"x"));
    lab.pass(62 * SECOND);
    assert_eq!(silent(&lab), 2);
    // On hold the other limit counts, from the re-negotiation on, and a report is a sign of life.
    let held = Stream { rtp: at(5000), rtcp: at(5001), direction: Direction::SendOnly, ..pcma() };
    lab.command(MediaCommand::Configure { port: a, stream: held });
    lab.pass(1700 * SECOND);
    let mut bytes = [0; COMPOUND_MAX];
    let compound =
        Compound { ssrc: 1, sender: None, block: None, cname: b"peer............", goodbye: false };
    let length = compound.write(&mut bytes);
    lab.report(slot, 5001, &bytes[..length]);
    lab.pass(1700 * SECOND);
    assert_eq!(silent(&lab), 2);
    lab.pass(200 * SECOND);
    assert_eq!(silent(&lab), 3);
    let MediaEvent::Silent { port, silence } = lab.events.last().unwrap() else { panic!() };
    assert_eq!(*port, a);
    assert!((1800..1802).contains(&silence.as_secs()), "{silence:?}");
}

#[test]
fn a_peer_that_holds_without_music_is_on_hold() {
    let mut lab = Lab::new();
    let (a, slot) = lab.leg(5000, pcma());
    let silent =
        |lab: &Lab| lab.events.iter().filter(|event| matches!(event, MediaEvent::Silent { .. })).count();
    let held = Stream { rtp: at(5000), rtcp: at(5001), direction: Direction::RecvOnly, ..pcma() };
    lab.command(MediaCommand::Configure { port: a, stream: held.clone() });
    lab.pass(1700 * SECOND);
    assert_eq!(silent(&lab), 0, "it may send, and need not");
    let mut bytes = [0; COMPOUND_MAX];
    let compound =
        Compound { ssrc: 1, sender: None, block: None, cname: b"peer............", goodbye: false };
    let length = compound.write(&mut bytes);
    lab.report(slot, 5001, &bytes[..length]);
    lab.pass(1700 * SECOND);
    assert_eq!(silent(&lab), 0, "a report is a sign of life");
    lab.pass(200 * SECOND);
    assert_eq!(silent(&lab), 1);
    // What was told is told again after every Configure, even of the same stream: a call may have begun.
    lab.command(MediaCommand::Configure { port: a, stream: held });
    lab.pass(1799 * SECOND);
    assert_eq!(silent(&lab), 1);
    lab.pass(2 * SECOND);
    assert_eq!(silent(&lab), 2);
}

#[test]
fn quality_is_complete() {
    let mut lab = Lab::new();
    let (a, slot) = lab.leg(5000, pcma());
    lab.hold(1, a, Feed::Echo);
    // 100 packets, every tenth lost, every other 4 ms late.
    for sequence in 0..100u16 {
        if sequence % 10 != 5 {
            let jitter = Duration::from_millis(if sequence % 2 == 0 { 0 } else { 4 });
            lab.pass(jitter);
            lab.packet(slot, 5000, &packet(8, sequence, u32::from(sequence) * 160, &[0xD5; 160]));
            lab.pass(SECOND / 50 - jitter);
        } else {
            lab.pass(SECOND / 50);
        }
    }
    lab.pass(10 * SECOND);
    let reports: Vec<_> = lab.sent.iter().filter(|sent| sent.channel == Channel::Rtcp).collect();
    assert!((1..=5).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|report| report.to == at(5001)));
    let report = rtcp::parse(&reports.last().unwrap().bytes, 0xAAAA).unwrap();
    let about_peer = report.about_us.unwrap();
    assert_eq!((about_peer.lost, about_peer.highest), (10, 99));
    // The peer answers the last sender report after holding it for a second, 50 ms of travel.
    let asked = reports.iter().rev().find(|report| report.bytes[1] == 200).unwrap();
    let middle = rtcp::parse(&asked.bytes, 0).unwrap().sender_report.unwrap();
    lab.now = asked.at + Duration::from_millis(1050);
    let block = ReportBlock {
        about: sent_ssrc(&lab),
        lost: 7,
        jitter: 40,
        last_report: middle,
        delay: 1 << 16,
        ..ReportBlock::default()
    };
    let sender = SenderInfo { ntp: 5 << 32, timestamp: 0, packets: 0, octets: 0 };
    let mut bytes = [0; COMPOUND_MAX];
    let answer = Compound {
        ssrc: 0xAAAA,
        sender: Some(sender),
        block: Some(block),
        cname: b"peer............",
        goodbye: false,
    };
    let length = answer.write(&mut bytes);
    lab.report(slot, 5001, &bytes[..length]);
    lab.report(slot, 666, &bytes[..length]);
    lab.report(slot, 5001, b"noise");
    assert_eq!((lab.dropped(DropReason::WrongSourceRtcp), lab.dropped(DropReason::MalformedRtcp)), (1, 1));

    let quality = lab.quality(a);
    let round_trip_us = quality.round_trip_us.unwrap();
    assert!(round_trip_us.abs_diff(50_000) < 100, "{round_trip_us}");
    assert!((3_000..=4_500).contains(&quality.jitter_us), "{}", quality.jitter_us);
    let expected = Quality {
        received_packets: 90,
        received_bytes: 90 * 160,
        sent_packets: 90,
        sent_bytes: 90 * 160,
        lost_packets: 10,
        dropped_packets: 0,
        peer_lost_packets: 7,
        peer_jitter_us: 5_000,
        jitter_us: quality.jitter_us,
        round_trip_us: quality.round_trip_us,
    };
    assert_eq!(quality, expected);
    let farewell = lab.sent.last().unwrap();
    assert!(rtcp::parse(&farewell.bytes, 0).unwrap().goodbye);
}

#[test]
fn who_was_never_heard_of_says_no_goodbye() {
    let mut lab = Lab::new();
    let (a, _) = lab.leg(5000, pcma());
    let (b, _) = lab.port();
    for port in [a, b] {
        lab.command(MediaCommand::Release { port });
    }
    assert!(lab.sent.is_empty());
    assert_eq!(lab.events.len(), 2);
    lab.command(MediaCommand::Release { port: a });
    assert_eq!((lab.events.len(), lab.worker.counters().commands_ignored), (2, 1));
}
