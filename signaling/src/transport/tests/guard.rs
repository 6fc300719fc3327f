//! Who is not answered, and who is although others write in their name.

use std::sync::Arc;

use dialtone_core::{Mono, Wall};

use super::gate::{admit, answered, arrival, decide, gate, outcome};
use super::phone::{Answer, Text};
use crate::transport::gate::{Admission, Arrival, Gate};
use crate::transport::{GuardPolicy, Limits, Metrics};
use crate::wire::Transport;

fn guarded(policy: GuardPolicy) -> (Gate, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let limits = Limits { guard: policy, ..Limits::default() };
    let key = crate::auth::NonceKey::new([3; 32]);
    (Gate::new(super::world::accounts(), key, &limits, metrics.clone()), metrics)
}

/// A datagram from this address, so many seconds after the others.
fn from(source: &str, later_s: u64) -> Arrival {
    let mut arrival = arrival(Transport::Udp);
    arrival.source = std::net::SocketAddr::new(source.parse().unwrap(), 5060);
    arrival.now.mono = arrival.now.mono + std::time::Duration::from_secs(later_s);
    arrival.now.wall = Wall::from_micros(arrival.now.wall.as_micros() + later_s as i64 * 1_000_000);
    arrival
}

fn with(header: &str) -> String {
    Text { more: format!("{header}\r\n"), ..Text::default() }.print()
}

#[test]
fn scanners_get_no_answer() {
    let (gate, metrics) = guarded(GuardPolicy::default());
    let seen = |text: String, source: &str| outcome(&decide(&gate, text, from(source, 0)).0);
    for agent in ["friendly-scanner", "SIPVicious/0.3", "VaxSIPUserAgent/3.1", "pplsip", "sundayddr"] {
        assert_eq!(seen(with(&format!("User-Agent: {agent}")), "192.0.2.7"), "dropped", "{agent}");
    }
    let numeric =
        Text::default().print().replace("From: <sip:1001@dialtone.example>", "From: <sip:100@1.1.1.1>");
    assert_eq!(seen(numeric.clone(), "192.0.2.7"), "dropped");
    assert_eq!(metrics.scanners.get(), 6);
    for agent in ["Yealink SIP-T46S 66.85.0.5", "baresip v1.0.0", "Linphone/5.1"] {
        assert_eq!(seen(with(&format!("User-Agent: {agent}")), "192.0.2.7"), "401", "{agent}");
    }
    assert_eq!(seen(with("User-Agent: sipcli"), "127.0.0.1"), "401", "our own tests of the system");
    assert_eq!(seen(with("User-Agent: sipcli"), "::ffff:127.0.0.1"), "401");
    let trusting = GuardPolicy { trusted: vec!["192.0.2.0/24".parse().unwrap()], ..GuardPolicy::default() };
    let (gate, metrics) = guarded(trusting);
    assert_eq!(outcome(&decide(&gate, numeric, from("192.0.2.9", 0)).0), "401");
    assert_eq!(metrics.scanners.get(), 0);
}

/// Fails at an account with a nonce of its own, as a tool that guesses does; what came of it.
fn guess(gate: &Gate, source: &str, username: &'static str, later_s: u64) -> String {
    let text = Text { user: username, ..Text::default() };
    let challenged = decide(gate, text.print(), from(source, later_s)).0;
    if !matches!(challenged, Admission::Answer(_)) {
        return outcome(&challenged);
    }
    let answer = Answer { username, password: "guess", ..Answer::default() };
    let text = text.answering(&answered(&challenged), &answer);
    outcome(&decide(gate, text.print(), from(source, later_s)).0)
}

/// RFC 3261 §26.3.2.4: whoever looks for accounts gets nothing any more, whether those it tried exist or not.
#[test]
fn who_tries_many_accounts_is_silenced() {
    let (gate, metrics) = guarded(GuardPolicy { accounts_tried: 4, ..GuardPolicy::default() });
    let guesser = "192.0.2.7";
    for (username, expected) in
        [("100", "401"), ("1001", "401"), ("101", "401"), ("1002", "401"), ("102", "dropped")]
    {
        assert_eq!(guess(&gate, guesser, username, 0), expected, "{username}");
    }
    assert_eq!(
        (metrics.silenced.get(), metrics.silenced_messages.get(), metrics.silenced_now.get()),
        (1, 1, 1)
    );
    assert_eq!(guess(&gate, "192.0.2.8", "103", 1), "401", "another address");
    assert!(gate.guard.is_silenced(guesser.parse().unwrap(), from(guesser, 1).now.mono));
    assert_eq!(guess(&gate, guesser, "103", 599), "dropped");
    assert_eq!(guess(&gate, guesser, "103", 601), "401");
}

