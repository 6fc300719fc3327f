//! Branches ring for somebody who was answered before and waits for them: a transferee. It is not answered once
//! more; it hears our ringing tone, or what a branch sends.

use super::dial::{Dialing, Hearing};
use super::leg::{Answer, Leg};
use super::{Call, Desk, State};
use crate::description::Description;
use crate::event::LegState;
use crate::id::LegId;
use crate::leg::TransferProgress;
use crate::media::{BridgeKind, Feed};
use crate::negotiate;
use crate::site::Ringback;

impl Dialing {
    /// The same for another caller, who has heard nothing of it.
    pub fn for_somebody_else(mut self, rings: bool) -> Self {
        self.rang = rings;
        self.hearing = if rings { Hearing::Tone } else { Hearing::Nothing };
        self
    }

    /// Somebody whose stream is agreed hears what the branch sends, or that it rings (RFC 3960 §3.1).
    pub(super) fn sounds(
        &mut self,
        desk: &mut Desk<'_>,
        caller: &Leg,
        branch: &mut Leg,
        state: LegState,
        early: Option<&Description>,
    ) {
        if let Hearing::Early(_) = self.hearing {
            return;
        }
        if self.ringback == Ringback::Member
            && let Some(early) = early
            && hears_early_media(desk, caller, branch, early.clone())
        {
            self.hearing = Hearing::Early(branch.id);
        } else if self.hearing == Hearing::Nothing && state == LegState::Ringing {
            self.hearing = Hearing::Tone;
            caller.hears(desk, Feed::Ringback);
        }
    }
}

impl Call {
    /// A branch that is dialed for somebody who was answered before makes progress: they hear its early media, or
    /// our ringing tone.
    pub(super) fn branch_waited_for(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        state: LegState,
        early: Option<Description>,
    ) {
        let State::Dialing(dialing) = &mut self.state else { return };
        let (Some(caller), Some(branch)) =
            (&self.caller, self.branches.iter_mut().find(|branch| branch.id == leg))
        else {
            return;
        };
        dialing.sounds(desk, caller, branch, state, early.as_ref());
        if state == LegState::Ringing {
            self.say_progress(desk, TransferProgress::Ringing);
        }
    }
}

/// Who was answered before hears what the branch sends. False when it is in another format.
fn hears_early_media(desk: &mut Desk<'_>, caller: &Leg, branch: &mut Leg, early: Description) -> bool {
    let Some(local) = branch.local.clone() else { return false };
    if !negotiate::can_relay(&caller.agreed(), &negotiate::answer(&local.formats, &early.formats)) {
        return false;
    }
    branch.agree(desk, local, early, Answer::Theirs);
    if let (Some(a), Some(b)) = (caller.port, branch.port) {
        let bridge = desk.ids.bridge();
        desk.bridge(bridge, BridgeKind::Relay { a: a.port, b: b.port });
    }
    true
}
