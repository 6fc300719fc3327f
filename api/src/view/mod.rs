//! What is going on now, folded from the event stream.
//!
//! One thread applies events; any number of readers look. A reader sees each call whole, and never waits
//! for the control thread. A call that ends is gone from here: what it was stands in its record.

mod contacts;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dialtone_core::event::{Event, Fact, LegState, Routed, Side};
use dialtone_core::{CallId, Codec, ContactId, ConversationId, LegId, Number, Party};
use serde::{Deserialize, Serialize};

use crate::MetricFamily;
use contacts::Contacts;
pub use contacts::{ContactPage, ContactView};
use tally::Tally;

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Nobody rings yet.
    Routing,
    /// Somebody rings.
    Ringing,
    /// Somebody, or a flow, answered.
    Answered,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegView {
    /// The leg.
    pub leg: LegId,
    /// The endpoint at its far end.
    pub endpoint: Number,
    /// Which way it was set up.
    pub side: Side,
    /// What it is doing.
    pub state: LegState,
    /// Who is at its far end.
    pub party: Party,
    /// The preferred voice codec; `None` until one is agreed.
    pub codec: Option<Codec>,
    /// Whether its far end has put us on hold.
    pub held: bool,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// The call.
    pub call: CallId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// How far it is.
    pub state: CallState,
    /// Who calls.
    pub from: Party,
    /// What they dialed.
    pub dialed: Number,
    /// Where that leads; `None` until it was looked up.
    pub to: Option<Routed>,
    /// When it began, RFC 3339 UTC.
    pub started: String,
    /// When it was answered, RFC 3339 UTC.
    pub answered: Option<String>,
    /// Its legs, the caller's first.
    pub legs: Vec<LegView>,
}

/// Some calls, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<CallView>,
    /// Hand this in for what follows; `None` at the end.
    pub next: Option<CallId>,
    /// Calls at this moment.
    pub total: usize,
}

/// Legs shown of one call; far above the branches that a call may have.
const LEGS_MAX: usize = 512;

/// See the module.
pub struct View {
    calls: DashMap<CallId, CallView>,
    legs: DashMap<LegId, CallId>,
    calls_max: usize,
    contacts: Contacts,
    seq: AtomicU64,
    tally: Tally,
}

