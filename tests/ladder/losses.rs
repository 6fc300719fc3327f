//! What a lossy network does to a call.

use std::time::Duration;

use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent};
use dialtone_signaling::message::{Message, Name};

use dialtone_signaling::wire::Transport;

use super::calls::{connect, talking};
use super::support::{Phone, World};

fn ringing() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    world.advance(1000);
    (world, alice, bob)
}

#[test]
fn our_200_is_repeated_until_it_is_acknowledged() {
    let (world, alice, bob) = ringing();
    alice.loses("200", 3);
    bob.answer();
    world.advance(4000);
    assert_eq!(alice.got("200 OK (sdp)").len(), 1, "after 0.5, 1.5 and 3.5 s");
    alice.ack();
    world.advance(10_000);
    assert_eq!(alice.got("200 OK (sdp)").len(), 1);
    alice.bye();
    world.check("lost_200");
}

#[test]
fn without_an_ack_the_call_ends_after_64_t1() {
    let (world, alice, bob) = ringing();
    bob.answer();
    world.advance(31_999);
    assert_eq!((alice.got("BYE").len(), bob.got("BYE").len()), (0, 0));
    world.advance(1);
    assert_eq!((alice.got("BYE").len(), bob.got("BYE").len()), (1, 1));
    world.check("lost_ack");
}

#[test]
fn a_callee_that_hangs_up_before_the_ack_is_followed_when_it_comes() {
    let (world, alice, bob) = ringing();
    bob.answer();
    bob.bye();
    assert_eq!(alice.got("BYE").len(), 0, "RFC 3261 §15: not before the ACK");
    world.advance(100);
    alice.ack();
    assert_eq!(alice.got("BYE").len(), 1);
    world.check("bye_before_ack");
}

#[test]
fn a_repeated_invite_is_the_same_call() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    alice.repeat();
    assert_eq!((alice.got("100").len(), bob.got("INVITE").len()), (2, 1));
    bob.ring();
    alice.repeat();
    assert_eq!(alice.got("180").len(), 2);
    bob.answer();
    alice.repeat();
    assert_eq!(alice.got("200 OK (sdp)").len(), 1, "RFC 6026: absorbed, the 200 repeats itself");
    alice.ack();
    alice.bye();
    world.check("repeated_invite");
}

#[test]
fn a_repeated_200_is_acknowledged_again() {
    let (world, alice, bob) = ringing();
    bob.answer();
    alice.ack();
    bob.repeat();
    let acks = bob.got("ACK");
    assert_eq!(acks.len(), 2);
    assert_eq!(acks[0], acks[1], "RFC 3261 §13.2.2.4: the same ACK");
    alice.bye();
    world.check("repeated_200");
}

#[test]
fn the_second_200_of_a_fork_beyond_us_is_acknowledged_and_ended() {
    let (world, alice, bob) = ringing();
    bob.answer();
    alice.ack();
    let mut other = bob.sent();
    let to = other.headers().text(&Name::To).unwrap().replace(";tag=", ";tag=other");
    other.headers_mut().set(Name::To, to);
    bob.keeps_its_dialog(|| bob.send(other));
    let to = |prefix: &str| bob.address_of(prefix, Name::To).tag().unwrap().to_owned();
    assert!(to("ACK").starts_with("other") && to("BYE").starts_with("other"));
    assert!(alice.in_call(), "the call of the first one goes on");
    world.advance(1000);
    alice.bye();
    world.check("second_200_of_a_fork");
}

#[test]
fn a_200_of_a_fork_beyond_us_after_the_call_is_acknowledged_and_ended_too() {
    let (world, alice, bob) = ringing();
    bob.answer();
    alice.ack();
    let mut other = bob.sent();
    alice.bye();
    let to = other.headers().text(&Name::To).unwrap().replace(";tag=", ";tag=other");
    other.headers_mut().set(Name::To, to);
    let (acks, byes) = (bob.got("ACK").len(), bob.got("BYE").len());
    bob.send(other);
    assert_eq!((bob.got("ACK").len(), bob.got("BYE").len()), (acks + 1, byes + 1));
    assert!(bob.address_of("BYE", Name::To).tag().unwrap().starts_with("other"));
    world.check("late_200_of_a_fork");
}

#[test]
fn two_byes_that_cross_end_one_call() {
    let (world, alice, bob) = talking();
    bob.manual();
    alice.bye();
    bob.bye();
    assert_eq!(bob.status(), 200, "it is no mistake of whoever sent it");
    bob.automatic();
    world.check("bye_crosses_bye");
}

#[test]
fn a_lost_invite_and_a_lost_bye_are_sent_again() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    bob.loses("INVITE", 2);
    alice.invite("1002");
    world.advance(2000);
    bob.ring();
    bob.answer();
    alice.ack();
    bob.loses("BYE", 1);
    alice.bye();
    world.advance(1000);
    assert!(!bob.in_call());
    world.check("lost_invite_and_bye");
}

#[test]
fn a_phone_that_is_gone_does_not_hold_the_call() {
    let (world, alice, bob) = talking();
    bob.loses("BYE", 100);
    alice.bye();
    world.check("bye_into_silence");
}

#[test]
fn a_phone_that_does_not_react_at_all_is_unreachable() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    bob.loses("INVITE", 100);
    alice.invite("1002");
    world.advance(30_000);
    assert_eq!(alice.status(), 480);
    world.check("invite_into_silence");
}

