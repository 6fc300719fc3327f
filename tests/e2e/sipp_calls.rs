//! SIPp calls SIPp through the server: every way a call can begin and end.

use dialtone_core::Cause;
use dialtone_core::cdr::{Disposition, EndedBy};
use dialtone_core::event::DialOutcome;

use crate::harness::{Lab, Run, Server, Setup, Sipp, Transport, answered, heard_both_ways, only, scenario};

/// Registers `number` at `port`.
fn register(lab: &Lab, number: &str, port: u16, transport: Transport) {
    Sipp::new(lab, "register.xml", number, port).set("PORT", port).over(transport).run();
}

/// A phone of `number` at `port` that plays a file when it is called.
fn phone<'l>(lab: &'l Lab, file: &'static str, number: &str, port: u16) -> Sipp<'l> {
    Sipp::new(lab, file, number, port).set("RING", 100).set("TALK", 1000).rtp_echo()
}

/// The registered phone of 1002.
fn callee(lab: &Lab, file: &'static str) -> Run {
    register(lab, "1002", 5080, Transport::Udp);
    phone(lab, file, "1002", 5080).listen()
}

/// A phone of 1001 that plays a file.
fn caller<'l>(lab: &'l Lab, file: &'static str, dial: &str) -> Sipp<'l> {
    Sipp::new(lab, file, "1001", 5070).set("TALK", 1500).dial(dial)
}

#[test]
fn a_call_over_udp_has_sound_both_ways() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

#[test]
fn a_call_over_tcp_on_both_legs_has_sound_both_ways() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        register(lab, "1002", 5080, Transport::Tcp);
        let ben = phone(lab, "callee.xml", "1002", 5080).over(Transport::Tcp).listen();
        caller(lab, "caller.xml", "1002").over(Transport::Tcp).run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

/// RFC 3262 §3, §4: each leg acknowledges for itself.
#[test]
fn provisional_answers_are_acknowledged_on_both_legs() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_wants_acknowledgement.xml");
        caller(lab, "caller_acknowledges_early_media.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

fn calls_over_ipv6(transport: Transport) {
    scenario(move |lab| {
        let both = "127.0.0.1:5060,[::1]:5060";
        let setup = Setup::shipped()
            .with("DIALTONE_SIP_UDP", both)
            .with("DIALTONE_SIP_TCP", both)
            .with("DIALTONE_RTP_BIND", "127.0.0.1,::1");
        let server = Server::start(lab, setup);
        Sipp::new(lab, "register.xml", "1002", 5080).set("PORT", 5080).ipv6().over(transport).run();
        let ben = phone(lab, "callee.xml", "1002", 5080).ipv6().over(transport).listen();
        caller(lab, "caller.xml", "1002").ipv6().over(transport).run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

#[test]
fn a_call_over_ipv6_has_sound_both_ways() {
    calls_over_ipv6(Transport::Udp);
}

#[test]
fn a_call_over_ipv6_and_tcp_has_sound_both_ways() {
    calls_over_ipv6(Transport::Tcp);
}

#[test]
fn what_the_callee_plays_before_the_answer_reaches_the_caller() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_with_early_media.xml");
        caller(lab, "caller_hears_early_media.xml", "1002").set("TALK", 500).run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        // The call lasts half a second; the rest was played before it was answered.
        let sent = cdr.legs[0].quality.as_ref().unwrap().sent_packets;
        assert!(sent > 50, "{sent} packets reached the caller: {cdr:#?}");
    });
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_rings_on.xml");
        caller(lab, "caller_gives_up.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.ended_by), (Disposition::Cancelled, EndedBy::Caller));
        assert_eq!(cdr.talk_ms, 0);
    });
}

/// What the caller and the record say when the callee answers with a status.
fn refused_with(status: u16, upstream: u16, cause: Cause, disposition: Disposition) {
    scenario(move |lab| {
        let server = Server::start(lab, Setup::shipped());
        register(lab, "1002", 5080, Transport::Udp);
        let ben = phone(lab, "callee_refuses.xml", "1002", 5080).set("STATUS", status).listen();
        caller(lab, "caller_is_refused.xml", "1002").set("STATUS", upstream).set("CAUSE", cause.code()).run();
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.cause), (disposition, cause), "{cdr:#?}");
    });
}

#[test]
fn a_busy_callee_is_told_to_the_caller() {
    refused_with(486, 486, Cause::UserBusy, Disposition::Busy);
}

#[test]
fn a_callee_who_declines_is_told_to_the_caller() {
    refused_with(603, 603, Cause::CallRejected, Disposition::Busy);
}

#[test]
fn an_unknown_number_gets_404() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        caller(lab, "caller_is_refused.xml", "4711").set("STATUS", 404).set("CAUSE", 1).run();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.cause), (Disposition::Failed, Cause::UnallocatedNumber));
    });
}

#[test]
fn an_extension_without_a_phone_gets_480() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        caller(lab, "caller_is_refused.xml", "1002").set("STATUS", 480).set("CAUSE", 20).run();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.cause), (Disposition::NoAnswer, Cause::SubscriberAbsent));
    });
}

#[test]
fn a_phone_that_nobody_answers_stops_ringing_after_the_ring_time() {
    scenario(|lab| {
        let setup = Setup::shipped().site("ring_timeout = \"30s\"", "ring_timeout = \"1s\"");
        let server = Server::start(lab, setup);
        let ben = callee(lab, "callee_rings_on.xml");
        caller(lab, "caller_is_refused.xml", "1002").set("STATUS", 480).set("CAUSE", 19).run();
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.disposition, cdr.cause), (Disposition::NoAnswer, Cause::NoAnswer));
        assert!((1000..3000).contains(&cdr.duration_ms), "it rang for {} ms", cdr.duration_ms);
    });
}

