//! Transfers that fail, are refused or given up: the call returns to the transferor (RFC 3515 §2.4).

use dialtone_core::command::Command;
use dialtone_core::event::TransferOutcome;
use dialtone_core::media::Feed;
use dialtone_core::{Cause, Direction};
use dialtone_signaling::message::{Method, Name};

use super::calls::connect;
use super::support::{World, sdp};
use super::transfers::{heard, outcomes, relayed, three};

/// RFC 3515 §2.4.4: the final NOTIFY says why; the call is as before.
#[test]
fn a_busy_target_returns_the_call() {
    let (world, alice, bob, carol) = three();
    alice.refer("1003");
    carol.ring();
    world.advance(500);
    carol.respond(486);
    assert_eq!(alice.told(), ["100 active", "180 active", "486 terminated"]);
    assert!(relayed(&world) && alice.in_call() && bob.in_call());
    assert_eq!(outcomes(&world), [(TransferOutcome::Busy, Cause::UserBusy)]);
    world.advance(10_000);
    bob.bye();
    world.check("transfer_blind_busy");
}

#[test]
fn numbers_that_lead_nowhere_return_the_call() {
    let (world, alice, bob, _carol) = three();
    for (number, status) in [("4711", "404 terminated"), ("1004", "480 terminated")] {
        bob.refer(number);
        assert_eq!(bob.status(), 202, "{number}");
        assert_eq!(bob.told().last().unwrap(), status);
        assert!(relayed(&world) && alice.in_call() && bob.in_call());
    }
    // RFC 3515 §2.4.6: the second one of a dialog has a name.
    assert_eq!(bob.header("NOTIFY", Name::Event), "refer;id=102");
    alice.bye();
    assert!(!bob.in_call());
    world.check("transfer_blind_nowhere");
}

#[test]
fn nobody_answers_and_the_call_returns() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    carol.ring();
    world.advance(30_000);
    assert_eq!(bob.told(), ["100 active", "180 active", "480 terminated"]);
    assert_eq!(carol.got("CANCEL").len(), 1);
    assert!(relayed(&world) && alice.in_call() && bob.in_call());
    assert_eq!(outcomes(&world), [(TransferOutcome::NoAnswer, Cause::NoAnswer)]);
    alice.bye();
    world.check("transfer_blind_no_answer");
}

#[test]
fn a_target_that_fails_rings_a_transferor_that_has_hung_up() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    bob.bye();
    carol.ring();
    carol.respond(603);
    assert!(bob.is_asked(), "it is called again");
    assert_eq!(bob.address_of("INVITE", Name::From).uri.user_decoded().unwrap(), "1001");
    bob.ring();
    assert_eq!(heard(&world), Some(Feed::Ringback));
    bob.answer();
    assert!(relayed(&world) && alice.in_call() && bob.in_call());
    assert_eq!(outcomes(&world), [(TransferOutcome::Busy, Cause::CallRejected)]);
    alice.bye();
    world.check("transfer_blind_recall");
}

#[test]
fn when_nobody_can_be_had_the_call_ends_and_says_so() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    bob.bye();
    carol.respond(486);
    bob.ring();
    world.advance(30_000);
    assert_eq!(
        alice.header("BYE", Name::Reason),
        "Q.850;cause=19;text=\"No answer from user (user alerted)\""
    );
    assert!(!alice.in_call());
    assert_eq!(bob.got("CANCEL").len(), 1);
    world.check("transfer_blind_recall_unanswered");
}

#[test]
fn the_transferee_hangs_up_while_the_target_rings() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    carol.ring();
    alice.bye();
    assert_eq!(carol.got("CANCEL").len(), 1);
    assert_eq!(bob.told(), ["100 active", "180 active", "487 terminated"]);
    assert!(!bob.in_call());
    assert_eq!(outcomes(&world), [(TransferOutcome::Abandoned, Cause::NormalClearing)]);
    world.check("transfer_blind_transferee_gone");
}

#[test]
fn everything_ends_on_command() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    carol.ring();
    world.command(Command::HangUpAll { cause: Cause::NormalClearing });
    world.advance(1);
    assert!(!alice.in_call() && !bob.in_call());
    assert_eq!(carol.got("CANCEL").len(), 1);
    assert_eq!(bob.told().last().unwrap(), "487 terminated");
    world.finish();
}

