//! Changes of a stream while two talk: RFC 3261 §14, RFC 3264 §8.

use dialtone_core::Direction;
use dialtone_core::event::{DeviceState, Fact};
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::wire::Transport;

use super::calls::{connect, talking};
use super::support::{Phone, World, sdp};

fn states(world: &World, number: &str) -> Vec<DeviceState> {
    let of = |fact: Fact| match fact {
        Fact::DeviceStateChanged { endpoint, state } if endpoint == number => Some(state),
        _ => None,
    };
    world.facts().into_iter().filter_map(of).collect()
}

#[test]
fn the_caller_holds_and_resumes() {
    let (world, alice, bob) = talking();
    alice.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    assert!(alice.last("200").to_string().contains("a=recvonly"));
    alice.ack();
    world.advance(5000);
    alice.reinvite(sdp("pcmu pcma te"));
    assert!(alice.last("200").to_string().contains("a=sendrecv"));
    alice.ack();
    world.advance(1000);
    assert_eq!(bob.got("re-INVITE").len(), 0, "the other phone need not know");
    alice.bye();
    use DeviceState::{Idle, InUse, OnHold};
    assert_eq!(states(&world, "1001"), [Idle, InUse, OnHold, InUse, Idle]);
    world.check("hold_sendonly");
}

#[test]
fn the_caller_holds_with_inactive() {
    let (world, alice, _bob) = talking();
    alice.reinvite(sdp("pcmu pcma te").direction(Direction::Inactive));
    assert!(alice.last("200").to_string().contains("a=inactive"));
    alice.ack();
    alice.bye();
    world.check("hold_inactive");
}

#[test]
fn the_caller_holds_as_phones_did_before_rfc_3264() {
    let (world, alice, _bob) = talking();
    alice.reinvite(sdp("pcmu pcma te").ip("0.0.0.0"));
    alice.ack();
    world.advance(1000);
    alice.reinvite(sdp("pcmu pcma te"));
    alice.ack();
    alice.bye();
    world.check("hold_unspecified_address");
}

#[test]
fn the_callee_holds_and_hangs_up() {
    let (world, alice, bob) = talking();
    bob.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    bob.ack();
    world.advance(1000);
    assert_eq!(alice.got("re-INVITE").len(), 0);
    bob.bye();
    world.check("hold_by_callee");
}

/// RFC 3261 §15.1.2, §17.1.1.3: who hangs up instead of answering our re-INVITE owes it a refusal, and that an ACK.
#[test]
fn a_refusal_after_the_bye_is_acknowledged() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_without_offer("1002");
    bob.answer();
    alice.ack_with(sdp("pcma te"));
    assert!(bob.is_asked(), "it is to speak what the caller speaks");
    bob.bye();
    assert!(!alice.in_call());
    world.advance(3000);
    assert_eq!(bob.got("re-INVITE").len(), 1, "nothing is repeated after the BYE");
    bob.respond(487);
    assert_eq!(bob.got("ACK").len(), 2);
    world.finish();
}

/// The same of a phone that only ever announces its answer.
#[test]
fn a_refusal_that_never_comes_after_the_bye_is_not_waited_for() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_without_offer("1002");
    bob.answer();
    alice.ack_with(sdp("pcma te"));
    bob.bye();
    world.advance(1000);
    bob.respond(100);
    world.finish();
}

#[test]
fn a_reinvite_without_offer_gets_ours() {
    let (world, alice, _bob) = talking();
    alice.reinvite_without_offer();
    assert!(alice.last("200").to_string().contains("a=sendrecv"));
    alice.ack_with(sdp("pcmu pcma te"));
    world.advance(1000);
    alice.bye();
    world.check("reinvite_without_offer");
}

#[test]
fn a_change_that_cannot_be_is_refused_and_the_call_goes_on() {
    let (world, alice, bob) = talking();
    alice.reinvite(sdp("g722"));
    assert_eq!(alice.status(), 488);
    world.advance(1000);
    assert!(alice.in_call() && bob.in_call());
    alice.reinvite(sdp("pcmu").direction(Direction::SendOnly));
    assert_eq!(alice.status(), 200, "and can be changed again");
    alice.ack();
    alice.bye();
    world.check("reinvite_refused");
}

#[test]
fn when_one_leg_takes_another_codec_the_other_is_asked_to_follow() {
    let (world, alice, bob) = talking();
    alice.reinvite(sdp("pcma te"));
    alice.ack();
    let asked = bob.last("re-INVITE").to_string();
    assert!(asked.contains("PCMA") && !asked.contains("PCMU"));
    bob.answer();
    world.advance(1000);
    bob.bye();
    world.check("reinvite_changes_codec");
}

/// RFC 5626 §4.3: whose connection broke is followed by whatever it asks within its call, not only by what names a
/// new target.
#[test]
fn a_phone_that_comes_over_another_connection_is_followed() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40001");
    let bob = world.registered("1002");
    alice.register(3600);
    connect(&world, &alice, &bob, "1002");
    world.flow_down(100);
    let elsewhere = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40009");
    elsewhere.steals(&alice);
    elsewhere.within(Method::Options, |_| {});
    assert_eq!(elsewhere.status(), 200, "it has proved who it is");
    bob.bye();
    assert_eq!((elsewhere.got("BYE").len(), alice.got("BYE").len()), (1, 0));
    world.finish();
}

