//! UPDATE in both directions, before and after the answer: RFC 3311.

use dialtone::switch::Input;
use dialtone_core::{Direction, LegCommand, LegId};
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::stack::SipInput;

use super::calls::talking;
use super::support::{Phone, World, ours, sdp};

/// Alice has heard Bob's early media, and acknowledged it.
fn early() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        request.headers.push(Name::Supported, "100rel");
        request.headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE");
    });
    bob.rings_reliably(183, 1, "", Some(sdp("pcmu te")));
    bob.enters_called_dialog();
    (world, alice, bob)
}

fn allows_update(phone: &Phone, request: &str) -> bool {
    phone.header(request, Name::Allow).contains("UPDATE")
}

/// RFC 3311 §4, §5.2: in an answered call an UPDATE changes the stream as a re-INVITE does, without an ACK.
#[test]
fn an_update_holds_and_resumes() {
    let (world, alice, bob) = talking();
    alice.within_saying(Method::Update, sdp("pcmu pcma te").direction(Direction::SendOnly), |_| {});
    assert!(alice.last("200 OK (sdp)").to_string().contains("a=recvonly"));
    assert!(alice.last("200 OK (sdp)").headers().has(&Name::Contact));
    world.advance(2000);
    alice.within_saying(Method::Update, sdp("pcmu pcma te"), |_| {});
    assert!(alice.last("200 OK (sdp)").to_string().contains("a=sendrecv"));
    assert!(allows_update(&alice, "200 OK (sdp)") && allows_update(&bob, "INVITE"));
    world.advance(40_000);
    assert!(alice.in_call() && bob.in_call(), "nobody waits for an ACK");
    alice.bye();
    world.check("update");
}

/// RFC 3311 §5.2: an UPDATE without a description changes where requests go, and nothing else.
#[test]
fn an_update_without_a_description_moves_the_contact() {
    let (world, alice, bob) = talking();
    alice.within(Method::Update, |request| {
        request.headers.set(Name::Contact, "<sip:1001@10.0.0.11:5099>");
    });
    assert_eq!((alice.status(), alice.last("200 OK").body().len()), (200, 0));
    bob.bye();
    world.check_wire("update_contact");
}

/// RFC 3311 §5.2: what cannot be is refused with 488, and the call stays as it was.
#[test]
fn an_update_that_cannot_be_is_refused() {
    let (world, alice, bob) = talking();
    alice.within_saying(Method::Update, sdp("g722"), |_| {});
    assert_eq!(alice.status(), 488);
    alice.within(Method::Update, |request| request.set_body("text/plain", "hello"));
    assert_eq!((alice.status(), alice.header("415", Name::Accept)), (415, "application/sdp".into()));
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}

/// RFC 3311 §5.2: an offer that meets ours is told 491.
#[test]
fn an_update_that_meets_our_offer_is_491() {
    let (world, alice, bob) = talking();
    alice.reinvite(sdp("pcma te"));
    alice.ack();
    assert_eq!(bob.got("re-INVITE").len(), 1, "Bob is asked to follow");
    bob.within_saying(Method::Update, sdp("pcmu pcma te"), |_| {});
    assert_eq!(bob.status(), 491);
    bob.within(Method::Update, |_| {});
    assert_eq!(bob.status(), 200, "one without an offer is no matter");
    bob.answer();
    alice.reinvite_without_offer();
    alice.within_saying(Method::Update, sdp("pcma te"), |_| {});
    assert_eq!(alice.status(), 491, "our 200 made an offer");
    alice.ack_with(sdp("pcma te"));
    alice.bye();
    world.check("update_glare");
}

/// RFC 3311 §5.1, §5.2: a caller may change its stream before the answer, once the first exchange is over.
#[test]
fn a_caller_updates_while_it_rings() {
    let (world, alice, bob) = early();
    alice.enters_early_dialog();
    alice.within_saying(Method::Update, sdp("pcmu te").ip("10.0.0.111"), |_| {});
    assert_eq!(alice.status(), 200, "it has our answer, or it could not ask");
    alice.prack();
    alice.within_saying(Method::Update, sdp("pcmu te").direction(Direction::SendOnly), |_| {});
    assert!(alice.last("200 OK (sdp)").to_string().contains("a=recvonly"));
    alice.within_saying(Method::Update, sdp("g722"), |_| {});
    assert_eq!(alice.status(), 488);
    bob.answers_as("", None);
    assert!(alice.last("200 OK").body().is_empty());
    alice.ack();
    world.advance(1000);
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("update_early");
}

