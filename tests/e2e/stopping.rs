//! SIGTERM: no new calls, and the running ones may end by themselves.

use dialtone_core::Cause;
use dialtone_core::cdr::EndedBy;

use crate::harness::{Lab, Run, Server, Setup, Sipp, answered, eventually, scenario};

/// A registered phone of 1002 that waits for a call.
fn callee(lab: &Lab) -> Run {
    Sipp::new(lab, "register.xml", "1002", 5080).set("PORT", 5080).run();
    Sipp::new(lab, "callee.xml", "1002", 5080).set("RING", 100).rtp_echo().listen()
}

fn drains(server: &Server<'_>) {
    server.wait_for_metric("dialtone_calls_answered_total", 1.0);
    server.terminate();
    eventually("the server drains", || (server.health() == "draining").then_some(()));
}

#[test]
fn a_stop_waits_for_the_call_and_refuses_others() {
    scenario(|lab| {
        let mut server = Server::start(lab, Setup::shipped());
        let ben = callee(lab);
        let talk = Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 4000).dial("1002").start();
        drains(&server);
        let refused = Sipp::new(lab, "caller_is_refused.xml", "1003", 5090).dial("1004");
        refused.set("STATUS", 503).set("CAUSE", Cause::Congestion.code()).run();
        assert!(server.runs(), "the server did not wait for the call");
        talk.finish();
        ben.finish();
        server.expect_exit();
        let records = server.exact_records(2);
        assert_eq!(records[0].dialed, "1004");
        assert_eq!(records[0].cause, Cause::Congestion);
        answered(&records[1], Some("1002"), EndedBy::Caller);
        assert!(records[1].talk_ms >= 3900, "{} ms", records[1].talk_ms);
    });
}

#[test]
fn a_second_stop_ends_the_call() {
    scenario(|lab| {
        let mut server = Server::start(lab, Setup::shipped());
        let ben = callee(lab);
        let talk = Sipp::new(lab, "caller_is_hung_up_on.xml", "1001", 5070).dial("1002").start();
        drains(&server);
        server.terminate();
        talk.finish();
        ben.finish();
        server.expect_exit();
        let records = server.exact_records(1);
        assert_eq!(records[0].ended_by, EndedBy::System, "{records:#?}");
    });
}

#[test]
fn a_stop_ends_calls_that_outlast_its_patience() {
    scenario(|lab| {
        let setup = Setup::shipped().with("DIALTONE_CALLS_DRAIN_TIMEOUT", "1s");
        let mut server = Server::start(lab, setup);
        let ben = callee(lab);
        let talk = Sipp::new(lab, "caller_is_hung_up_on.xml", "1001", 5070).dial("1002").start();
        drains(&server);
        talk.finish();
        ben.finish();
        server.expect_exit();
        assert_eq!(server.exact_records(1)[0].ended_by, EndedBy::System);
    });
}
