//! Counters that are a fold over events, so that a number in a chart and a line in a record never differ.

use std::sync::atomic::{AtomicU64, Ordering};

use dialtone_core::Cause;
use dialtone_core::event::{DialOutcome, Fact, TransferKind, TransferOutcome};

use crate::MetricFamily;

const OUTCOMES: [(DialOutcome, &str); 7] = [
    (DialOutcome::Answered, "answered"),
    (DialOutcome::Busy, "busy"),
    (DialOutcome::NoAnswer, "no_answer"),
    (DialOutcome::Cancelled, "cancelled"),
    (DialOutcome::AnsweredElsewhere, "answered_elsewhere"),
    (DialOutcome::Redirected, "redirected"),
    (DialOutcome::Unreachable, "unreachable"),
];

const KINDS: [(TransferKind, &str); 2] =
    [(TransferKind::Blind, "blind"), (TransferKind::Attended, "attended")];

const TRANSFERS: [(TransferOutcome, &str); 5] = [
    (TransferOutcome::Completed, "completed"),
    (TransferOutcome::Busy, "busy"),
    (TransferOutcome::NoAnswer, "no_answer"),
    (TransferOutcome::Unreachable, "unreachable"),
    (TransferOutcome::Abandoned, "abandoned"),
];

/// Counts of what happened since the start.
pub(super) struct Tally {
    started: AtomicU64,
    answered: AtomicU64,
    /// In the order of [`Cause::ALL`].
    ended: Vec<AtomicU64>,
    /// In the order of [`OUTCOMES`].
    branches: [AtomicU64; OUTCOMES.len()],
    /// In the order of [`KINDS`], and in each of [`TRANSFERS`].
    transfers: [[AtomicU64; TRANSFERS.len()]; KINDS.len()],
    conversations_merged: AtomicU64,
    contacts_expired: AtomicU64,
    auth_failures: AtomicU64,
    silences: AtomicU64,
    faults: AtomicU64,
    received_packets: AtomicU64,
    lost_packets: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: AtomicU64::default(),
            answered: AtomicU64::default(),
            ended: Cause::ALL.iter().map(|_| AtomicU64::default()).collect(),
            branches: Default::default(),
            transfers: Default::default(),
            conversations_merged: AtomicU64::default(),
            contacts_expired: AtomicU64::default(),
            auth_failures: AtomicU64::default(),
            silences: AtomicU64::default(),
            faults: AtomicU64::default(),
            received_packets: AtomicU64::default(),
            lost_packets: AtomicU64::default(),
        }
    }
}

impl Tally {
    /// Takes the next fact.
    pub fn count(&self, fact: &Fact) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::Relaxed);
        };
        match fact {
            Fact::CallStarted { .. } => add(&self.started, 1),
            Fact::CallAnswered { .. } => add(&self.answered, 1),
            Fact::CallEnded { cause, .. } => {
                let known = Cause::ALL.iter().position(|known| known == cause);
                known.and_then(|place| self.ended.get(place)).into_iter().for_each(|counter| add(counter, 1));
            }
            Fact::DialEnded { outcome, .. } => {
                let known = OUTCOMES.iter().position(|(known, _)| known == outcome);
                known
                    .and_then(|place| self.branches.get(place))
                    .into_iter()
                    .for_each(|counter| add(counter, 1));
            }
            Fact::TransferEnded { kind, outcome, .. } => {
                let kind = KINDS.iter().position(|(known, _)| known == kind);
                let outcome = TRANSFERS.iter().position(|(known, _)| known == outcome);
                if let (Some(kind), Some(outcome)) = (kind, outcome) {
                    add(&self.transfers[kind][outcome], 1);
                }
            }
            Fact::ConversationMerged { .. } => add(&self.conversations_merged, 1),
            Fact::ContactRemoved { expired, .. } => {
                add(&self.contacts_expired, u64::from(*expired));
            }
            Fact::AuthFailed { .. } => add(&self.auth_failures, 1),
            Fact::LegSilent { .. } => add(&self.silences, 1),
            Fact::LegMeasured { quality, .. } => {
                add(&self.received_packets, quality.received_packets);
                add(&self.lost_packets, quality.lost_packets);
            }
            Fact::Fault { .. } => add(&self.faults, 1),
            Fact::Started { .. }
            | Fact::Draining { .. }
            | Fact::Stopped
            | Fact::SiteApplied { .. }
            | Fact::ContactAdded { .. }
            | Fact::ContactRefreshed { .. }
            | Fact::ContactReached { .. }
            | Fact::DeviceStateChanged { .. }
            | Fact::LegCreated { .. }
            | Fact::RouteTaken { .. }
            | Fact::ConnectedLine { .. }
            | Fact::DialBegan { .. }
            | Fact::DialProgressed { .. }
            | Fact::DialRedirected { .. }
            | Fact::LegStateChanged { .. }
            | Fact::LegNegotiated { .. }
            | Fact::LegLatched { .. }
            | Fact::LegHeld { .. }
            | Fact::LegResumed { .. }
            | Fact::LegMoved { .. }
            | Fact::LegReplaced { .. }
            | Fact::TransferBegan { .. }
            | Fact::FlowStarted { .. }
            | Fact::FlowEnded { .. }
            | Fact::BridgeCreated { .. }
            | Fact::BridgeEntered { .. }
            | Fact::BridgeLeft { .. }
            | Fact::BridgeDestroyed { .. }
            | Fact::HangupRequested { .. }
            | Fact::LegEnded { .. } => {}
        }
    }

    /// What was counted.
    pub fn metrics(&self) -> Vec<MetricFamily> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let counter = MetricFamily::counter;
        let mut ended = counter("dialtone_calls_ended_total", "Calls that ended, by Q.850 cause.");
        for (cause, count) in Cause::ALL.iter().zip(&self.ended) {
            ended = ended.labelled([("cause", &cause.code().to_string())], read(count));
        }
        let mut branches = counter("dialtone_branches_total", "Branches that were decided, by outcome.");
        for ((_, outcome), count) in OUTCOMES.iter().zip(&self.branches) {
            branches = branches.labelled([("outcome", outcome)], read(count));
        }
        let mut transfers =
            counter("dialtone_transfers_total", "Transfers that were decided, by kind and outcome.");
        for ((_, kind), counts) in KINDS.iter().zip(&self.transfers) {
            for ((_, outcome), count) in TRANSFERS.iter().zip(counts) {
                transfers = transfers.labelled([("kind", *kind), ("outcome", *outcome)], read(count));
            }
        }
        vec![
            transfers,
            counter("dialtone_conversations_merged_total", "Conversations that became one with another.")
                .value(read(&self.conversations_merged)),
            counter("dialtone_calls_started_total", "Calls that began.").value(read(&self.started)),
            counter("dialtone_calls_answered_total", "Calls that were answered.").value(read(&self.answered)),
            ended,
            branches,
            counter("dialtone_contacts_expired_total", "Contacts that ran out.")
                .value(read(&self.contacts_expired)),
            counter("dialtone_auth_failures_total", "Attempts with wrong credentials.")
                .value(read(&self.auth_failures)),
            counter("dialtone_legs_silent_total", "Legs that ended because they were silent.")
                .value(read(&self.silences)),
            counter("dialtone_rtp_received_packets_total", "RTP packets of legs that have ended.")
                .value(read(&self.received_packets)),
            counter(
                "dialtone_rtp_lost_packets_total",
                "RTP packets that never arrived, of legs that have ended.",
            )
            .value(read(&self.lost_packets)),
            counter("dialtone_faults_total", "Faults of the program that were contained.")
                .value(read(&self.faults)),
        ]
    }
}
