//! From events to records.

use std::collections::HashMap;

use super::{Cdr, CdrLeg, CdrTransfer, Disposition, EndedBy, OpenCall};
use crate::cause::Cause;
use crate::event::{Event, Fact, Side};
use crate::id::{CallId, ConversationId, LegId};
use crate::leg::{Number, Party};
use crate::time::{Mono, Wall};

struct Draft {
    conversation: ConversationId,
    from: Party,
    dialed: Number,
    started: (Mono, Wall),
    answered: Option<(Mono, Wall)>,
    ended: Option<(Mono, Wall)>,
    answered_by: Option<Number>,
    legs: Vec<CdrLeg>,
    transfers: Vec<CdrTransfer>,
    merged_into: Option<CallId>,
}

/// The calls whose record is being gathered: as many as there are calls.
#[derive(Default)]
pub struct CdrFold {
    drafts: HashMap<CallId, Draft>,
    legs: HashMap<LegId, CallId>,
}

impl CdrFold {
    /// Calls whose record is not complete.
    pub fn open(&self) -> usize {
        self.drafts.len()
    }

    /// A call whose record is not complete, as it is now.
    pub fn open_call(&self, call: CallId) -> Option<OpenCall> {
        let draft = self.drafts.get(&call)?;
        Some(OpenCall {
            call,
            conversation: draft.conversation,
            from: draft.from.clone(),
            dialed: draft.dialed.clone(),
            answered_by: draft.answered_by.clone(),
            started: draft.started.1,
            answered: draft.answered.map(|(_, wall)| wall),
            legs: draft.legs.clone(),
            transfers: draft.transfers.clone(),
        })
    }

    /// Takes the next event; gives the record of the call that it ended.
    pub fn apply(&mut self, event: &Event) -> Option<Cdr> {
        let at = (event.at.mono, event.at.wall);
        match &event.fact {
            Fact::CallStarted { call, conversation, from, dialed, .. } => {
                let draft = Draft {
                    conversation: *conversation,
                    from: from.clone(),
                    dialed: dialed.clone(),
                    started: at,
                    answered: None,
                    ended: None,
                    answered_by: None,
                    legs: Vec::new(),
                    transfers: Vec::new(),
                    merged_into: None,
                };
                self.drafts.insert(*call, draft);
                None
            }
            Fact::LegCreated { leg, call, endpoint, side, .. } => {
                self.legs.insert(*leg, *call);
                let (leg, endpoint, side) = (*leg, endpoint.clone(), *side);
                self.drafts.get_mut(call)?.legs.push(CdrLeg::new(leg, endpoint, side));
                None
            }
            Fact::LegMoved { leg, from, call } => {
                self.moved(*leg, *from, *call, at);
                None
            }
            Fact::TransferBegan { call, kind, transferor, to, .. } => {
                let by = self.leg(*transferor).map(|leg| leg.endpoint.clone()).unwrap_or_default();
                let (at, kind, to) = (event.at.wall.to_string(), *kind, to.clone());
                let begun = CdrTransfer { at, by, kind, to, outcome: None, cause: None };
                self.drafts.get_mut(call)?.transfers.push(begun);
                None
            }
            Fact::TransferEnded { call, outcome, cause, .. } => {
                let transfer = self.drafts.get_mut(call)?.transfers.last_mut()?;
                (transfer.outcome, transfer.cause) = (Some(*outcome), Some(*cause));
                None
            }
            Fact::ConversationMerged { call, survivor, into, .. } => {
                for call in [call, survivor] {
                    self.drafts.get_mut(call)?.conversation = *into;
                }
                self.drafts.get_mut(call)?.merged_into = Some(*survivor);
                None
            }
            Fact::LegNegotiated { leg, codec, .. } => {
                self.leg(*leg)?.codec = Some(*codec);
                None
            }
            Fact::LegReplaced { leg, replaced, .. } => {
                self.leg(*leg)?.replaced = Some(*replaced);
                None
            }
            Fact::DialEnded { leg, outcome, .. } => {
                self.leg(*leg)?.outcome = Some(*outcome);
                None
            }
            Fact::DialRedirected { leg, to, .. } => {
                self.leg(*leg)?.redirected_to.push(to.clone());
                None
            }
            Fact::CallAnswered { call, by } => {
                let draft = self.drafts.get_mut(call)?;
                draft.answered.get_or_insert(at);
                let answering = draft.legs.iter().find(|leg| leg.leg == *by);
                let callee = (draft.role(*by) == Some(Side::Outbound)).then_some(answering);
                draft.answered_by = callee.flatten().map(|leg| leg.endpoint.clone());
                None
            }
            Fact::LegEnded { leg, cause, call } => {
                self.leg(*leg)?.cause = Some(*cause);
                self.drafts.get_mut(call)?.leg_ended(at);
                None
            }
            Fact::LegMeasured { leg, quality, .. } => {
                let leg = self.leg(*leg)?;
                leg.quality = Some(leg.quality.map_or(*quality, |earlier| earlier.and_then(*quality)));
                None
            }
            Fact::CallEnded { call, cause, by } => {
                let draft = self.drafts.remove(call)?;
                for leg in draft.legs.iter().filter(|leg| leg.moved_to.is_none()) {
                    self.legs.remove(&leg.leg);
                }
                Some(draft.close(*call, *cause, *by, at))
            }
            Fact::Started { .. }
            | Fact::Draining { .. }
            | Fact::Stopped
            | Fact::SiteApplied { .. }
            | Fact::ContactAdded { .. }
            | Fact::ContactRefreshed { .. }
            | Fact::ContactReached { .. }
            | Fact::ContactRemoved { .. }
            | Fact::DeviceStateChanged { .. }
            | Fact::AuthFailed { .. }
            | Fact::RouteTaken { .. }
            | Fact::ConnectedLine { .. }
            | Fact::DialBegan { .. }
            | Fact::DialProgressed { .. }
            | Fact::LegStateChanged { .. }
            | Fact::LegLatched { .. }
            | Fact::LegHeld { .. }
            | Fact::LegResumed { .. }
            | Fact::FlowStarted { .. }
            | Fact::FlowEnded { .. }
            | Fact::BridgeCreated { .. }
            | Fact::BridgeEntered { .. }
            | Fact::BridgeLeft { .. }
            | Fact::BridgeDestroyed { .. }
            | Fact::HangupRequested { .. }
            | Fact::LegSilent { .. }
            | Fact::Fault { .. } => None,
        }
    }