#[test]
fn a_call_that_returns_is_on_hold_still() {
    let (world, alice, bob, carol) = three();
    bob.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    bob.ack();
    bob.refer("1003");
    carol.respond(486);
    assert!(relayed(&world));
    bob.reinvite(sdp("pcmu pcma te"));
    bob.ack();
    assert!(bob.last("200").to_string().contains("a=sendrecv"));
    bob.bye();
    assert!(!alice.in_call());
    world.finish();
}

#[test]
fn when_neither_follows_the_call_returns() {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    alice.speaks("g722 pcmu te");
    bob.speaks("g722 pcmu te");
    connect(&world, &alice, &bob, "1002");
    carol.speaks("pcmu te");
    bob.refer("1003");
    carol.answer();
    alice.respond(488);
    carol.respond(488);
    alice.respond(488);
    carol.respond(488);
    assert_eq!(bob.told().last().unwrap(), "488 terminated");
    assert!(alice.in_call() && bob.in_call() && !carol.in_call() && relayed(&world));
    bob.bye();
    world.check("transfer_incompatible");
}

#[test]
fn the_target_hangs_up_before_both_fit() {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    alice.speaks("g722 pcmu te");
    bob.speaks("g722 pcmu te");
    connect(&world, &alice, &bob, "1002");
    carol.speaks("pcmu te");
    bob.refer("1003");
    carol.answer();
    carol.bye();
    assert_eq!(bob.told().len(), 2);
    assert!(alice.in_call() && bob.in_call());
    // The answer to what is no longer needed: now the other one must follow, or the first once more.
    alice.answer();
    world.advance(1000);
    if bob.is_asked() {
        bob.answer();
    }
    assert!(alice.in_call() && bob.in_call() && relayed(&world));
    bob.bye();
    world.finish();
}

/// RFC 3515 §2.4: what is no dialog any more cannot be handed over.
#[test]
fn a_refer_that_crosses_a_bye() {
    let (world, alice, bob, _carol) = three();
    bob.manual();
    alice.bye();
    bob.refer("1003");
    assert_eq!(bob.status(), 481);
    bob.automatic();
    world.check("transfer_crosses_bye");
}

#[test]
fn a_flow_is_handed_to_nobody() {
    let world = World::new();
    let (alice, _carol) = (world.registered("1001"), world.registered("1003"));
    alice.invite("*43");
    alice.ack();
    alice.refer("1003");
    assert_eq!(alice.status(), 603);
    alice.bye();
    world.finish();
}

/// RFC 3515 §2.4.2: one Refer-To. RFC 3892 §3: one Referred-By. RFC 5057 §5.1: no refusal that ends the dialog.
#[test]
fn what_cannot_be_asked_is_refused_and_the_call_goes_on() {
    let (world, alice, bob, _carol) = three();
    for (refer_to, status) in [
        ("<sip:1003@pbx.example>, <sip:1004@pbx.example>", 400),
        ("sip:1003@@", 400),
        ("<sip:1003@elsewhere.example>", 603),
        ("<sip:1003@10.0.0.1:5070>", 603),
        ("<sip:pbx.example>", 603),
        ("<http://pbx.example/1003>", 603),
        ("<sip:1003@pbx.example;method=SUBSCRIBE>", 603),
        ("<sip:1003@pbx.example?Replaces=nonsense>", 400),
        ("<sip:1003@pbx.example?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>", 603),
    ] {
        bob.refer_with(refer_to, |_| {});
        assert_eq!(bob.status(), status, "{refer_to}");
    }
    bob.refer_with("", |request| {
        request.headers.remove(&Name::ReferTo);
    });
    assert_eq!(bob.status(), 400);
    bob.refer_with("<sip:1003@pbx.example>", |request| {
        request.headers.push(Name::ReferredBy, "<sip:1@a>, <sip:2@a>");
    });
    assert_eq!(bob.status(), 400);
    alice.request_with(Method::Refer, "1002", |request| request.headers.push(Name::ReferTo, "<sip:1003@a>"));
    assert_eq!(alice.status(), 403, "outside of a call");
    assert!(alice.in_call() && bob.in_call());
    assert_eq!((bob.got("NOTIFY").len(), outcomes(&world).len()), (0, 0));
    alice.bye();
    world.finish();
}
