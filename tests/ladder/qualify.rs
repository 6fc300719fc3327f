//! OPTIONS to contacts: RFC 3261 §11.

use std::time::Duration;

use dialtone_core::Fact;
use dialtone_core::event::DeviceState;
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::registrar::ReachPolicy;
use dialtone_signaling::wire::Transport;

use super::support::{World, sample};

const EVERY_MS: u64 = 60_000;

fn asking() -> World {
    asking_every(EVERY_MS)
}

fn asking_every(ms: u64) -> World {
    let qualify = Duration::from_millis(ms);
    World::with(|options| {
        options.reach = ReachPolicy { qualify, ..ReachPolicy::default() };
        options.stack.transactions_max = 10_000;
    })
}

fn reached(world: &World) -> Vec<(bool, Option<u64>)> {
    let reached = |fact: &Fact| match fact {
        Fact::ContactReached { reachable, round_trip_us, .. } => Some((*reachable, *round_trip_us)),
        _ => None,
    };
    world.facts().iter().filter_map(reached).collect()
}

/// Nobody is asked any more, so that the test can end.
fn ends(world: &World) {
    world.apply(sample());
    world.advance(EVERY_MS);
}

/// RFC 3261 §11.1: an OPTIONS at each interval; the time to its answer is the round trip.
#[test]
fn a_contact_is_asked_at_its_interval() {
    let world = asking();
    let bob = world.registered("1002");
    world.advance(EVERY_MS);
    assert_eq!(bob.got("OPTIONS").len(), 1);
    world.advance(EVERY_MS);
    assert_eq!(bob.got("OPTIONS").len(), 2);
    assert_eq!(reached(&world), [(true, Some(0)), (true, Some(0))]);
    ends(&world);
    world.check_wire("qualify");
}

/// RFC 3261 §11: any answer will do.
#[test]
fn a_refusal_is_an_answer() {
    let world = asking();
    let bob = world.registered("1002");
    bob.manual();
    for status in [404, 486, 503] {
        let asked = bob.got("OPTIONS").len();
        while bob.got("OPTIONS").len() == asked {
            world.advance(100);
        }
        let Message::Request(options) = bob.last("OPTIONS") else { panic!("a request") };
        world.advance(20);
        bob.send(dialtone_signaling::message::Response::to(&options, status));
        let (reachable, round_trip) = *reached(&world).last().unwrap();
        assert!(reachable && (20_000..=120_000).contains(&round_trip.unwrap()));
    }
    ends(&world);
    world.finish();
}

/// RFC 3261 §11: silence twice in a row, and the contact is rung only when no other answers.
#[test]
fn a_contact_that_does_not_answer_is_rung_last() {
    let world = asking();
    let (alice, desk, mobile) =
        (world.registered("1001"), world.registered("1002"), world.registered("1002"));
    desk.loses("OPTIONS", 1000);
    world.advance(EVERY_MS + 32_001);
    assert_eq!(world.counts().stack.unreachable, 0, "one may be lost");
    world.advance(40_000);
    assert_eq!(world.counts().stack.unreachable, 1);
    alice.invite("1002");
    assert_eq!((desk.got("INVITE").len(), mobile.got("INVITE").len()), (0, 1));
    alice.cancel();
    mobile.register(0);
    let gone = Fact::DeviceStateChanged { endpoint: "1002".into(), state: DeviceState::Unavailable };
    assert!(world.facts().contains(&gone));
    alice.invite("1002");
    assert_eq!(desk.got("INVITE").len(), 1, "better than nobody");
    alice.cancel();
    // It says by itself that it is there.
    desk.register(3600);
    assert_eq!(world.counts().stack.unreachable, 0);
    ends(&world);
    world.finish();
}

/// RFC 3261 §18.4: a connection on which nobody answers is closed.
#[test]
fn a_connection_on_which_nobody_answers_is_closed() {
    let world = asking();
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40000");
    bob.register_with(|request| request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>"));
    bob.loses("OPTIONS", 1000);
    world.advance(EVERY_MS + 80_000);
    assert_eq!(world.counts().stack.unreachable, 1);
    assert!(world.closed().contains(&100));
    ends(&world);
    world.finish();
}

/// RFC 3261 §17.1.2.2: a question lasts for 32 seconds. That to where a phone was is none to where it is now, and does
/// not become a second one.
#[test]
fn a_contact_that_moves_while_it_is_asked_is_asked_once_at_a_time() {
    let world = asking_every(20_000);
    let phone = |address| {
        let phone = world.phone_at("1002", Transport::Udp, address);
        phone.loses("OPTIONS", 1000);
        phone.register_with(|request| request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>"));
        phone
    };
    let _here = phone("10.0.0.12:40000");
    world.advance(20_000);
    assert_eq!(world.counts().stack.questions, 1);
    let _there = phone("10.0.0.12:40001");
    world.advance(33_000);
    for _ in 0..120 {
        world.advance(1000);
        assert!(world.counts().stack.questions <= 1);
    }
    ends(&world);
    world.finish();
}

/// RFC 3261 §17.1.2: questions are spread over the interval, and a bounded number is under way.
#[test]
fn many_contacts_are_not_asked_at_once() {
    let world = asking();
    let mut phones = Vec::new();
    for number in ["1001", "1002", "1003", "1004"] {
        phones.extend((0..5).map(|_| world.registered(number)));
    }
    let asked = || phones.iter().map(|phone| phone.got("OPTIONS").len()).sum::<usize>();
    let mut most = 0;
    for _ in 0..EVERY_MS / 1000 {
        let before = asked();
        world.advance(1000);
        most = most.max(asked() - before);
    }
    assert_eq!(asked(), 20);
    assert!(most <= 8, "{most} within a second");
    ends(&world);
    world.finish();
}
