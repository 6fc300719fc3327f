//! What one leg hears of another.

use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Stream};
use dialtone_media::counters::DropReason;
use dialtone_media::outbox::PortChange;

use crate::lab::{Lab, SECOND, at, packet, pcma, stream};

#[test]
fn a_relay_translates_payload_types_by_their_meaning() {
    let mut lab = Lab::new();
    let mut a = pcma();
    a.receive.push((101, Codec::TelephoneEvent));
    a.receive.push((107, Codec::Opus));
    let mut b = stream(Codec::Pcma, 100);
    b.send.push((Codec::TelephoneEvent, 96));
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, a), lab.leg(6000, b));
    lab.bridge(1, BridgeKind::Relay { a, b });

    lab.packet(a_slot, 5000, &packet(8, 1, 160, b"sound"));
    lab.packet(a_slot, 5000, &packet(101, 2, 320, b"keys"));
    lab.packet(a_slot, 5000, &packet(107, 3, 480, b"opus"));
    lab.packet(a_slot, 5000, &packet(33, 4, 640, b"what"));
    lab.packet(a_slot, 5000, &packet(8, 5, 800, b"sound"));

    let sent = lab.rtp();
    let shape: Vec<_> = sent.iter().map(|(sent, header)| (sent.slot, sent.to, header.payload_type)).collect();
    assert_eq!(shape, [(b_slot, at(6000), 100), (b_slot, at(6000), 96), (b_slot, at(6000), 100)]);
    let numbers: Vec<_> =
        sent.iter().map(|(_, header)| header.sequence.wrapping_sub(sent[0].1.sequence)).collect();
    assert_eq!(numbers, [0, 1, 3], "opus left no gap, the unknown packet did: we cannot know what it was");
    let clock: Vec<_> =
        sent.iter().map(|(_, header)| header.timestamp.wrapping_sub(sent[0].1.timestamp)).collect();
    assert_eq!(clock, [0, 160, 640]);
    assert_eq!(sent[1].0.bytes[12..], *b"keys");
    assert_eq!((lab.dropped(DropReason::NoFormat), lab.dropped(DropReason::UnknownPayload)), (1, 1));
}

#[test]
fn only_the_payload_of_a_decorated_packet_is_passed_on() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, _)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    let mut decorated = packet(8, 1, 160, &[]);
    decorated[0] |= 0x31; // Padding, an extension, one contributing source.
    decorated.extend_from_slice(&[1, 2, 3, 4, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
    decorated.extend_from_slice(b"sound\0\0\x03");
    lab.packet(a_slot, 5000, &decorated);
    assert_eq!(lab.sent[0].bytes[0], 0x80);
    assert_eq!(lab.sent[0].bytes[12..], *b"sound");
}

#[test]
fn the_direction_is_respected_on_both_sides() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (from, to, passes) in [
        (SendRecv, SendRecv, true),
        (RecvOnly, SendOnly, true),
        (SendOnly, SendRecv, false),
        (Inactive, SendRecv, false),
        (SendRecv, RecvOnly, false),
        (SendRecv, Inactive, false),
    ] {
        let mut lab = Lab::new();
        let (a, a_slot) = lab.leg(5000, Stream { direction: from, ..pcma() });
        let (b, _) = lab.leg(6000, Stream { direction: to, ..pcma() });
        lab.bridge(1, BridgeKind::Relay { a, b });
        lab.packet(a_slot, 5000, &packet(8, 1, 0, b"x"));
        assert_eq!(lab.sent.len(), usize::from(passes), "{from:?} to {to:?}");
        assert_eq!(lab.dropped(DropReason::Direction), u64::from(!passes));
        assert!(matches!(lab.events[0], MediaEvent::Latched { .. }), "the peer is learned in any case");
    }
}

#[test]
fn a_hold_is_no_loss_downstream() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, _)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    for (sequence, direction) in
        [(1, Direction::SendRecv), (2, Direction::SendOnly), (3, Direction::SendRecv)]
    {
        let stream = Stream { rtp: at(5000), rtcp: at(5001), direction, ..pcma() };
        lab.command(MediaCommand::Configure { port: a, stream });
        lab.packet(a_slot, 5000, &packet(8, sequence, u32::from(sequence) * 8000, b"x"));
        lab.pass(SECOND);
    }
    let sent = lab.rtp();
    let [(_, first), (_, second)] = &sent[..] else { panic!("{}", sent.len()) };
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    assert_eq!(second.timestamp, first.timestamp.wrapping_add(16_000));
    assert!(second.marker);
}

