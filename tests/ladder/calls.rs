//! Calls from the first INVITE to the last BYE.

use std::collections::HashSet;

use dialtone_core::Cause;
use dialtone_core::cdr::EndedBy;
use dialtone_core::media::{BridgeKind, MediaCommand};
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::wire::Transport;

use super::support::{Phone, World, sdp};

/// Two phones that talk with each other.
pub fn talking() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    connect(&world, &alice, &bob, "1002");
    (world, alice, bob)
}

pub fn connect(world: &World, alice: &Phone, bob: &Phone, number: &str) {
    alice.invite(number);
    world.advance(200);
    bob.ring();
    world.advance(500);
    bob.answer();
    alice.ack();
    world.advance(1000);
}

#[test]
fn a_call_with_an_offer_rings_is_answered_and_ends_with_the_callers_bye() {
    let (world, alice, _bob) = talking();
    alice.bye();
    world.check("call_with_offer");
}

#[test]
fn the_callee_ends_a_call() {
    let (world, alice, bob) = talking();
    bob.bye();
    assert!(!alice.in_call());
    assert_eq!(alice.header("BYE", Name::Reason), "Q.850;cause=16;text=\"Normal call clearing\"");
    world.check("call_ended_by_callee");
}

#[test]
fn who_hangs_up_because_of_its_own_timer_has_hung_up() {
    let (world, alice, bob) = talking();
    bob.bye_because("Q.850;cause=102;text=\"Recovery on timer expiry\"");
    assert!(!alice.in_call());
    world.advance(1);
    let cdr = world.cdrs().pop().unwrap();
    assert_eq!((cdr.ended_by, cdr.cause), (EndedBy::Callee, Cause::RecoveryOnTimer));
    world.finish();
}

#[test]
fn a_call_without_an_offer_gets_ours_and_answers_it_in_the_ack() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_without_offer("1002");
    bob.ring();
    assert!(alice.last("180").body().is_empty(), "an offer in an unreliable answer is none");
    bob.answer();
    alice.ack_with(sdp("pcmu te"));
    world.advance(1000);
    alice.bye();
    world.check("call_without_offer");
}

#[test]
fn a_caller_that_never_answers_our_offer_is_hung_up() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_without_offer("1002");
    bob.answer();
    alice.ack();
    assert!(!alice.in_call() && !bob.in_call());
    world.check("call_without_offer_and_without_answer");
}

#[test]
fn a_late_answer_that_does_not_fit_changes_the_callee() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_without_offer("1002");
    bob.answer();
    alice.ack_with(sdp("pcma te"));
    assert_eq!(bob.got("re-INVITE").len(), 1, "it talks PCMU first");
    bob.speaks("pcma te");
    bob.answer();
    world.advance(1000);
    bob.bye();
    world.check("call_without_offer_realigned");
}

/// RFC 3264 §6, RFC 3261 §13.2.2.4: a late answer that takes nothing of our offer leaves nothing to talk with.
#[test]
fn a_late_answer_with_nothing_in_common_ends_the_call() {
    for dialed in ["1002", "*43"] {
        let world = World::new();
        let (alice, bob) = (world.registered("1001"), world.registered("1002"));
        bob.speaks("pcmu te");
        alice.invite_without_offer(dialed);
        if dialed == "1002" {
            bob.answer();
        }
        alice.ack_with(sdp("g722"));
        assert!(!alice.in_call() && !bob.in_call(), "{dialed}");
        world.finish();
        assert_eq!(world.cdrs()[0].cause, Cause::IncompatibleDestination);
    }
}

#[test]
fn a_call_over_tcp_goes_back_over_the_phones_connections() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    alice.register(3600);
    bob.register(3600);
    connect(&world, &alice, &bob, "1002");
    alice.bye();
    assert!(bob.header("INVITE", Name::Contact).contains("transport=tcp"));
    assert!(bob.header("INVITE", Name::Via).starts_with("SIP/2.0/TCP 10.0.0.1:5060"));
    world.check("call_over_tcp");
}

#[test]
fn an_ipv6_phone_talks_with_an_ipv4_phone() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Udp, "[2001:db8::11]:5060");
    alice.register(3600);
    let bob = world.registered("1002");
    connect(&world, &alice, &bob, "1002");
    assert!(alice.header("200 OK (sdp)", Name::Contact).contains("[2001:db8::1]:5060"));
    bob.bye();
    world.check("call_ipv6_to_ipv4");
}

