//! Phones that say where else their person is: RFC 3261 §8.1.3.4, §21.3.

use dialtone_core::Cause;
use dialtone_core::event::DialOutcome;
use dialtone_core::media::Feed;
use dialtone_signaling::message::Name;

use super::support::{Phone, World};
use super::transfers::{heard, relayed};

fn four(world: &World) -> [Phone; 4] {
    ["1001", "1002", "1003", "1004"].map(|number| world.registered(number))
}

/// Refuses, and names these contacts.
fn redirect(phone: &Phone, status: u16, contacts: &str) {
    phone.respond_with(status, |response| response.headers.set(Name::Contact, contacts));
}

/// Both end the call that they have.
fn ends(world: &World, alice: &Phone, other: &Phone) {
    assert!(alice.in_call() && other.in_call());
    alice.bye();
    assert!(!other.in_call());
    world.finish();
}

/// RFC 3261 §21.3.3: 302. The caller's phone hears nothing of it, the record says where the call went.
#[test]
fn a_call_follows_a_phone_that_sends_it_elsewhere() {
    let world = World::new();
    let [alice, bob, carol, _] = four(&world);
    alice.invite("1002");
    bob.ring();
    redirect(&bob, 302, "<sip:1003@pbx.example>");
    carol.ring();
    carol.answer();
    alice.ack();
    world.advance(1000);
    alice.bye();
    assert!(alice.got("302").is_empty());
    let cdr = world.cdrs().pop().unwrap();
    assert_eq!((cdr.dialed.as_str(), cdr.answered_by.as_deref()), ("1002", Some("1003")));
    assert_eq!(cdr.legs[1].outcome, Some(DialOutcome::Redirected));
    assert_eq!(cdr.legs[1].redirected_to, ["1003"]);
    world.check("redirect");
}

/// RFC 3960 §3.1: whose stream was agreed for early media is not left in silence by what follows.
#[test]
fn who_heard_the_first_phone_hears_the_next_one() {
    let world = World::new();
    let [alice, bob, carol, _] = four(&world);
    alice.invite("1002");
    bob.progress();
    assert!(relayed(&world));
    redirect(&bob, 302, "<sip:1003@pbx.example>");
    assert_eq!(heard(&world), Some(Feed::Nothing));
    carol.ring();
    assert_eq!(heard(&world), Some(Feed::Ringback));
    carol.progress();
    assert!(relayed(&world), "what the next phone plays is for the caller too");
    carol.answer();
    alice.ack();
    ends(&world, &alice, &carol);
}

/// RFC 3261 §21.3.1 to §21.3.4: 300, 301, 302 and 305 are followed to what is ours by name or by address.
#[test]
fn whatever_names_this_server_is_followed() {
    for (status, contact) in [
        (300, "<sip:1003@pbx.example>"),
        (301, "<sip:1003@10.0.0.1>"),
        (302, "<sip:1003@10.0.0.1:5060;transport=tcp>"),
        (305, "<tel:1003>"),
    ] {
        let world = World::new();
        let [alice, bob, carol, _] = four(&world);
        alice.invite("1002");
        redirect(&bob, status, contact);
        carol.answer();
        alice.ack();
        ends(&world, &alice, &carol);
    }
}

/// RFC 3261 §8.1.3.4: the contacts are tried one after the other, by their q.
#[test]
fn contacts_are_called_in_their_order() {
    let world = World::new();
    let [alice, bob, carol, dave] = four(&world);
    alice.invite("1002");
    redirect(&bob, 302, "<sip:1003@pbx.example>;q=0.3, <sip:1004@pbx.example>;q=0.7, <sip:x@192.0.2.1>");
    assert_eq!((carol.got("INVITE").len(), dave.got("INVITE").len()), (0, 1));
    dave.respond(486);
    assert_eq!(carol.got("INVITE").len(), 1);
    carol.answer();
    alice.ack();
    alice.bye();
    assert_eq!(world.cdrs()[0].legs[1].redirected_to, ["1004", "1003"]);
    world.finish();
}

/// RFC 3261 §8.1.3.4: it is up to us which we follow. What is served elsewhere cannot be reached.
#[test]
fn other_servers_are_not_called() {
    for contact in [
        "<sip:1003@192.0.2.1>",
        "<sip:1003@pbx.example.com>",
        "<mailto:ben@example.com>",
        "<sip:pbx.example>",
    ] {
        let world = World::new();
        let [alice, bob, carol, _] = four(&world);
        alice.invite("1002");
        redirect(&bob, 302, contact);
        assert_eq!((alice.status(), carol.got("INVITE").len()), (502, 0), "{contact}");
        assert_eq!(world.cdrs()[0].cause, Cause::DestinationOutOfOrder);
        world.finish();
    }
}

