//! Session timers, in both roles and with both refreshers: RFC 4028.

use dialtone_core::Cause;
use dialtone_core::cdr::EndedBy;
use dialtone_signaling::message::{Method, Name};

use super::support::{Phone, World};

/// Alice calls Bob with these headers; Bob answers with those.
fn talking(caller: &[(Name, &str)], callee: &[(Name, &str)]) -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        for (name, value) in caller {
            request.headers.push(name.clone(), *value);
        }
    });
    answer(&bob, callee);
    alice.ack();
    (world, alice, bob)
}

fn answer(bob: &Phone, headers: &[(Name, &str)]) {
    let body = bob.answering_body();
    bob.respond_with(200, |response| {
        for (name, value) in headers {
            response.headers.push(name.clone(), *value);
        }
        response.set_body("application/sdp", body);
    });
}

const TIMER: (Name, &str) = (Name::Supported, "timer");
const UPDATES: (Name, &str) = (Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");

fn se(text: &str) -> (Name, &str) {
    (Name::SessionExpires, text)
}

/// RFC 4028 §7.1, §9: what we ask for and grant, and whom Require is for.
#[test]
fn a_session_has_an_interval_on_each_leg() {
    let (world, alice, bob) = talking(&[TIMER, se("600;refresher=uac")], &[]);
    assert_eq!(alice.header("200 OK", Name::SessionExpires), "600;refresher=uac");
    assert_eq!(alice.header("200 OK", Name::Require), "timer");
    assert_eq!(
        bob.header("INVITE", Name::SessionExpires),
        "1800",
        "each leg for itself; who refreshes is left open"
    );
    assert_eq!(bob.header("INVITE", Name::MinSe), "90");
    assert!(bob.header("INVITE", Name::Supported).contains("timer"));
    alice.bye();
    world.finish();
}

/// RFC 4028 §9: less than Min-SE is answered 422 to whoever knows it.
#[test]
fn a_session_interval_that_is_too_small_is_422() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        request.headers.push(Name::Supported, "timer");
        request.headers.push(Name::SessionExpires, "60");
    });
    assert_eq!((alice.status(), alice.header("422", Name::MinSe)), (422, "90".into()));
    assert_eq!(bob.got("INVITE").len(), 0);
    alice.invite_with("1002", |request| {
        request.headers.push(Name::Supported, "timer");
        request.headers.push(Name::SessionExpires, "90");
        request.headers.push(Name::MinSe, "90");
    });
    answer(&bob, &[]);
    alice.ack();
    assert_eq!(alice.header("200 OK", Name::SessionExpires), "90;refresher=uas");
    alice.within(Method::Update, |request| {
        request.headers.push(Name::Supported, "timer");
        request.headers.push(Name::SessionExpires, "30");
    });
    assert_eq!(alice.status(), 422, "within the dialog too");
    alice.bye();
    world.check("timer_422");
}

/// RFC 4028 §9: nobody raises the interval. Who does, and then falls silent, is found out by us all the same.
#[test]
fn an_interval_of_a_hundred_years_is_ours() {
    let years = se("4294967295;refresher=uas");
    let (world, alice, bob) = talking(&[], &[UPDATES, TIMER, years]);
    world.advance(900_200);
    alice.answer();
    assert_eq!(bob.got("UPDATE").len(), 1);
    bob.reply("UPDATE", 200, |response| {
        response.headers.push(Name::SessionExpires, "4294967295;refresher=uas")
    });
    world.advance(900_200);
    alice.answer();
    assert_eq!(bob.got("UPDATE").len(), 2);
    bob.reply("UPDATE", 481, |_| {});
    assert!(!alice.in_call() && !bob.in_call());
    world.finish();

    let least = (Name::MinSe, "4294967295");
    let (world, alice, bob) = talking(&[UPDATES, TIMER, se("4294967295;refresher=uac"), least], &[]);
    assert_eq!(alice.header("200 OK", Name::SessionExpires), "4294967295;refresher=uac");
    world.advance(900_200);
    bob.answer();
    assert_eq!(alice.got("UPDATE").len(), 1);
    alice.reply("UPDATE", 422, |response| response.headers.push(Name::MinSe, "4294967295"));
    assert!(alice.in_call() && bob.in_call(), "it is there, and we do not take its terms");
    world.advance(434_000);
    assert_eq!(alice.got("re-INVITE").len(), 1);
    alice.answer();
    bob.bye();
    assert!(!alice.in_call());
    world.finish();
}