/// RFC 3261 §26.3.2.4: over UDP anybody can write anybody's address, so nothing that proves no more than that is held
/// against it, and a phone that proved its password keeps its service while others flood in its name.
#[test]
fn a_flood_in_a_phones_name_does_not_lock_it_out() {
    let limits = Limits { datagrams_per_second: 10, ..Limits::default() };
    let gate = gate(&limits);
    let register = Text { call_id: "reg".into(), ..Text::default() };
    let challenged = answered(&admit(&gate, register.print()));
    let of_the_stack = |status: &str, call_id: &str| {
        let text = format!("SIP/2.0 {status}\r\nVia: x\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n");
        gate.guard.sent(text.as_bytes(), "192.0.2.7".parse().unwrap(), Mono::from_millis(1000));
    };
    of_the_stack("200 OK", "call");
    of_the_stack("481 Call/Transaction Does Not Exist", "forged-8");
    // Thousands of scanners, pings, calls and guesses that bear the phone's address.
    for number in 0..2000 {
        let call_id = format!("forged-{number}");
        let methods = ["OPTIONS", "INVITE", "REGISTER", "BYE"];
        let method = methods[number % methods.len()];
        let agent = if number % 3 == 0 { "User-Agent: friendly-scanner\r\n" } else { "" };
        admit(&gate, Text { method, call_id, more: agent.into(), to_tag: "x", ..Text::default() }.print());
    }
    assert_eq!(outcome(&admit(&gate, Text { call_id: "new".into(), ..Text::default() }.print())), "dropped");
    assert_eq!(
        outcome(&admit(&gate, Text { call_id: "forged-8".into(), ..Text::default() }.print())),
        "dropped"
    );
    let proved = register.answering(&challenged, &Answer::default()).print();
    assert!(matches!(decide(&gate, proved, arrival(Transport::Udp)).0, Admission::Deliver { .. }));
    let call = Text { call_id: "call".into(), to_tag: "t", ..Text::default() };
    for method in ["BYE", "ACK", "INVITE", "UPDATE"] {
        assert_eq!(outcome(&admit(&gate, Text { method, ..call.clone() }.print())), "Kept", "{method}");
    }
    let response = "SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: call\r\n\r\n";
    assert_eq!(outcome(&admit(&gate, response)), "Kept");
    // Even what shows a proof has a limit: the rate of one address, no more.
    let passed = (0..100).filter(|_| outcome(&admit(&gate, response)) == "Kept").count();
    assert!(passed <= 10, "{passed}");
    let elsewhere = decide(&gate, Text::default().print(), from("192.0.2.8", 0)).0;
    assert_eq!(outcome(&elsewhere), "401", "others do not notice");
}

/// A registration in a conversation that we know is worth more than a first one when the stack is behind.
#[test]
fn a_registration_to_be_renewed_is_told_from_a_first_one() {
    let gate = gate(&Limits::default());
    let challenged = answered(&admit(&gate, Text::default().print()));
    let register = |call_id: &str, nonce_count| {
        let text = Text { call_id: call_id.into(), ..Text::default() };
        let text = text.answering(&challenged, &Answer { nonce_count, ..Answer::default() });
        match decide(&gate, text.print(), arrival(Transport::Udp)).0 {
            Admission::Deliver { class, .. } => format!("{class:?}"),
            other => outcome(&other),
        }
    };
    assert_eq!(register("c1", "00000001"), "Registration");
    let text = "SIP/2.0 200 OK\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n\r\n";
    gate.guard.sent(text.as_bytes(), "192.0.2.7".parse().unwrap(), Mono::from_millis(1000));
    assert_eq!(register("c1", "00000002"), "Renewal");
    assert_eq!(register("c2", "00000003"), "Registration");
}
