//! SIPp within calls, in both roles: UPDATE, session timers, glare; and what meets: a CANCEL and an answer, two BYEs.
//! Redirections.

use dialtone_core::cdr::{Disposition, EndedBy};
use dialtone_core::event::DialOutcome;

use crate::harness::{Lab, Run, Server, Setup, Sipp, Transport, answered, only, scenario};

/// A registered phone of `number` that plays a file when it is called.
fn callee(lab: &Lab, file: &'static str, number: &str, port: u16) -> Run {
    Sipp::new(lab, "register.xml", number, port).set("PORT", port).over(Transport::Udp).run();
    Sipp::new(lab, file, number, port).set("RING", 100).set("TALK", 1000).set("TO", 1003).rtp_echo().listen()
}

/// A phone of 1001 that plays a file and dials 1002.
fn caller(lab: &Lab, file: &'static str, talk_ms: u32) {
    Sipp::new(lab, file, "1001", 5070).set("TALK", talk_ms).dial("1002").run();
}

/// A call of both, which the caller ends.
fn call(caller_file: &'static str, callee_file: &'static str, talk_ms: u32) {
    scenario(move |lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, callee_file, "1002", 5080);
        caller(lab, caller_file, talk_ms);
        ben.finish();
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Caller);
    });
}

/// RFC 4028 §6, §9, RFC 3311 §5.2: 422 with our least interval; then the caller refreshes with UPDATE and re-INVITE.
#[test]
fn a_caller_refreshes_its_session() {
    call("caller_refreshes.xml", "callee.xml", 0);
}

/// RFC 4028 §7.4, RFC 3311 §5.1: a callee that has UPDATE is refreshed with it.
#[test]
fn a_callee_is_refreshed_with_update() {
    call("caller.xml", "callee_is_refreshed_by_update.xml", 18_000);
}

/// RFC 4028 §7.4: any other with re-INVITE.
#[test]
fn a_callee_is_refreshed_with_reinvite() {
    call("caller.xml", "callee_is_refreshed_by_invite.xml", 18_000);
}

/// RFC 3311 §5.2: an offer in UPDATE is answered in its 200.
#[test]
fn a_callee_moves_its_stream_with_update() {
    call("caller.xml", "callee_updates.xml", 1500);
}

/// RFC 3311 §5.1, §5.2: a caller that has acknowledged early media holds and resumes with UPDATE, while it rings and after.
#[test]
fn a_caller_changes_its_stream_with_update_before_the_answer_and_after_it() {
    call("caller_updates.xml", "callee_wants_acknowledgement.xml", 1000);
}

/// RFC 3311 §5.1, §5.2: and so does a callee.
#[test]
fn a_callee_moves_its_stream_with_update_while_it_rings() {
    call("caller_acknowledges_early_media.xml", "callee_updates_while_it_rings.xml", 1000);
}

/// RFC 4028 §9, RFC 3311 §5.2: a callee that took it upon itself refreshes the session, with UPDATE and re-INVITE.
#[test]
fn a_callee_refreshes_its_session() {
    call("caller.xml", "callee_refreshes.xml", 2000);
}

/// RFC 4028 §9, §7.4: a caller that leaves it to us is refreshed, in half of the shortest time that there is.
#[test]
fn a_caller_is_refreshed() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped().with("DIALTONE_RTP_TIMEOUT", "100s"));
        Sipp::new(lab, "caller_is_refreshed.xml", "1001", 5070).dial("*43").seconds(70).run();
        answered(&only(server.finish(1)), None, EndedBy::Caller);
    });
}

/// RFC 3261 §14.1: a re-INVITE of ours that meets 491 is sent again later.
#[test]
fn a_change_that_meets_another_is_made_later() {
    call("caller_changes_codec.xml", "callee_has_glare.xml", 0);
}

/// RFC 3261 §14.2: a re-INVITE that meets one of ours is 491.
#[test]
fn a_change_that_meets_ours_is_491() {
    call("caller_has_glare.xml", "callee_changes_codec.xml", 0);
}

/// RFC 3261 §14.1: the same towards the caller, whose Call-ID it is: then we wait less long.
#[test]
fn a_change_that_meets_one_of_the_caller_is_made_later() {
    call("caller_refuses_a_change_once.xml", "callee_changes_codec.xml", 0);
}

/// RFC 3261 §14.2: and from the callee.
#[test]
fn a_change_of_the_callee_that_meets_ours_is_491() {
    call("caller_changes_codec.xml", "callee_has_glare_of_its_own.xml", 0);
}

/// RFC 3261 §9.1, §13.2.2.4: a 200 that crosses the CANCEL is acknowledged, and its call ended with BYE.
#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_answers_despite_cancel.xml", "1002", 5080);
        caller(lab, "caller_gives_up.xml", 0);
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.ended_by), (Disposition::Cancelled, EndedBy::Caller));
    });
}

/// RFC 3261 §9.2: a CANCEL that crosses our 200 is answered, and changes nothing: whoever sent it must hang up.
#[test]
fn a_cancel_that_crosses_our_answer_changes_nothing() {
    call("caller_cancels_late.xml", "callee.xml", 0);
}

/// RFC 3261 §15.1.2: a BYE of the caller that crosses ours is answered.
#[test]
fn a_bye_of_the_caller_crosses_ours() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_hangs_up.xml", "1002", 5080);
        caller(lab, "caller_crosses_bye.xml", 0);
        ben.finish();
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Callee);
    });
}

/// RFC 3261 §15.1.2: and so is one of the callee.
#[test]
fn a_bye_of_the_callee_crosses_ours() {
    call("caller.xml", "callee_crosses_bye.xml", 1000);
}

/// RFC 3261 §21.3.3: 302.
#[test]
fn a_phone_sends_the_call_to_another_number() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_redirects.xml", "1002", 5080);
        let ann = callee(lab, "callee.xml", "1003", 5090);
        caller(lab, "caller.xml", 1500);
        ben.finish();
        ann.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1003"), EndedBy::Caller);
        assert_eq!(cdr.legs[1].outcome, Some(DialOutcome::Redirected));
        assert_eq!(cdr.legs[1].redirected_to, ["1003"]);
    });
}
