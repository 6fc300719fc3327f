//! Blind transfers: RFC 3515, with RFC 3892, RFC 4488 and what RFC 5057 says of a dialog that two usages share.

use std::time::Duration;

use dialtone_core::event::{Fact, TransferOutcome};
use dialtone_core::media::{BridgeKind, Feed, MediaCommand};
use dialtone_core::{Cause, Direction};
use dialtone_signaling::message::Name;

use super::calls::{connect, talking};
use super::support::{Phone, World, sdp};

/// 1001 talks with 1002, and 1003 can be reached.
pub fn three() -> (World, Phone, Phone, Phone) {
    let (world, alice, bob) = talking();
    let carol = world.registered("1003");
    (world, alice, bob, carol)
}

pub fn outcomes(world: &World) -> Vec<(TransferOutcome, Cause)> {
    let of = |fact: Fact| match fact {
        Fact::TransferEnded { outcome, cause, .. } => Some((outcome, cause)),
        _ => None,
    };
    world.facts().into_iter().filter_map(of).collect()
}

/// Whether the last thing that the engine was told joins two ports.
pub fn relayed(world: &World) -> bool {
    matches!(world.last_bridge(), Some(MediaCommand::Bridge { kind: BridgeKind::Relay { .. }, .. }))
}

pub fn heard(world: &World) -> Option<Feed> {
    match world.last_bridge() {
        Some(MediaCommand::Bridge { kind: BridgeKind::Hold { feed, .. }, .. }) => Some(feed),
        _ => None,
    }
}

/// RFC 3515 §2.4: 202, then how far it is, until the end. RFC 3892 §3: the target learns who transferred.
#[test]
fn the_callee_hands_the_caller_over() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    assert_eq!(bob.status(), 202);
    assert_eq!(carol.header("INVITE", Name::ReferredBy), "\"Ben\" <sip:1002@pbx.example>");
    assert_eq!(carol.address_of("INVITE", Name::From).uri.user_decoded().unwrap(), "1001");
    world.advance(300);
    carol.ring();
    assert_eq!(heard(&world), Some(Feed::Ringback), "the transferee hears that it rings");
    world.advance(1000);
    carol.answer();
    assert!(relayed(&world));
    assert_eq!(bob.told(), ["100 active", "180 active", "200 terminated"]);
    assert_eq!(bob.header("NOTIFY", Name::ContentType), "message/sipfrag;version=2.0");
    assert_eq!(bob.header("NOTIFY", Name::Event), "refer");
    bob.bye();
    world.advance(1000);
    assert!(alice.in_call() && carol.in_call());
    assert_eq!(alice.got("re-INVITE").len(), 0);
    carol.bye();
    world.check("transfer_blind_by_callee");
}

/// RFC 3515 §2.4: either side may ask.
#[test]
fn the_caller_hands_the_callee_over_and_is_hung_up_when_it_stays() {
    let (world, alice, bob, carol) = three();
    alice.refer("1003");
    carol.ring();
    carol.answer();
    world.advance(1999);
    assert!(alice.in_call());
    world.advance(1);
    assert!(!alice.in_call() && bob.in_call() && carol.in_call());
    bob.bye();
    assert!(!carol.in_call());
    world.check("transfer_blind_by_caller");
}

/// RFC 5057 §4: the subscription outlives the BYE of the call.
#[test]
fn a_transferor_that_hangs_up_at_once_is_still_told() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    bob.bye();
    assert_eq!(bob.status(), 200);
    world.advance(500);
    carol.ring();
    carol.answer();
    assert_eq!(bob.told(), ["100 active", "180 active", "200 terminated"]);
    assert!(alice.in_call() && carol.in_call() && relayed(&world));
    alice.bye();
    world.check("transfer_blind_transferor_gone");
}

#[test]
fn to_the_echo_test() {
    let (world, alice, bob, _carol) = three();
    bob.refer("*43");
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert_eq!(heard(&world), Some(Feed::Echo));
    world.advance(2000);
    assert!(!bob.in_call() && alice.in_call());
    alice.bye();
    world.check("transfer_blind_to_flow");
}

#[test]
fn to_a_ring_group() {
    let world = World::new();
    let (carol, dora) = (world.registered("1003"), world.registered("1004"));
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    connect(&world, &carol, &dora, "1004");
    dora.refer("500");
    alice.ring();
    bob.ring();
    world.advance(1000);
    bob.answer();
    assert_eq!(dora.told(), ["100 active", "180 active", "200 terminated"]);
    assert!(carol.in_call() && bob.in_call() && !alice.in_call());
    dora.bye();
    carol.bye();
    world.check("transfer_blind_to_group");
}

/// The ordinary case: phones hold before they transfer. RFC 3264 §8.4: what the other leg is told does not change.
#[test]
fn a_call_on_hold_is_handed_over() {
    let (world, alice, bob, carol) = three();
    bob.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    bob.ack();
    bob.refer("1003");
    carol.answer();
    bob.bye();
    assert!(alice.in_call() && carol.in_call() && relayed(&world));
    alice.bye();
    world.check("transfer_blind_on_hold");
}

