//! REGISTER: RFC 3261 §10.3, and when an answer may be given.

use dialtone_core::Fact;
use dialtone_core::event::DeviceState;
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::registrar::ContactPolicy;

use super::support::{Phone, World};

fn contacts(phone: &Phone) -> Vec<String> {
    let answer = phone.last("200");
    answer.headers().tokens(&Name::Contact).map(str::to_owned).collect()
}

#[test]
fn a_new_contact_is_answered_when_it_is_safe_and_a_refresh_at_once() {
    let world = World::new();
    let alice = world.phone("1001");
    world.hold_persist();
    alice.register(3600);
    alice.repeat();
    assert_eq!(alice.got("200").len(), 0, "not safe yet");
    world.advance(4);
    world.persist();
    assert_eq!(contacts(&alice), ["<sip:1001@10.0.0.11:5060>;expires=3600"]);
    world.advance(600_000);
    world.hold_persist();
    alice.register(600);
    assert_eq!(contacts(&alice), ["<sip:1001@10.0.0.11:5060>;expires=600"]);
    world.check_wire("register");
}

#[test]
fn a_contact_is_taken_back_when_that_is_safe() {
    let world = World::new();
    let alice = world.registered("1001");
    world.hold_persist();
    alice.register(0);
    assert_eq!(alice.got("200").len(), 1, "the one of before");
    world.persist();
    assert_eq!(contacts(&alice), [""; 0]);
    world.check_wire("register_taken_back");
}

#[test]
fn what_could_not_be_kept_is_written_again_before_it_is_promised() {
    let world = World::new();
    let alice = world.phone("1001");
    world.hold_persist();
    alice.register(3600);
    world.lose();
    assert_eq!((alice.status(), alice.got("200").len()), (503, 0));
    world.hold_persist();
    alice.register(3600);
    assert_eq!(alice.got("200").len(), 0, "the same place, and still not on disk");
    alice.register(3600);
    world.persist();
    assert_eq!(alice.got("200").len(), 2);
    world.hold_persist();
    alice.register(3600);
    assert_eq!(alice.got("200").len(), 3, "now it is");
    alice.register(0);
    world.lose();
    assert_eq!((alice.status(), world.counts().stack.bindings), (503, 0));
    world.hold_persist();
    alice.register(0);
    assert_eq!(alice.got("200").len(), 3, "the disk still has it");
    world.persist();
    assert_eq!(contacts(&alice), [""; 0]);
    world.finish();
}

#[test]
fn a_place_that_stands_twice_is_one_again_when_it_says_so() {
    let world = World::new();
    let (alice, carol) = (world.phone("1001"), world.registered("1003"));
    let as_contact = |contact: &'static str| {
        alice.register_with(|request| {
            request.headers.set(Name::Contact, contact);
            request.headers.push(Name::Expires, "3600");
        });
    };
    as_contact("<sip:1001@10.0.0.11:5060;line=1>;+sip.instance=\"<urn:uuid:1>\"");
    as_contact("<sip:1001@10.0.0.11:5060;line=2>");
    assert_eq!(world.counts().stack.bindings, 3);
    as_contact("<sip:1001@10.0.0.11:5060;line=2>;+sip.instance=\"<urn:uuid:1>\"");
    assert_eq!(world.counts().stack.bindings, 2);
    carol.invite("1001");
    assert_eq!(alice.got("INVITE").len(), 1, "and rings once");
    carol.cancel();
    world.finish();
}

#[test]
fn too_short_is_423_and_too_long_is_shortened() {
    let world = World::new();
    let alice = world.phone("1001");
    alice.register(59);
    assert_eq!((alice.status(), alice.header("423", Name::MinExpires)), (423, "60".into()));
    alice.register(1_000_000);
    assert_eq!(contacts(&alice), ["<sip:1001@10.0.0.11:5060>;expires=86400"]);
    alice.register_with(|_| {});
    assert_eq!(contacts(&alice), ["<sip:1001@10.0.0.11:5060>;expires=3600"]);
    world.check_wire("register_interval");
}

