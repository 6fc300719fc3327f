//! A transfer: one of two who talk asks that the other be connected with somebody else.
//!
//! ```text
//!             ┌─ target joined ───────────────▶ Leaving ──hung up, or its time is up──▶ gone
//!   Reaching ─┤
//!             └─ target failed ──▶ Returning ──transferor joined again, or rung again──▶ gone
//! ```
//!
//! The transferee takes the caller's place, and the call dials, or runs a flow, for it: as an answered leg,
//! which is not answered once more. The transferor's leg stands aside, so that the call can return to it. It
//! may hang up meanwhile; then a transfer that fails rings it again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::leg::Leg;
use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::description::Description;
use crate::event::{DialOutcome, Fact, LegState, TransferKind, TransferOutcome};
use crate::id::{BridgeId, LegId};
use crate::leg::{HungUpBy, LegCommand, LegEvent, Number, Party, TransferProgress, TransferTo};
use crate::media::Feed;
use crate::time::Mono;

/// How long a transferor whose transfer is complete may take to hang up by itself (RFC 5589 §6.1 lets it).
const LEAVE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// The target is being reached.
    Reaching,
    /// The target failed; the transferor is to have the call back.
    Returning,
    /// The transferor is to hang up, by then.
    Leaving { until: Mono },
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    kind: TransferKind,
    /// Who asked.
    transferor: LegId,
    by: Party,
    /// The number that leads to the target.
    to: Number,
    /// The transferor's leg, while it stands aside.
    pub leg: Option<Leg>,
    /// Whether the transferor was told that the target rings.
    rang: bool,
    stage: Stage,
}

impl Transfer {
    /// The target is to be reached now.
    pub fn new(kind: TransferKind, leg: Leg, to: Number) -> Self {
        let (transferor, by) = (leg.id, leg.party.clone());
        Transfer { kind, transferor, by, to, leg: Some(leg), rang: false, stage: Stage::Reaching }
    }

    /// Whether the transferor has left, or is about to: nothing stands in the way of another transfer.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving { .. })
    }

    /// When a transferor that does not hang up is hung up.
    pub fn deadline(&self) -> Option<Mono> {
        match self.stage {
            Stage::Leaving { until } => Some(until),
            Stage::Reaching | Stage::Returning => None,
        }
    }

    /// The leg is asked for by its id alone: it may have hung up, and its peer still listens.
    fn tell(&self, desk: &mut Desk<'_>, progress: TransferProgress) {
        let command = LegCommand::TransferProgress(progress);
        desk.out.push(crate::pbx::PbxOutput::Leg { leg: self.transferor, command });
    }

    fn ended(
        &self,
        desk: &mut Desk<'_>,
        call: &Call,
        (outcome, cause): (TransferOutcome, Cause),
        target: Option<LegId>,
    ) {
        let (call, kind, transferor) = (call.id, self.kind, self.transferor);
        desk.fact(Fact::TransferEnded { call, kind, transferor, outcome, cause, target });
    }
}

impl Call {
    /// One of two who talk wants the other one connected elsewhere.
    pub(super) fn transfer_asked(&mut self, desk: &mut Desk<'_>, leg: LegId, to: TransferTo) {
        // An attended one concerns a second call as well: the PBX has seen to it.
        let TransferTo::Number(to) = to else { return self.refuse_transfer(desk, leg, Cause::CallRejected) };
        match self.may_transfer(leg) {
            Ok(()) => self.blind_transfer(desk, leg, to),
            Err(cause) => self.refuse_transfer(desk, leg, cause),
        }
    }