/// RFC 3311 §5.2: while the first offer is not answered reliably, another one is told 500 and when to come
/// back; one that meets our own unanswered offer is told 491.
#[test]
fn an_offer_before_the_first_is_answered_comes_too_early() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress();
    alice.enters_early_dialog();
    alice.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(alice.status(), 500);
    let wait: u32 = alice.header("500", Name::RetryAfter).parse().unwrap();
    assert!(wait <= 10);
    alice.cancel();
    world.finish();

    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        request.headers.remove(&Name::ContentType);
        request.body = Default::default();
        request.headers.push(Name::Supported, "100rel");
    });
    bob.progress();
    alice.enters_early_dialog();
    alice.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(alice.status(), 491);
    alice.cancel();
    world.finish();
}

/// RFC 3311 §5.2: a callee may change its stream while it rings; of several forks the one that is heard.
#[test]
fn a_callee_updates_while_it_rings() {
    let (world, alice, bob) = early();
    alice.prack();
    bob.within_saying(Method::Update, sdp("pcmu te").ip("10.0.0.112"), |_| {});
    assert!(bob.last("200 OK (sdp)").to_string().contains("PCMU"));
    let moved =
        |address: &str| world.media_commands().iter().any(|command| format!("{command:?}").contains(address));
    assert!(moved("10.0.0.112"));
    bob.rings_reliably(183, 1, "other", Some(sdp("pcmu te")));
    bob.enters_called_dialog();
    bob.within_saying(Method::Update, sdp("pcmu te").ip("10.0.0.113"), |_| {});
    assert_eq!((bob.status(), moved("10.0.0.113")), (488, false));
    bob.within(Method::Update, |_| {});
    assert_eq!(bob.status(), 200);
    alice.cancel();
    world.check("update_by_callee");
}

/// RFC 3311 §5.2: a callee that has not answered our offer may not make one.
#[test]
fn a_callee_that_owes_an_answer_is_491() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.rings_reliably(180, 1, "", None);
    bob.enters_called_dialog();
    bob.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(bob.status(), 491);
    // RFC 3261 §14.2: nor may it re-INVITE, or hang up.
    bob.within_saying(Method::Invite, sdp("pcmu te"), |_| {});
    assert_eq!(bob.status(), 491);
    bob.within(Method::Bye, |_| {});
    assert_eq!(bob.status(), 481);
    alice.enters_early_dialog();
    alice.reinvite(sdp("pcmu te"));
    assert_eq!(alice.status(), 500);
    alice.bye_early();
    assert_eq!(bob.got("CANCEL").len(), 1);
    world.finish();
}

/// RFC 3261 §8.2.6, RFC 3311 §5.2: a change that meets our CANCEL is answered too.
#[test]
fn an_update_that_meets_our_cancel_is_refused() {
    let (world, alice, bob) = early();
    alice.prack();
    bob.manual();
    alice.cancel();
    assert_eq!(bob.got("CANCEL").len(), 1);
    bob.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(bob.status(), 487);
    bob.reply("CANCEL", 200, |_| {});
    bob.respond(487);
    world.finish();
}

/// RFC 3311 §5.1: before the answer our own changes go by UPDATE, to whoever allows it; what meets theirs is
/// tried again.
#[test]
fn our_change_before_the_answer_is_an_update() {
    let (world, alice, bob) = early();
    alice.prack();
    let offer = ours("pcmu te");
    let modify = |leg: &str| {
        let leg: LegId = leg.parse().unwrap();
        world.input(Input::Sip(SipInput::Leg { leg, command: LegCommand::Modify { offer: offer.clone() } }));
    };
    let caller = alice.address_of("183", Name::Contact).uri.user_decoded().unwrap().into_owned();
    modify(&caller);
    assert_eq!(alice.got("UPDATE (sdp)").len(), 1);
    alice.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(alice.status(), 491);
    alice.reply("UPDATE", 491, |_| {});
    world.advance(2100);
    // RFC 3261 §14.1: who did not choose the Call-ID tries again within 2 s.
    assert_eq!(alice.header("UPDATE (sdp)", Name::CSeq), "2 UPDATE");
    alice.reply_saying("UPDATE", 200, sdp("pcmu te"));
    let callee = bob.address_of("INVITE", Name::Contact).uri.user_decoded().unwrap().into_owned();
    modify(&callee);
    assert_eq!(bob.got("UPDATE").len(), 0, "Bob has not said that it may");
    alice.cancel();
    world.check_wire("update_ours");
}
