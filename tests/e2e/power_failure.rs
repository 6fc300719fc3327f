//! What was promised with a 200 outlives the process.

use dialtone_core::cdr::EndedBy;

use crate::harness::{Server, Setup, Sipp, Transport, answered, heard_both_ways, scenario};

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