/// RFC 4028 §7.3: a 422 is followed by the same INVITE with what the peer wants, and a bound.
#[test]
fn a_422_to_us_is_heeded() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    let call_id = bob.header("INVITE", Name::CallId);
    bob.respond_with(422, |response| response.headers.push(Name::MinSe, "3600"));
    assert_eq!(bob.header("INVITE", Name::CSeq), "2 INVITE");
    assert_eq!(bob.header("INVITE", Name::CallId), call_id);
    let asked = (bob.header("INVITE", Name::SessionExpires), bob.header("INVITE", Name::MinSe));
    assert_eq!(asked, ("3600".into(), "3600".into()));
    answer(&bob, &[se("3600;refresher=uas")]);
    assert!(bob.header("ACK", Name::CSeq).starts_with("2 "));
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("timer_422_heeded");

    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    for least in [1000_u32, 2000, 3000, 4000, 5000] {
        bob.respond_with(422, |response| response.headers.push(Name::MinSe, least));
    }
    assert_eq!((bob.got("INVITE").len(), alice.status()), (5, 500), "enough is enough");
    world.finish();
}

/// RFC 4028 §7.4, §10, RFC 3311 §5.1: who allows UPDATE is refreshed with it, at half the interval, and asked for what
/// was agreed.
#[test]
fn we_refresh_by_update() {
    let (world, alice, bob) =
        talking(&[TIMER, UPDATES, se("600;refresher=uas")], &[TIMER, UPDATES, se("600;refresher=uac")]);
    world.advance(299_000);
    assert_eq!((alice.got("UPDATE").len(), bob.got("UPDATE").len()), (0, 0));
    world.advance(1000);
    assert_eq!((alice.got("UPDATE").len(), bob.got("UPDATE").len()), (1, 1));
    for phone in [&alice, &bob] {
        assert_eq!(phone.header("UPDATE", Name::SessionExpires), "600;refresher=uac");
    }
    assert!(alice.last("UPDATE").body().is_empty());
    for phone in [&alice, &bob] {
        phone.reply("UPDATE", 200, |response| {
            response.headers.push(Name::SessionExpires, "600;refresher=uac")
        });
    }
    world.advance(299_000);
    assert_eq!((alice.got("UPDATE").len(), bob.got("UPDATE").len()), (1, 1));
    alice.bye();
    world.check("timer_update");
}

/// RFC 4028 §7.4, RFC 3264 §8: the others by a re-INVITE whose description says that nothing changes.
#[test]
fn we_refresh_by_reinvite_without_a_change() {
    let (world, alice, bob) = talking(&[TIMER], &[]);
    let before = alice.last("200 OK (sdp)").body().clone();
    world.advance(900_000);
    assert_eq!(alice.last("re-INVITE").body(), &before, "the same version");
    assert_eq!(alice.header("re-INVITE", Name::SessionExpires), "1800;refresher=uac");
    alice.answer();
    bob.answer();
    world.advance(1000);
    assert_eq!((alice.got("ACK").len(), bob.got("ACK").len()), (1, 2));
    assert!(alice.in_call() && bob.in_call());
    bob.bye();
    world.check("timer_reinvite");
}

/// RFC 4028 §7.4: UPDATE that is refused as a method gives way to re-INVITE.
#[test]
fn an_update_that_is_not_known_gives_way_to_a_reinvite() {
    let (world, alice, bob) = talking(&[TIMER, UPDATES], &[TIMER, se("7200;refresher=uas")]);
    world.advance(900_000);
    alice.reply("UPDATE", 501, |_| {});
    assert_eq!(alice.got("re-INVITE").len(), 1);
    alice.answer();
    alice.bye();
    assert!(!bob.in_call());
    world.finish();
}

