//! Requests of ours by more than one way: RFC 3263 §4.3.

use std::collections::VecDeque;

use super::*;
use crate::locate::Hop;
use crate::message::Uri;
use crate::transaction::{Course, Failure};

fn course(path: Path) -> Course {
    let hop = Hop::of(&Uri::parse("sip:phones.example").unwrap());
    Course { known: false, hop, ..path.into() }
}

/// RFC 3263 §4.3: a request without a way waits under its name, and goes by the next way under the same name.
#[test]
fn a_request_keeps_its_name_from_way_to_way() {
    let mut bench = Bench::over(Transport::Udp);
    let mut out = Vec::new();
    let tx = bench.layer.send(bench.now, request("INVITE", "z9hG4bK1"), course(bench.path), None, &mut out);
    bench.note(out);
    assert_eq!(bench.trace(), ["0.0 undelivered"]);
    assert!(bench.layer.is_held(tx) && bench.layer.is_empty());
    let held = bench.undelivered.pop().unwrap();
    assert!(matches!(held.failure, Failure::Unsent) && held.tx == tx);
    let mut errand = held.errand;
    errand.targets = Some(VecDeque::new());
    let (mut out, patience) = (Vec::new(), Some(Duration::from_secs(4)));
    bench.layer.send_again(bench.now, tx, errand, (bench.path, Opens::Peer, patience), None, &mut out);
    bench.note(out);
    bench.until(4000);
    assert_eq!(
        bench.trace(),
        ["0.0 send INVITE", "0.5 send INVITE", "1.5 send INVITE", "3.5 send INVITE", "4.0 undelivered"]
    );
    let silent = bench.undelivered.pop().unwrap();
    assert!(matches!(silent.failure, Failure::Silent) && silent.tx == tx && bench.layer.is_held(tx));
    bench.layer.let_go(tx);
    assert!(!bench.layer.is_held(tx));
    bench.until(60_000);
    assert_eq!(
        bench.trace(),
        ["36.0 gone"],
        "an answer may still come for as long as any transaction is tried"
    );
    assert!(bench.layer.is_empty());
}

/// An INVITE that went on to another target after four seconds, and what the first one hears.
fn given_up(transport: Transport) -> Bench {
    let mut bench = Bench::over(transport);
    let mut out = Vec::new();
    let tx =
        bench.layer.send(bench.now, request("INVITE", "z9hG4bKours"), course(bench.path), None, &mut out);
    bench.note(out);
    let (mut out, patience) = (Vec::new(), Some(Duration::from_secs(4)));
    let mut errand = bench.undelivered.pop().unwrap().errand;
    errand.targets = Some(VecDeque::new());
    bench.layer.send_again(bench.now, tx, errand, (bench.path, Opens::Peer, patience), None, &mut out);
    bench.note(out);
    bench.until(4000);
    let mut errand = bench.undelivered.pop().unwrap().errand;
    let via = request("INVITE", "z9hG4bK2").via().unwrap().clone();
    errand.request.headers.set_top(&Name::Via, via);
    let mut out = Vec::new();
    bench.layer.send_again(bench.now, tx, errand, (bench.path, Opens::Peer, None), None, &mut out);
    bench.note(out);
    bench.trace();
    bench
}

/// RFC 3263 §4.3, RFC 3261 §9.1, §17.1.1.3: a target that was given up is heard for as long as any is tried, once for
/// all its provisional answers, and its refusal is acknowledged; what it says is not the request's answer.
#[test]
fn a_target_that_was_given_up_is_late() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = given_up(transport);
        bench.answer("INVITE", 100);
        bench.answer("INVITE", 180);
        bench.answer("INVITE", 487);
        assert_eq!(
            bench.trace().get(..3).unwrap_or_default(),
            ["4.0 late 100", "4.0 send ACK", "4.0 late 487"]
        );
    }
}

/// RFC 6026 §7.2: each 2xx of it is told.
#[test]
fn each_2xx_of_a_target_that_was_given_up_is_told() {
    let mut bench = given_up(Transport::Tcp);
    bench.answer("INVITE", 200);
    bench.until(5000);
    bench.answer("INVITE", 200);
    assert_eq!(bench.trace(), ["4.0 late 200", "5.0 late 200"]);
    bench.until(80_000);
    assert_eq!(bench.trace(), ["36.0 undelivered", "36.0 gone"], "nobody else answered");
}

/// RFC 3261 §18.4, RFC 3263 §4.3: what could not be sent by one way says nothing of the next, which has the name of the
/// request and no ticket that was there before.
#[test]
fn a_transport_error_is_of_one_attempt() {
    let mut bench = given_up(Transport::Tcp);
    let tickets: Vec<_> = bench.sent.iter().map(|transmit| transmit.ticket).collect();
    let [first, second] = tickets[..] else { panic!("two attempts: {tickets:?}") };
    let failed = |bench: &mut Bench, ticket| {
        let mut out = Vec::new();
        bench.layer.send_failed(ticket, &mut out);
        bench.note(out);
        (bench.trace(), bench.layer.len())
    };
    assert_eq!(failed(&mut bench, first), (vec![], 1), "it is late, and over");
    assert_eq!(failed(&mut bench, first), (vec![], 1));
    assert_eq!(failed(&mut bench, second), (vec!["4.0 undelivered".into()], 0));
    assert!(bench.layer.tickets.is_empty());
}
