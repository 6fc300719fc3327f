//! What peers send that no phone should: invented, malformed, repeated, merged.

use std::time::Duration;

use dialtone::switch::Input;
use dialtone_core::Mono;
use dialtone_signaling::message::{Message, Method, Name};
use dialtone_signaling::registrar::{Binding, Nat};
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::wire::{Path, Transport};

use super::calls::talking;
use super::support::{World, sdp};

#[test]
fn an_invite_whose_record_route_cannot_be_read_is_refused_at_once() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| request.headers.push(Name::RecordRoute, "<sip:proxy"));
    assert_eq!((alice.status(), bob.got("INVITE").len()), (400, 0));
    let many = vec!["<sip:10.0.0.9;lr>"; 65].join(", ");
    alice.invite_with("1002", |request| request.headers.push(Name::RecordRoute, many));
    assert_eq!((alice.status(), bob.got("INVITE").len()), (400, 0));
    world.finish();
}

#[test]
fn a_call_that_came_twice_over_different_ways_is_one() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    let Message::Request(mut merged) = alice.sent() else { unreachable!() };
    merged.headers.set(Name::Via, "SIP/2.0/UDP 10.0.0.11:5060;rport;branch=z9hG4bK-other");
    alice.send(merged.clone());
    assert_eq!((alice.status(), bob.got("INVITE").len()), (482, 1));
    alice.cancel();
    merged.headers.set(Name::Via, "SIP/2.0/UDP 10.0.0.11:5060;rport;branch=z9hG4bK-third");
    alice.send(merged);
    assert_eq!(bob.got("INVITE").len(), 2, "nothing is remembered of a call that is over");
    bob.respond(486);
    world.finish();
}

#[test]
fn credentials_that_were_used_do_not_open_a_dialog() {
    let (world, alice, bob) = talking();
    let elsewhere = world.phone("1001");
    elsewhere.register(3600);
    elsewhere.steals(&alice);
    elsewhere.counts_again();
    elsewhere.bye();
    assert_eq!(elsewhere.status(), 401);
    assert!(elsewhere.header("401", Name::WwwAuthenticate).contains("stale=true"));
    assert!(alice.in_call() && bob.in_call());
    elsewhere.bye();
    assert_eq!((elsewhere.status(), bob.in_call()), (200, false));
    world.finish();
}

#[test]
fn a_repeated_200_of_a_fork_costs_one_bye_and_forks_are_counted() {
    for over in [false, true] {
        let (world, alice, bob) = talking();
        let answer = bob.sent();
        let fork = |number: u32| {
            let mut other = answer.clone();
            let to = other.headers().text(&Name::To).unwrap().replace(";tag=", &format!(";tag=fork{number}"));
            other.headers_mut().set(Name::To, to);
            bob.keeps_its_dialog(|| bob.send(other));
        };
        if over {
            alice.bye();
        }
        let (acks, byes) = (bob.got("ACK").len(), bob.got("BYE").len());
        for _ in 0..20 {
            fork(0);
        }
        assert_eq!((bob.got("ACK").len() - acks, bob.got("BYE").len() - byes), (20, 1));
        for number in 0..100 {
            fork(number);
        }
        assert_eq!(bob.got("BYE").len() - byes, 7, "with the dialog itself, eight");
        if !over {
            alice.bye();
        }
        world.finish();
    }
}

#[test]
fn our_reinvite_waits_for_theirs_and_comes_back_when_it_is_told_to() {
    let (world, alice, bob) = talking();
    // Bob's re-INVITE is answered and not acknowledged when alice's change would have us ask bob.
    bob.reinvite(sdp("pcmu pcma te"));
    alice.reinvite(sdp("pcma te"));
    alice.ack();
    assert_eq!(bob.got("re-INVITE").len(), 0, "RFC 3261 §14.1");
    bob.ack();
    world.advance(500);
    assert_eq!(bob.got("re-INVITE").len(), 1);
    for tries in 1..5 {
        assert_eq!(bob.got("re-INVITE").len(), tries);
        bob.respond_with(500, |response| response.headers.push(Name::RetryAfter, "3"));
        world.advance(2999);
        assert_eq!(bob.got("re-INVITE").len(), tries);
        world.advance(1);
    }
    bob.respond_with(500, |response| response.headers.push(Name::RetryAfter, "3"));
    world.advance(10_000);
    assert_eq!(bob.got("re-INVITE").len(), 5, "enough is enough");
    if alice.in_call() {
        alice.bye();
    }
    world.finish();
}