/// RFC 4028 §10: a refresh that nobody answers, or that is told 481, ends the call.
#[test]
fn a_refresh_that_fails_ends_the_call() {
    let callee: &[(Name, &str)] = &[TIMER, UPDATES, se("7200;refresher=uas")];
    let (world, alice, bob) = talking(&[TIMER, UPDATES], callee);
    world.advance(900_000);
    alice.reply("UPDATE", 481, |_| {});
    assert!(!bob.in_call() && !alice.in_call());
    world.check("timer_481");

    let (world, alice, bob) = talking(&[TIMER, UPDATES], callee);
    world.advance(900_000 + 33_000);
    assert_eq!(alice.got("BYE").len(), 1);
    assert!(!bob.in_call());
    assert_eq!((world.cdrs()[0].ended_by, world.cdrs()[0].cause), (EndedBy::System, Cause::RecoveryOnTimer));
    world.finish();
}

/// RFC 4028 §10: only silence, 408 and 481 end a session; after another refusal there is time for more tries,
/// and who refuses an UPDATE may take a re-INVITE.
#[test]
fn a_refusal_of_a_refresh_ends_nothing() {
    let allows = [TIMER, UPDATES, se("1800;refresher=uas")];
    for (status, wait, after) in [
        (500, None, 434),
        (503, None, 434),
        (503, Some(600_u32), 600),
        (503, Some(3600), 434),
        (488, None, 434),
        (480, None, 434),
    ] {
        let (world, alice, bob) = talking(&allows, &[TIMER, se("7200;refresher=uas")]);
        world.advance(900_000);
        alice.reply("UPDATE", status, |response| {
            if let Some(wait) = wait {
                response.headers.push(Name::RetryAfter, wait);
            }
        });
        world.advance(after * 1000 - 1000);
        assert_eq!(alice.got("re-INVITE").len(), 0, "{status} {wait:?}");
        world.advance(1000);
        assert_eq!((alice.got("re-INVITE").len(), alice.got("UPDATE").len()), (1, 1), "{status} {wait:?}");
        let body = alice.answering_body();
        alice.respond_with(200, |response| {
            response.headers.push(Name::SessionExpires, "1800;refresher=uac");
            response.set_body("application/sdp", body);
        });
        world.advance(890_000);
        assert!(alice.in_call() && bob.in_call(), "{status} {wait:?}");
        alice.bye();
        if (status, wait) == (488, None) {
            world.check("timer_refused");
        } else {
            world.finish();
        }
    }
}

/// RFC 4028 §10: who goes on refusing until the end is hung up on, and is not asked without end.
#[test]
fn a_refresh_that_is_always_refused_is_tried_a_few_times() {
    let (world, alice, bob) = talking(&[TIMER, se("1800;refresher=uas")], &[TIMER, se("7200;refresher=uas")]);
    world.advance(900_000);
    let mut tries = 0;
    while alice.in_call() {
        if alice.is_asked() {
            tries += 1;
            alice.respond(488);
        }
        world.advance(1000);
    }
    assert!((5..10).contains(&tries) && !bob.in_call(), "{tries}");
    assert_eq!(world.cdrs()[0].cause, Cause::RecoveryOnTimer);
    world.finish();
}

/// RFC 3261 §9.1: a refresh that is begun and never finished is cancelled, and tried again.
#[test]
fn a_refresh_that_stalls_is_tried_again() {
    let (world, alice, bob) = talking(&[TIMER, se("1800;refresher=uas")], &[TIMER, se("7200;refresher=uas")]);
    world.advance(900_000);
    alice.respond(100);
    world.advance(32_000);
    assert_eq!((alice.got("CANCEL").len(), alice.is_asked()), (1, false));
    world.advance(434_000);
    assert!(alice.is_asked());
    alice.answer();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}

