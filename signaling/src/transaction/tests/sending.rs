//! Requests of ours by more than one way: RFC 3263 §4.3.

use std::collections::VecDeque;

use super::*;
use crate::locate::Hop;
use crate::message::Uri;
use crate::transaction::{Course, Failure};

fn course(path: Path) -> Course {
    let hop = Hop::of(&Uri::parse("sip:phones.example").unwrap());
    Course { path, known: false, hop, fallback: None }
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
    bench.layer.send_again(bench.now, tx, errand, (bench.path, patience), None, &mut out);
    bench.note(out);
    bench.until(4000);
    assert_eq!(
        bench.trace(),
        [
            "0.0 send INVITE",
            "0.5 send INVITE",
            "1.5 send INVITE",
            "3.5 send INVITE",
            "4.0 undelivered",
            "4.0 gone"
        ]
    );
    let silent = bench.undelivered.pop().unwrap();
    assert!(matches!(silent.failure, Failure::Silent) && silent.tx == tx && bench.layer.is_held(tx));
    bench.layer.let_go(tx);
    assert!(!bench.layer.is_held(tx) && bench.layer.is_empty());
}