#[test]
fn silence_ends_a_call_and_says_so() {
    let (world, alice, bob) = talking();
    let port = world.media_commands().into_iter().find_map(|command| match command {
        MediaCommand::Bridge { kind: BridgeKind::Relay { a, .. }, .. } => Some(a),
        _ => None,
    });
    world.media(MediaEvent::Silent { port: port.unwrap(), silence: Duration::from_secs(30) });
    for phone in [&alice, &bob] {
        assert!(phone.header("BYE", Name::Reason).starts_with("Q.850;cause=102"));
    }
    world.check("silence");
}

#[test]
fn nobody_owes_sound_before_the_answer() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress();
    let Some(MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. }) = world.last_bridge() else {
        panic!("early media is relayed");
    };
    let silent = |port| world.media(MediaEvent::Silent { port, silence: Duration::from_secs(20) });
    world.advance(20_000);
    silent(a);
    silent(b);
    let configured = |port| {
        let is_it =
            |command: &MediaCommand| matches!(command, MediaCommand::Configure { port: p, .. } if *p == port);
        world.media_commands().iter().filter(|command| is_it(command)).count()
    };
    assert_eq!((configured(a), configured(b)), (1, 1));
    bob.answer();
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    assert_eq!((configured(a), configured(b)), (2, 2), "silence counts from the answer");
    world.advance(1000);
    silent(a);
    assert!(!alice.in_call() && !bob.in_call());
    world.check("silence_before_the_answer");
}

#[test]
fn a_phone_whose_connection_is_gone_is_called_at_its_contact() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    bob.register_with(|request| {
        request.headers.set(Name::Contact, "<sip:1002@10.0.0.12:5060;transport=tcp>");
    });
    world.flow_down(101);
    // The phone listens there too.
    let listener = world.phone_at("1002", Transport::Tcp, "10.0.0.12:5060");
    alice.invite("1002");
    assert_eq!((bob.got("INVITE").len(), listener.got("INVITE").len()), (0, 1));
    listener.answer();
    alice.ack();
    alice.bye();
    world.check("tcp_called_back");
}

#[test]
fn a_connection_that_cannot_be_opened_is_told_to_the_caller() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    bob.register(3600);
    world.flow_down(101);
    bob.loses("INVITE", 1);
    alice.invite("1002");
    world.send_failed();
    assert_eq!(alice.status(), 502);
    world.check("tcp_unreachable");
}

#[test]
fn a_bye_that_cannot_be_sent_leaves_nothing() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    bob.register(3600);
    connect(&world, &alice, &bob, "1002");
    bob.loses("BYE", 1);
    alice.bye();
    world.send_failed();
    assert_eq!(world.counts().stack.legs, 0);
    world.check("tcp_bye_unreachable");
}

#[test]
fn an_ack_with_the_branch_of_its_invite_counts() {
    let (world, alice, bob) = ringing();
    bob.answer();
    let branch = alice.header("200", Name::Via);
    alice.ack_as(&branch.replace(";received=10.0.0.11", "").replace("rport=5060", "rport"));
    world.advance(1000);
    assert_eq!(alice.got("200 OK (sdp)").len(), 1, "not repeated");
    alice.bye();
    world.finish();
}

#[test]
fn a_stray_answer_is_nobodys() {
    let (world, alice, bob) = ringing();
    let before = world.facts().len();
    let Message::Response(mut stray) = bob.sent() else { unreachable!() };
    stray.headers.set(Name::Via, "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKunknown");
    stray.status = 200;
    bob.send(stray);
    assert_eq!((world.facts().len(), bob.got("ACK").len()), (before, 0));
    alice.cancel();
    world.finish();
}

/// 1001 calls over TCP, its INVITE says that this is where it listens, and while 1002 rings its connection is gone.
fn loses_its_connection(listens: &'static str) -> (World, Phone, Phone) {
    let world = World::new();
    let bob = world.registered("1002");
    let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.13:40000");
    alice.invite_with("1002", |request| {
        request.headers.set_top(&Name::Via, format!("SIP/2.0/TCP {listens};branch=z9hG4bKlost"));
    });
    bob.ring();
    world.flow_down(alice.path().flow.0);
    (world, alice, bob)
}

/// RFC 3261 §18.2.2, RFC 3263 §5: an answer whose connection is gone goes to where its caller listens, at the port of
/// its Via or the transport's own; the call goes on there.
#[test]
fn an_answer_finds_a_caller_whose_connection_is_gone() {
    for (listens, address) in [
        ("10.0.0.13:5070", "10.0.0.13:5070"),
        ("10.0.0.13", "10.0.0.13:5060"),
        ("caller.example:5070", "10.0.0.13:5070"),
    ] {
        let (world, alice, bob) = loses_its_connection(listens);
        let back = world.phone_at("1001", Transport::Tcp, address);
        back.calls_as(&alice);
        bob.answer();
        assert_eq!((alice.got("200").len(), back.got("200").len()), (0, 1), "{listens}");
        back.ack();
        world.advance(1000);
        assert_eq!(back.got("200").len(), 1, "not repeated");
        back.bye();
        assert_eq!(bob.got("BYE").len(), 1);
        assert_eq!(world.counts().stack.legs, 0);
    }
}

/// RFC 3261 §18.2.2, §13.3.1.4: who named an address that nobody can be reached at hears nothing, and the call ends as
/// any that is not acknowledged.
#[test]
fn an_answer_to_who_is_gone_behind_translation_goes_nowhere() {
    let (world, alice, bob) = loses_its_connection("192.168.1.7:5070");
    let private = world.phone_at("1001", Transport::Tcp, "192.168.1.7:5070");
    bob.answer();
    world.advance(40_000);
    assert_eq!((alice.got("200").len(), private.got("200").len()), (0, 0));
    assert_eq!(bob.got("BYE").len(), 1);
    assert_eq!(world.counts().stack.legs, 0);
    world.check("tcp_caller_gone");
}
