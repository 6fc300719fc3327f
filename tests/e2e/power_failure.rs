//! What was promised with a 200 outlives the process.

use dialtone_core::cdr::{Disposition, EndedBy};

use crate::harness::{Server, Setup, Sipp, Transport, answered, eventually, heard_both_ways, scenario};

/// A phone registers; the server is killed when the 200 arrives; it is started again; a call reaches the
/// phone. Several times, on the same data.
fn survives(transport: Transport, rounds: u16) {
    scenario(move |lab| {
        let mut server = Server::start(lab, Setup::shipped());
        for round in 0..rounds {
            let port = 5080 + 10 * round;
            let number = format!("100{}", 2 + round);
            Sipp::new(lab, "register_and_crash.xml", &number, port)
                .set("SERVER", server.pid())
                .over(transport)
                .run();
            server.restart_after_crash();
            server.wait_for_metric("dialtone_sip_bindings", f64::from(round + 1));
            let callee = Sipp::new(lab, "callee.xml", &number, port).set("RING", 100).rtp_echo();
            let callee = callee.over(transport).listen();
            let caller = Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 700).dial(&number);
            caller.over(transport).run();
            callee.finish();
        }
        for (round, cdr) in server.finish(rounds.into()).iter().enumerate() {
            answered(cdr, Some(&format!("100{}", 2 + round)), EndedBy::Caller);
            heard_both_ways(cdr, 15);
        }
    });
}

#[test]
fn a_phone_on_udp_is_reached_after_a_kill_right_after_its_200() {
    survives(Transport::Udp, 4);
}

#[test]
fn a_phone_on_tcp_is_reached_after_a_kill_right_after_its_200() {
    survives(Transport::Tcp, 4);
}

/// The record says that it was cut off, and stands there once however often the server is killed after that.
#[test]
fn a_call_that_a_kill_cuts_off_gets_its_record_at_the_next_start() {
    scenario(|lab| {
        let mut server = Server::start(lab, Setup::shipped());
        let _talk = Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 60_000).dial("*43").start();
        server.wait_for_metric("dialtone_sip_dialogs", 1.0);
        // That it began, that it was answered, and that the server was alive then.
        let noted = || (server.metric("dialtone_writer_written_total") >= 3.0).then_some(());
        eventually("the call is in the journal", noted);
        for _ in 0..2 {
            server.kill();
            server.restart_after_crash();
            server.wait_for_records(1);
        }
        let cdr = &server.finish(1)[0];
        assert_eq!((cdr.disposition, cdr.ended_by), (Disposition::Answered, EndedBy::Crash), "{cdr:#?}");
        assert_eq!((cdr.dialed.as_str(), cdr.legs.len()), ("*43", 1), "{cdr:#?}");
        assert!(cdr.talk_ms <= cdr.duration_ms && cdr.duration_ms < 60_000, "{cdr:#?}");
    });
}
