//! Reliable provisional answers on each leg by itself: RFC 3262.

use dialtone_core::Cause;
use dialtone_core::cdr::{Disposition, EndedBy};
use dialtone_core::site::Ringback;
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::ua::Reliability;

use super::support::{Phone, World, sdp};

/// Alice has 100rel and calls Bob.
fn calling(header: Name) -> (World, Phone, Phone) {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| request.headers.push(header, "100rel"));
    world.advance(100);
    (world, alice, bob)
}

/// RFC 3262 §3: what carries a description goes reliably, is repeated until its PRACK comes, and the 200 says
/// nothing once more (RFC 3262 §5).
#[test]
fn early_media_is_acknowledged_by_a_caller_that_can() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    let first = alice.last("183");
    assert_eq!(alice.header("183", Name::Require), "100rel");
    world.advance(1600);
    assert_eq!(alice.got("183").len(), 3, "after T1, and after twice T1");
    assert_eq!(alice.last("183").to_string(), first.to_string());
    alice.prack();
    assert_eq!(alice.status(), 200);
    world.advance(5000);
    assert_eq!(alice.got("183").len(), 3);
    bob.ring();
    assert!(!alice.last("180").headers().has(&Name::RSeq), "without a description it need not be reliable");
    bob.answer();
    assert!(alice.last("200 OK").body().is_empty());
    alice.ack();
    world.advance(1000);
    alice.bye();
    world.check("prack");
}

/// RFC 3262 §3: RSeq begins below 2**31 and not at 0; a provisional answer without description stays as it was.
#[test]
fn what_carries_no_description_is_not_reliable() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.ring();
    assert!(!alice.last("180").headers().has(&Name::RSeq));
    bob.progress();
    let rseq: u32 = alice.header("183", Name::RSeq).parse().unwrap();
    assert!(rseq > 0 && rseq < 1 << 31);
    alice.prack();
    alice.cancel();
    world.finish();
}

/// RFC 3262 §3: without a PRACK for 64*T1 the INVITE is rejected with a 5xx.
#[test]
fn a_caller_that_never_acknowledges_is_refused() {
    let world = World::with(|options| {
        options.site.extensions.get_mut("1002").unwrap().ring_timeout = std::time::Duration::from_secs(60);
    });
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| request.headers.push(Name::Supported, "100rel"));
    bob.progress();
    world.advance(32_000);
    assert_eq!((alice.status(), alice.got("183").len()), (504, 7));
    assert_eq!(bob.got("CANCEL").len(), 1);
    assert_eq!(world.cdrs()[0].cause, Cause::RecoveryOnTimer);
    world.check("prack_never");
}

/// RFC 3262 §3: when the caller requires it, all provisional answers but 100 are reliable, one at a time.
#[test]
fn a_caller_that_requires_it_gets_all_of_them_one_after_the_other() {
    let (world, alice, bob) = calling(Name::Require);
    bob.ring();
    bob.progress();
    assert_eq!((alice.got("180").len(), alice.got("183").len()), (1, 0), "the second waits");
    assert!(alice.last("180").headers().has(&Name::RSeq));
    let first: u32 = alice.header("180", Name::RSeq).parse().unwrap();
    alice.prack();
    let second: u32 = alice.header("183", Name::RSeq).parse().unwrap();
    assert_eq!(second, first + 1, "RFC 3262 §3");
    alice.prack();
    bob.answer();
    alice.ack();
    alice.bye();
    world.check("prack_required");
}

/// RFC 3262 §5: the 200 waits while a description of ours is not acknowledged.
#[test]
fn the_200_waits_for_the_prack() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    bob.answer();
    let answered = || alice.header("200 OK", Name::CSeq).ends_with("INVITE");
    assert_eq!((answered(), bob.got("ACK").len()), (false, 1), "the callee does not wait for it");
    world.advance(600);
    alice.prack();
    assert!(answered());
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("prack_before_200");
}

