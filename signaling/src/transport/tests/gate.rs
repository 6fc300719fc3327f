//! Who is let through, who is challenged, who is answered at once: one table.

use bytes::Bytes;
use proptest::prelude::*;

use super::phone::Text;
use super::world::{Hands, accounts};
use crate::auth::NonceKey;
use crate::message::{Message, Name, Response};
use crate::transport::gate::{Admission, Arrival, Gate};
use crate::transport::{Class, Glance, Limits, Metrics};
use crate::wire::{Credentials, Transport, TransportEvent};

pub(super) fn gate(limits: &Limits) -> Gate {
    Gate::new(accounts(), NonceKey::new([3; 32]), limits, std::sync::Arc::new(Metrics::default()))
}

pub(super) fn arrival(transport: Transport) -> Arrival {
    let source = "192.0.2.7:40000".parse().unwrap();
    Arrival { transport, source, now: Hands::default().now() }
}

/// As a socket does it, with a stack that has room.
pub(super) fn decide(
    gate: &Gate,
    message: impl Into<Bytes>,
    arrival: Arrival,
) -> (Admission, Option<TransportEvent>) {
    let message = message.into();
    match gate.inspect(&Glance::of(&message), arrival) {
        Some(standing) => gate.admit(message, arrival, standing, |_| true),
        None => (Admission::Drop, None),
    }
}

pub(super) fn admit(gate: &Gate, text: impl Into<Bytes>) -> Admission {
    let (admission, alarm) = decide(gate, text, arrival(Transport::Udp));
    assert!(alarm.is_none());
    admission
}

/// A status, the class of what was let through, or nothing.
pub(super) fn outcome(admission: &Admission) -> String {
    match admission {
        Admission::Deliver { class, credentials, .. } => {
            assert_eq!(*credentials, Credentials::None);
            format!("{class:?}")
        }
        Admission::Answer(_) => answered(admission).status.to_string(),
        Admission::Drop => "dropped".into(),
    }
}

pub(super) fn answered(admission: &Admission) -> Response {
    let Admission::Answer(answer) = admission else { panic!("{admission:?}") };
    match Message::parse(answer.payload.clone()) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

/// The stack says something to the phone in this Call-ID.
pub(super) fn says(gate: &Gate, what: &str, call_id: &str) {
    let arrival = arrival(Transport::Udp);
    let text = format!("{what}\r\nVia: x\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n");
    gate.guard.sent(text.as_bytes(), arrival.source.ip(), arrival.now.mono);
}

#[test]
fn every_method_is_challenged_but_few() {
    let user = "sip:1002@dialtone.example";
    let server = "sip:dialtone.example";
    let cases = [
        ("REGISTER", server, "", "401", "401"),
        ("REGISTER", server, "t1", "401", "401"),
        ("INVITE", user, "", "401", "401"),
        ("INVITE", user, "t1", "New", "Kept"),
        ("MESSAGE", user, "", "401", "401"),
        ("SUBSCRIBE", user, "", "401", "401"),
        ("PUBLISH", server, "", "401", "401"),
        ("OPTIONS", user, "", "401", "401"),
        ("OPTIONS", server, "", "New", "New"),
        ("OPTIONS", "tel:1002", "", "401", "401"),
        ("UNHEARD", user, "", "401", "401"),
        ("BYE", user, "", "401", "401"),
        ("BYE", user, "t1", "New", "Kept"),
        ("CANCEL", user, "", "New", "Kept"),
        ("ACK", user, "", "New", "Kept"),
        ("ACK", user, "t1", "New", "Kept"),
    ];
    let gate = gate(&Limits::default());
    says(&gate, "SIP/2.0 180 Ringing", "known");
    for (method, target, to_tag, expected, of_known) in cases {
        let text = Text { method, target, to_tag, ..Text::default() };
        assert_eq!(outcome(&admit(&gate, text.print())), expected, "{method} {target} {to_tag}");
        let text = Text { call_id: "known".into(), ..text };
        assert_eq!(outcome(&admit(&gate, text.print())), of_known, "{method} {target} {to_tag}");
    }
}

/// RFC 3261 §26.3.2.4: what claims to belong to a call of which nothing is known costs as much as a refusal, whatever it
/// is; so nobody makes us answer in the name of others, nor fills the share of the calls that go on.
#[test]
fn who_invents_a_to_tag_has_the_share_of_who_is_refused() {
    let gate = gate(&Limits { refusals_per_second: 2, ..Limits::default() });
    let invented = |method, number: usize| {
        let call_id = format!("invented-{number}");
        outcome(&admit(&gate, Text { method, to_tag: "junk", call_id, ..Text::default() }.print()))
    };
    let methods = ["BYE", "CANCEL", "ACK", "INVITE", "UPDATE"];
    let outcomes: Vec<String> = (0..1000).map(|number| invented(methods[number % 5], number)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "New").count(), 2);
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "dropped").count(), 998);
    // Who answers a challenge in the dialog pays with a password instead.
    let challenged = answered(&admit(&gate, Text { call_id: "c9".into(), ..Text::default() }.print()));
    let moved = Text { method: "BYE", to_tag: "t", call_id: "c8".into(), ..Text::default() };
    let moved = moved.answering(&challenged, &super::phone::Answer::default()).print();
    let (admission, _) = decide(&gate, moved, arrival(Transport::Udp));
    assert!(matches!(admission, Admission::Deliver { class: Class::New, .. }), "{admission:?}");
}