/// RFC 4028 §10: a far end that should refresh and does not is hung up on, 32 s or a third before the end.
#[test]
fn who_should_refresh_and_is_gone_is_hung_up() {
    let (world, alice, bob) = talking(&[TIMER, se("90;refresher=uac")], &[]);
    world.advance(59_000);
    assert!(alice.in_call());
    world.advance(1000);
    assert!(!alice.in_call() && !bob.in_call());
    assert_eq!(world.cdrs()[0].cause, Cause::RecoveryOnTimer);
    world.check("timer_expires");

    let (world, alice, bob) = talking(&[], &[TIMER, se("600;refresher=uas")]);
    world.advance(567_000);
    assert!(bob.in_call());
    world.advance(1000);
    assert!(!alice.in_call() && !bob.in_call());
    world.finish();
}

/// RFC 4028 §9: each refresh of theirs, by UPDATE or re-INVITE, starts the interval anew.
#[test]
fn they_refresh() {
    let (world, alice, bob) = talking(&[TIMER, se("90;refresher=uac")], &[]);
    for _ in 0..5 {
        world.advance(45_000);
        alice.within(Method::Update, |request| {
            request.headers.push(Name::Supported, "timer");
            request.headers.push(Name::SessionExpires, "90;refresher=uac");
        });
        assert_eq!(alice.header("200 OK", Name::SessionExpires), "90;refresher=uac");
    }
    world.advance(45_000);
    alice.reinvite(super::support::sdp("pcmu pcma te"));
    alice.ack();
    assert_eq!(alice.header("200 OK (sdp)", Name::SessionExpires), "1800;refresher=uas", "it left it to us");
    world.advance(200_000);
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}

/// RFC 4028 §4: a far end without session timers is refreshed all the same, and any answer shows that it is
/// there.
#[test]
fn a_far_end_without_session_timers_is_refreshed_by_us() {
    let (world, alice, bob) = talking(&[], &[]);
    assert_eq!(alice.header("200 OK", Name::SessionExpires), "1800;refresher=uas");
    assert!(!alice.last("200 OK").headers().has(&Name::Require));
    world.advance(900_000);
    alice.respond(488);
    bob.respond(488);
    world.advance(900_000);
    assert_eq!((alice.got("re-INVITE").len(), bob.got("re-INVITE").len()), (2, 2));
    alice.answer();
    bob.answer();
    world.advance(1000);
    assert!(alice.in_call() && bob.in_call());
    bob.bye();
    world.finish();
}

/// RFC 4028 §7.3: a 422 to a refresh is followed by a longer one.
#[test]
fn a_refresh_may_be_too_short() {
    let (world, alice, _bob) = talking(&[TIMER, UPDATES], &[TIMER, se("7200;refresher=uas")]);
    world.advance(900_000);
    alice.reply("UPDATE", 422, |response| response.headers.push(Name::MinSe, "3600"));
    assert_eq!(alice.header("UPDATE", Name::SessionExpires), "3600;refresher=uac");
    alice.reply("UPDATE", 200, |response| response.headers.push(Name::SessionExpires, "3600;refresher=uac"));
    alice.bye();
    world.finish();
}

/// RFC 3261 §14.1: a refresh that meets a change of theirs is tried again.
#[test]
fn a_refresh_that_meets_a_change_is_tried_again() {
    let (world, alice, bob) = talking(&[TIMER], &[TIMER, se("7200;refresher=uas")]);
    world.advance(900_000);
    assert_eq!(alice.got("re-INVITE").len(), 1);
    alice.reinvite(super::support::sdp("pcmu pcma te"));
    assert_eq!(alice.status(), 491);
    alice.respond(491);
    world.advance(2100);
    let sent: std::collections::HashSet<_> = alice
        .got("re-INVITE")
        .iter()
        .map(|invite| invite.headers().text(&Name::CSeq).unwrap().to_owned())
        .collect();
    assert_eq!(sent.len(), 2);
    alice.answer();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}
