//! Calls and requests that are refused, and what the peer is told.

use dialtone::switch::Input;
use dialtone_core::command::{Command, Reply};
use dialtone_core::{Cause, NodeId};
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::wire::Transport;

use super::calls::talking;
use super::support::{self, Phone, World};

fn pair() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    (world, alice, bob)
}

#[test]
fn nobody_answers_in_time() {
    let (world, alice, bob) = pair();
    alice.invite("1002");
    bob.ring();
    world.advance(29_999);
    assert_eq!(alice.got("480").len(), 0);
    world.advance(1);
    assert!(alice.header("480", Name::Reason).starts_with("Q.850;cause=19"));
    assert!(bob.header("CANCEL", Name::Reason).starts_with("Q.850;cause=19"));
    world.check("no_answer");
}

#[test]
fn a_busy_phone_is_busy() {
    let (world, alice, bob) = pair();
    alice.invite("1002");
    bob.respond(486);
    assert!(alice.header("486", Name::Reason).starts_with("Q.850;cause=17"));
    world.check("busy");
}

#[test]
fn of_several_refusals_the_caller_is_told_what_a_person_decided() {
    let world = World::new();
    let (alma, ben, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    carol.invite("500");
    alma.respond(486);
    ben.respond(500);
    assert_eq!(carol.status(), 486);
    world.check("busy_and_broken");
}

#[test]
fn an_unknown_number_is_404_and_an_unregistered_extension_480() {
    let (world, alice, _bob) = pair();
    alice.invite("4711");
    assert_eq!(alice.status(), 404);
    alice.invite("1003");
    assert_eq!(alice.status(), 480);
    assert!(alice.header("480", Name::Reason).starts_with("Q.850;cause=20"));
    world.check("unknown_and_unregistered");
}

#[test]
fn without_a_media_port_a_call_is_503() {
    let world = World::with(|options| options.ports = 0);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    assert_eq!(alice.status(), 503);
    assert!(alice.last("503").headers().has(&Name::RetryAfter));
    world.stock(1);
    alice.invite("1002");
    assert_eq!((alice.status(), bob.got("INVITE").len()), (503, 0), "one port is not enough");
    world.check("no_ports");
}

#[test]
fn a_drain_refuses_new_calls_and_keeps_old_ones() {
    let (world, alice, bob) = talking();
    assert_eq!(world.command(Command::Drain), Reply::Done);
    let carol = world.phone("1003");
    carol.invite("1001");
    assert_eq!(carol.status(), 503);
    assert!(alice.in_call() && bob.in_call());
    assert_eq!(world.command(Command::HangUpAll { cause: Cause::NormalClearing }), Reply::Done);
    world.advance(1);
    assert!(!alice.in_call() && !bob.in_call());
    world.check("drain");
}

/// A caller who tries again and again must not make more of what cannot be kept.
#[test]
fn while_records_cannot_be_kept_no_call_begins_and_none_is_recorded() {
    let (world, alice, bob) = pair();
    world.input(Input::Congested(true));
    let events = world.counts().events;
    for _ in 0..20 {
        alice.invite("1002");
        assert_eq!((alice.status(), bob.got("INVITE").len()), (503, 0));
    }
    assert_eq!((world.counts().events, world.counts().turned_away), (events, 20));
    world.input(Input::Congested(false));
    alice.invite("1002");
    assert_eq!(bob.got("INVITE").len(), 1);
    alice.cancel();
    assert_eq!(world.cdrs().len(), 1);
    world.finish();
}

#[test]
fn a_new_site_is_for_new_calls() {
    let (world, alice, bob) = talking();
    let mut site = support::sample();
    site.extensions.remove("1002");
    world.apply(site);
    assert!(alice.in_call() && bob.in_call());
    let carol = world.registered("1003");
    carol.invite("1002");
    assert_eq!(carol.status(), 404);
    alice.reinvite(support::sdp("pcmu pcma te").direction(dialtone_core::Direction::SendOnly));
    assert_eq!(alice.status(), 200);
    alice.ack();
    bob.bye();
    world.finish();
}

#[test]
fn a_call_can_be_hung_up_from_outside() {
    let (world, alice, bob) = talking();
    let call = world.facts().into_iter().find_map(|fact| match fact {
        dialtone_core::Fact::CallStarted { call, .. } => Some(call),
        _ => None,
    });
    let hang_up = Command::HangUp { call: call.unwrap(), cause: Cause::NormalClearing };
    assert_eq!(world.command(hang_up.clone()), Reply::Done);
    assert!(!alice.in_call() && !bob.in_call());
    assert_eq!(world.command(hang_up), Reply::NoSuchCall { call: call.unwrap() });
    world.check("hung_up_from_outside");
}

#[test]
fn what_we_do_not_have_cannot_be_required() {
    let (world, alice, _bob) = pair();
    alice.invite_with("1002", |request| request.headers.push(Name::Require, "timer, precondition, x"));
    assert_eq!((alice.status(), alice.header("420", Name::Unsupported)), (420, "precondition, x".into()));
    world.check_wire("require_unknown");
}

#[test]
fn no_hop_is_left() {
    let (world, alice, _bob) = pair();
    alice.invite_with("1002", |request| request.headers.set(Name::MaxForwards, "0"));
    assert_eq!(alice.status(), 483);
    world.check_wire("max_forwards");
}

/// RFC 3261 §16.3 item 3 is for who forwards; a registrar and whoever is asked for its options do not.
#[test]
fn the_last_hop_may_be_the_last() {
    let (_world, alice, _bob) = pair();
    for method in [Method::Options, Method::Register] {
        alice.request_with(method.clone(), "1001", |request| request.headers.set(Name::MaxForwards, "0"));
        assert_eq!(alice.status(), 200, "{method:?}");
    }
}

#[test]
fn methods_that_are_unknown_or_not_here() {
    let (world, alice, _bob) = pair();
    alice.request_with(Method::from_token("DANCE"), "1002", |_| {});
    assert_eq!(alice.status(), 501);
    alice.request_with(Method::Message, "1002", |request| {
        request.headers.push(Name::Require, "nothing");
    });
    assert_eq!(alice.status(), 405, "the method is judged first (RFC 3261 §8.2)");
    assert_eq!(
        alice.header("405", Name::Allow),
        "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER"
    );
    alice.request_with(Method::Options, "1002", |_| {});
    assert_eq!((alice.status(), alice.header("200", Name::Accept)), (200, "application/sdp".into()));
    alice.request_with(Method::Bye, "1002", |_| {});
    assert_eq!(alice.status(), 481);
    world.check_wire("methods");
}

/// RFC 6665 §4.1.3: a NOTIFY of no subscription.
#[test]
fn a_notify_out_of_the_blue() {
    let (_world, alice, _bob) = pair();
    alice.request_with(Method::Notify, "1002", |request| request.headers.push(Name::Event, "keep-alive"));
    assert_eq!(alice.status(), 481);
}

/// RFC 3261 §22.1: behind one address there are many; who comes from another port of it proves who it is.
#[test]
fn a_request_from_another_port_of_the_same_host_is_challenged() {
    let (world, alice, bob) = talking();
    let neighbour = world.phone_at("1003", Transport::Udp, "10.0.0.11:5099");
    neighbour.steals(&alice);
    neighbour.untrusted();
    neighbour.bye();
    assert_eq!(neighbour.status(), 401);
    neighbour.trusted();
    neighbour.bye();
    assert_eq!(neighbour.status(), 401, "it is not who the dialog is with");
    let again = world.phone_at("1001", Transport::Udp, "10.0.0.11:5098");
    again.steals(&alice);
    assert!(alice.in_call() && bob.in_call());
    again.bye();
    assert!(!bob.in_call(), "a phone whose port has changed proves it, and is heard");
    world.finish();
}

#[test]
fn requests_within_dialogs_that_are_not() {
    let (world, alice, bob) = talking();
    let mallory = world.phone("1003");
    mallory.steals(&alice);
    mallory.untrusted();
    mallory.bye();
    assert_eq!(mallory.status(), 401, "another host must prove who it is");
    mallory.trusted();
    mallory.bye();
    assert_eq!(mallory.status(), 401, "and be whom the dialog is with");
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    mallory.bye();
    assert_eq!(mallory.status(), 481, "the dialog is over");
    world.check_wire("in_dialog_strangers");
}

#[test]
fn an_older_request_within_a_dialog_is_refused() {
    let (world, alice, _bob) = talking();
    alice.rewinds(1);
    alice.bye();
    assert_eq!(alice.status(), 500);
    alice.steps_forward(5);
    alice.bye();
    assert_eq!(alice.status(), 200);
    world.finish();
}

#[test]
fn nobody_calls_under_anothers_number_or_without_proof() {
    let (world, alice, bob) = pair();
    alice.invite_with("1002", |request| {
        request.headers.set(Name::From, "<sip:1004@pbx.example>;tag=x");
    });
    assert_eq!(alice.status(), 403);
    alice.untrusted();
    alice.invite("1002");
    assert_eq!((alice.status(), bob.got("INVITE").len()), (401, 0));
    world.check_wire("invite_strangers");
}

#[test]
fn a_body_that_is_no_description_is_refused() {
    let (world, alice, _bob) = pair();
    alice.invite_with("1002", |request| request.set_body("text/plain", "hello"));
    assert_eq!(alice.status(), 415);
    alice.invite_with("1002", |request| request.set_body("application/sdp", "hello"));
    assert_eq!(alice.status(), 400);
    let refused = "v=0\r\no=- 1 1 IN IP4 10.0.0.11\r\ns=-\r\nc=IN IP4 10.0.0.11\r\nt=0 0\r\n\
                   m=audio 4000 RTP/SAVP 0\r\n";
    alice.invite_with("1002", |request| request.set_body("application/sdp", refused));
    assert_eq!(alice.status(), 488);
    assert!(alice.last("488").headers().has(&Name::Warning));
    world.check_wire("bodies");
}

#[test]
fn what_nobody_vouches_for_takes_no_place_in_the_table() {
    let (world, alice, bob) = talking();
    world.advance(40_000);
    let mallory = world.phone("1003");
    mallory.untrusted();
    let before = world.counts().stack.transactions;
    for method in [Method::Invite, Method::Bye, Method::Options, Method::Other("DANCE".into())] {
        mallory.request_with(method, "1002", |request| {
            request.headers.set(Name::To, "<sip:1002@pbx.example>;tag=invented");
        });
        assert_eq!((mallory.status(), world.counts().stack.transactions), (481, before));
        assert_eq!(mallory.address_of("481", Name::To).tag(), Some("invented"));
    }
    mallory.request_with(Method::Cancel, "1002", |_| {});
    assert_eq!((mallory.status(), world.counts().stack.transactions), (481, before));
    mallory.request_with(Method::Options, "1002", |request| request.uri = "sip:pbx.example".into());
    assert_eq!((mallory.status(), world.counts().stack.transactions), (200, before));
    let first = mallory.last("200").to_string();
    mallory.repeat();
    assert_eq!(mallory.last("200").to_string(), first, "RFC 3261 §8.2.7: the same each time");
    alice.bye();
    assert!(!bob.in_call());
    world.finish();
}

#[test]
fn a_full_table_has_room_for_what_ends_calls() {
    let world = World::with(|options| options.stack.transactions_max = 4);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    world.advance(40_000);
    alice.invite("1002");
    bob.ring();
    let carol = world.phone("1003");
    carol.register(3600);
    carol.register(3600);
    carol.register(3600);
    assert_eq!(carol.status(), 503);
    assert!(world.is_full(), "what begins need not come so far");
    alice.cancel();
    assert_eq!((alice.status(), bob.got("CANCEL").len()), (487, 1));
    world.finish();
}

/// RFC 3261 §8.2.7: who was refused without memory is refused again when the request comes once more, and there is room
/// by then: nobody waits for that call any longer.
#[test]
fn a_refusal_for_want_of_room_stands() {
    let world = World::with(|options| options.stack.transactions_max = 4);
    let carol = world.registered("1003");
    world.advance(40_000);
    for _ in 0..4 {
        carol.register(3600);
    }
    world.advance(10_000);
    let alice = world.phone("1001");
    alice.manual();
    alice.invite("1003");
    assert_eq!(alice.status(), 503);
    world.advance(22_100);
    carol.register(3600);
    assert_eq!(carol.status(), 200, "another one finds room");
    alice.repeat();
    assert_eq!((alice.status(), alice.got("503").len()), (503, 2));
    world.finish();
}

#[test]
fn full_tables_are_503() {
    let world = World::with(|options| {
        options.stack.legs_max = 2;
        options.stack.node = NodeId(1);
    });
    let (alice, bob, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    alice.invite("1002");
    bob.ring();
    carol.invite("1002");
    assert_eq!(carol.status(), 503);
    assert!(world.is_full(), "what begins need not come so far");
    alice.cancel();
    world.advance(1);
    assert!(!world.is_full());
    carol.invite("1002");
    assert_eq!(carol.status(), 100, "there is room again");
    carol.cancel();
    world.check("full");
}

/// A call that is over and waits for its record takes no place of a caller's, RFC 3261 §21.5.4; what may wait so
/// has a bound.
#[test]
fn a_call_that_settles_is_not_counted_against_callers() {
    let world = World::with(|options| {
        options.limits.calls_max = 2;
        options.measures = false;
    });
    let phones = ["1001", "1002", "1003"].map(|number| world.registered(number));
    let [alice, bob, carol] = &phones;
    for phone in [alice, bob] {
        phone.invite("*43");
        assert_eq!(phone.status(), 200);
    }
    carol.invite("*43");
    assert_eq!(carol.status(), 503, "two calls are up");
    alice.bye();
    carol.invite("*43");
    assert_eq!((carol.status(), world.counts().calls), (200, 3), "one of three settles");
    bob.bye();
    alice.invite("*43");
    assert_eq!(alice.status(), 503, "as many may settle as may be up");
    world.advance(2000);
    alice.invite("*43");
    assert_eq!(alice.status(), 200);
}