impl View {
    /// An empty view of at most `calls_max` calls. More are counted and not shown.
    pub fn new(calls_max: usize) -> Self {
        Self {
            calls: DashMap::new(),
            legs: DashMap::new(),
            calls_max,
            contacts: Contacts::default(),
            seq: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// Takes the next event.
    pub fn apply(&self, event: &Event) {
        self.seq.store(event.seq, Ordering::Relaxed);
        self.tally.count(&event.fact);
        self.contacts.apply(event);
        match &event.fact {
            Fact::CallStarted { call, conversation, from, dialed, .. }
                if self.calls.len() < self.calls_max =>
            {
                let view = CallView {
                    call: *call,
                    conversation: *conversation,
                    state: CallState::Routing,
                    from: from.clone(),
                    dialed: dialed.clone(),
                    to: None,
                    started: event.at.wall.to_string(),
                    answered: None,
                    legs: Vec::new(),
                };
                self.calls.insert(*call, view);
            }
            Fact::LegCreated { leg, call, endpoint, side, state, party, .. } => {
                let (leg, side, state) = (*leg, *side, *state);
                let (endpoint, party) = (endpoint.clone(), party.clone());
                let fresh = LegView { leg, endpoint, side, state, party, codec: None, held: false };
                self.call(*call, |view| {
                    if view.legs.len() < LEGS_MAX {
                        self.legs.insert(leg, *call);
                        view.legs.push(fresh);
                    }
                });
            }
            Fact::RouteTaken { call, to, .. } => self.call(*call, |view| view.to = Some(to.clone())),
            Fact::DialProgressed { call, .. } => self.call(*call, |view| {
                if view.state == CallState::Routing {
                    view.state = CallState::Ringing;
                }
            }),
            Fact::CallAnswered { call, .. } => self.call(*call, |view| {
                view.state = CallState::Answered;
                view.answered = Some(event.at.wall.to_string());
            }),
            Fact::LegStateChanged { leg, state } => self.leg(*leg, |view| view.state = *state),
            Fact::LegNegotiated { leg, codec, .. } => self.leg(*leg, |view| view.codec = Some(*codec)),
            Fact::LegHeld { leg } => self.leg(*leg, |view| view.held = true),
            Fact::LegResumed { leg } => self.leg(*leg, |view| view.held = false),
            Fact::LegMoved { leg, from, call } => self.moved(*leg, *from, *call),
            Fact::ConversationMerged { call, survivor, into, .. } => {
                for call in [call, survivor] {
                    self.call(*call, |view| view.conversation = *into);
                }
            }
            Fact::LegEnded { leg, call, .. } => {
                self.legs.remove(leg);
                self.call(*call, |view| view.legs.retain(|other| other.leg != *leg));
            }
            Fact::CallEnded { call, .. } => {
                if let Some((_, view)) = self.calls.remove(call) {
                    for leg in &view.legs {
                        self.legs.remove(&leg.leg);
                    }
                }
            }
            Fact::Stopped => {
                self.calls.clear();
                self.legs.clear();
            }
            // What a leg's phone shows, how branches and bridges come and go, and what concerns no call.
            Fact::CallStarted { .. }
            | Fact::ConnectedLine { .. }
            | Fact::DialBegan { .. }
            | Fact::DialEnded { .. }
            | Fact::DialRedirected { .. }
            | Fact::LegLatched { .. }
            | Fact::LegReplaced { .. }
            | Fact::TransferBegan { .. }
            | Fact::TransferEnded { .. }
            | Fact::FlowStarted { .. }
            | Fact::FlowEnded { .. }
            | Fact::BridgeCreated { .. }
            | Fact::BridgeEntered { .. }
            | Fact::BridgeLeft { .. }
            | Fact::BridgeDestroyed { .. }
            | Fact::HangupRequested { .. }
            | Fact::LegSilent { .. }
            | Fact::LegMeasured { .. }
            | Fact::Started { .. }
            | Fact::Draining { .. }
            | Fact::SiteApplied { .. }
            | Fact::ContactAdded { .. }
            | Fact::ContactRefreshed { .. }
            | Fact::ContactReached { .. }
            | Fact::ContactRemoved { .. }
            | Fact::DeviceStateChanged { .. }
            | Fact::AuthFailed { .. }
            | Fact::Fault { .. } => {}
        }
    }

    /// One call.
    pub fn get(&self, call: CallId) -> Option<CallView> {
        self.calls.get(&call).map(|view| view.clone())
    }

    /// At most `limit` calls that began after `after`, oldest first.
    pub fn page(&self, limit: usize, after: Option<CallId>) -> CallPage {
        let mut ids: Vec<CallId> = self
            .calls
            .iter()
            .map(|view| *view.key())
            .filter(|id| after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_unstable();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().copied().filter(|_| more);
        // A call that ended since is left out; the cursor stays right.
        let calls = ids.into_iter().filter_map(|id| self.get(id)).collect();
        CallPage { calls, next, total: self.calls.len() }
    }

    /// At most `limit` contacts that were registered after `after`, oldest first.
    pub fn contacts(&self, limit: usize, after: Option<ContactId>) -> ContactPage {
        self.contacts.page(limit, after)
    }

    /// Calls now.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Counters over all events so far.
    pub fn metrics(&self) -> Vec<MetricFamily> {
        let events = MetricFamily::counter("dialtone_events_total", "Events of the stream.");
        let calls = MetricFamily::gauge("dialtone_calls", "Calls now.").value(self.calls.len() as f64);
        let legs = MetricFamily::gauge("dialtone_legs", "Legs of calls now.").value(self.legs.len() as f64);
        let contacts = MetricFamily::gauge("dialtone_contacts", "Registered contacts now.")
            .value(self.contacts.len() as f64);
        let mut families = vec![contacts, events.value(self.seq.load(Ordering::Relaxed) as f64), calls, legs];
        families.extend(self.tally.metrics());
        families
    }

    fn call(&self, call: CallId, change: impl FnOnce(&mut CallView)) {
        if let Some(mut view) = self.calls.get_mut(&call) {
            change(&mut view);
        }
    }

    fn moved(&self, leg: LegId, from: CallId, to: CallId) {
        let mut taken = None;
        self.call(from, |view| {
            let place = view.legs.iter().position(|view| view.leg == leg);
            taken = place.map(|place| view.legs.remove(place));
        });
        self.legs.remove(&leg);
        let Some(taken) = taken else { return };
        self.call(to, |view| {
            if view.legs.len() < LEGS_MAX {
                self.legs.insert(leg, to);
                view.legs.push(taken);
            }
        });
    }

    fn leg(&self, leg: LegId, change: impl FnOnce(&mut LegView)) {
        let Some(call) = self.legs.get(&leg).map(|call| *call) else { return };
        self.call(call, |view| {
            if let Some(leg) = view.legs.iter_mut().find(|view| view.leg == leg) {
                change(leg);
            }
        });
    }
}