/// RFC 3261 §18.1.2, §8.1.3: a response is to something that we have asked, from whatever address it comes; others are not even
/// looked at by the stack.
#[test]
fn only_responses_to_what_we_have_asked_are_heard() {
    let gate = gate(&Limits::default());
    says(&gate, "OPTIONS sip:1001@phone SIP/2.0", "probe");
    let response = |call_id: &str| {
        format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\nCall-ID:{call_id}\r\nCSeq: 1 OPTIONS\r\n\r\n")
    };
    let mut elsewhere = arrival(Transport::Udp);
    elsewhere.source = "198.51.100.1:5060".parse().unwrap();
    for arrival in [arrival(Transport::Udp), elsewhere] {
        for (call_id, expected) in
            [(" probe", "Kept"), ("\r\n probe", "Kept"), (" other", "dropped"), ("\r\n other", "dropped")]
        {
            assert_eq!(outcome(&decide(&gate, response(call_id), arrival).0), expected, "{call_id}");
        }
    }
}

/// RFC 3261 §9.1: a CANCEL may come before we have said more than 100; the INVITE has proved an account.
#[test]
fn what_follows_a_proof_goes_on() {
    let gate = gate(&Limits::default());
    let cancel = Text { method: "CANCEL", ..Text::default() }.print();
    assert_eq!(outcome(&admit(&gate, cancel.clone())), "New");
    gate.guard.taken(b"c1", arrival(Transport::Udp));
    assert_eq!(outcome(&admit(&gate, cancel)), "Kept");
}

#[test]
fn what_is_malformed_is_answered_if_anything_is_owed() {
    let good = Text::default().print();
    let cases = [
        ("another version", good.replace("dialtone.example SIP/2.0", "dialtone.example SIP/7.0"), "505"),
        ("no Call-ID", good.replace("Call-ID: c1\r\n", ""), "400"),
        ("two To", good.replace("To:", "To: <sip:b@h>\r\nTo:"), "400"),
        ("CSeq of another method", good.replace("1 REGISTER", "1 INVITE"), "400"),
        ("body cut short", good.replace("Content-Length: 0", "Content-Length: 9"), "400"),
        ("no Via", good.replace("Via:", "X-Via:"), "dropped"),
        ("malformed Via", good.replace("SIP/2.0/UDP", "HTTP"), "dropped"),
        ("ACK", Text { method: "ACK", ..Text::default() }.print().replace("1 ACK", "x ACK"), "dropped"),
        ("response", "SIP/2.0 200 OK\r\nVia: x\r\n\r\n".into(), "dropped"),
        ("malformed response", "SIP/2.0 200 OK\r\nVia\r\n\r\n".into(), "dropped"),
        ("only line ends", "\r\n\r\n".into(), "dropped"),
    ];
    let gate = gate(&Limits::default());
    for (what, text, expected) in cases {
        assert_eq!(outcome(&admit(&gate, text)), expected, "{what}");
    }
}

