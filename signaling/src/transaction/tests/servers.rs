//! RFC 3261 §17.2 and RFC 6026 §7.1: what we are asked.

use super::*;

fn invite() -> Request {
    request("INVITE", "z9hG4bKx")
}

#[test]
fn a_repeated_invite_gets_the_last_provisional_answer() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(invite());
    bench.receive(invite());
    bench.respond(180);
    bench.receive(invite());
    bench.until(180_000);
    assert_eq!(
        bench.trace(),
        ["0.0 asked INVITE", "0.0 send 100", "0.0 send 100", "0.0 send 180", "0.0 send 180"]
    );
}

#[test]
fn a_refusal_is_repeated_by_g_until_h() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(invite());
    bench.respond(486);
    bench.until(60_000);
    let mut expected: Vec<String> = vec!["0.0 asked INVITE".into(), "0.0 send 100".into()];
    let at = ["0.0", "0.5", "1.5", "3.5", "7.5", "11.5", "15.5", "19.5", "23.5", "27.5", "31.5"];
    expected.extend(at.iter().map(|at| format!("{at} send 486")));
    expected.push("32.0 gone".into());
    assert_eq!(bench.trace(), expected);
}

#[test]
fn an_ack_stops_g_and_repetitions_are_absorbed_until_i() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(invite());
    bench.respond(486);
    bench.receive(invite());
    bench.until(600);
    bench.receive(request("ACK", "z9hG4bKx"));
    bench.receive(request("ACK", "z9hG4bKx"));
    bench.receive(invite());
    bench.until(60_000);
    let expected =
        ["0.0 asked INVITE", "0.0 send 100", "0.0 send 486", "0.0 send 486", "0.5 send 486", "5.6 gone"];
    assert_eq!(bench.trace(), expected);
}

#[test]
fn over_tcp_there_is_no_g_and_i_is_zero() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.receive(invite());
    bench.respond(486);
    bench.until(20_000);
    bench.receive(request("ACK", "z9hG4bKx"));
    assert_eq!(bench.trace(), ["0.0 asked INVITE", "0.0 send 100", "0.0 send 486"]);
    assert!(bench.layer.is_empty());
}

#[test]
fn over_tcp_h_still_waits_for_the_ack() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.receive(invite());
    bench.respond(486);
    bench.until(60_000);
    assert_eq!(bench.trace().last().unwrap(), "32.0 gone");
}

#[test]
fn after_a_2xx_invites_are_absorbed_and_acks_passed_on_until_l() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = Bench::over(transport);
        bench.receive(invite());
        bench.respond(200);
        bench.receive(invite());
        bench.until(500);
        bench.respond(200);
        bench.receive(request("ACK", "z9hG4bKother"));
        bench.receive(request("ACK", "z9hG4bKx"));
        bench.respond(486);
        bench.until(60_000);
        let expected = [
            "0.0 asked INVITE",
            "0.0 send 100",
            "0.0 send 200",
            "0.5 send 200",
            "0.5 ack",
            "0.5 ack",
            "32.0 gone",
        ];
        assert_eq!(bench.trace(), expected);
    }
}

#[test]
fn another_request_is_absorbed_until_it_is_answered_and_repeated_until_j() {
    let mut bench = Bench::over(Transport::Udp);
    let bye = || request("BYE", "z9hG4bKx");
    bench.receive(bye());
    bench.receive(bye());
    bench.respond(100);
    bench.receive(bye());
    bench.respond(200);
    bench.until(31_000);
    bench.receive(bye());
    bench.respond(500);
    bench.until(60_000);
    let expected =
        ["0.0 asked BYE", "0.0 send 100", "0.0 send 100", "0.0 send 200", "31.0 send 200", "32.0 gone"];
    assert_eq!(bench.trace(), expected);
}

#[test]
fn over_tcp_j_is_zero() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.receive(request("BYE", "z9hG4bKx"));
    bench.respond(200);
    assert_eq!(bench.trace(), ["0.0 asked BYE", "0.0 send 200"]);
    assert!(bench.layer.is_empty());
}

#[test]
fn a_2xx_that_cannot_be_sent_leaves_the_transaction_alive() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.receive(invite());
    bench.respond(200);
    bench.fail();
    assert_eq!(bench.layer.len(), 1, "RFC 6026 §7.1");
    bench.until(60_000);
    assert!(bench.layer.is_empty());
}