#[test]
fn a_leg_without_its_partner_is_silent() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    lab.command(MediaCommand::Release { port: b });
    assert!(lab.changes.contains(&PortChange::Closed(b_slot)));
    lab.packet(a_slot, 5000, &packet(8, 1, 0, b"x"));
    // The freed slot goes to another port, which must not inherit the partner.
    let (_, again) = lab.leg(7000, pcma());
    assert_eq!(again, b_slot);
    lab.packet(a_slot, 5000, &packet(8, 2, 160, b"x"));
    assert!(lab.rtp().is_empty());
    assert_eq!(lab.dropped(DropReason::Unheard), 2);
    // A bridge with a port that is gone leaves the other one silent too.
    lab.hold(2, a, Feed::Tone { hz: 425, level_dbm0: -10 });
    lab.bridge(3, BridgeKind::Relay { a, b });
    lab.pass(SECOND / 2);
    assert!(lab.rtp().is_empty());
    assert_eq!(lab.worker.counters().commands_ignored, 1);
}

#[test]
fn a_port_leaves_the_bridge_that_it_was_in() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    let (c, c_slot) = lab.leg(7000, pcma());
    lab.bridge(1, BridgeKind::Relay { a, b });
    lab.bridge(2, BridgeKind::Relay { a, b: c });
    lab.packet(b_slot, 6000, &packet(8, 1, 0, b"b"));
    lab.packet(a_slot, 5000, &packet(8, 1, 0, b"a"));
    lab.packet(c_slot, 7000, &packet(8, 1, 0, b"c"));
    let to: Vec<_> = lab.sent.iter().map(|sent| (sent.slot, &sent.bytes[12..])).collect();
    assert_eq!(to, [(c_slot, &b"a"[..]), (a_slot, &b"c"[..])]);
}

#[test]
fn an_injector_is_dropped_and_counted() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    // Neither an unknown payload type nor noise latches.
    lab.packet(a_slot, 666, &packet(33, 1, 0, b"x"));
    lab.packet(a_slot, 666, b"noise");
    lab.packet(a_slot, 5555, &packet(8, 1, 0, b"good"));
    lab.packet(a_slot, 666, &packet(8, 2, 160, b"evil"));
    lab.packet(a_slot, 5000, &packet(8, 2, 160, b"as signalled, but not where the peer is"));
    lab.packet(b_slot, 6000, &packet(8, 1, 0, b"back"));
    assert_eq!(lab.events[0], MediaEvent::Latched { port: a, source: at(5555) });
    assert_eq!(lab.events.len(), 2);
    assert_eq!(lab.rtp().iter().map(|(sent, _)| sent.to).collect::<Vec<_>>(), [at(6000), at(5555)]);
    assert_eq!(lab.dropped(DropReason::WrongSource), 2);
    assert_eq!(lab.quality(a).dropped_packets, 4);
}

#[test]
fn a_new_address_is_learned_after_a_renegotiation() {
    let mut lab = Lab::new();
    let ((a, a_slot), (b, b_slot)) = (lab.leg(5000, pcma()), lab.leg(6000, pcma()));
    lab.bridge(1, BridgeKind::Relay { a, b });
    lab.packet(a_slot, 5000, &packet(8, 1, 0, b"1"));
    let moved = Stream { rtp: at(5500), rtcp: at(5501), relatch: true, ..pcma() };
    lab.command(MediaCommand::Configure { port: a, stream: moved });
    lab.packet(a_slot, 5000, &packet(8, 2, 160, b"2"));
    lab.packet(a_slot, 5500, &packet(8, 3, 320, b"3"));
    lab.packet(a_slot, 5000, &packet(8, 4, 480, b"4"));
    lab.packet(b_slot, 6000, &packet(8, 1, 0, b"back"));
    let bodies: Vec<_> = lab.sent.iter().map(|sent| (sent.to.port(), &sent.bytes[12..])).collect();
    assert_eq!(bodies, [(6000, &b"1"[..]), (6000, b"2"), (6000, b"3"), (5500, b"back")]);
    let latched =
        lab.events.iter().filter(|event| matches!(event, MediaEvent::Latched { port, .. } if *port == a));
    assert_eq!(latched.count(), 2);
}
