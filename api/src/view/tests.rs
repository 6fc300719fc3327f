//! The view through the life of calls.

use std::net::SocketAddr;

use dialtone_core::endpoint::ContactFacts;
use dialtone_core::event::{DialOutcome, Routed};
use dialtone_core::media::Quality;
use dialtone_core::{Cause, ContactId, Mono, NodeId, Now, Wall};

use super::*;

const NODE: NodeId = NodeId(1);

pub(crate) fn call_id(number: u32) -> CallId {
    CallId::new(NODE, 1, number)
}

fn leg_id(number: u32) -> LegId {
    LegId::new(NODE, 1, number)
}

pub(crate) fn feed(view: &View, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        let seq = view.seq.load(Ordering::Relaxed) + 1;
        let wall = Wall::from_micros(1_795_361_388_000_000 + seq as i64 * 1_000_000);
        view.apply(&Event { seq, at: Now { mono: Mono::from_millis(seq * 1000), wall }, fact });
    }
}

pub(crate) fn started(number: u32) -> Fact {
    let call = call_id(number);
    Fact::CallStarted {
        call,
        conversation: call.into(),
        leg: leg_id(number * 10),
        from: Party { number: "1001".into(), name: "Alma".into(), private: false },
        dialed: "1002".into(),
    }
}

fn leg(number: u32, leg: u32, side: Side, state: LegState) -> Fact {
    let party = Party { number: "1001".into(), name: "Alma".into(), private: false };
    let (endpoint, dialed) = ("1001".to_string(), "1002".to_string());
    Fact::LegCreated { leg: leg_id(leg), call: call_id(number), endpoint, side, state, party, dialed }
}

fn value(view: &View, name: &str, labels: &str) -> f64 {
    let families = view.metrics();
    let family = families.iter().find(|family| family.name == name).unwrap();
    let wanted = |sample: &&crate::Sample| {
        sample.labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",") == labels
    };
    family.samples.iter().find(wanted).unwrap().value
}

#[test]
fn a_call_is_shown_from_its_first_event_to_its_last() {
    let view = View::new(10);
    let call = call_id(1);
    feed(&view, [started(1), leg(1, 10, Side::Inbound, LegState::Ring)]);
    let to = Routed::Extension("1002".into());
    feed(&view, [Fact::RouteTaken { call, leg: leg_id(10), dialed: "1002".into(), to: to.clone() }]);
    let shown = view.get(call).unwrap();
    assert_eq!((shown.state, shown.to, shown.legs.len()), (CallState::Routing, Some(to), 1));
    assert_eq!(shown.started, "2026-11-22T15:29:49.000Z");

    feed(&view, [leg(1, 11, Side::Outbound, LegState::Down)]);
    let (caller, branch) = (leg_id(10), leg_id(11));
    let state = LegState::Ringing;
    feed(
        &view,
        [
            Fact::LegStateChanged { leg: branch, state },
            Fact::DialProgressed { call, caller, leg: branch, state },
        ],
    );
    let shown = view.get(call).unwrap();
    assert_eq!((shown.state, shown.legs[1].state), (CallState::Ringing, LegState::Ringing));

    let outcome = DialOutcome::Answered;
    let remote: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    feed(
        &view,
        [
            Fact::LegNegotiated { leg: branch, codec: Codec::Opus, remote },
            Fact::LegStateChanged { leg: branch, state: LegState::Up },
            Fact::DialEnded { call, caller, leg: branch, outcome, cause: Cause::NormalClearing },
            Fact::CallAnswered { call, by: branch },
            Fact::LegHeld { leg: caller },
        ],
    );
    let shown = view.get(call).unwrap();
    assert_eq!(shown.state, CallState::Answered);
    assert_eq!(shown.answered.as_deref(), Some("2026-11-22T15:29:58.000Z"));
    assert_eq!((shown.legs[1].codec, shown.legs[1].state), (Some(Codec::Opus), LegState::Up));
    assert!(shown.legs[0].held && !shown.legs[1].held);
    // Late ringing of another branch does not take the answer back.
    feed(&view, [Fact::DialProgressed { call, caller, leg: branch, state }]);
    assert_eq!(view.get(call).unwrap().state, CallState::Answered);

    let quality = Quality { received_packets: 100, lost_packets: 3, ..Quality::default() };
    let cause = Cause::NormalClearing;
    feed(
        &view,
        [
            Fact::LegResumed { leg: caller },
            Fact::LegEnded { leg: branch, call, cause },
            Fact::LegMeasured { leg: branch, call, quality },
            Fact::CallEnded { call, cause, by: Some(caller) },
        ],
    );
    assert_eq!((view.get(call), view.calls(), view.legs.len()), (None, 0, 0));
    assert_eq!(value(&view, "dialtone_calls_started_total", ""), 1.0);
    assert_eq!(value(&view, "dialtone_calls_answered_total", ""), 1.0);
    assert_eq!(value(&view, "dialtone_calls_ended_total", "16"), 1.0);
    assert_eq!(value(&view, "dialtone_calls_ended_total", "17"), 0.0);
    assert_eq!(value(&view, "dialtone_branches_total", "answered"), 1.0);
    assert_eq!(value(&view, "dialtone_rtp_lost_packets_total", ""), 3.0);
}