/// RFC 3261 §21.3.5: another service is a refusal; so is a 302 to nowhere.
#[test]
fn what_cannot_be_followed_is_a_refusal() {
    for (status, contact, told) in [
        (380, Some("<sip:1003@pbx.example>"), 500),
        (302, None, 410),
        (302, Some("<sip:4711@pbx.example>"), 404),
    ] {
        let world = World::new();
        let [alice, bob, carol, _] = four(&world);
        alice.invite("1002");
        bob.respond_with(status, |response| {
            response.headers.remove(&Name::Contact);
            contact.into_iter().for_each(|contact| response.headers.push(Name::Contact, contact));
        });
        assert_eq!((alice.status(), carol.got("INVITE").len()), (told, 0), "{status} {contact:?}");
        world.finish();
    }
}

/// RFC 3261 §8.1.3.4: no number is called twice.
#[test]
fn phones_that_point_at_each_other_end_the_call() {
    let world = World::new();
    let [alice, bob, carol, _] = four(&world);
    alice.invite("1002");
    redirect(&bob, 302, "<sip:1003@pbx.example>");
    redirect(&carol, 302, "<sip:1002@pbx.example>");
    assert_eq!((alice.status(), bob.got("INVITE").len(), carol.got("INVITE").len()), (502, 1, 1));
    world.finish();
}

#[test]
fn a_call_is_sent_on_no_more_often_than_allowed() {
    for (allowed, status) in [(0, 502), (1, 502), (2, 100)] {
        let world = World::with(|options| options.limits.redirections_max = allowed);
        let [alice, bob, carol, dave] = four(&world);
        alice.invite("1002");
        redirect(&bob, 302, "<sip:1003@pbx.example>");
        assert_eq!(carol.got("INVITE").len(), usize::from(allowed > 0));
        if allowed > 0 {
            redirect(&carol, 302, "<sip:1004@pbx.example>");
        }
        assert_eq!((alice.status(), dave.got("INVITE").len()), (status, usize::from(allowed > 1)));
        if allowed > 1 {
            dave.answer();
            alice.ack();
            alice.bye();
        }
        world.finish();
    }
}

#[test]
fn one_of_a_group_sends_its_share_elsewhere() {
    let world = World::new();
    let [alice, bob, carol, dave] = four(&world);
    carol.invite("500");
    alice.ring();
    redirect(&bob, 302, "<sip:1001@pbx.example>, <sip:1004@pbx.example>");
    assert_eq!(alice.got("INVITE").len(), 1, "it rings already");
    dave.answer();
    carol.ack();
    assert_eq!(alice.got("CANCEL").len(), 1);
    ends(&world, &carol, &dave);
}

#[test]
fn a_phone_sends_a_call_to_a_flow_or_to_a_group() {
    let world = World::new();
    let [alice, bob, carol, dave] = four(&world);
    alice.invite("1002");
    bob.ring();
    redirect(&bob, 302, "<sip:*43@pbx.example>");
    assert_eq!(alice.status(), 200);
    alice.ack();
    alice.bye();
    carol.invite("1004");
    redirect(&dave, 302, "<sip:500@pbx.example>");
    assert_eq!((alice.got("INVITE").len(), bob.got("INVITE").len()), (1, 2));
    bob.answer();
    carol.ack();
    ends(&world, &carol, &bob);
}

#[test]
fn a_redirection_to_nobody_waits_for_no_one() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    redirect(&bob, 302, "<sip:1003@pbx.example>");
    assert_eq!(alice.status(), 480);
    world.finish();
}

#[test]
fn a_caller_who_gives_up_meets_a_redirection() {
    let world = World::new();
    let [alice, bob, carol, _] = four(&world);
    bob.manual();
    alice.invite("1002");
    bob.ring();
    alice.cancel();
    redirect(&bob, 302, "<sip:1003@pbx.example>");
    assert_eq!((alice.status(), carol.got("INVITE").len()), (487, 0));
    world.advance(40_000);
    world.finish();
}

#[test]
fn the_target_of_a_transfer_sends_it_elsewhere() {
    let world = World::new();
    let [alice, bob, carol, dave] = four(&world);
    alice.invite("1002");
    bob.answer();
    alice.ack();
    world.advance(1000);
    bob.refer("1003");
    redirect(&carol, 302, "<sip:1004@pbx.example>");
    dave.answer();
    world.advance(5000);
    assert!(!bob.in_call());
    ends(&world, &alice, &dave);
}
