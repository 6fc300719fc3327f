//! What a target says that was given up for the next one: RFC 3263 §4.3.

use dialtone_signaling::message::Name;
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::Transport;

use super::support::{Phone, World};

/// 1001 has called a name; its first server has said nothing for four seconds, and the second is asked.
fn given_up() -> (World, [Phone; 3]) {
    let reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() };
    let world = World::with(|options| options.reach = reach);
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    bob.register_with(|request| {
        request.headers.set(Name::Contact, "<sip:1002@phones.example;transport=udp>");
    });
    let slow = world.phone_at("1002", Transport::Udp, "10.0.0.21:5060");
    let live = world.phone_at("1002", Transport::Udp, "10.0.0.22:5062");
    world.srv("_sip._udp.phones.example", 10, "a.phones.example", "10.0.0.21:5060");
    world.srv("_sip._udp.phones.example", 20, "b.phones.example", "10.0.0.22:5062");
    alice.invite("1002");
    world.advance(4000);
    assert!(slow.is_asked() && live.is_asked());
    (world, [alice, slow, live])
}

/// The second server answers, they talk, and the caller ends it.
fn talks(world: &World, alice: &Phone, live: &Phone) {
    live.answer();
    alice.ack();
    world.advance(1000);
    alice.bye();
    assert_eq!(live.got("BYE").len(), 1);
}

/// RFC 3261 §9.1: one that starts to ring late is cancelled, once, and its refusal acknowledged.
#[test]
fn a_late_180_is_cancelled() {
    let (world, [alice, slow, live]) = given_up();
    slow.loses("CANCEL", 1);
    slow.ring();
    slow.ring();
    assert_eq!((slow.got("CANCEL").len(), slow.got("ACK").len()), (0, 0));
    world.advance(500);
    assert_eq!((slow.got("CANCEL").len(), slow.got("ACK").len()), (1, 1));
    assert_eq!(
        (alice.got("180").len(), live.got("CANCEL").len()),
        (0, 0),
        "it is not the phone that is called"
    );
    talks(&world, &alice, &live);
    assert_eq!(slow.got("BYE").len(), 0);
    world.check("late_180");
}

/// RFC 3261 §17.1.1.3: a late refusal is acknowledged, each time, and refuses nothing.
#[test]
fn a_late_refusal_is_acknowledged() {
    let (world, [alice, slow, live]) = given_up();
    slow.respond(486);
    assert_eq!(slow.got("ACK").len(), 1);
    assert!(live.is_asked() && alice.status() == 100);
    talks(&world, &alice, &live);
    world.check("late_486");
}

/// RFC 3261 §13.2.2.4: a late 200 has made a call, which is acknowledged and ended at once.
#[test]
fn a_late_200_is_acknowledged_and_ended() {
    let (world, [alice, slow, live]) = given_up();
    slow.loses("BYE", 1);
    slow.answer();
    slow.repeat();
    assert_eq!((slow.got("ACK").len(), slow.got("BYE").len()), (2, 0), "each is acknowledged");
    world.advance(500);
    assert_eq!(slow.got("BYE").len(), 1, "the BYE once, and again because it was lost");
    assert!(live.is_asked() && alice.status() == 100);
    talks(&world, &alice, &live);
    world.check("late_200");
}

/// The same, when the call is over before.
#[test]
fn a_200_after_the_call_is_acknowledged_and_ended() {
    let (world, [alice, slow, live]) = given_up();
    live.ring();
    alice.cancel();
    slow.answer();
    assert_eq!((slow.got("ACK").len(), slow.got("BYE").len()), (1, 1));
    world.advance(70_000);
    assert_eq!(world.counts().stack.transactions, 0, "it is not remembered for ever");
    world.finish();
}

/// RFC 3263 §4.3: a target that answers is no longer one that failed.
#[test]
fn a_target_that_works_again_comes_first() {
    let (world, [alice, slow, live]) = given_up();
    world.send_failed();
    assert_eq!(alice.status(), 502, "both have failed");
    alice.invite("1002");
    assert_eq!(live.got("INVITE").len(), 1, "it comes last");
    world.advance(4000);
    live.respond(486);
    let asked = slow.got("INVITE").len();
    alice.invite("1002");
    assert_eq!((slow.got("INVITE").len(), live.got("INVITE").len()), (asked, 3), "it comes first");
    live.respond(486);
    world.finish();
}
