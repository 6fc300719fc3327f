//! What is refused without being parsed, and that nobody can tell.

use std::ops::Add;
use std::sync::Arc;

use proptest::prelude::*;

use super::gate::{answered, arrival, says};
use super::phone::Text;
use crate::auth::NonceKey;
use crate::message::{Message, Name};
use crate::transport::gate::{Admission, Gate};
use crate::transport::{Class, Glance, Limits, Metrics};
use crate::wire::Transport;

fn counted() -> (Gate, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let (key, limits) = (NonceKey::new([3; 32]), Limits::default());
    (Gate::new(super::world::accounts(), key, &limits, metrics.clone()), metrics)
}

/// What a socket does with a datagram before it parses it, when the stack takes nothing new; `None`: it parses it.
fn turned_away(gate: &Gate, text: &str, hurried: bool) -> Option<Admission> {
    let (glance, arrival) = (Glance::of(text.as_bytes()), arrival(Transport::Udp));
    let standing = gate.inspect(&glance, arrival)?;
    gate.turn_away(&glance, standing, text.as_bytes(), arrival, |class| class == Class::Kept, hurried)
}

/// Whether it is dropped even before that.
fn unread(gate: &Gate, text: &str, hurried: bool) -> bool {
    gate.drop_unread(text.as_bytes(), arrival(Transport::Udp), |class| class == Class::Kept, hurried)
}

/// The same refusal with a parser.
fn parsed_away(gate: &Gate, text: &str) -> Admission {
    let (glance, arrival) = (Glance::of(text.as_bytes()), arrival(Transport::Udp));
    let standing = gate.inspect(&glance, arrival).unwrap();
    gate.admit(text.to_owned().into(), arrival, standing, |_| false).0
}

fn invite() -> Text {
    Text { method: "INVITE", target: "sip:1002@dialtone.example", ..Text::default() }
}

/// Both refusals of a text: every header that one has the other has too, the same, and they go to the same place.
fn assert_same(gate: &Gate, text: &str) {
    let (quick, slow) = (turned_away(gate, text, false).unwrap(), parsed_away(gate, text));
    let (Admission::Answer(a), Admission::Answer(b)) = (&quick, &slow) else { panic!("{quick:?} {slow:?}") };
    assert_eq!(a.target, b.target, "{text}");
    let (quick, slow) = (answered(&quick), answered(&slow));
    assert_eq!((quick.status, &quick.reason), (slow.status, &slow.reason), "{text}");
    let names = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq, Name::RetryAfter];
    for name in names {
        let of = |response: &crate::message::Response| -> Vec<String> {
            let named = response.headers.iter().filter(|header| header.name == name);
            named.map(|header| String::from_utf8_lossy(&header.value).replace(['<', '>'], "")).collect()
        };
        assert_eq!(of(&quick), of(&slow), "{name} of {text}");
    }
    assert_eq!(quick.headers.to().unwrap().tag(), slow.headers.to().unwrap().tag());
}

/// RFC 3261 §8.2.6.2, §8.2.7: a refusal that is written from bytes says what the other would, To tag included.
#[test]
fn a_refusal_without_a_parser_is_the_same() {
    let (gate, metrics) = counted();
    let plain = invite().print();
    let changed = [
        ("Via: SIP", "v : SIP"),
        ("From:", "f:"),
        ("To: <", "t:   <"),
        ("Call-ID:", "i:"),
        ("CSeq: 1", "cseq:  1"),
        (";rport", ""),
        (";rport", ";rport;received=203.0.113.9"),
        ("From: <", "From: \"x>;tag=no\" <"),
        ("tag=f1", "x=y;TAG=f1;z"),
        ("To: <sip:1001@dialtone.example>", "To: sip:1001@dialtone.example"),
        ("From:", "Via: SIP/2.0/UDP b;branch=z9hG4bK-2\r\nVia: SIP/2.0/TCP c, SIP/2.0/UDP d\r\nFrom:"),
        ("\r\n", "\n"),
        ("INVITE sip", "\r\n\r\nINVITE sip"),
    ];
    assert_same(&gate, &plain);
    for (old, new) in changed {
        assert_same(&gate, &plain.replace(old, new));
    }
    for method in ["OPTIONS", "MESSAGE", "REGISTER", "UNHEARD"] {
        assert_same(&gate, &Text { method, ..invite() }.print());
    }
    assert_eq!((metrics.shed.get(), metrics.shed_registrations.get()), (34, 2));
    assert_eq!(metrics.shed_silently.get(), 0);
}

#[test]
fn what_a_parser_must_see_is_parsed() {
    let (gate, _) = counted();
    let plain = invite().print();
    let changed = [
        ("To: <", "To:\r\n <"),
        ("To:", "To: <sip:x@y>\r\nTo:"),
        ("From:", "X-From:"),
        ("To:", "X-To:"),
        ("Call-ID: c1\r\n", ""),
        ("CSeq: 1", "CSeq: x"),
        ("1 INVITE", "1 BYE"),
        ("Via:", "X-Via:"),
        ("SIP/2.0/UDP phone", "HTTP phone"),
        (";rport", ";rport, SIP/2.0/UDP b"),
        ("Content-Length: 0\r\n\r\n", "Content-Length: 0"),
        ("Call-ID: c1", "Call-ID: c\r1"),
        ("Call-ID", "no colon\r\nCall-ID"),
        ("From:", &"Via: SIP/2.0/UDP b\r\n".repeat(8).add("From:")),
    ];
    for (old, new) in changed {
        assert!(turned_away(&gate, &plain.replace(old, new), false).is_none(), "{old} {new}");
    }
}

