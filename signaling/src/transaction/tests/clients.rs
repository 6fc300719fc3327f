//! RFC 3261 §17.1 and RFC 6026 §7.2: what we ask.

use super::*;

#[test]
fn an_invite_that_nobody_answers_is_repeated_by_a_until_b() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("INVITE");
    bench.until(60_000);
    let expected = [
        "0.0 send INVITE",
        "0.5 send INVITE",
        "1.5 send INVITE",
        "3.5 send INVITE",
        "7.5 send INVITE",
        "15.5 send INVITE",
        "31.5 send INVITE",
        "32.0 timeout",
        "32.0 gone",
    ];
    assert_eq!(bench.trace(), expected);
}

#[test]
fn over_tcp_an_invite_is_sent_once_and_b_ends_it() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.send("INVITE");
    bench.until(60_000);
    assert_eq!(bench.trace(), ["0.0 send INVITE", "32.0 timeout", "32.0 gone"]);
}

#[test]
fn a_provisional_answer_stops_a_and_b() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("INVITE");
    bench.until(700);
    bench.answer("INVITE", 100);
    bench.answer("INVITE", 180);
    bench.until(180_000);
    assert_eq!(bench.trace(), ["0.0 send INVITE", "0.5 send INVITE", "0.7 heard 100", "0.7 heard 180"]);
    assert_eq!(bench.layer.len(), 1, "whoever rings may ring for long");
}

#[test]
fn a_refusal_is_acknowledged_each_time_until_d() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("INVITE");
    bench.answer("INVITE", 486);
    bench.until(1000);
    bench.answer("INVITE", 486);
    bench.answer("INVITE", 180);
    bench.until(60_000);
    let expected = ["0.0 send INVITE", "0.0 send ACK", "0.0 heard 486", "1.0 send ACK", "32.0 gone"];
    assert_eq!(bench.trace(), expected);
}

#[test]
fn over_tcp_d_is_zero() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.send("INVITE");
    bench.answer("INVITE", 486);
    assert_eq!(bench.trace(), ["0.0 send INVITE", "0.0 send ACK", "0.0 heard 486"]);
    assert!(bench.layer.is_empty());
}

#[test]
fn the_ack_to_a_refusal_is_of_the_same_transaction() {
    let mut bench = Bench::over(Transport::Udp);
    let mut out = Vec::new();
    let mut invite = request("INVITE", "z9hG4bKours");
    invite.headers.push(crate::message::Name::Route, "<sip:edge;lr>");
    bench.layer.send(bench.now, invite.clone(), bench.path, None, &mut out);
    let mut refusal = Response::to(&invite, 603);
    refusal.tag_to(|| "theirs");
    bench.layer.response(bench.now, refusal, &mut out);
    bench.note(out);
    let text = String::from_utf8_lossy(&bench.sent[1].payload).into_owned();
    for line in [
        "ACK sip:1002@pbx SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKours;rport",
        "Route: <sip:edge;lr>",
        "To: <sip:1002@pbx>;tag=theirs",
        "CSeq: 1 ACK",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

/// RFC 3261 §17.1.1.3 repeats the To of the refusal; we say nothing that nobody can read.
#[test]
fn a_refusal_whose_to_cannot_be_read_is_acknowledged_with_ours() {
    for broken in [Some("2"), None] {
        let mut bench = Bench::over(Transport::Udp);
        let mut out = Vec::new();
        let invite = request("INVITE", "z9hG4bKours");
        bench.layer.send(bench.now, invite.clone(), bench.path, None, &mut out);
        let mut refusal = Response::to(&invite, 603);
        refusal.headers.remove(&crate::message::Name::To);
        if let Some(broken) = broken {
            refusal.headers.push(crate::message::Name::To, broken);
        }
        bench.layer.response(bench.now, refusal, &mut out);
        bench.note(out);
        let text = String::from_utf8_lossy(&bench.sent[1].payload).into_owned();
        assert!(text.lines().any(|found| found == "To: <sip:1002@pbx>"), "{text}");
    }
}

#[test]
fn after_a_2xx_every_further_2xx_is_heard_until_m() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = Bench::over(transport);
        bench.send("INVITE");
        bench.answer("INVITE", 200);
        bench.until(31_900);
        bench.answer("INVITE", 200);
        bench.answer("INVITE", 486);
        bench.until(32_000);
        bench.answer("INVITE", 200);
        let expected = ["0.0 send INVITE", "0.0 heard 200", "31.9 heard 200", "32.0 gone"];
        assert_eq!(bench.trace(), expected);
    }
}