#[test]
fn an_answer_goes_where_the_via_says() {
    let gate = gate(&Limits::default());
    let cases = [("5060;rport", 40000), ("5060", 5060), ("5070;received=203.0.113.9", 5070)];
    for (via, port) in cases {
        let text = Text::default().print().replace("5060;rport", via);
        let Admission::Answer(answer) = admit(&gate, text.clone()) else { panic!() };
        assert_eq!(answer.target, format!("192.0.2.7:{port}").parse().unwrap(), "{via}");
        let Admission::Answer(answer) = decide(&gate, text, arrival(Transport::Tcp)).0 else { panic!() };
        assert_eq!(answer.target.port(), 40000, "a connection answers itself");
    }
}

#[test]
fn a_refusal_keeps_its_tag_and_its_ack_is_absorbed() {
    let gate = gate(&Limits::default());
    let invite = Text { method: "INVITE", target: "sip:1002@dialtone.example", ..Text::default() };
    let tags: Vec<String> = (0..2)
        .map(|_| answered(&admit(&gate, invite.print())).headers.to().unwrap().tag().unwrap().to_owned())
        .collect();
    assert_eq!(tags[0], tags[1]);
    let ack = |tag: &str| {
        let tag: &'static str = Box::leak(tag.to_owned().into_boxed_str());
        Text { method: "ACK", to_tag: tag, ..invite.clone() }.print()
    };
    assert_eq!(outcome(&admit(&gate, ack(&tags[0]))), "dropped");
    assert_eq!(outcome(&admit(&gate, ack("other"))), "New");
    let of_another_call = ack(&tags[0]).replace("Call-ID: c1", "Call-ID: c2");
    assert_eq!(outcome(&admit(&gate, of_another_call)), "New");
}

#[test]
fn a_to_tag_makes_no_oracle() {
    let gate = gate(&Limits::default());
    let text = Text { method: "BYE", to_tag: "t1", ..Text::default() };
    let challenged = answered(&admit(&gate, Text::default().print()));
    let guess = super::phone::Answer { password: "guess", ..super::phone::Answer::default() };
    let right = super::phone::Answer::default();
    for _ in 0..5 {
        let (admission, alarm) =
            decide(&gate, text.answering(&challenged, &guess).print(), arrival(Transport::Udp));
        assert_eq!(outcome(&admission), "New");
        assert!(alarm.is_some());
    }
    // Throttled: the right password looks like a wrong one.
    assert_eq!(outcome(&admit(&gate, text.answering(&challenged, &right).print())), "New");
}

#[test]
fn stateless_answers_to_a_source_are_bounded() {
    let limits = Limits { refusals_per_second: 2, challenges_per_second: 3, ..Limits::default() };
    let gate = gate(&limits);
    let malformed = Text::default().print().replace("Call-ID: c1\r\n", "");
    let of =
        |text: &str| -> Vec<String> { (0..4).map(|_| outcome(&admit(&gate, text.to_owned()))).collect() };
    assert_eq!(of(&malformed), ["400", "400", "dropped", "dropped"]);
    assert_eq!(of(&Text::default().print()), ["401", "401", "401", "dropped"]);
}

#[test]
fn what_is_shed_is_told_when_to_come_again() {
    let gate = gate(&Limits::default());
    let Admission::Deliver { class, message: Message::Request(options), .. } =
        admit(&gate, Text { method: "OPTIONS", ..Text::default() }.print())
    else {
        panic!()
    };
    assert_eq!(class, Class::New);
    let answer = gate.shed(&options, Class::New, arrival(Transport::Udp)).unwrap();
    let response = answered(&Admission::Answer(answer));
    assert!(response.status == 503 && (5..=30).contains(&retry_after(&response)));
    assert!(response.headers.to().unwrap().tag().is_some());
}