    pub(super) fn refuse_transfer(&mut self, desk: &mut Desk<'_>, leg: LegId, cause: Cause) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.command(desk, LegCommand::RefuseTransfer { cause });
        }
    }

    /// Whether this leg can hand its far end over now; otherwise why not.
    pub(super) fn may_transfer(&self, leg: LegId) -> Result<(), Cause> {
        let State::Talking(talking) = &self.state else {
            // Nobody is there to be transferred, or a transfer is under way.
            return Err(if self.transfer.is_some() { Cause::TemporaryFailure } else { Cause::CallRejected });
        };
        if self.is_aside(leg) {
            return Err(Cause::CallRejected);
        }
        let caller = self.caller.iter();
        let callee = self.branches.iter().filter(|branch| branch.id == talking.callee);
        // Until both have said what they speak, nobody can be found for one of them.
        if caller.chain(callee).any(|leg| leg.agreed().is_empty()) {
            return Err(Cause::TemporaryFailure);
        }
        Ok(())
    }

    fn blind_transfer(&mut self, desk: &mut Desk<'_>, leg: LegId, to: Number) {
        self.dismiss_transferor(desk);
        let Some((transferor, transferee, bridge)) = self.part(leg) else { return };
        desk.fact(Fact::TransferBegan {
            call: self.id,
            kind: TransferKind::Blind,
            transferor: transferor.id,
            transferee: transferee.id,
            bridge,
            to: to.clone(),
            second: None,
            second_bridge: None,
        });
        self.left_bridge(desk, bridge, [&transferor, &transferee]);
        transferor.hears(desk, Feed::Nothing);
        transferee.hears(desk, Feed::Nothing);
        self.caller = Some(transferee);
        self.transfer = Some(Transfer::new(TransferKind::Blind, transferor, to.clone()));
        self.say_progress(desk, TransferProgress::Trying);
        self.route(desk, &to, false);
    }

    /// Takes both who talk out of the call, the one that asks first, and the bridge that they were in. The
    /// call is empty then.
    pub(super) fn part(&mut self, asks: LegId) -> Option<(Leg, Leg, BridgeId)> {
        let State::Talking(talking) = &self.state else { return None };
        let (callee, bridge) = (talking.callee, talking.bridge);
        let callee = self.take_branch(callee)?;
        let caller = self.caller.take()?;
        self.state = State::Arriving;
        Some(if caller.id == asks { (caller, callee, bridge) } else { (callee, caller, bridge) })
    }

    /// Both have left their bridge.
    pub(super) fn left_bridge(&self, desk: &mut Desk<'_>, bridge: BridgeId, legs: [&Leg; 2]) {
        for (leg, left) in legs.into_iter().zip([1, 0]) {
            desk.fact(Fact::BridgeLeft { bridge, leg: leg.id, legs: left });
        }
        desk.fact(Fact::BridgeDestroyed { bridge, call: self.id });
    }

    /// Whether this is the leg of somebody who has handed the call over.
    pub(super) fn is_aside(&self, leg: LegId) -> bool {
        let aside = self.transfer.as_ref().and_then(|transfer| transfer.leg.as_ref());
        aside.is_some_and(|aside| aside.id == leg)
    }

    /// A leg that stands aside says something.
    pub(super) fn aside_event(&mut self, desk: &mut Desk<'_>, leg: LegId, event: LegEvent) {
        match event {
            LegEvent::HungUp { cause, by } => self.transferor_hung_up(desk, cause, by),
            LegEvent::TransferAsked { .. } => self.refuse_transfer(desk, leg, Cause::TemporaryFailure),
            LegEvent::ModifyOffered { offer } => self.modify_offered(desk, leg, offer),
            LegEvent::Modified { description } => self.aside_modified(desk, description),
            LegEvent::ModifyRefused { .. } => {
                if let Some(leg) = self.leg_mut(leg) {
                    leg.pending = None;
                }
            }
            // It was answered before it could hand anybody over.
            LegEvent::Offered { .. }
            | LegEvent::Ringing { .. }
            | LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Redirected { .. }
            | LegEvent::Confirmed { .. } => {}
        }
    }

    fn aside_modified(&mut self, desk: &mut Desk<'_>, answer: Description) {
        let aside = self.transfer.as_mut().and_then(|transfer| transfer.leg.as_mut());
        if let Some(leg) = aside
            && let Some(offer) = leg.pending.take()
        {
            let held = answer.is_hold();
            leg.agree(desk, offer, answer, super::leg::Answer::Theirs);
            leg.set_held(desk, held);
        }
    }

    fn transferor_hung_up(&mut self, desk: &mut Desk<'_>, cause: Cause, by: HungUpBy) {
        let Some(leg) = self.transfer.as_mut().and_then(|transfer| transfer.leg.take()) else { return };
        desk.fact(Fact::HangupRequested { leg: leg.id, by_peer: by.is_peer(), cause });
        leg.close(desk, cause);
        self.transfer.take_if(|transfer| transfer.is_leaving());
    }

    /// Who handed the call over and has not hung up is hung up.
    pub(super) fn dismiss_transferor(&mut self, desk: &mut Desk<'_>) {
        let leaving = self.transfer.take_if(|transfer| transfer.is_leaving());
        if let Some(leg) = leaving.and_then(|transfer| transfer.leg) {
            let cause = Cause::NormalClearing;
            desk.fact(Fact::HangupRequested { leg: leg.id, by_peer: false, cause });
            leg.hang_up(desk, cause);
        }
    }

    /// Tells who asked for the transfer, while that is under way.
    pub(super) fn say_progress(&mut self, desk: &mut Desk<'_>, progress: TransferProgress) {
        let Some(transfer) = &mut self.transfer else { return };
        if transfer.stage != Stage::Reaching {
            return;
        }
        if progress == TransferProgress::Ringing && std::mem::replace(&mut transfer.rang, true) {
            return;
        }
        transfer.tell(desk, progress);
    }

    /// The transferee is connected, with this leg, or with a flow.
    pub(super) fn transfer_completed(&mut self, desk: &mut Desk<'_>, target: Option<LegId>) {
        let Some(mut transfer) = self.transfer.take() else { return };
        match transfer.stage {
            Stage::Reaching => {
                transfer.tell(desk, TransferProgress::Done);
                let completed = (TransferOutcome::Completed, Cause::NormalClearing);
                transfer.ended(desk, self, completed, target);
                transfer.stage = Stage::Leaving { until: desk.now + LEAVE };
                self.transfer = Some(transfer).filter(|transfer| transfer.leg.is_some());
            }
            Stage::Returning => {}
            Stage::Leaving { .. } => self.transfer = Some(transfer),
        }
    }

    /// Whoever was dialed for a party that had been answered before cannot be had. The call returns to the
    /// transferor, when there is one; otherwise it ends.
    pub(super) fn transfer_failed(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let Some(mut transfer) = self.transfer.take() else { return self.end(desk, cause, None) };
        if transfer.stage != Stage::Reaching {
            self.transfer = Some(transfer);
            return self.end(desk, cause, None);
        }
        transfer.tell(desk, TransferProgress::Failed { cause });
        transfer.ended(desk, self, (outcome_of(cause), cause), None);
        transfer.stage = Stage::Returning;
        let (leg, by) = (transfer.leg.take(), transfer.by.number.clone());
        self.transfer = Some(transfer);
        if let Some(caller) = &self.caller {
            caller.hears(desk, Feed::Nothing);
        }
        match leg {
            Some(leg) => {
                let id = leg.id;
                self.branches.push(leg);
                self.join(desk, id, id);
            }
            None => self.route(desk, &by, false),
        }
    }

    /// The call ends with its transfer unfinished.
    pub(super) fn abandon_transfer(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let Some(transfer) = &self.transfer else { return };
        if transfer.stage == Stage::Reaching {
            transfer.tell(desk, TransferProgress::Failed { cause: Cause::NormalClearing });
            transfer.ended(desk, self, (TransferOutcome::Abandoned, cause), None);
        }
        if let Some(leg) = self.transfer.take().and_then(|transfer| transfer.leg) {
            leg.hang_up(desk, cause);
        }
    }

    /// Whether the caller has been answered, and what is dialed is dialed for a transfer.
    pub(super) fn caller_is_up(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.state == LegState::Up)
    }

    /// The number that is being dialed, and who sent the caller there.
    pub(super) fn dialed_now(&self) -> (Number, Option<Party>) {
        match &self.transfer {
            Some(transfer) if transfer.stage == Stage::Reaching => {
                (transfer.to.clone(), Some(transfer.by.clone()))
            }
            Some(transfer) if transfer.stage == Stage::Returning => (transfer.by.number.clone(), None),
            Some(_) | None => (self.dialed.clone(), None),
        }
    }
}

fn outcome_of(cause: Cause) -> TransferOutcome {
    match super::dial::outcome_of(cause) {
        DialOutcome::Busy => TransferOutcome::Busy,
        DialOutcome::NoAnswer => TransferOutcome::NoAnswer,
        DialOutcome::Answered
        | DialOutcome::Cancelled
        | DialOutcome::AnsweredElsewhere
        | DialOutcome::Redirected
        | DialOutcome::Unreachable => TransferOutcome::Unreachable,
    }
}