/// RFC 3261 §17.2.1, §21.5.4: what belongs to what was taken on is never refused, however late it is.
#[test]
fn what_goes_on_is_never_turned_away() {
    let (gate, metrics) = counted();
    // Then a copy of what we have answered with 180.
    says(&gate, "SIP/2.0 180 Ringing", "c1");
    for (method, to_tag) in
        [("BYE", "t"), ("INVITE", "t"), ("UPDATE", "t"), ("ACK", "t"), ("ACK", ""), ("CANCEL", "")]
    {
        for hurried in [false, true] {
            let text = Text { method, to_tag, ..invite() }.print();
            assert!(!unread(&gate, &text, hurried), "{method} {to_tag}");
            assert!(turned_away(&gate, &text, hurried).is_none(), "{method} {to_tag}");
            let text = Text { method, to_tag, call_id: "c2".into(), ..invite() }.print();
            assert!(
                matches!(turned_away(&gate, &text, hurried), Some(Admission::Drop)),
                "{method} of nothing"
            );
        }
    }
    assert_eq!(metrics.shed_silently.get(), 12);
    assert!(turned_away(&gate, "SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: c1\r\n\r\n", true).is_none());
    let stray = turned_away(&gate, "SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: c2\r\n\r\n", false);
    assert!(matches!(stray, Some(Admission::Drop)) && metrics.strays.get() == 1);
    assert!(!unread(&gate, &invite().print(), true));
    assert!(turned_away(&gate, &invite().print(), true).is_none());
    assert!(
        !matches!(parsed_away(&gate, &invite().print()), Admission::Answer(answer) if answer.payload.starts_with(b"SIP/2.0 503"))
    );
    let other = Text { call_id: "c2".into(), ..invite() }.print();
    assert!(matches!(turned_away(&gate, &other, true), Some(Admission::Drop)));
    assert!(unread(&gate, &other, true));
    assert_eq!(metrics.shed_silently.get(), 14);
    assert_eq!(metrics.shed.get(), 0);
}

/// RFC 3261 §17.1.1.3: the ACK to a refusal ends here, and so does that to one that was parsed; no other does.
#[test]
fn the_ack_to_a_refusal_is_absorbed_unparsed() {
    let (gate, metrics) = counted();
    let text = invite().print();
    for refused in [turned_away(&gate, &text, false).unwrap(), parsed_away(&gate, &text)] {
        let tag = answered(&refused).headers.to().unwrap().tag().unwrap().to_owned();
        let ack = |tag: &str| {
            text.replace("INVITE", "ACK").replace(
                "To: <sip:1001@dialtone.example>",
                &format!("To: <sip:1001@dialtone.example>;tag={tag}"),
            )
        };
        assert!(matches!(turned_away(&gate, &ack(&tag), false), Some(Admission::Drop)));
        let other = if tag.starts_with('0') { "1" } else { "0" };
        let absorbed = metrics.acks_absorbed.get();
        for ack in [
            ack(&tag[1..]),
            ack(&format!("{other}{}", &tag[1..])),
            ack(&tag).replace("Call-ID: c1", "Call-ID: c2"),
        ] {
            assert!(matches!(turned_away(&gate, &ack, false), Some(Admission::Drop)), "of nothing");
        }
        assert_eq!(metrics.acks_absorbed.get(), absorbed);
    }
    assert_eq!((metrics.acks_absorbed.get(), metrics.shed_silently.get()), (2, 6));
}

/// RFC 3261 §21.5.4: all together get so many 503s; what is beyond that is dropped after its first lines, whoever sends
/// it. What it is must be seen in any form.
#[test]
fn refusals_have_a_share_and_the_rest_is_silence() {
    let metrics = Arc::new(Metrics::default());
    let limits = Limits { sheds_per_second: 20, ..Limits::default() };
    let gate = Gate::new(super::world::accounts(), NonceKey::new([3; 32]), &limits, metrics.clone());
    let call = |number: usize| Text { call_id: format!("n{number}"), ..invite() }.print();
    let outcomes: Vec<Option<bool>> = (0..100)
        .map(|number| {
            let text = call(number);
            let answered = || matches!(turned_away(&gate, &text, false), Some(Admission::Answer(_)));
            (!unread(&gate, &text, false)).then(answered)
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(true)).count(), 2, "a tenth at once");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_none()).count(), 98);
    assert_eq!((metrics.shed.get(), metrics.shed_silently.get()), (2, 98));
    let open = |class| class != Class::Registration;
    assert!(!gate.drop_unread(call(1).as_bytes(), arrival(Transport::Udp), open, false), "calls are taken");
    says(&gate, "SIP/2.0 200 OK", "n7");
    let bye = Text { method: "BYE", to_tag: "t", call_id: "n7".into(), ..invite() }.print();
    for text in [call(7), bye.clone(), bye.replace("To: ", "t:"), bye.replace("Call-ID", "i")] {
        assert!(!unread(&gate, &text, true), "{text}");
    }
    let kept = call(8).replace("Call-ID: n8\r\n", "");
    assert!(!unread(&gate, &kept, true), "without a Call-ID it is for the parser");
}

proptest! {
    /// Whatever arrives, what is written from its bytes is a whole 503 to where it came from.
    #[test]
    fn anything_may_be_turned_away(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..20, "[ -~\r\n\\x00é]{0,20}"), 0..4),
    ) {
        let (gate, _) = counted();
        let mut bytes = invite().print().into_bytes();
        for (at, len, replacement) in cuts {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + len).min(bytes.len()), replacement.bytes());
            if bytes.is_empty() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(Admission::Answer(answer)) = turned_away(&gate, &text, false) {
            prop_assert_eq!(answer.target.ip(), arrival(Transport::Udp).source.ip());
            match Message::parse(answer.payload) {
                Ok(Message::Response(response)) => prop_assert_eq!(response.status, 503),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