/// RFC 3262 §5: also while that one waits its turn behind others, and another's PRACK is not its own.
#[test]
fn the_200_waits_for_the_prack_to_what_describes() {
    let (world, alice, bob) = calling(Name::Require);
    bob.ring();
    bob.progress();
    bob.answer();
    alice.prack();
    let answered =
        || !alice.got("200 OK").is_empty() && alice.header("200 OK", Name::CSeq).ends_with("INVITE");
    assert_eq!((answered(), alice.got("183 Session Progress (sdp)").len()), (false, 1));
    world.advance(600);
    assert_eq!(alice.got("183 Session Progress (sdp)").len(), 2, "it is repeated until it is acknowledged");
    alice.prack();
    assert!(answered() && alice.last("200 OK").body().is_empty());
    alice.ack();
    alice.bye();
    world.finish();
}

/// RFC 3262 §3: a 200 does not wait for the PRACK to what carried no description, which may still come.
#[test]
fn a_prack_after_the_200_is_welcome() {
    let (world, alice, bob) = calling(Name::Require);
    bob.ring();
    bob.answer();
    assert_eq!(alice.got("200 OK (sdp)").len(), 1);
    let rack = alice.rack();
    alice.prack();
    assert_eq!((alice.status(), alice.header("200 OK", Name::CSeq)), (200, "2 PRACK".into()), "{rack}");
    alice.ack();
    world.advance(5000);
    assert_eq!(alice.got("180").len(), 1, "nothing is repeated after the final answer");
    alice.bye();
    world.finish();
}

/// RFC 3262 §3: a PRACK that matches nothing is 481; one that cannot be read, 400.
#[test]
fn a_prack_that_acknowledges_nothing_is_481() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    alice.enters_early_dialog();
    let prack = |rack: &str| {
        let rack = rack.to_owned();
        alice.within(dialtone_signaling::message::Method::Prack, |request| {
            request.headers.push(Name::RAck, rack);
        });
        alice.status()
    };
    assert_eq!(prack("1 1 INVITE"), 481);
    assert_eq!(prack("nothing"), 400);
    let good = alice.rack();
    assert_eq!(prack(&good), 200);
    assert_eq!(prack(&good), 481, "once");
    alice.cancel();
    world.finish();
}

/// RFC 3262 §3: a PRACK that crosses our refusal is answered.
#[test]
fn a_prack_that_crosses_the_refusal_is_answered() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    bob.respond(486);
    alice.prack();
    assert_eq!(alice.status(), 200);
    world.finish();
}

/// RFC 3262 §5: a caller without an offer gets ours in the first reliable answer and answers it in its PRACK.
#[test]
fn a_call_without_an_offer_is_offered_ours_before_the_answer() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        request.headers.remove(&Name::ContentType);
        request.body = Default::default();
        request.headers.push(Name::Supported, "100rel");
    });
    bob.progress_with(183, sdp("pcmu te"));
    assert!(alice.last("183").to_string().contains("PCMU"));
    alice.prack_with(sdp("pcmu te"));
    assert!(world.last_bridge().is_some(), "the caller hears the callee");
    world.advance(1000);
    bob.answer_with(sdp("pcmu te"));
    assert!(alice.last("200 OK").body().is_empty());
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("prack_answers");
}

/// RFC 3262 §5: when all must be reliable, the 180 has to make the offer; an answer in the PRACK that does not
/// fit what the callee takes changes the callee.
#[test]
fn a_call_without_an_offer_that_requires_it_is_offered_ours_with_180() {
    for ringback in [Ringback::Member, Ringback::Phone, Ringback::Tone] {
        let world = World::with(|options| {
            options.site.ring_groups.get_mut("500").unwrap().ringback = ringback;
        });
        let (caller, bob) = (world.registered("1003"), world.registered("1002"));
        caller.invite_with("500", |request| {
            request.headers.remove(&Name::ContentType);
            request.body = Default::default();
            request.headers.push(Name::Require, "100rel");
        });
        bob.ring();
        assert!(!caller.last("180").body().is_empty(), "{ringback:?}");
        bob.answer();
        assert_eq!(caller.got("200 OK (sdp)").len(), 0);
        caller.prack_with(sdp("pcma te"));
        caller.ack();
        assert!(bob.last("re-INVITE").to_string().contains("PCMA"), "{ringback:?}");
        bob.answer_with(sdp("pcma te"));
        assert!(caller.in_call() && bob.in_call());
        caller.bye();
        world.finish();
    }
}

