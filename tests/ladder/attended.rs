//! Attended transfers (RFC 3515 with RFC 3891 in the Refer-To).

use dialtone_core::event::TransferOutcome;
use dialtone_core::media::MediaCommand;
use dialtone_core::{Cause, Direction};
use dialtone_signaling::message::Message;

use super::calls::connect;
use super::support::{Phone, World, description, sdp};
use super::transfers::{outcomes, relayed};

/// 1002 talks with 1001 on one line, and on hold of that, with 1003 on another.
struct Consulting {
    world: World,
    alice: Phone,
    bob: Phone,
    /// Another line of Bob's phone.
    bob2: Phone,
    carol: Phone,
}

fn consulting() -> Consulting {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    let bob2 = world.phone("1002");
    connect(&world, &alice, &bob, "1002");
    bob.reinvite(sdp("pcmu pcma te").direction(Direction::SendOnly));
    bob.ack();
    connect(&world, &bob2, &carol, "1003");
    Consulting { world, alice, bob, bob2, carol }
}

/// A leg was asked to move where the other one is heard, and does.
fn moves(phone: &Phone) {
    assert!(phone.is_asked(), "the calls are heard by different workers");
    phone.answer();
}

fn conversations(world: &World) -> Vec<String> {
    world.cdrs().iter().map(|cdr| cdr.conversation.to_string()).collect()
}

/// RFC 5589 §7: the target is connected with the transferee, and both calls are one conversation.
#[test]
fn two_calls_become_one() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    assert_eq!(bob.status(), 202);
    assert!(!bob2.in_call(), "its place is taken");
    assert_eq!(bob.told(), ["100 active"]);
    moves(&carol);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call() && carol.in_call());
    bob.bye();
    world.advance(5000);
    assert_eq!(alice.got("re-INVITE").len(), 0);
    alice.bye();
    assert!(!carol.in_call());
    world.check("attended");
    let cdrs = world.cdrs();
    assert_eq!((cdrs.len(), cdrs[0].merged_into), (2, Some(cdrs[1].call)));
    assert_eq!(cdrs[0].conversation, cdrs[1].conversation);
    assert!(cdrs[1].call < cdrs[0].call, "the older one goes on");
}

/// The REFER may come on either call, and the older one need not be the one on which it came.
#[test]
fn the_newer_call_is_handed_to_the_older() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob2.refer_to_line(&bob);
    assert_eq!(bob2.status(), 202);
    assert!(!bob.in_call());
    moves(&alice);
    assert_eq!(bob2.told(), ["100 active", "200 terminated"]);
    bob2.bye();
    carol.bye();
    assert!(!alice.in_call());
    world.check("attended_newer_to_older");
    let cdrs = world.cdrs();
    assert!(cdrs[1].call < cdrs[0].call && cdrs[0].merged_into == Some(cdrs[1].call));
}

#[test]
fn a_phone_that_will_not_move_lets_the_other_one() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(488);
    moves(&alice);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call() && carol.in_call());
    bob.bye();
    alice.bye();
    world.check("attended_other_moves");
}

/// RFC 4028 §7.4, RFC 3261 §14.1, RFC 3264 §8: a refused change leaves the session as it was, so that a refresh
/// says what was agreed before, under a version that was not used.
#[test]
fn a_refresh_after_a_refused_move_says_what_stands() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(488);
    moves(&alice);
    bob.bye();
    let (first, refused) = (carol.last("INVITE"), carol.last("re-INVITE"));
    world.advance(900_000);
    let refresh = carol.last("re-INVITE");
    assert_eq!(description(refresh.body()), description(first.body()), "the port that it is heard at");
    assert_ne!(description(refresh.body()), description(refused.body()));
    let version =
        |message: &Message| String::from_utf8_lossy(message.body()).split(' ').nth(2).map(str::to_owned);
    let versions = [&first, &refused, &refresh].map(version);
    assert_eq!(versions.map(Option::unwrap), ["1", "2", "3"]);
    carol.answer();
    alice.answer();
    world.advance(900_000);
    assert_eq!(carol.last("re-INVITE").body(), refresh.body());
    carol.answer();
    alice.answer();
    assert!(alice.in_call() && carol.in_call());
    alice.bye();
    world.check("attended_refreshed");
}

