//! Two phones that hear each other, and who else is not heard.

use dialtone_core::codec::Codec;
use dialtone_core::media::Stream;
use dialtone_media::counters::DropReason;

use crate::lab::{Lab, Phone, V4, V6, config, say_from, socket};

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
    config.addresses = vec![V4, V6];
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