    /// What is known of the leg goes with it; here it has ended.
    fn moved(&mut self, leg: LegId, from: CallId, to: CallId, at: (Mono, Wall)) {
        let Some(here) = self.leg(leg) else { return };
        let there = here.clone();
        (here.moved_to, here.quality) = (Some(to), None);
        here.cause = Some(Cause::NormalClearing);
        if let Some(draft) = self.drafts.get_mut(&from) {
            draft.leg_ended(at);
        }
        if let Some(draft) = self.drafts.get_mut(&to) {
            draft.legs.push(there);
            self.legs.insert(leg, to);
        }
    }

    fn leg(&mut self, leg: LegId) -> Option<&mut CdrLeg> {
        let call = self.legs.get(&leg)?;
        self.drafts.get_mut(call)?.legs.iter_mut().find(|candidate| candidate.leg == leg)
    }
}

impl CdrLeg {
    fn new(leg: LegId, endpoint: Number, side: Side) -> Self {
        CdrLeg {
            leg,
            endpoint,
            side,
            codec: None,
            outcome: None,
            cause: None,
            quality: None,
            redirected_to: Vec::new(),
            moved_to: None,
            replaced: None,
        }
    }
}

impl Draft {
    fn leg_ended(&mut self, at: (Mono, Wall)) {
        if self.legs.iter().all(|leg| leg.cause.is_some()) {
            self.ended = Some(at);
        }
    }

    /// On which side of the call a leg stands: that of the leg whose place it took.
    fn role(&self, leg: LegId) -> Option<Side> {
        let mut found = self.legs.iter().find(|candidate| candidate.leg == leg)?;
        for _ in &self.legs {
            let Some(replaced) = found.replaced else { break };
            found = self.legs.iter().find(|candidate| candidate.leg == replaced)?;
        }
        Some(found.side)
    }

    fn close(self, call: CallId, cause: Cause, by: Option<LegId>, at: (Mono, Wall)) -> Cdr {
        // The record waits for measurements; the call was over when its last leg was.
        let (ended_mono, ended_wall) = self.ended.unwrap_or(at);
        let millis = |from: Mono| u64::try_from(ended_mono.since(from).as_millis()).unwrap_or(u64::MAX);
        let ended_by = match by.and_then(|leg| self.role(leg)) {
            Some(Side::Inbound) => EndedBy::Caller,
            Some(Side::Outbound) => EndedBy::Callee,
            None => EndedBy::System,
        };
        let disposition = match (self.answered, ended_by, cause) {
            (Some(_), _, _) => Disposition::Answered,
            (None, EndedBy::Caller, _) => Disposition::Cancelled,
            // Who called has left it to somebody else.
            (None, _, _) if self.merged_into.is_some() => Disposition::Cancelled,
            (None, _, Cause::UserBusy | Cause::CallRejected) => Disposition::Busy,
            (None, _, Cause::NoAnswer | Cause::NoUserResponding | Cause::SubscriberAbsent) => {
                Disposition::NoAnswer
            }
            (None, EndedBy::Callee | EndedBy::System | EndedBy::Crash, _) => Disposition::Failed,
        };
        Cdr {
            call,
            conversation: self.conversation,
            from: self.from,
            dialed: self.dialed,
            answered_by: self.answered_by,
            started: self.started.1.to_string(),
            answered: self.answered.map(|(_, wall)| wall.to_string()),
            ended: ended_wall.to_string(),
            duration_ms: millis(self.started.0),
            talk_ms: self.answered.map_or(0, |(mono, _)| millis(mono)),
            disposition,
            cause,
            ended_by,
            legs: self.legs,
            transfers: self.transfers,
            merged_into: self.merged_into,
        }
    }
}