/// RFC 3261 §9.1, §14.1: a re-INVITE that is begun and never finished is cancelled, and counts as refused.
#[test]
fn a_phone_that_begins_to_move_and_stalls_lets_the_other_one() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(100);
    world.advance(31_900);
    assert_eq!((carol.got("CANCEL").len(), alice.got("re-INVITE").len()), (0, 0));
    world.advance(200);
    assert_eq!(carol.got("CANCEL").len(), 1);
    moves(&alice);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call() && carol.in_call());
    bob.bye();
    alice.bye();
    world.check("attended_stalls");
}

/// RFC 3261 §9.1: a 200 may cross the CANCEL, and then counts.
#[test]
fn a_phone_that_moves_while_that_is_cancelled_has_moved() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(100);
    carol.manual();
    world.advance(32_000);
    assert_eq!(carol.got("CANCEL").len(), 1);
    carol.reply("CANCEL", 200, |_| {});
    carol.automatic();
    moves(&carol);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call() && carol.in_call());
    bob.bye();
    carol.bye();
    assert!(!alice.in_call());
    world.check("attended_moves_late");
}

/// RFC 3261 §9.1: who answers nothing any more is given up, and the transferor has its call back.
#[test]
fn a_phone_that_begins_to_move_and_is_gone_returns_the_call() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(100);
    carol.manual();
    world.advance(41_000);
    assert_eq!(bob.told(), ["100 active", "504 terminated"]);
    assert!(alice.in_call() && bob.in_call() && relayed(&world));
    assert_eq!((carol.got("BYE").is_empty(), alice.got("re-INVITE").len()), (false, 0));
    world.advance(60_000);
    assert!(alice.in_call() && bob.in_call());
    bob.bye();
    world.check("attended_gone");
}

/// RFC 3261 §9.1: the same of the transferee, who is with the transferor again once its re-INVITE is over.
#[test]
fn a_transferee_that_begins_to_move_and_is_gone() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(488);
    alice.respond(100);
    alice.manual();
    world.advance(41_000);
    assert_eq!(bob.told(), ["100 active", "504 terminated"]);
    assert!(!carol.in_call() && !relayed(&world));
    world.advance(25_000);
    assert!(bob.in_call() && relayed(&world));
    alice.automatic();
    bob.bye();
    assert!(!alice.in_call());
    world.finish();
}

/// RFC 3264 §4, RFC 6337 §2: an offer waits until the refresh that is under way is over, and the answer to
/// that one is not its answer.
#[test]
fn a_move_waits_for_a_refresh() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    world.advance(900_000);
    for phone in [&alice, &bob, &bob2] {
        phone.answer();
    }
    bob.refer_to_line(&bob2);
    let refresh = carol.last("re-INVITE");
    carol.answer();
    assert_eq!(bob.told(), ["100 active"], "it has not been asked");
    assert!(carol.is_asked(), "now it is");
    assert_ne!(description(carol.last("re-INVITE").body()), description(refresh.body()));
    carol.respond(488);
    moves(&alice);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call() && carol.in_call());
    bob.bye();
    alice.bye();
    world.check("attended_waits_for_refresh");
}

/// RFC 3261 §14.2, RFC 3264 §4: while an offer of ours waits for its next try, nobody is made another one.
#[test]
fn a_move_that_waits_leaves_no_room_for_another_offer() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.respond(491);
    carol.reinvite_without_offer();
    assert_eq!(carol.status(), 491);
    assert_eq!(bob.told(), ["100 active"]);
    world.advance(4000);
    moves(&carol);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    assert!(relayed(&world) && alice.in_call());
    carol.reinvite_without_offer();
    assert_eq!(carol.status(), 200, "now there is");
    carol.ack_with(sdp("pcmu pcma te"));
    bob.bye();
    carol.bye();
    world.check("attended_no_second_offer");
}

#[test]
fn when_neither_moves_the_transferor_has_its_call_back() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    for _ in 0..2 {
        carol.respond(488);
        alice.respond(488);
    }
    assert_eq!(bob.told(), ["100 active", "488 terminated"]);
    assert!(alice.in_call() && bob.in_call() && relayed(&world) && !carol.in_call());
    alice.bye();
    world.check("attended_nobody_moves");
}

#[test]
fn a_target_that_hangs_up_meanwhile_returns_the_call() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    carol.bye();
    assert_eq!(bob.told().len(), 2);
    assert!(alice.in_call() && bob.in_call() && relayed(&world));
    bob.bye();
    world.check("attended_target_gone");
}