/// RFC 3262 §5: an offer of ours must be answered in the PRACK.
#[test]
fn an_offer_without_an_answer_ends_the_call() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| {
        request.headers.remove(&Name::ContentType);
        request.body = Default::default();
        request.headers.push(Name::Supported, "100rel");
    });
    bob.progress();
    alice.prack();
    assert_eq!((alice.status(), bob.got("CANCEL").len()), (488, 1));
    world.finish();
}

/// RFC 3262 §5: a PRACK may offer once more, and its 200 answers.
#[test]
fn a_prack_may_offer_again() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    alice.prack_with(sdp("pcmu te").direction(dialtone_core::Direction::SendOnly));
    assert!(alice.last("200 OK (sdp)").to_string().contains("a=recvonly"));
    bob.answer();
    alice.ack();
    alice.bye();
    world.check("prack_offers");
}

/// RFC 3262 §4: a PRACK leaves at once, in order, once for each, and never waits for the caller's leg.
#[test]
fn a_callee_is_acknowledged_at_once() {
    let (world, alice, bob) = calling(Name::Subject);
    assert!(bob.header("INVITE", Name::Supported).contains("100rel"));
    assert!(!bob.last("INVITE").headers().has(&Name::Require));
    bob.rings_reliably(180, 7, "", None);
    assert_eq!(bob.header("PRACK", Name::RAck), "7 1 INVITE");
    bob.rings_reliably(180, 7, "", None);
    assert_eq!(bob.got("PRACK").len(), 1, "a repetition is not acknowledged again");
    bob.rings_reliably(183, 9, "", Some(sdp("pcmu te")));
    assert_eq!((bob.got("PRACK").len(), alice.got("183").len()), (1, 0), "one is missing");
    bob.rings_reliably(183, 8, "", Some(sdp("pcmu te")));
    assert_eq!((bob.header("PRACK", Name::RAck), alice.got("183").len()), ("8 1 INVITE".into(), 1));
    assert!(bob.header("PRACK", Name::CSeq).starts_with("3 "));
    bob.answers_as("", None);
    assert!(bob.header("ACK", Name::CSeq).starts_with("1 "));
    alice.ack();
    assert!(alice.in_call() && bob.in_call(), "its answer came with 183");
    alice.bye();
    assert!(bob.header("BYE", Name::CSeq).starts_with("4 "), "RFC 3261 §12.2.1.1: the early dialog went on");
    world.check("prack_sent");
}

/// RFC 3262 §4, RFC 3261 §13.2.2.4: each fork has an early dialog and a line of RSeq of its own; the first 2xx
/// wins, and the others are acknowledged and ended within their own dialogs.
#[test]
fn each_fork_has_its_own_line_of_numbers() {
    let (world, alice, bob) = calling(Name::Subject);
    bob.rings_reliably(183, 100, "one", Some(sdp("pcmu te")));
    bob.rings_reliably(183, 5, "two", Some(sdp("pcma te")));
    let racks: Vec<_> =
        bob.got("PRACK").iter().map(|prack| prack.headers().text(&Name::RAck).unwrap().to_owned()).collect();
    assert_eq!(racks, ["100 1 INVITE", "5 1 INVITE"]);
    assert!(bob.got("PRACK").iter().all(|prack| prack.headers().text(&Name::CSeq) == Some("2 PRACK")));
    bob.rings_reliably(180, 6, "two", None);
    assert!(bob.header("PRACK", Name::CSeq).starts_with("3 "));
    assert_eq!(alice.got("183").len(), 1, "the first that is heard");
    let Message::Request(invite) = bob.last("INVITE") else { unreachable!() };
    bob.answers_as("one", None);
    alice.ack();
    // The other phone answers all the same.
    let mut late = dialtone_signaling::message::Response::to(&invite, 200);
    let mut to = late.headers.to().unwrap().clone();
    to.set_tag("two");
    late.headers.set(Name::To, to);
    late.headers.push(Name::Contact, "<sip:1002@10.0.0.12:5060>");
    bob.keeps_its_dialog(|| bob.send(late));
    let bye = bob.last("BYE");
    assert_eq!(bye.headers().to().unwrap().tag(), Some("two"));
    assert_eq!(bye.headers().text(&Name::CSeq), Some("4 BYE"), "after its two PRACKs");
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("prack_forks");
}