#[test]
fn a_call_on_hold_is_resumed_with_sound() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller_holds.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        // Three seconds of voice, of which the callee got no more than the two that were not on hold.
        let quality = cdr.legs[0].quality.as_ref().unwrap();
        assert!(quality.received_packets > 90, "{quality:?}");
        assert!((55..80).contains(&quality.sent_packets), "{quality:?}");
    });
}

#[test]
fn a_callee_who_hangs_up_ends_the_call() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee_hangs_up.xml");
        caller(lab, "caller_is_hung_up_on.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
        heard_both_ways(&cdr, 25);
    });
}

#[test]
fn a_call_without_an_offer_is_offered_ours() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller_offers_late.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

/// RFC 6442 §4.1: the location of a caller does not stand in the way of its call.
#[test]
fn a_caller_who_says_where_it_is_has_sound_both_ways() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller_says_where_it_is.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 40);
    });
}

#[test]
fn of_two_phones_of_an_extension_the_first_to_answer_has_the_call() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        register(lab, "1002", 5080, Transport::Udp);
        register(lab, "1002", 5090, Transport::Udp);
        server.wait_for_metric("dialtone_sip_bindings", 2.0);
        let desk = phone(lab, "callee_rings_on.xml", "1002", 5080).listen();
        let kitchen = phone(lab, "callee.xml", "1002", 5090).set("RING", 500).listen();
        caller(lab, "caller.xml", "1002").run();
        kitchen.finish();
        desk.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        let outcomes: Vec<_> = cdr.legs.iter().filter_map(|leg| leg.outcome).collect();
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.contains(&DialOutcome::Answered), "{outcomes:?}");
        assert!(outcomes.contains(&DialOutcome::AnsweredElsewhere), "{outcomes:?}");
    });
}

#[test]
fn a_ring_group_rings_all_and_the_caller_hears_our_tone() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        register(lab, "1001", 5080, Transport::Udp);
        register(lab, "1002", 5090, Transport::Udp);
        let alma = phone(lab, "callee_rings_on.xml", "1001", 5080).listen();
        let ben = phone(lab, "callee.xml", "1002", 5090).set("RING", 1500).listen();
        Sipp::new(lab, "caller.xml", "1003", 5100).set("TALK", 1000).dial("500").run();
        ben.finish();
        alma.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        let caller = cdr.legs[0].quality.as_ref().unwrap();
        // Ringback for a second and a half, then what the callee echoes.
        assert!(caller.sent_packets > 90, "{caller:?}");
    });
}

#[test]
fn a_phone_without_a_common_codec_leaves_the_call_to_the_others() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        register(lab, "1002", 5080, Transport::Udp);
        register(lab, "1002", 5090, Transport::Udp);
        let strange = phone(lab, "callee_refuses.xml", "1002", 5080).set("STATUS", 488).listen();
        let good = phone(lab, "callee.xml", "1002", 5090).set("RING", 500).listen();
        caller(lab, "caller.xml", "1002").run();
        strange.finish();
        good.finish();
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        assert!(cdr.legs.iter().any(|leg| leg.cause == Some(Cause::IncompatibleDestination)), "{cdr:#?}");
    });
}

#[test]
fn a_caller_who_never_acknowledges_is_hung_up_on() {
    scenario(|lab| {
        // 64 * T1 is the patience of RFC 3261 section 13.3.1.4.
        let server = Server::start(lab, Setup::shipped().with("DIALTONE_SIP_T1", "100ms"));
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller_never_acknowledges.xml", "1002").run();
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.ended_by, cdr.cause), (EndedBy::System, Cause::RecoveryOnTimer), "{cdr:#?}");
    });
}

#[test]
fn the_echo_test_returns_what_it_gets() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        caller(lab, "caller.xml", "*43").set("TALK", 2000).run();
        let cdr = only(server.finish(1));
        answered(&cdr, None, EndedBy::Caller);
        let quality = cdr.legs[0].quality.as_ref().unwrap();
        assert!(quality.received_packets > 60, "{quality:?}");
        let missing = quality.received_packets.abs_diff(quality.sent_packets);
        assert!(missing <= 2, "not every packet came back: {quality:?}");
    });
}

#[test]
fn a_call_that_goes_silent_is_ended_and_says_so() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped().with("DIALTONE_RTP_TIMEOUT", "2s"));
        let ben = callee(lab, "callee.xml");
        caller(lab, "caller_without_sound.xml", "1002").set("CAUSE", Cause::RecoveryOnTimer.code()).run();
        ben.finish();
        let cdr = only(server.finish(1));
        assert_eq!((cdr.ended_by, cdr.cause), (EndedBy::System, Cause::RecoveryOnTimer), "{cdr:#?}");
        assert!((2000..8000).contains(&cdr.talk_ms), "{} ms", cdr.talk_ms);
    });
}

#[test]
fn fifty_calls_at_ten_a_second_leave_fifty_records() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped().with("DIALTONE_SIP_T1", "200ms"));
        register(lab, "1002", 5080, Transport::Udp);
        let ben = phone(lab, "callee.xml", "1002", 5080).calls(50, 10).listen();
        caller(lab, "caller.xml", "1002").set("TALK", 2000).calls(50, 10).run();
        ben.finish();
        // Not one transaction stays behind, either.
        server.wait_for_metric("dialtone_sip_transactions", 0.0);
        let records = server.finish(50);
        for cdr in &records {
            answered(cdr, Some("1002"), EndedBy::Caller);
        }
    });
}