#[test]
fn the_transferee_hangs_up_meanwhile() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    alice.bye();
    assert_eq!(bob.told(), ["100 active", "487 terminated"]);
    assert!(!bob.in_call() && !carol.in_call());
    world.finish();
    assert_eq!(outcomes(&world), [(TransferOutcome::Abandoned, Cause::NormalClearing)]);
}

#[test]
fn both_byes_cross_the_refer() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    bob.refer_to_line(&bob2);
    bob.bye();
    world.advance(200);
    moves(&carol);
    assert_eq!(bob.told(), ["100 active", "200 terminated"], "RFC 5057 §4");
    assert!(relayed(&world));
    carol.bye();
    assert!(!alice.in_call());
    world.check("attended_transferor_gone");
}

/// Before the target has answered: the transferee waits for it (RFC 5589 §7.6).
#[test]
fn the_target_still_rings() {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    let bob2 = world.phone("1002");
    connect(&world, &alice, &bob, "1002");
    bob2.invite("1003");
    carol.ring();
    world.advance(1000);
    bob.refer_to_line(&bob2);
    assert_eq!(bob2.status(), 480, "its place is taken");
    assert_eq!(bob.told(), ["100 active", "180 active"]);
    world.advance(1000);
    carol.answer();
    moves(&alice);
    assert_eq!(bob.told().last().unwrap(), "200 terminated");
    bob.bye();
    assert!(alice.in_call() && carol.in_call() && relayed(&world));
    alice.bye();
    world.check("attended_ringing");
}

#[test]
fn the_target_rings_and_declines() {
    let world = World::new();
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    let bob2 = world.phone("1002");
    connect(&world, &alice, &bob, "1002");
    bob2.invite("1003");
    carol.ring();
    bob.refer_to_line(&bob2);
    carol.respond(603);
    assert_eq!(bob.told().last().unwrap(), "603 terminated");
    assert!(alice.in_call() && bob.in_call() && relayed(&world));
    bob.bye();
    world.check("attended_ringing_declined");
}

/// Our answer has not reached the transferor's line, and reaches it no more: the flow goes on with who is put through.
#[test]
fn the_target_is_a_flow_that_is_being_answered() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let bob2 = world.phone("1002");
    connect(&world, &alice, &bob, "1002");
    bob2.invite("*43");
    bob.refer_to_line(&bob2);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    bob.bye();
    world.advance(70_000);
    let Some(MediaCommand::Bridge { kind, .. }) = world.last_bridge() else { panic!("a feed") };
    assert!(format!("{kind:?}").contains("Echo") && alice.in_call(), "{kind:?}");
    alice.bye();
    world.finish();
    assert!(world.cdrs().iter().any(|cdr| cdr.dialed == "*43" && cdr.answered.is_some()));
}

/// The call of a flow goes on, as the flow is known by it; the conversation is the older one all the same.
#[test]
fn the_target_is_a_flow() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let bob2 = world.phone("1002");
    connect(&world, &alice, &bob, "1002");
    bob2.invite("*44");
    bob2.ack();
    world.advance(500);
    bob.refer_to_line(&bob2);
    assert_eq!(bob.told(), ["100 active", "200 terminated"]);
    let Some(MediaCommand::Bridge { kind, .. }) = world.last_bridge() else { panic!("a feed") };
    assert!(format!("{kind:?}").contains("1004"), "{kind:?}");
    bob.bye();
    world.advance(1000);
    alice.bye();
    world.check("attended_flow");
    let ids = conversations(&world);
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    assert!(world.cdrs()[1].call > world.cdrs()[0].call);
}

/// Nobody hands over another one's call.
#[test]
fn the_second_call_must_be_ones_own() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    alice.refer_to_line(&bob2);
    assert_eq!(alice.status(), 403);
    bob.refer_to_line(&bob);
    assert_eq!(bob.status(), 603, "nor a call to itself");
    assert!(alice.in_call() && bob.in_call() && bob2.in_call() && carol.in_call());
    alice.bye();
    carol.bye();
    world.finish();
    assert_eq!(outcomes(&world), []);
}

#[test]
fn a_call_that_is_being_transferred_is_no_target() {
    let Consulting { world, alice, bob, bob2, carol } = consulting();
    let dora = world.registered("1004");
    bob2.refer("1004");
    bob.refer_to_line(&bob2);
    assert_eq!(bob.status(), 491);
    dora.respond(486);
    assert!(bob2.in_call() && carol.in_call());
    bob.refer_to_line(&bob2);
    moves(&carol);
    bob.bye();
    assert!(alice.in_call() && carol.in_call());
    carol.bye();
    world.finish();
}