/// RFC 3261 §13.2.2.4: of a fork that did not repeat its answer the one it gave counts, not another's.
#[test]
fn a_fork_is_taken_at_its_own_word() {
    let (world, alice, bob) = calling(Name::Subject);
    bob.rings_reliably(183, 1, "one", Some(sdp("pcmu te")));
    bob.rings_reliably(183, 1, "two", Some(sdp("pcmu te").ip("10.0.0.99")));
    bob.answers_as("two", None);
    alice.ack();
    let moved =
        world.media_commands().into_iter().any(|command| format!("{command:?}").contains("10.0.0.99"));
    assert!(moved, "the caller talks with the second phone");
    bob.bye();
    world.finish();
}

/// A bound of ours: of too many forks the first eight are heard of.
#[test]
fn forks_are_counted() {
    let (world, alice, bob) = calling(Name::Subject);
    for fork in 0..12 {
        bob.rings_reliably(180, 1, &format!("fork{fork}"), None);
    }
    assert_eq!(bob.got("PRACK").len(), 8);
    bob.answers_as("fork11", Some(sdp("pcmu te")));
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.finish();
}

/// RFC 3262 §3: "off" neither offers nor understands it, "required" takes nobody without it.
#[test]
fn a_site_may_forbid_it_or_insist_on_it() {
    let world = World::with(|options| options.reliability = Reliability::Off);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite_with("1002", |request| request.headers.push(Name::Require, "100rel"));
    assert_eq!((alice.status(), alice.header("420", Name::Unsupported)), (420, "100rel".into()));
    alice.invite_with("1002", |request| request.headers.push(Name::Supported, "100rel"));
    assert!(!bob.header("INVITE", Name::Supported).contains("100rel"));
    bob.rings_reliably(183, 1, "", Some(sdp("pcmu te")));
    assert_eq!(bob.got("PRACK").len(), 0);
    assert!(!alice.last("183").headers().has(&Name::RSeq));
    alice.cancel();
    world.finish();

    let world = World::with(|options| options.reliability = Reliability::Required);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    assert_eq!((alice.status(), alice.header("421", Name::Require)), (421, "100rel".into()));
    alice.invite_with("1002", |request| request.headers.push(Name::Supported, "100rel"));
    assert_eq!(bob.header("INVITE", Name::Require), "100rel");
    bob.ring();
    assert!(alice.last("180").headers().has(&Name::RSeq));
    alice.cancel();
    world.finish();
}

/// RFC 3262 §3, §4: only what is acknowledged is offered: a change of ours says nothing of it.
#[test]
fn a_change_does_not_ask_for_reliable_answers() {
    let (world, alice, bob) = super::calls::talking();
    world.advance(900_000);
    for phone in [&alice, &bob] {
        assert_eq!(phone.header("re-INVITE", Name::Supported), "timer, replaces, norefersub");
        phone.respond(183);
        phone.answer();
    }
    alice.bye();
    world.finish();
}

/// RFC 3262 §3: whoever hangs up while a provisional answer is on its way is told with the final one.
#[test]
fn the_caller_gives_up_before_it_acknowledges() {
    let (world, alice, bob) = calling(Name::Supported);
    bob.progress();
    alice.cancel();
    assert_eq!((alice.status(), bob.got("CANCEL").len()), (487, 1));
    world.advance(40_000);
    assert_eq!(alice.got("183").len(), 1);
    let cdr = world.cdrs().pop().unwrap();
    assert_eq!((cdr.disposition, cdr.ended_by), (Disposition::Cancelled, EndedBy::Caller));
    world.finish();
}