#[test]
fn pages_follow_one_another_while_calls_come_and_go() {
    let view = View::new(10);
    feed(&view, (1..=5).map(started));
    let first = view.page(2, None);
    let ids = |page: &CallPage| page.calls.iter().map(|call| call.call.number()).collect::<Vec<_>>();
    assert_eq!((ids(&first), first.next, first.total), (vec![1, 2], Some(call_id(2)), 5));
    let (call, cause) = (call_id(3), Cause::NormalClearing);
    feed(&view, [Fact::CallEnded { call, cause, by: None }, started(6)]);
    let second = view.page(2, first.next);
    assert_eq!((ids(&second), second.next), (vec![4, 5], Some(call_id(5))));
    let third = view.page(2, second.next);
    assert_eq!((ids(&third), third.next, third.total), (vec![6], None, 5));
}

#[test]
fn it_is_bounded_and_forgets_at_the_end() {
    let view = View::new(2);
    feed(&view, (1..=3).map(started));
    feed(&view, [leg(3, 30, Side::Inbound, LegState::Ring), leg(1, 10, Side::Inbound, LegState::Ring)]);
    assert_eq!((view.calls(), view.legs.len()), (2, 1));
    assert_eq!(value(&view, "dialtone_calls_started_total", ""), 3.0);
    feed(&view, [Fact::Stopped]);
    assert_eq!((view.calls(), view.legs.len()), (0, 0));
}

#[test]
fn contacts_and_failures_are_counted() {
    let view = View::new(2);
    let source: SocketAddr = "127.0.0.1:5080".parse().unwrap();
    let contact = |number| ContactId::new(NODE, 1, number);
    let about = ContactFacts { address: "sip:1001@127.0.0.1".into(), lasts_s: 60, ..ContactFacts::default() };
    let added = |number| {
        let (contact, about) = (contact(number), about.clone());
        Fact::ContactAdded { endpoint: "1001".into(), contact, source, about }
    };
    let removed =
        |number, expired| Fact::ContactRemoved { endpoint: "1001".into(), contact: contact(number), expired };
    // The first one moves.
    feed(
        &view,
        [added(1), added(1), added(2), removed(1, true), Fact::AuthFailed { account: "x".into(), source }],
    );
    assert_eq!(value(&view, "dialtone_contacts", ""), 1.0);
    assert_eq!(value(&view, "dialtone_contacts_expired_total", ""), 1.0);
    assert_eq!(value(&view, "dialtone_auth_failures_total", ""), 1.0);
    assert_eq!(value(&view, "dialtone_events_total", ""), 5.0);
    let reached = |reachable, round_trip_us| {
        let (endpoint, contact) = ("1001".into(), contact(2));
        Fact::ContactReached { endpoint, contact, reachable, round_trip_us }
    };
    feed(&view, [reached(true, Some(1500)), reached(false, None)]);
    let page = view.contacts(10, None);
    let [shown] = &page.contacts[..] else { panic!("{page:?}") };
    assert_eq!((shown.reachable, shown.round_trip_us, page.total), (false, Some(1500), 1));
}
