//! Calls that go round: RFC 3261 §16.3, RFC 7332.

use dialtone_signaling::message::{Message, Name, Request};

use super::support::{Phone, World};

/// The INVITE that a phone was sent.
fn invite_of(phone: &Phone) -> Request {
    match phone.last("INVITE") {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!(),
    }
}

/// Alice has called bob; bob's side is a server that passes calls on.
fn called() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    (world, alice, bob)
}

/// RFC 7332 §5, RFC 3261 §8.1.1.6: each leg has one hop less than the one before.
#[test]
fn a_call_that_is_passed_on_may_go_one_hop_less() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    for (theirs, ours) in
        [(Some("70"), "69"), (Some("10"), "9"), (Some("1"), "0"), (Some("255"), "254"), (None, "69")]
    {
        alice.invite_with("1002", |request| {
            request.headers.remove(&Name::MaxForwards);
            if let Some(theirs) = theirs {
                request.headers.push(Name::MaxForwards, theirs);
            }
        });
        assert_eq!(bob.header("INVITE", Name::MaxForwards), ours);
        bob.respond(486);
    }
    world.finish();
}

/// RFC 7332 §5: a call that goes round through a server that lets nothing of ours through, not even our Via, ends
/// all the same, with 483.
#[test]
fn a_call_that_goes_round_unrecognized_ends_with_483() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| request.headers.set(Name::MaxForwards, "4"));
    for round in (0..4).rev() {
        let hops = bob.header("INVITE", Name::MaxForwards);
        assert_eq!(hops, round.to_string());
        let calls = bob.got("INVITE").len();
        bob.invite_with("1002", |request| request.headers.set(Name::MaxForwards, hops));
        assert_eq!(bob.got("INVITE").len(), calls + usize::from(round > 0));
    }
    assert_eq!(bob.status(), 483);
    alice.cancel();
    world.advance(100_000);
    world.finish();
}

/// RFC 3261 §16.3 step 4: an INVITE that has a Via of ours was here before.
#[test]
fn an_invite_that_comes_back_with_our_via_is_482() {
    let (world, alice, bob) = called();
    let ours = invite_of(&bob).headers.text(&Name::Via).unwrap().to_owned();
    for second in ["", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-between, "] {
        bob.invite_with("1003", |request| request.headers.push(Name::Via, format!("{second}{ours}")));
        assert_eq!(bob.status(), 482);
    }
    bob.invite_with("1003", |request| {
        request.headers.push(Name::Via, "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK0123456789abcdef");
    });
    assert_eq!(bob.status(), 480, "a branch that is not one of ours");
    bob.respond(486);
    assert_eq!(alice.status(), 486);
    world.finish();
}

/// RFC 3261 §8.2.2.2: the dialog of an INVITE that comes back is one that we began, also when it has rung or was
/// answered.
#[test]
fn an_invite_that_comes_back_as_one_of_our_legs_is_482() {
    let (world, alice, bob) = called();
    let ours = invite_of(&bob);
    let comes_back = |owed| {
        bob.keeps_its_dialog(|| {
            bob.invite_with("1003", |request| {
                for name in [Name::From, Name::CallId] {
                    request.headers.set(name.clone(), ours.headers.text(&name).unwrap());
                }
            });
        });
        assert_eq!(bob.status(), owed);
    };
    comes_back(482);
    bob.ring();
    comes_back(482);
    bob.answer();
    alice.ack();
    comes_back(482);
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}