#[test]
fn a_phone_that_moves_is_followed() {
    let (world, alice, bob) = talking();
    let elsewhere = world.phone("1001");
    elsewhere.steals(&alice);
    elsewhere.reinvite(sdp("pcmu pcma te"));
    assert_eq!(elsewhere.status(), 200, "it has proved who it is");
    elsewhere.ack();
    bob.bye();
    assert_eq!((elsewhere.got("BYE").len(), alice.got("BYE").len()), (1, 0));
    world.check("reinvite_from_elsewhere");
}

#[test]
fn a_reinvite_says_that_the_ack_was_lost() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.answer();
    alice.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    alice.ack();
    world.advance(40_000);
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("reinvite_without_ack_before");
}

#[test]
fn a_second_reinvite_waits_for_the_first() {
    let (world, alice, _bob) = talking();
    alice.reinvite(sdp("pcmu").direction(Direction::SendOnly));
    alice.reinvite(sdp("pcmu"));
    assert_eq!(alice.status(), 500, "RFC 3261 §14.2");
    assert!(alice.last("500").headers().has(&Name::RetryAfter));
    alice.bye();
    world.check("reinvite_twice");
}

#[test]
fn the_version_of_our_description_grows_only_with_a_change() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    connect(&world, &alice, &bob, "1002");
    let origin = |phone: &Phone| {
        let text = phone.last("200 OK (sdp)").to_string();
        text.lines().find(|line| line.starts_with("o=")).unwrap().to_owned()
    };
    let first = origin(&alice);
    alice.reinvite(sdp("pcmu pcma te"));
    alice.ack();
    assert_eq!(origin(&alice), first);
    alice.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    alice.ack();
    let second = origin(&alice);
    assert_ne!(second, first);
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (fields(&first), fields(&second));
    assert_eq!(first[1], second[1]);
    assert_eq!(first[2].parse::<u64>().unwrap() + 1, second[2].parse::<u64>().unwrap());
    alice.bye();
    world.finish();
}

/// Alice was told PCMU with early media, Bob answers with PCMA and is asked to follow; meanwhile Alice
/// asks for PCMA.
fn crossing() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress_with(183, sdp("pcmu te"));
    bob.answer_with(sdp("pcma te"));
    alice.ack();
    assert!(bob.last("re-INVITE").to_string().contains("PCMU"));
    alice.reinvite(sdp("pcma te"));
    assert_eq!(alice.status(), 200);
    alice.ack();
    (world, alice, bob)
}

#[test]
fn who_follows_a_leg_that_changes_meanwhile_is_asked_again() {
    let (world, alice, bob) = crossing();
    bob.answer();
    assert!(alice.in_call() && bob.in_call());
    assert!(bob.last("re-INVITE").to_string().contains("PCMA"), "Alice has moved on");
    bob.answer();
    world.advance(1000);
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("alignment_crosses_reinvite");
}

#[test]
fn a_change_that_is_refused_and_no_longer_needed_ends_nothing() {
    let (world, alice, bob) = crossing();
    bob.respond(488);
    world.advance(1000);
    assert!(alice.in_call() && bob.in_call(), "both talk PCMA");
    assert_eq!(bob.got("re-INVITE").len(), 1);
    alice.bye();
    world.check("alignment_refused_but_not_needed");
}

/// RFC 4028 §7.4, RFC 3261 §14.1: what was refused is not said again when the session is refreshed.
#[test]
fn a_refresh_after_a_refused_change_says_what_stands() {
    let (world, alice, bob) = crossing();
    let refused = bob.last("re-INVITE").to_string();
    bob.respond(488);
    world.advance(900_000);
    let refresh = bob.last("re-INVITE").to_string();
    assert!(!refused.contains("PCMA") && refresh.contains("PCMA"), "they talk PCMA: {refresh}");
    alice.answer();
    bob.answer();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}

/// RFC 3261 §9.1: a change that is begun and never finished counts as refused.
#[test]
fn a_change_that_stalls_and_is_no_longer_needed_ends_nothing() {
    let (world, alice, bob) = crossing();
    bob.respond(100);
    world.advance(20_000);
    bob.respond(180);
    world.advance(31_000);
    assert_eq!(bob.got("CANCEL").len(), 0, "it is at it");
    world.advance(1000);
    assert_eq!(bob.got("CANCEL").len(), 1);
    assert!(alice.in_call() && bob.in_call(), "both talk PCMA");
    bob.reinvite(sdp("pcma te").direction(Direction::SendOnly));
    assert_eq!(bob.status(), 200, "and it can be changed again");
    bob.ack();
    alice.bye();
    world.finish();
}

#[test]
fn a_change_that_is_refused_and_needed_ends_the_call() {
    let (world, alice, bob) = talking();
    alice.reinvite(sdp("pcma te"));
    alice.ack();
    bob.respond(488);
    assert!(!alice.in_call() && !bob.in_call());
    world.check("alignment_refused");
}