fn retry_after(response: &Response) -> u64 {
    response.headers.text(&Name::RetryAfter).unwrap().parse().unwrap()
}

/// RFC 3261 §21.5.4: when the stack is behind, what would begin is refused before its password is looked at, each
/// with its own time to come again; what goes on is not.
#[test]
fn a_stack_that_is_behind_takes_what_goes_on() {
    let gate = gate(&Limits::default());
    let shut = |text: String| {
        let standing = gate.inspect(&Glance::of(text.as_bytes()), arrival(Transport::Udp)).unwrap();
        gate.admit(text.into(), arrival(Transport::Udp), standing, |_| false).0
    };
    let call = |method, to_tag, call_id: u32| Text {
        method,
        to_tag,
        call_id: call_id.to_string(),
        target: "sip:1002@dialtone.example",
        ..Text::default()
    };
    let waits: Vec<u64> =
        (0..100).map(|number| retry_after(&answered(&shut(call("INVITE", "", number).print())))).collect();
    assert!(waits.iter().all(|wait| (5..=30).contains(wait)), "{waits:?}");
    let mut different = waits.clone();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 15, "{different:?}");
    assert_eq!(retry_after(&answered(&shut(call("INVITE", "", 7).print()))), waits[7], "RFC 3261 §8.2.7");
    says(&gate, "SIP/2.0 200 OK", "1");
    for (method, to_tag) in [("BYE", "t"), ("INVITE", "t"), ("ACK", "t"), ("CANCEL", ""), ("UPDATE", "t")] {
        assert_eq!(outcome(&shut(call(method, to_tag, 1).print())), "Kept", "{method}");
        assert_eq!(outcome(&shut(call(method, to_tag, 2).print())), "dropped", "{method} of nothing");
    }
    assert_eq!(outcome(&shut("SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: 1\r\n\r\n".into())), "Kept");
    assert_eq!(outcome(&shut(call("REGISTER", "", 1).print())), "503");
}

/// RFC 3261 §22: an account may begin so much at a time from one address, and does not take from others.
#[test]
fn an_account_has_its_share() {
    let gate = gate(&Limits { requests_per_account: 2, ..Limits::default() });
    let challenged = answered(&admit(&gate, Text::default().print()));
    let of = |username, password| {
        let answer = super::phone::Answer { username, password, ..super::phone::Answer::default() };
        let text = Text { user: username, ..Text::default() }.answering(&challenged, &answer).print();
        match decide(&gate, text, arrival(Transport::Udp)).0 {
            Admission::Deliver { class, .. } => format!("{class:?}"),
            other => outcome(&other),
        }
    };
    let outcomes: Vec<String> = (0..3).map(|_| of("1001", "secret")).collect();
    assert_eq!(outcomes, ["Registration", "Registration", "503"]);
    assert_eq!(of("1002", "other"), "Registration");
}

proptest! {
    /// Whatever arrives, however close to a message, is decided without a panic; and what is answered is a
    /// whole response that goes back to where the message came from.
    #[test]
    fn anything_may_arrive(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..30, "[ -~\r\n\\x00é]{0,30}"), 0..6),
        credentials in any::<bool>(),
    ) {
        let gate = gate(&Limits::default());
        let mut text = Text::default();
        if credentials {
            let challenged = answered(&admit(&gate, text.print()));
            text = text.answering(&challenged, &super::phone::Answer::default());
        }
        let mut bytes = text.print().into_bytes();
        for (at, len, replacement) in cuts {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + len).min(bytes.len()), replacement.bytes());
            if bytes.is_empty() {
                break;
            }
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            let (admission, _) = decide(&gate, bytes.clone(), arrival(transport));
            if let Admission::Answer(answer) = &admission {
                prop_assert_eq!(answer.target.ip(), arrival(transport).source.ip());
                prop_assert!(answered(&admission).status >= 400);
            }
        }
    }
}
