//! RFC 3261 §17.1.3, §17.2.3, §9.2, §18.2.2: what belongs together, and where answers go.

use super::*;

#[test]
fn an_answer_belongs_to_the_request_with_its_branch_and_method() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("INVITE");
    bench.answer("CANCEL", 200);
    let mut out = Vec::new();
    let other = Response::to(&request("INVITE", "z9hG4bKanother"), 200);
    bench.layer.response(bench.now, other, &mut out);
    bench.note(out);
    assert_eq!(bench.trace(), ["0.0 send INVITE"]);
}

#[test]
fn a_cancel_belongs_to_the_invite_with_its_branch() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(request("INVITE", "z9hG4bKx"));
    bench.receive(request("CANCEL", "z9hG4bKx"));
    bench.receive(request("CANCEL", "z9hG4bKx"));
    bench.receive(request("CANCEL", "z9hG4bKy"));
    bench.receive(with_via("CANCEL", "SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKx"));
    let expected = [
        "0.0 asked INVITE",
        "0.0 send 100",
        "0.0 cancel of an INVITE",
        "0.0 cancel of nothing",
        "0.0 cancel of nothing",
    ];
    assert_eq!(bench.trace(), expected);
    assert_eq!(bench.layer.len(), 4, "each CANCEL is a transaction of its own");
}

#[test]
fn two_senders_with_one_branch_are_two() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(with_via("OPTIONS", "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKx"));
    bench.receive(with_via("OPTIONS", "SIP/2.0/UDP 192.0.2.9:5080;branch=z9hG4bKx"));
    assert_eq!(bench.trace().len(), 2);
}

#[test]
fn a_peer_of_rfc_2543_is_told_apart_by_its_headers() {
    let via = "SIP/2.0/UDP 192.0.2.9:5070";
    for old in [via.to_owned(), format!("{via};branch=1"), format!("{via};branch=")] {
        let mut bench = Bench::over(Transport::Udp);
        bench.receive(with_via("INVITE", &old));
        bench.receive(with_via("INVITE", &old));
        let mut next = with_via("INVITE", &old);
        next.headers.set(crate::message::Name::CSeq, "2 INVITE");
        bench.receive(next);
        bench.receive(with_via("CANCEL", &old));
        let expected = [
            "0.0 asked INVITE",
            "0.0 send 100",
            "0.0 send 100",
            "0.0 asked INVITE",
            "0.0 send 100",
            "0.0 cancel of an INVITE",
        ];
        assert_eq!(bench.trace(), expected, "{old}");
    }
}

#[test]
fn a_full_table_answers_503_without_memory() {
    let mut bench = Bench::with_limit(Transport::Udp, 1);
    bench.receive(request("OPTIONS", "z9hG4bKx"));
    bench.receive(request("INVITE", "z9hG4bKy"));
    bench.receive(request("INVITE", "z9hG4bKy"));
    bench.receive(request("CANCEL", "z9hG4bKy"));
    bench.receive(request("ACK", "z9hG4bKy"));
    let expected = ["0.0 asked OPTIONS", "0.0 send 503", "0.0 send 503", "0.0 cancel of nothing", "0.0 ack"];
    assert_eq!(bench.trace(), expected);
    assert_eq!((bench.layer.len(), bench.layer.refused()), (2, 2));
    assert_eq!(bench.sent[0].payload, bench.sent[1].payload, "the same answer, tag included");
    let text = String::from_utf8_lossy(&bench.sent[0].payload).into_owned();
    assert!(text.contains("Retry-After: 5") && text.contains("To: <sip:1002@pbx>;tag="), "{text}");
}

/// RFC 3261 §18.2.2, §26.3.2.4: an answer opens a connection for whoever is served, and for nobody of whom nothing is
/// remembered.
#[test]
fn an_answer_without_memory_opens_no_connection() {
    let mut bench = Bench::with_limit(Transport::Tcp, 1);
    bench.receive(request("OPTIONS", "z9hG4bKx"));
    bench.receive(request("INVITE", "z9hG4bKy"));
    bench.respond(200);
    assert_eq!(bench.trace(), ["0.0 asked OPTIONS", "0.0 send 503", "0.0 send 200"]);
    let opens: Vec<_> = bench.sent.iter().map(|transmit| transmit.opens.clone()).collect();
    assert_eq!(opens, [Opens::Nowhere, Opens::At(bench.path.remote)]);
}

#[test]
fn an_answer_goes_to_the_source_port_when_rport_asks_for_it() {
    let cases = [
        (Transport::Udp, "SIP/2.0/UDP 10.1.1.1:5090;branch=z9hG4bKx;rport", "192.0.2.9:5070"),
        (Transport::Udp, "SIP/2.0/UDP 10.1.1.1:5090;branch=z9hG4bKx;rport=5070", "192.0.2.9:5070"),
        (Transport::Udp, "SIP/2.0/UDP 10.1.1.1:5090;branch=z9hG4bKx", "192.0.2.9:5090"),
        (Transport::Udp, "SIP/2.0/UDP phone.example;branch=z9hG4bKx", "192.0.2.9:5060"),
        (Transport::Tcp, "SIP/2.0/TCP 10.1.1.1:5090;branch=z9hG4bKx", "192.0.2.9:5070"),
    ];
    for (transport, via, target) in cases {
        let mut bench = Bench::over(transport);
        bench.receive(with_via("OPTIONS", via));
        bench.respond(200);
        assert_eq!(bench.sent[0].path.remote.to_string(), target, "{via}");
    }
}

#[test]
fn an_ack_to_nothing_is_for_the_dialogs() {
    let mut bench = Bench::over(Transport::Udp);
    bench.receive(request("ACK", "z9hG4bKx"));
    assert_eq!(bench.trace(), ["0.0 ack"]);
    assert!(bench.layer.is_empty());
}

#[test]
fn a_deadline_that_was_overtaken_does_not_come_back() {
    let mut bench = Bench::over(Transport::Udp);
    bench.send("INVITE");
    bench.answer("INVITE", 180);
    bench.answer("INVITE", 486);
    assert_eq!(bench.layer.deadline(), Some(Mono::from_millis(500)), "it still stands in the heap");
    bench.until(60_000);
    assert_eq!((bench.layer.len(), bench.layer.deadline()), (0, None));
}
