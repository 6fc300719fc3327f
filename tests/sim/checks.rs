//! What must hold after every step. The first thing that does not is kept, by its name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use dialtone::switch::SwitchCounts;
use dialtone_api::View;
use dialtone_core::cdr::{Cdr, CdrFold};
use dialtone_core::event::{BridgeMode, LegState};
use dialtone_core::media::{BridgeKind, MediaCommand};
use dialtone_core::{BridgeId, CallId, Event, Fact, LegId, Mono, PortId};
use dialtone_signaling::message::Message;
use dialtone_signaling::wire::{Path, Transmit};

use super::plant::Plant;
use super::wire::Wire;

/// What did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub name: &'static str,
    pub what: String,
}

/// A leg as events tell it.
#[derive(Clone, Debug)]
pub struct LegSeen {
    pub call: CallId,
    pub up: bool,
    pub held: bool,
    pub bridge: Option<BridgeId>,
    /// Where its far end receives.
    pub remote: Option<SocketAddr>,
}

pub struct Checks {
    pub violation: Option<Violation>,
    seq: u64,
    started: BTreeSet<CallId>,
    ended: BTreeSet<CallId>,
    pub cdrs: Vec<Cdr>,
    fold: CdrFold,
    view: View,
    released: BTreeSet<PortId>,
    pub legs: BTreeMap<LegId, LegSeen>,
    relays: BTreeSet<BridgeId>,
    pub wire: Wire,
}

impl Default for Checks {
    fn default() -> Self {
        Checks {
            violation: None,
            seq: 0,
            started: BTreeSet::new(),
            ended: BTreeSet::new(),
            cdrs: Vec::new(),
            fold: CdrFold::default(),
            view: View::new(100),
            released: BTreeSet::new(),
            legs: BTreeMap::new(),
            relays: BTreeSet::new(),
            wire: Wire::default(),
        }
    }
}

impl Checks {
    pub fn is_fine(&self) -> bool {
        self.violation.is_none()
    }

    pub fn fail(&mut self, name: &'static str, what: String) {
        self.violation.get_or_insert(Violation { name, what });
    }

