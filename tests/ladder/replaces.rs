//! Calls that take the place of a leg: RFC 3891.

use dialtone_core::event::Fact;
use dialtone_signaling::message::{Name, Request};

use super::calls::connect;
use super::support::{World, sdp};
use super::transfers::relayed;

/// RFC 3891 §3: the new call takes the place of the one that it names, and that one ends.
#[test]
fn an_invite_takes_the_place_of_a_leg() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let desk = world.registered("1002");
    connect(&world, &alice, &bob, "1002");
    let (_, replaces) = bob.replaces();
    desk.invite_with("1001", |invite| {
        invite.headers.push(Name::Replaces, replaces);
        invite.headers.push(Name::Require, "replaces");
    });
    assert_eq!(desk.status(), 200);
    desk.ack();
    assert!(!bob.in_call() && alice.in_call() && relayed(&world));
    world.advance(1000);
    desk.bye();
    assert!(!alice.in_call());
    world.check("replaces");
    let replaced = |fact: &Fact| matches!(fact, Fact::LegReplaced { .. });
    assert_eq!(world.facts().iter().filter(|fact| replaced(fact)).count(), 1);
    assert_eq!(world.cdrs().len(), 1, "it is the same call");
}

#[test]
fn an_invite_without_offer_takes_the_place_of_a_leg() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let desk = world.registered("1001");
    connect(&world, &alice, &bob, "1002");
    let (_, replaces) = alice.replaces();
    desk.invite_with("1002", |invite| {
        invite.headers.remove(&Name::ContentType);
        invite.body = Default::default();
        invite.headers.push(Name::Replaces, replaces);
    });
    assert!(!alice.in_call());
    desk.ack_with(sdp("pcmu te"));
    assert!(bob.in_call() && relayed(&world));
    bob.bye();
    assert!(!desk.in_call());
    world.check("replaces_without_offer");
}

/// RFC 3891 §3: an early dialog that we began can be taken over: the call that rings here is answered there.
#[test]
fn an_invite_takes_the_place_of_a_leg_that_rings() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let (desk, other) = (world.registered("1003"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    other.ring();
    let (_, replaces) = bob.replaces();
    desk.invite_with("1002", |invite| {
        invite.headers.push(Name::Replaces, format!("{replaces};early-only"));
        invite.headers.push(Name::Require, "replaces");
    });
    assert_eq!(desk.status(), 200);
    desk.ack();
    assert_eq!((bob.got("CANCEL").len(), other.got("CANCEL").len()), (1, 1));
    alice.ack();
    assert!(alice.in_call() && relayed(&world));
    world.advance(1000);
    desk.bye();
    assert!(!alice.in_call());
    world.check("replaces_early");
    let cdrs = world.cdrs();
    assert_eq!(cdrs.len(), 1, "it is the same call");
    assert_eq!(cdrs[0].answered_by.as_deref(), Some("1003"));
}

/// The same without offers on either side, and while the caller of a group hears our tone.
#[test]
fn a_call_that_rings_is_taken_without_an_offer() {
    let world = World::new();
    let (alice, bob, desk) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    let without_offer = |invite: &mut Request| {
        invite.headers.remove(&Name::ContentType);
        invite.body = Default::default();
    };
    for (dialed, offers) in [("1002", true), ("1002", false), ("500", true)] {
        alice.invite_with(dialed, |invite| {
            if !offers {
                without_offer(invite)
            }
        });
        bob.ring();
        let (_, replaces) = bob.replaces();
        desk.invite_with("1002", |invite| {
            without_offer(invite);
            invite.headers.push(Name::Replaces, replaces);
        });
        assert_eq!(desk.status(), 200);
        desk.ack_with(sdp("pcmu te"));
        if offers {
            alice.ack()
        } else {
            alice.ack_with(sdp("pcmu te"))
        }
        assert!(alice.in_call() && relayed(&world), "{dialed} {offers}");
        alice.bye();
        assert!(!desk.in_call());
    }
    world.finish();
}

/// Who cannot speak with the caller does not take the call, and it rings on.
#[test]
fn who_cannot_take_a_call_that_rings_leaves_it_ringing() {
    let world = World::new();
    let (alice, bob, desk) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    alice.speaks("pcmu");
    alice.invite("1002");
    bob.ring();
    let (_, replaces) = bob.replaces();
    desk.speaks("g722");
    desk.invite_with("1002", |invite| invite.headers.push(Name::Replaces, replaces));
    assert_eq!((desk.status(), bob.got("CANCEL").len()), (488, 0));
    bob.answer();
    alice.ack();
    assert!(relayed(&world));
    bob.bye();
    world.finish();
}

/// RFC 3891 §3, §8: who may not take a call does not, though it knows the dialog: one that rings is for its pickup
/// group, and one that was answered for the extension that answered it.
#[test]
fn a_call_of_others_is_not_taken() {
    let world = World::new();
    let [alice, bob] = ["1001", "1002"].map(|number| world.registered(number));
    let takes = |number: &str, replaces: String| {
        let phone = world.phone(number);
        phone.invite_with("1002", |invite| invite.headers.push(Name::Replaces, replaces));
        phone.status()
    };
    alice.invite("1002");
    bob.ring();
    assert_eq!(takes("1004", bob.replaces().1), 403);
    bob.answer();
    alice.ack();
    assert_eq!(takes("1003", bob.replaces().1), 403);
    assert_eq!(takes("1003", alice.replaces().1), 403);
    assert!(alice.in_call() && bob.in_call());
    bob.bye();
    world.finish();
    assert_eq!(world.cdrs().len(), 1, "what is refused is no call");
}

/// RFC 3891 §3: no match 481, confirmed and early-only 486, an early dialog of somebody else's making 481,
/// malformed or two of them 400.
#[test]
fn what_replaces_nothing_is_refused() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    let desk = world.phone("1002");
    let asks = |value: &str| {
        desk.invite_with("1001", |invite| invite.headers.push(Name::Replaces, value));
        desk.status()
    };
    alice.invite("1002");
    bob.ring();
    assert_eq!(asks(&alice.replaces().1), 481, "we did not begin that dialog");
    bob.answer();
    alice.ack();
    let (_, replaces) = bob.replaces();
    assert_eq!(asks(&format!("{replaces};early-only")), 486);
    assert_eq!(asks("a@b;to-tag=1;from-tag=2"), 481);
    assert_eq!(asks("a@b;to-tag=1"), 400);
    assert_eq!(asks(&format!("{replaces}x")), 481);
    desk.invite_with("1001", |invite| {
        invite.headers.push(Name::Replaces, replaces.clone());
        invite.headers.push(Name::Join, replaces.clone());
    });
    assert_eq!(desk.status(), 400);
    desk.speaks("g722");
    assert_eq!(asks(&replaces), 488);
    desk.untrusted();
    assert_eq!(asks(&replaces), 401);
    assert!(alice.in_call() && bob.in_call());
    bob.bye();
    assert_eq!(asks(&replaces), 401);
    desk.trusted();
    assert_eq!(asks(&replaces), 481);
    world.finish();
    assert_eq!(world.cdrs().len(), 1, "what is refused is no call");
}
