//! A phone refuses and says where else its person is: the call goes there, while it has not been there and not gone
//! on too often. Of several numbers the most wanted one is called first, and the next one when that fails.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dial::goals;
use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::event::{DialOutcome, Fact, LegState};
use crate::id::LegId;
use crate::leg::{Diversion, DiversionReason, Journey, Number};
use crate::route::{Destination, route};

/// Numbers that wait for their turn; further ones are not called.
const ALTERNATIVES_MAX: usize = 16;

/// Where a branch has said that the call may go.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Alternative {
    to: Number,
    by: LegId,
    journey: Journey,
}

/// What one dialing has followed, and may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Redirects {
    followed: u32,
    /// Numbers that have been called. Empty until the first branch sends the call elsewhere.
    tried: Vec<Number>,
    alternatives: VecDeque<Alternative>,
}

impl Redirects {
    /// What one branch says goes before what others have said.
    fn insert(&mut self, by: LegId, to: Vec<Number>, journey: &Journey) {
        for to in to.into_iter().rev() {
            self.alternatives.push_front(Alternative { to, by, journey: journey.clone() });
        }
        self.alternatives.truncate(ALTERNATIVES_MAX);
    }
}

impl Call {
    /// A branch sends the call elsewhere.
    pub(super) fn branch_redirected(&mut self, desk: &mut Desk<'_>, leg: LegId, to: Vec<Number>) {
        let dialed = self.dialed_now().0;
        let State::Dialing(dialing) = &mut self.state else { return };
        if dialing.redirects.tried.is_empty() {
            dialing.redirects.tried = behind(&route(&self.site, &dialed));
        }
        let Some(branch) = self.take_branch(leg) else { return };
        let reason = match branch.state {
            LegState::Ringing | LegState::Early => DiversionReason::Deflection,
            LegState::Down | LegState::Ring | LegState::Up => DiversionReason::Unconditional,
        };
        let journey = branch.journey.diverted(Diversion { by: branch.party.clone(), reason });
        self.end_branch(desk, branch, DialOutcome::Redirected, Cause::NormalClearing);
        if let State::Dialing(dialing) = &mut self.state {
            dialing.redirects.insert(leg, to, &journey);
        }
        if !self.follow(desk) && self.branches.is_empty() {
            return self.dial_failed(desk);
        }
        self.early_media_ended(desk, leg);
    }

    /// Calls the next number at which somebody can be had; false when there is none.
    pub(super) fn follow(&mut self, desk: &mut Desk<'_>) -> bool {
        let site = Arc::clone(&self.site);
        while let State::Dialing(dialing) = &mut self.state {
            let Some(Alternative { to, by, journey }) = dialing.redirects.alternatives.pop_front() else {
                break;
            };
            let destination = route(&site, &to);
            let redirects = &mut dialing.redirects;
            if redirects.followed >= desk.limits.redirections_max || redirects.tried.contains(&to) {
                self.branch_impossible(Cause::DestinationOutOfOrder);
                continue;
            }
            redirects.followed += 1;
            redirects.tried.extend(behind(&destination));
            let (goals, ring_timeout) = match destination {
                Destination::Extension(extension) => (goals(desk, extension, None), extension.ring_timeout),
                Destination::RingGroup(group) => (self.members(desk, group), group.ring_timeout),
                Destination::Flow(flow) if self.branches.is_empty() => {
                    self.redirected(desk, by, to);
                    self.start_flow(desk, flow);
                    return true;
                }
                // A program cannot ring beside phones.
                Destination::Flow(_) | Destination::Nowhere => {
                    self.branch_impossible(Cause::UnallocatedNumber);
                    continue;
                }
            };
            if let State::Dialing(dialing) = &mut self.state {
                dialing.rings_until(desk.now + ring_timeout);
            }
            self.redirected(desk, by, to);
            let ringing = self.branches.len();
            self.begin_branches(desk, goals, &journey);
            if self.branches.len() > ringing {
                return true;
            }
        }
        false
    }

    fn redirected(&self, desk: &mut Desk<'_>, leg: LegId, to: Number) {
        if let Some(caller) = &self.caller {
            desk.fact(Fact::DialRedirected { call: self.id, caller: caller.id, leg, to });
        }
    }
}

/// The numbers that are called with a destination.
fn behind(destination: &Destination<'_>) -> Vec<Number> {
    match destination {
        Destination::Extension(extension) => vec![extension.number.clone()],
        Destination::RingGroup(group) => {
            std::iter::once(&group.number).chain(&group.members).cloned().collect()
        }
        Destination::Flow(flow) => vec![flow.number.clone()],
        Destination::Nowhere => Vec::new(),
    }
}