#[test]
fn a_request_is_repeated_by_e_up_to_t2_until_f() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("BYE");
    bench.until(60_000);
    let at = ["0.0", "0.5", "1.5", "3.5", "7.5", "11.5", "15.5", "19.5", "23.5", "27.5", "31.5"];
    let mut expected: Vec<String> = at.iter().map(|at| format!("{at} send BYE")).collect();
    expected.extend(["32.0 timeout".to_owned(), "32.0 gone".to_owned()]);
    assert_eq!(bench.trace(), expected);
}

#[test]
fn a_provisional_answer_slows_e_down_and_leaves_f() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("BYE");
    bench.until(600);
    bench.answer("BYE", 100);
    bench.until(10_000);
    let expected =
        ["0.0 send BYE", "0.5 send BYE", "0.6 heard 100", "1.5 send BYE", "5.5 send BYE", "9.5 send BYE"];
    assert_eq!(bench.trace(), expected);
    bench.until(40_000);
    assert_eq!(bench.trace().last().unwrap(), "32.0 gone");
}

#[test]
fn repeated_answers_are_absorbed_until_k() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("BYE");
    bench.answer("BYE", 200);
    bench.answer("BYE", 200);
    bench.until(60_000);
    assert_eq!(bench.trace(), ["0.0 send BYE", "0.0 heard 200", "5.0 gone"]);
}

#[test]
fn over_tcp_there_is_no_e_and_k_is_zero() {
    let mut bench = Bench::over(Transport::Tcp);
    bench.send("BYE");
    bench.until(20_000);
    bench.answer("BYE", 200);
    assert_eq!(bench.trace(), ["0.0 send BYE", "20.0 heard 200"]);
    assert!(bench.layer.is_empty());
}

#[test]
fn what_cannot_be_sent_is_told_at_once() {
    for method in ["INVITE", "BYE"] {
        let mut bench = Bench::over(Transport::Tcp);
        bench.send(method);
        bench.fail();
        assert_eq!(bench.trace(), [format!("0.0 send {method}"), "0.0 unreachable".into()]);
        assert!(bench.layer.is_empty());
    }
}

#[test]
fn an_invite_that_is_given_up_leaves_nothing() {
    let mut bench = Bench::over(Transport::Udp);
    let tx = bench.send("INVITE");
    bench.answer("INVITE", 180);
    assert!(bench.layer.cancel_request(tx).is_some());
    let mut out = Vec::new();
    bench.layer.abandon(tx, &mut out);
    assert!(out.is_empty() && bench.layer.is_empty());
}

#[test]
fn a_cancel_may_be_sent_between_a_provisional_and_a_final_answer() {
    let mut bench = Bench::over(Transport::Udp);
    let tx = bench.send("INVITE");
    assert!(bench.layer.cancel_request(tx).is_none(), "RFC 3261 §9.1: nothing has come");
    bench.answer("INVITE", 100);
    let (cancel, course) = bench.layer.cancel_request(tx).unwrap();
    assert_eq!(course.path, bench.path);
    assert_eq!(cancel.via().unwrap().branch(), Some("z9hG4bKours"), "the INVITE's own");
    assert_eq!(cancel.cseq().unwrap().to_string(), "1 CANCEL");
    bench.answer("INVITE", 486);
    assert!(bench.layer.cancel_request(tx).is_none());
}