#[test]
fn who_was_handed_over_hands_over() {
    let (world, alice, bob, carol) = three();
    let dora = world.registered("1004");
    bob.refer("1003");
    carol.answer();
    // The first transferor has not hung up yet.
    carol.refer("1004");
    assert!(!bob.in_call());
    dora.ring();
    dora.answer();
    carol.bye();
    assert!(alice.in_call() && dora.in_call() && relayed(&world));
    alice.refer("1002");
    bob.answer();
    alice.bye();
    assert!(bob.in_call() && dora.in_call() && relayed(&world));
    dora.bye();
    assert!(!bob.in_call());
    let cdr = world.cdrs();
    world.check("transfer_of_transfer");
    assert!(cdr.len() <= 1, "one call all the time");
    assert_eq!(world.cdrs()[0].transfers.len(), 3);
}

/// RFC 3515 §2.4: both ask at once; the second one is told to come back.
#[test]
fn two_transfers_that_meet() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    alice.refer("1003");
    assert_eq!(alice.status(), 491);
    bob.refer("1004");
    assert_eq!(bob.status(), 491, "one at a time");
    carol.answer();
    bob.bye();
    alice.bye();
    world.check("transfer_glare");
}

#[test]
fn other_spellings_of_our_numbers_are_known() {
    let (world, alice, bob, carol) = three();
    for refer_to in
        ["<tel:1003>", "sip:1003@PBX.example", "<sip:10%303@10.0.0.1>", "<sip:1003@10.0.0.1:5060>"]
    {
        bob.refer_with(refer_to, |_| {});
        assert_eq!(bob.status(), 202, "{refer_to}");
        carol.respond(486);
    }
    alice.bye();
    world.finish();
}

/// RFC 4488 §4: who does not want to be told is not told.
#[test]
fn a_transfer_without_subscription() {
    let (world, alice, bob, carol) = three();
    bob.refer_with("<sip:1003@pbx.example>", |request| {
        request.headers.push(Name::ReferSub, "false");
        request.headers.push(Name::Require, "norefersub");
    });
    assert_eq!(bob.status(), 202);
    assert_eq!(bob.header("202", Name::ReferSub), "false");
    carol.answer();
    assert_eq!(bob.got("NOTIFY").len(), 0);
    bob.bye();
    alice.bye();
    world.check("transfer_norefersub");
}

/// RFC 6665 §4.2.2: a NOTIFY that is refused ends the subscription, and nothing else.
#[test]
fn a_peer_that_does_not_want_to_know() {
    let (world, alice, bob, carol) = three();
    bob.manual();
    bob.refer("1003");
    let notify = bob.last("NOTIFY");
    let dialtone_signaling::message::Message::Request(notify) = notify else { panic!("a request") };
    bob.send(dialtone_signaling::message::Response::to(&notify, 481));
    bob.automatic();
    carol.ring();
    carol.answer();
    assert_eq!(bob.told(), ["100 active"]);
    assert!(bob.in_call() && alice.in_call() && carol.in_call());
    world.advance(2000);
    assert!(!bob.in_call());
    alice.bye();
    world.finish();
}

#[test]
fn nobody_answers_a_notify_and_the_transfer_goes_on() {
    let (world, alice, bob, carol) = three();
    bob.loses("NOTIFY", 100);
    bob.refer("1003");
    carol.ring();
    world.advance(29_000);
    carol.answer();
    bob.bye();
    world.advance(40_000);
    assert!(alice.in_call() && carol.in_call());
    alice.bye();
    world.finish();
}

/// The target cannot follow, so the transferee is asked to. RFC 3264 §8.3.
#[test]
fn the_transferee_changes_its_codec_for_the_target() {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    alice.speaks("g722 pcmu te");
    bob.speaks("g722 pcmu te");
    connect(&world, &alice, &bob, "1002");
    carol.speaks("pcmu te");
    bob.refer("1003");
    carol.answer();
    assert!(!relayed(&world), "not before both fit");
    assert_eq!(bob.told(), ["100 active"]);
    let asked = alice.last("re-INVITE").to_string();
    assert!(asked.contains("PCMU") && !asked.contains("G722"), "{asked}");
    alice.answer();
    assert!(relayed(&world));
    assert_eq!(bob.told().last().unwrap(), "200 terminated");
    alice.bye();
    world.check("transfer_changes_codec");
}

#[test]
fn early_media_of_the_target_is_heard() {
    let (world, alice, bob, carol) = three();
    bob.refer("1003");
    carol.progress();
    assert!(relayed(&world));
    assert_eq!(alice.got("183").len(), 0, "it is answered already");
    carol.respond(486);
    assert!(relayed(&world) && bob.in_call());
    alice.bye();
    world.check("transfer_early_media");
}

#[test]
fn a_silent_transferor_ends_nothing() {
    let (world, alice, bob, carol) = three();
    let Some(MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. }) = world.last_bridge() else {
        panic!("both talk");
    };
    bob.refer("1003");
    let silent = |port| {
        let silence = Duration::from_secs(30);
        world.media(dialtone_core::media::MediaEvent::Silent { port, silence });
    };
    // Who is transferred must be heard; who has transferred need not.
    silent(b);
    assert!(bob.in_call() && carol.is_asked());
    silent(a);
    assert!(!alice.in_call() && !bob.in_call());
    world.finish();
}