#[test]
fn what_is_not_ours_does_not_cross() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let strange = || Name::Other("X-Secret".into());
    let crossing = [strange(), Name::Subject, Name::UserAgent, Name::PAssertedIdentity, Name::Route];
    alice.invite_with("1002", |request| {
        for name in &crossing {
            request.headers.push(name.clone(), "<sip:mark@alice>");
        }
    });
    bob.respond_with(180, |response| response.headers.push(strange(), "<sip:mark@bob>"));
    let invite = bob.last("INVITE");
    assert_eq!(bob.header("INVITE", Name::UserAgent), "Dialtone");
    for name in crossing.iter().filter(|name| **name != Name::UserAgent) {
        assert!(!invite.headers().has(name), "{name}");
    }
    assert!(!alice.last("180").headers().has(&strange()));
    assert!(!invite.to_string().contains("10.0.0.11"), "nor where the caller is: {invite}");
    bob.respond_with(603, |response| response.headers.push(strange(), "<sip:mark@bob>"));
    assert!(!alice.last("603").headers().has(&strange()));
    world.finish();
}

#[test]
fn every_leg_has_names_of_its_own() {
    let world = World::new();
    let (alice, bob, mobile) = (world.registered("1001"), world.registered("1002"), world.registered("1002"));
    let (mut call_ids, mut tags, mut branches) = (HashSet::new(), HashSet::new(), HashSet::new());
    for _ in 0..3 {
        alice.invite("1002");
        bob.ring();
        for phone in [&bob, &mobile] {
            let Message::Request(invite) = phone.last("INVITE") else { unreachable!() };
            assert!(call_ids.insert(invite.call_id().unwrap().to_owned()));
            assert!(tags.insert(invite.from().unwrap().tag().unwrap().to_owned()));
            assert!(branches.insert(invite.via().unwrap().branch().unwrap().to_owned()));
            assert!(invite.contact().unwrap().uri.user.is_some());
        }
        assert!(tags.insert(alice.address_of("180", Name::To).tag().unwrap().to_owned()));
        assert!(!call_ids.contains(&alice.header("180", Name::CallId)));
        alice.cancel();
        world.advance(100);
    }
    world.finish();
}

#[test]
fn the_callee_sees_who_calls() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    let from = bob.address_of("INVITE", Name::From);
    assert_eq!(from.display.as_deref(), Some("Alma"), "as the site calls it, not as the phone says");
    assert_eq!(from.uri.to_string(), "sip:1001@pbx.example");
    assert_eq!(bob.address_of("INVITE", Name::To).uri.to_string(), "sip:1002@pbx.example");
    assert_eq!(bob.header("INVITE", Name::MaxForwards), "69");
    alice.cancel();
    world.finish();
}

#[test]
fn keys_have_a_number_per_leg() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.speaks("opus:111 pcmu te:126");
    bob.speaks("opus pcmu te");
    connect(&world, &alice, &bob, "1002");
    let answer = alice.last("200 OK (sdp)").to_string();
    assert!(answer.contains("a=rtpmap:111 opus/48000/2") && answer.contains("a=rtpmap:126 telephone-event"));
    let offer = bob.last("INVITE").to_string();
    assert!(offer.contains("a=rtpmap:107 opus/48000/2") && offer.contains("a=rtpmap:101 telephone-event"));
    alice.bye();
    world.check("call_with_numbers_per_leg");
}

#[test]
fn other_media_is_answered_with_port_0_in_its_place() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.set_sdp(
        sdp("pcmu te")
            .before("m=video 5000 RTP/AVP 96\na=rtpmap:96 VP8/90000\n")
            .after("m=application 5002 UDP/BFCP *\n"),
    );
    alice.invite("1002");
    assert!(!bob.last("INVITE").to_string().contains("m=video"));
    bob.answer();
    alice.ack();
    let answer = alice.last("200").to_string();
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 10002 RTP/AVP 0 101", "m=application 0 UDP/BFCP *"]);
    alice.bye();
    world.finish();
}

#[test]
fn both_legs_of_a_call_are_on_one_worker_and_calls_spread() {
    let world = World::new();
    let phones = ["1001", "1002", "1003", "1004"].map(|number| world.registered(number));
    connect(&world, &phones[0], &phones[1], "1002");
    connect(&world, &phones[2], &phones[3], "1004");
    let relays = world.media_commands().into_iter().filter_map(|command| match command {
        MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. } => Some((a.worker, b.worker)),
        _ => None,
    });
    assert_eq!(relays.collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    phones[0].bye();
    phones[3].bye();
    world.finish();
}

/// RFC 3261 §13.3.1.1: a caller whose phone rings for long hears of it every minute.
#[test]
fn a_provisional_answer_is_repeated_every_minute() {
    let world = World::with(|options| {
        let ben = options.site.extensions.get_mut("1002").unwrap();
        ben.ring_timeout = std::time::Duration::from_secs(600);
    });
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    assert_eq!(alice.got("180 Ringing").len(), 1);
    world.advance(59_999);
    assert_eq!(alice.got("180 Ringing").len(), 1);
    world.advance(1);
    assert_eq!(alice.got("180 Ringing").len(), 2);
    world.advance(120_000);
    assert_eq!((alice.got("180 Ringing").len(), bob.got("INVITE").len()), (4, 1));
    bob.answer();
    alice.ack();
    world.advance(120_000);
    assert_eq!(alice.got("180 Ringing").len(), 4);
    alice.bye();
    world.finish();
}
