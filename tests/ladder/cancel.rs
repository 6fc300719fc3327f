//! The caller gives up: RFC 3261 §9, whatever has come from the callee.

use dialtone_signaling::message::{Method, Name};

use super::calls::talking;
use super::support::{Phone, World};

fn calling() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    world.advance(100);
    (world, alice, bob)
}

#[test]
fn a_ringing_phone_is_cancelled() {
    let (world, alice, bob) = calling();
    bob.ring();
    world.advance(3000);
    alice.cancel();
    assert_eq!(alice.status(), 487);
    let (to_cancel, to_invite) = (alice.address_of("200 OK", Name::To), alice.address_of("487", Name::To));
    assert_eq!(to_cancel.tag(), to_invite.tag(), "one tag for both answers (RFC 3261 §9.2)");
    assert_eq!(bob.header("CANCEL", Name::Reason), "Q.850;cause=16;text=\"Normal call clearing\"");
    world.check("cancel");
}

#[test]
fn a_cancel_that_crosses_the_200_is_followed_by_ack_and_bye() {
    let (world, alice, bob) = calling();
    bob.ring();
    bob.manual();
    alice.cancel();
    assert_eq!(bob.got("CANCEL").len(), 1);
    bob.automatic();
    bob.answer();
    assert_eq!((bob.got("ACK").len(), bob.got("BYE").len()), (1, 1));
    assert_eq!(alice.status(), 487, "the caller knows nothing of it");
    world.check("cancel_crosses_200");
}

#[test]
fn a_100_is_enough_to_cancel() {
    let (world, alice, bob) = calling();
    bob.respond(100);
    alice.cancel();
    assert_eq!(bob.got("CANCEL").len(), 1);
    world.check("cancel_after_100");
}

#[test]
fn a_cancel_waits_for_the_first_sign_of_the_callee() {
    let (world, alice, bob) = calling();
    alice.cancel();
    assert_eq!(bob.got("CANCEL").len(), 0, "RFC 3261 §9.1");
    world.advance(600);
    assert_eq!(bob.got("INVITE").len(), 2, "it may not have come");
    bob.ring();
    assert_eq!(bob.got("CANCEL").len(), 1);
    world.check("cancel_before_anything");
}

#[test]
fn a_cancelled_callee_that_never_said_anything_is_given_up() {
    let (world, alice, bob) = calling();
    alice.cancel();
    world.advance(33_000);
    assert_eq!(bob.got("CANCEL").len(), 0);
    world.check("cancel_into_silence");
}

#[test]
fn a_callee_that_ignores_a_cancel_is_given_up_after_64_t1() {
    let (world, alice, bob) = calling();
    bob.ring();
    bob.manual();
    alice.cancel();
    world.advance(33_000);
    world.check("cancel_ignored");
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let (world, alice, bob) = talking();
    alice.cancel();
    assert_eq!(alice.header("200 OK", Name::CSeq), "1 CANCEL");
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("cancel_after_answer");
}

#[test]
fn a_bye_before_the_answer_ends_the_call_like_a_cancel() {
    let (world, alice, bob) = calling();
    bob.ring();
    alice.bye_early();
    assert_eq!(alice.status(), 487);
    assert_eq!((alice.header("200 OK", Name::CSeq), bob.got("CANCEL").len()), ("2 BYE".into(), 1));
    world.check("bye_in_early_dialog");
}

#[test]
fn a_cancel_of_nothing_is_481() {
    let (world, alice, bob) = calling();
    bob.ring();
    alice.request_with(Method::Cancel, "1002", |_| {});
    assert_eq!(alice.status(), 481);
    assert!(!alice.header("481", Name::To).is_empty());
    bob.answer();
    alice.ack();
    bob.bye();
    world.check("cancel_of_nothing");
}

#[test]
fn every_branch_of_a_group_is_cancelled() {
    let world = World::new();
    let (alma, ben, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    carol.invite("500");
    alma.ring();
    world.advance(500);
    carol.cancel();
    assert_eq!((alma.got("CANCEL").len(), ben.got("CANCEL").len()), (1, 0));
    ben.respond(100);
    assert_eq!(ben.got("CANCEL").len(), 1);
    world.check("cancel_group");
}