    pub fn require(&mut self, holds: bool, name: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(name, what());
        }
    }

    pub fn open_calls(&self) -> Vec<CallId> {
        self.started.difference(&self.ended).copied().collect()
    }

    /// After a turn.
    pub fn step(&mut self, counts: SwitchCounts) {
        let (open, seq) = (self.fold.open(), self.seq);
        self.require(counts.events == seq, "events are counted", || format!("{seq} seen, {counts:?}"));
        self.require(open == counts.calls, "a record is open as long as its call", || {
            format!("{open} records are open: {counts:?}")
        });
        self.require(
            counts.legs <= counts.stack.legs + counts.calls,
            "calls know no leg that is gone",
            || format!("{counts:?}"),
        );
        self.require(counts.stack.dialogs <= counts.stack.legs, "a dialog has a leg", || {
            format!("{counts:?}")
        });
    }

    pub fn event(&mut self, event: &Event, plant: &Plant) {
        let expected = self.seq + 1;
        self.seq = event.seq;
        self.require(event.seq == expected, "seq has no gaps", || format!("{event:?} is not {expected}"));
        self.view.apply(event);
        plant.view(&self.view, event);
        match &event.fact {
            Fact::CallStarted { call, .. } => {
                let first = self.started.insert(*call);
                self.require(first, "a call begins once", || format!("{call:?}"));
            }
            Fact::CallEnded { call, .. } => {
                let known = self.started.contains(call) && self.ended.insert(*call);
                self.require(known, "a call ends once", || format!("{call:?}"));
            }
            _ => self.leg(&event.fact),
        }
        if let Some(cdr) = self.fold.apply(event) {
            self.record(plant.cdr(cdr));
        }
    }

    fn record(&mut self, cdr: Cdr) {
        self.require(cdr.talk_ms <= cdr.duration_ms, "talk is no longer than the call", || {
            format!("{cdr:?}")
        });
        let decided = cdr.legs.iter().all(|leg| leg.cause.is_some());
        self.require(decided, "each leg of a record has a cause", || format!("{cdr:?}"));
        let decided = cdr.transfers.iter().all(|transfer| transfer.outcome.is_some());
        self.require(decided, "each transfer of a record is decided", || format!("{cdr:?}"));
        let first = self.cdrs.iter().all(|other| other.call != cdr.call);
        self.require(first, "one record for each call", || format!("{:?} twice", cdr.call));
        self.cdrs.push(cdr);
    }

    fn leg(&mut self, fact: &Fact) {
        match fact {
            Fact::LegCreated { leg, call, state, .. } => {
                let seen = LegSeen {
                    call: *call,
                    up: *state == LegState::Up,
                    held: false,
                    bridge: None,
                    remote: None,
                };
                let first = self.legs.insert(*leg, seen).is_none();
                self.require(first, "a leg begins once", || format!("{leg:?}"));
            }
            Fact::LegEnded { leg, .. } => {
                let known = self.legs.remove(leg).is_some();
                self.require(known, "a leg ends once", || format!("{leg:?}"));
            }
            Fact::LegStateChanged { leg, state } => self.seen(*leg, |seen| seen.up = *state == LegState::Up),
            Fact::LegMoved { leg, call, .. } => self.seen(*leg, |seen| seen.call = *call),
            Fact::LegNegotiated { leg, remote, .. } => self.seen(*leg, |seen| seen.remote = Some(*remote)),
            Fact::LegHeld { leg } => self.seen(*leg, |seen| seen.held = true),
            Fact::LegResumed { leg } => self.seen(*leg, |seen| seen.held = false),
            Fact::BridgeEntered { bridge, leg, .. } => self.seen(*leg, |seen| seen.bridge = Some(*bridge)),
            Fact::BridgeLeft { leg, .. } => self.seen(*leg, |seen| seen.bridge = None),
            Fact::BridgeCreated { bridge, mode: BridgeMode::Relay, .. } => {
                self.relays.insert(*bridge);
            }
            Fact::BridgeDestroyed { bridge, .. } => {
                self.relays.remove(bridge);
            }
            _ => {}
        }
    }

    fn seen(&mut self, leg: LegId, what: impl FnOnce(&mut LegSeen)) {
        if let Some(seen) = self.legs.get_mut(&leg) {
            what(seen);
        }
    }

    pub fn is_relay(&self, bridge: BridgeId) -> bool {
        self.relays.contains(&bridge)
    }

    pub fn media(&mut self, command: &MediaCommand) {
        let ports: Vec<PortId> = match command {
            MediaCommand::Configure { port, .. } | MediaCommand::Release { port } => vec![*port],
            MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. } => {
                self.require(a.worker == b.worker, "a bridge lives on one worker", || format!("{command:?}"));
                vec![*a, *b]
            }
            MediaCommand::Bridge { kind: BridgeKind::Hold { port, .. }, .. } => vec![*port],
        };
        for port in ports {
            let gone = self.released.contains(&port);
            self.require(!gone, "a port that was given back is left alone", || format!("{command:?}"));
        }
        if let MediaCommand::Release { port } = command {
            self.released.insert(*port);
        }
    }

    pub fn sent(&mut self, now: Mono, transmit: &Transmit, message: &Message) {
        if let Err((name, what)) = self.wire.sent(now, transmit, message) {
            self.fail(name, what);
        }
    }

    pub fn received(&mut self, now: Mono, path: Path, message: &Message) {
        self.wire.received(now, path, message);
    }

    /// When a run is over: the records say what the counters say.
    pub fn totals(&mut self) {
        let (started, ended, recorded) = (self.started.len(), self.ended.len(), self.cdrs.len());
        self.require(started == recorded && ended == recorded, "one record for each call", || {
            format!("{started} began, {ended} ended, {recorded} records")
        });
        let mut totals: HashMap<(&str, String), f64> = HashMap::new();
        for family in self.view.metrics() {
            for sample in family.samples {
                let label =
                    sample.labels.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
                totals.insert((family.name, label), sample.value);
            }
        }
        let of = |name: &str, label: String| {
            totals.iter().find(|((known, with), _)| *known == name && *with == label).map(|(_, value)| *value)
        };
        let mut expected: BTreeMap<(&str, String), f64> = BTreeMap::new();
        let mut add = |name, label: String, more: f64| *expected.entry((name, label)).or_default() += more;
        add("dialtone_calls_started_total", String::new(), started as f64);
        add("dialtone_calls_answered_total", String::new(), 0.0);
        add("dialtone_rtp_received_packets_total", String::new(), 0.0);
        add("dialtone_conversations_merged_total", String::new(), 0.0);
        for cdr in &self.cdrs {
            let answered = f64::from(u8::from(cdr.answered.is_some()));
            add("dialtone_calls_answered_total", String::new(), answered);
            add("dialtone_calls_ended_total", cdr.cause.code().to_string(), 1.0);
            let merged = f64::from(u8::from(cdr.merged_into.is_some()));
            add("dialtone_conversations_merged_total", String::new(), merged);
            for quality in cdr.legs.iter().filter_map(|leg| leg.quality) {
                add("dialtone_rtp_received_packets_total", String::new(), quality.received_packets as f64);
            }
        }
        let wrong =
            expected.into_iter().find(|((name, label), value)| of(name, label.clone()) != Some(*value));
        if let Some(((name, label), value)) = wrong {
            let counted = of(name, label.clone());
            self.fail("records say what counters say", format!("{name} {label}: {value} and {counted:?}"));
        }
    }
}
