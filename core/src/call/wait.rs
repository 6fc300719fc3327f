//! Branches ring for somebody who was answered before and waits for them: a transferee. It is not answered once
//! more; it hears our ringing tone, or what a branch sends.

use super::dial::Dialing;
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
        (self.rang, self.heard) = (rings, None);
        self
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
        if let (Ringback::Member, None, Some(early)) = (dialing.ringback, dialing.heard, early)
            && hears_early_media(desk, caller, branch, early)
        {
            (dialing.heard, dialing.rang) = (Some(leg), true);
        } else if !dialing.rang && state == LegState::Ringing {
            dialing.rang = true;
            caller.hears(desk, Feed::Ringback);
        }
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