#[test]
fn a_bye_to_a_phone_whose_connection_is_gone_goes_to_its_contact() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    bob.register(3600);
    alice.invite("1002");
    bob.answer_at("<sip:1002@10.0.0.12:5060;transport=tcp>");
    alice.ack();
    world.flow_down(101);
    let listener = world.phone_at("1002", Transport::Tcp, "10.0.0.12:5060");
    listener.steals(&bob);
    alice.bye();
    assert_eq!((bob.got("BYE").len(), listener.got("BYE").len()), (0, 1));
    world.finish();
}

#[test]
fn a_connection_of_before_a_restart_is_nobody_elses_now() {
    let world = World::new();
    let alice = world.registered("1001");
    let contact = dialtone_core::IdSource::new(dialtone_core::NodeId(1), 0, 1, 1).contact();
    // Numbers of connections begin anew with each process: carol has bob's.
    let carol = world.phone_at("1003", Transport::Tcp, "10.0.0.13:40003");
    let path = Path { remote: "10.0.0.12:40002".parse().unwrap(), ..carol.path() };
    let binding = Binding {
        contact,
        uri: "sip:1002@10.0.0.12:5060;transport=tcp".into(),
        q: 1000,
        instance: None,
        reg_id: None,
        routes: Vec::new(),
        nat: Nat::Auto,
        agent: String::new(),
        call_id: "before".into(),
        cseq: 1,
        path,
        expires: Mono::ZERO + Duration::from_secs(3600),
    };
    world.input(Input::Sip(SipInput::Restore { endpoint: "1002".into(), binding }));
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:5060");
    alice.invite("1002");
    assert_eq!((carol.got("INVITE").len(), bob.got("INVITE").len()), (0, 1));
    alice.cancel();
    bob.ring();
    world.finish();
}

/// RFC 3261 §26.3.2.4: what is asked within one call takes no place of others, and of itself only so much: beyond that
/// it is refused, each time and without memory, until some of it is over. The call may always end.
#[test]
fn requests_within_a_call_have_a_bound() {
    let world = World::with(|options| options.stack.transactions_max = 200);
    let (mallory, carol) = (world.registered("1001"), world.registered("1003"));
    world.advance(40_000);
    mallory.invite("*43");
    mallory.ack();
    let asks = || {
        mallory.within(Method::Options, |_| {});
        mallory.status()
    };
    let statuses: Vec<_> = (0..300).map(|_| asks()).collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(
        (32..200).contains(&served) && statuses[..served].iter().all(|status| *status == 200),
        "{served}"
    );
    assert!(statuses[served..].iter().all(|status| *status == 503));
    mallory.repeat();
    assert_eq!(mallory.status(), 503);
    assert!(world.counts().stack.transactions <= served + 4 && world.counts().stack.refused > 0);
    assert!(!world.is_full());
    carol.invite("*43");
    assert_eq!(carol.status(), 200);
    carol.ack();
    world.advance(40_000);
    assert_eq!(asks(), 200, "there is room again");
    (0..300).for_each(|_| mallory.within(Method::Options, |_| {}));
    mallory.bye();
    assert_eq!((mallory.status(), world.cdrs().len()), (200, 1));
    carol.bye();
    world.finish();
}

/// RFC 3262 §4, RFC 3261 §26.3.2.4: who goes on and on with them and answers no PRACK is not acknowledged beyond a
/// bound; the numbers go on where they were once there is room.
#[test]
fn pracks_without_an_answer_have_a_bound() {
    let world = World::with(|options| {
        options.site.extensions.get_mut("1002").unwrap().ring_timeout = Duration::from_secs(60);
    });
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.manual();
    (1..=300).for_each(|rseq| bob.rings_reliably(183, rseq, "", None));
    let acknowledged = bob.got("PRACK").len() as u32;
    assert!((8..200).contains(&acknowledged), "{acknowledged}");
    assert!(world.counts().stack.transactions < 200);
    world.advance(40_000);
    bob.automatic();
    let before = bob.got("PRACK").len();
    bob.rings_reliably(183, acknowledged, "", None);
    assert_eq!(bob.got("PRACK").len(), before);
    bob.rings_reliably(183, acknowledged + 1, "", None);
    assert_eq!(bob.header("PRACK", Name::RAck), format!("{} 1 INVITE", acknowledged + 1));
    bob.answer();
    alice.ack();
    alice.bye();
    world.finish();
}