#[test]
fn a_fetch_lists_what_stands_and_a_star_removes_it() {
    let world = World::new();
    let (desk, mobile) = (world.registered("1001"), world.phone("1001"));
    mobile.register_with(|request| {
        let contact = request.headers.text(&Name::Contact).map(|contact| format!("{contact};q=0.5"));
        request.headers.set(Name::Contact, contact.unwrap_or_default());
    });
    desk.register_with(|request| {
        request.headers.remove(&Name::Contact);
    });
    let both = ["<sip:1001@10.0.0.11:5060>;expires=3600", "<sip:1001@10.0.0.12:5060>;expires=3600;q=0.500"];
    assert_eq!(contacts(&desk), both);
    desk.register_with(|request| request.headers.set(Name::Contact, "*"));
    assert_eq!(desk.status(), 400, "a star needs Expires: 0");
    desk.register_with(|request| {
        request.headers.set(Name::Contact, "*");
        request.headers.set(Name::Expires, "0");
    });
    assert_eq!(contacts(&desk), [""; 0]);
    assert_eq!(world.counts().stack.bindings, 0);
    world.check_wire("register_fetch_and_star");
}

#[test]
fn one_contact_too_many_is_refused() {
    let world =
        World::with(|options| options.contacts = ContactPolicy { contacts_max: 2, replaces_oldest: false });
    let phones = [world.registered("1001"), world.registered("1001"), world.registered("1001")];
    assert_eq!(phones.map(|phone| phone.status()), [200, 200, 403]);
    world.check_wire("register_limit_refuses");
}

#[test]
fn one_contact_too_many_takes_the_place_of_the_oldest() {
    let world =
        World::with(|options| options.contacts = ContactPolicy { contacts_max: 2, replaces_oldest: true });
    let (first, second, third) = (world.registered("1001"), world.registered("1001"), world.phone("1001"));
    first.register(3600); // now the second is the oldest
    third.register(3600);
    assert_eq!(second.status(), 200);
    let left = ["<sip:1001@10.0.0.11:5060>;expires=3600", "<sip:1001@10.0.0.13:5060>;expires=3600"];
    assert_eq!(contacts(&third), left);
    world.check_wire("register_limit_replaces_oldest");
}

#[test]
fn an_older_register_does_not_undo_a_newer_one() {
    let world = World::new();
    let alice = world.registered("1001");
    alice.register(7200);
    alice.register_with(|request| {
        request.headers.set(Name::CSeq, "1 REGISTER");
        request.headers.push(Name::Expires, "0");
    });
    assert_eq!(alice.status(), 400);
    assert_eq!(world.counts().stack.bindings, 1);
    world.check_wire("register_out_of_order");
}

#[test]
fn nobody_registers_for_another() {
    let world = World::new();
    let mallory = world.phone("1003");
    mallory.request_with(Method::Register, "1001", |_| {});
    assert_eq!(mallory.status(), 403);
    world.check_wire("register_for_another");
}

#[test]
fn a_stranger_is_challenged_and_a_replay_is_stale() {
    let world = World::new();
    let alice = world.phone("1001");
    alice.untrusted();
    alice.register(3600);
    let challenges = |status: &str| {
        let answer = alice.last(status);
        let all = answer.headers().all(&Name::WwwAuthenticate);
        all.map(|one| String::from_utf8_lossy(one).into_owned()).collect::<Vec<_>>()
    };
    let offered = challenges("401");
    assert_eq!(offered.len(), 2);
    assert!(offered[0].contains("algorithm=MD5") && offered[1].contains("algorithm=SHA-256"));
    assert!(!offered[0].contains("stale"));
    alice.trusted();
    alice.register(3600);
    alice.counts_again();
    alice.register(3600);
    assert_eq!(alice.status(), 401);
    assert!(challenges("401")[0].contains("stale=true"));
    world.check_wire("register_challenges");
}

#[test]
fn a_contact_that_is_not_refreshed_runs_out() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    bob.register(60);
    world.advance(59_999);
    assert_eq!(world.counts().stack.bindings, 2);
    world.advance(1);
    assert_eq!(world.counts().stack.bindings, 1);
    let gone = Fact::DeviceStateChanged { endpoint: "1002".into(), state: DeviceState::Unavailable };
    assert!(world.facts().contains(&gone));
    alice.invite("1002");
    assert_eq!(alice.status(), 480);
    world.check_wire("register_runs_out");
    world.forget_registrations();
}
