//! What else can be asked within a dialog, and what ends one: RFC 3261 §11 to §16, RFC 3326, RFC 6086.

use dialtone_core::Cause;
use dialtone_core::cdr::Disposition;
use dialtone_signaling::message::{Message, Method, Name, Request};
use dialtone_signaling::wire::Transport;

use super::calls::talking;
use super::support::{Phone, World};

fn ringing() -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    (world, alice, bob)
}

/// RFC 3261 §11.2: answered as outside of a dialog; what it says is what there is.
#[test]
fn an_options_is_told_what_we_have() {
    let (world, alice, _bob) = talking();
    let said = || {
        let headers = [Name::Allow, Name::Supported, Name::Accept, Name::AcceptEncoding];
        headers.map(|name| alice.header("200 OK", name))
    };
    alice.within(Method::Options, |_| {});
    let within = said();
    alice.keeps_its_dialog(|| alice.request_with(Method::Options, "1002", |_| {}));
    assert_eq!(said(), within);
    let allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER";
    assert_eq!(
        within,
        [allow, "100rel, timer, replaces, norefersub", "application/sdp", "identity"].map(str::to_owned)
    );
    alice.bye();
    world.finish();
}

/// RFC 6086 §4.2.2: keys of phones are taken and counted, packages and other bodies refused.
#[test]
fn an_info_with_keys_is_taken() {
    let (world, alice, _bob) = talking();
    let info = |kind: &'static str, body: &'static str| {
        alice.within(Method::Info, |request| request.set_body(kind, body));
        alice.status()
    };
    assert_eq!(info("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), 200);
    assert_eq!(info("application/dtmf", "5"), 200);
    assert_eq!(world.counts().stack.info_keys, 2);
    alice.within(Method::Info, |_| {});
    assert_eq!(alice.status(), 200, "one without a body says only that it is there");
    assert_eq!(info("text/plain", "hello"), 415);
    assert_eq!(alice.header("415", Name::Accept), "application/dtmf-relay, application/dtmf");
    alice.within(Method::Info, |request| request.headers.push(Name::InfoPackage, "conference"));
    assert_eq!(alice.status(), 469);
    assert!(alice.last("469").headers().has(&Name::RecvInfo));
    assert_eq!(world.counts().stack.info_keys, 2);
    alice.bye();
    world.finish();
}

/// RFC 6665 §8.2.1, §8.2.2, RFC 3903 §6: a package that we do not have is 489, with those that we have.
#[test]
fn event_packages_that_are_not_here_are_489() {
    let (world, alice, _bob) = talking();
    for method in [Method::Subscribe, Method::Publish] {
        for event in ["presence", "dialog;sla", "refers", ""] {
            let about = |request: &mut Request| {
                if !event.is_empty() {
                    request.headers.push(Name::Event, event);
                }
            };
            alice.within(method.clone(), about);
            assert_eq!((alice.status(), alice.header("489", Name::AllowEvents)), (489, "refer".into()));
            alice.keeps_its_dialog(|| alice.request_with(method.clone(), "1002", about));
            assert_eq!((alice.status(), alice.header("489", Name::AllowEvents)), (489, "refer".into()));
        }
    }
    alice.bye();
    world.finish();
}

/// RFC 3261 §8.2.1: methods that are not here are 405 with an Allow, within a dialog and outside; unknown ones
/// 501.
#[test]
fn methods_that_are_not_here_are_405() {
    let (world, alice, _bob) = talking();
    // A subscription to a transfer is made by REFER alone (RFC 3515 §2.4.4).
    let refers = |request: &mut Request| request.headers.push(Name::Event, "refer;id=2");
    for method in [Method::Message, Method::Subscribe, Method::Publish] {
        alice.within(method.clone(), refers);
        assert_eq!(alice.status(), 405, "{method}");
        assert!(!alice.header("405", Name::Allow).contains(method.as_str()));
        alice.keeps_its_dialog(|| alice.request_with(method.clone(), "1002", refers));
        assert_eq!(alice.status(), 405, "{method}");
    }
    alice.within(Method::from_token("DANCE"), |_| {});
    assert_eq!(alice.status(), 501);
    alice.bye();
    world.finish();
}

/// RFC 3261 §8.2.2.3: what a request requires and we do not have is 420, whatever its method; ACK and CANCEL
/// cannot require anything.
#[test]
fn what_is_required_is_looked_at_for_each_method() {
    let (world, alice, bob) = talking();
    for method in [Method::Invite, Method::Update, Method::Info, Method::Options, Method::Bye] {
        alice.within(method.clone(), |request| request.headers.push(Name::Require, "100rel, nothing"));
        assert_eq!(
            (alice.status(), alice.header("420", Name::Unsupported)),
            (420, "nothing".into()),
            "{method}"
        );
    }
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    alice.invite("1002");
    bob.ring();
    let Message::Request(invite) = alice.sent() else { unreachable!() };
    let mut cancel = invite;
    cancel.method = Method::Cancel;
    cancel.headers.set(Name::CSeq, "1 CANCEL");
    cancel.headers.remove(&Name::ContentType);
    cancel.headers.push(Name::Require, "nothing");
    cancel.body = Default::default();
    alice.send(cancel);
    assert_eq!(alice.status(), 487);
    world.finish();
}

/// RFC 3326 §2: why a caller gives up, or hangs up, is told to the callee, and the other way.
#[test]
fn reasons_cross_in_both_directions() {
    let (world, alice, bob) = ringing();
    alice.cancel_because("SIP;cause=200;text=\"Call completed elsewhere\"");
    assert!(bob.header("CANCEL", Name::Reason).starts_with("SIP;cause=200"));
    assert_eq!(world.cdrs()[0].cause, Cause::AnsweredElsewhere);
    world.check("cancel_reason");

    let (world, alice, bob) = ringing();
    bob.respond_with(480, |response| response.headers.push(Name::Reason, "Q.850;cause=20"));
    assert!(alice.header("480", Name::Reason).starts_with("Q.850;cause=20"));
    world.finish();

    let (world, alice, bob) = talking();
    alice.bye_because("Q.850;cause=38");
    assert!(bob.header("BYE", Name::Reason).starts_with("Q.850;cause=38"));
    world.finish();
}

/// RFC 3261 §15.1.2: a BYE that crosses ours is answered 200, from where the dialog was and for a while.
#[test]
fn a_bye_that_crosses_ours_is_no_mistake() {
    let (world, alice, bob) = talking();
    bob.manual();
    alice.bye();
    bob.bye();
    assert_eq!(bob.status(), 200);
    bob.automatic();
    bob.within(Method::Info, |_| {});
    assert_eq!(bob.status(), 481, "only a farewell");
    bob.keeps_its_dialog(|| world.advance(40_000));
    bob.bye();
    assert_eq!(bob.status(), 481, "for a while");
    world.finish();
}

/// RFC 3261 §8.2.7: what is answered without memory is answered alike each time, however late it came.
#[test]
fn a_late_bye_is_answered_alike_when_it_is_repeated() {
    let (world, alice, bob) = talking();
    bob.manual();
    alice.bye();
    bob.keeps_its_dialog(|| world.advance(30_000));
    bob.bye();
    assert_eq!(bob.status(), 200);
    for after in [4_000, 27_000] {
        world.advance(after);
        bob.repeat();
        assert_eq!(bob.status(), 200);
    }
    world.advance(2_000);
    bob.repeat();
    assert_eq!(bob.status(), 481, "for a while");
    world.finish();
}

/// RFC 3261 §16.6 step 11, §16.8: timer C. A far end that rings and says nothing more is cancelled; each
/// provisional answer but 100 starts it anew.
#[test]
fn a_phone_that_says_nothing_more_is_cancelled() {
    let world = World::with(|options| {
        options.site.extensions.get_mut("1002").unwrap().ring_timeout = std::time::Duration::from_secs(3600);
    });
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.ring();
    world.advance(200_000);
    bob.ring();
    world.advance(200_000);
    bob.respond(100);
    assert_eq!(bob.got("CANCEL").len(), 0);
    world.advance(40_000);
    assert_eq!((bob.got("CANCEL").len(), alice.status()), (1, 504));
    assert_eq!(world.cdrs()[0].cause, Cause::RecoveryOnTimer);
    world.check("timer_c");
}

/// RFC 3261 §9.2: a CANCEL after the final answer is answered, and changes nothing.
#[test]
fn a_cancel_after_the_final_answer_changes_nothing() {
    let (world, alice, bob) = ringing();
    bob.respond(486);
    let before = alice.got("486").len();
    alice.cancel();
    assert_eq!((alice.status(), alice.got("486").len()), (200, before));
    assert_eq!(world.cdrs()[0].disposition, Disposition::Busy);
    world.finish();
}

/// RFC 3261 §18.2.2 gives no way back over a connection that is gone: a fork that lost is ended where its
/// contact listens.
#[test]
fn a_fork_whose_connection_is_gone_is_ended_another_way() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40002");
    bob.register(3600);
    alice.invite("1002");
    bob.ring();
    let Message::Request(invite) = bob.last("INVITE") else { unreachable!() };
    bob.answer_at("<sip:1002@10.0.0.12:5090;transport=tcp>");
    alice.ack();
    world.flow_down(101);
    let listening = world.phone_at("1002", Transport::Tcp, "10.0.0.12:5090");
    let mut late = dialtone_signaling::message::Response::to(&invite, 200);
    let mut to = late.headers.to().unwrap().clone();
    to.set_tag("other");
    late.headers.set(Name::To, to);
    late.headers.push(Name::Contact, "<sip:1002@10.0.0.12:5090;transport=tcp>");
    listening.send(late);
    assert_eq!((listening.got("ACK").len(), listening.got("BYE").len()), (1, 1));
    assert_eq!(bob.got("BYE").len(), 0);
    alice.bye();
    world.finish();
}
