//! What the caller hears before somebody answers: a branch's early media, or our own ringing tone.

use super::dial::{Hearing, tone_codec};
use super::leg::{Answer, Leg};
use super::{Call, Desk, State};
use crate::description::{Description, Direction, Formats};
use crate::event::{Fact, LegState};
use crate::id::LegId;
use crate::leg::{EarlyOffer, LegCommand};
use crate::media::{BridgeKind, Feed};
use crate::negotiate::{self, GENERATED};
use crate::site::Ringback;

impl Call {
    /// A branch alerts or sends early media; perhaps the caller should know, or hear it.
    pub(super) fn branch_progress(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        state: LegState,
        early: Option<Description>,
    ) {
        let State::Dialing(dialing) = &mut self.state else { return };
        let (Some(caller), Some(branch)) =
            (&mut self.caller, self.branches.iter_mut().find(|branch| branch.id == leg))
        else {
            return;
        };
        if branch.state != state {
            desk.fact(Fact::DialProgressed { call: self.id, caller: caller.id, leg, state });
            branch.set_state(desk, state);
        }
        if caller.state == LegState::Up {
            return self.branch_waited_for(desk, leg, state, early);
        }
        if dialing.ringback == Ringback::Member
            && caller.local.is_none()
            && caller.pending.is_none()
            && let Some(early) = &early
            && pass_early_media(desk, caller, branch, early.clone(), state)
        {
            dialing.rang = state == LegState::Ringing;
            dialing.hearing = Hearing::Early(leg);
            return;
        }
        if dialing.ringback == Ringback::Member && caller.local.is_some() {
            dialing.sounds(desk, caller, branch, state, early.as_ref());
        }
        match dialing.ringback {
            Ringback::Tone if !dialing.rang => ring_with_tone(desk, caller),
            Ringback::Phone | Ringback::Member
                if !dialing.rang && state == LegState::Ringing && caller.early_offer == EarlyOffer::Owed =>
            {
                ring_with_offer(desk, caller, branch);
            }
            Ringback::Phone if !dialing.rang => caller.command(desk, LegCommand::Ring { early: None }),
            // What it sends is meant for the caller: without 180 it does not want the caller's own tone.
            Ringback::Member if !dialing.rang && state == LegState::Ringing => {
                caller.command(desk, LegCommand::Ring { early: caller.local.clone() });
            }
            Ringback::Member if !dialing.rang => return,
            Ringback::Tone | Ringback::Phone | Ringback::Member => {}
        }
        dialing.rang = true;
    }

    /// When it was this branch that the caller heard: it hears our ringing tone while others ring.
    pub(super) fn early_media_ended(&mut self, desk: &mut Desk<'_>, leg: LegId) {
        let State::Dialing(dialing) = &mut self.state else { return };
        if !dialing.hears(leg) {
            return;
        }
        let rings = self.branches.iter().any(|branch| branch.state == LegState::Ringing);
        let (hearing, feed) =
            if rings { (Hearing::Tone, Feed::Ringback) } else { (Hearing::Nothing, Feed::Nothing) };
        dialing.hearing = hearing;
        if let Some(caller) = &self.caller {
            caller.hears(desk, feed);
        }
    }
}

/// The caller hears what the branch sends, and its answer is fixed from now on. False when there is no
/// codec for it.
fn pass_early_media(
    desk: &mut Desk<'_>,
    caller: &mut Leg,
    branch: &mut Leg,
    early: Description,
    state: LegState,
) -> bool {
    let Some(branch_local) = branch.local.clone() else { return false };
    let agreed = negotiate::answer(&branch_local.formats, &early.formats);
    let offer = caller.remote.clone();
    let told = match &offer {
        Some(offer) => answer_caller(caller, offer, negotiate::answer(&offer.formats, &agreed)),
        None => offer_caller(caller, agreed),
    };
    let Some(told) = told else { return false };
    branch.agree(desk, branch_local, early, Answer::Theirs);
    if let Some(offer) = offer {
        caller.agree(desk, told.clone(), offer, Answer::Ours);
    }
    if let (Some(a), Some(b)) = (caller.port, branch.port) {
        let bridge = desk.ids.bridge();
        desk.bridge(bridge, BridgeKind::Relay { a: a.port, b: b.port });
    }
    caller.command(
        desk,
        match state {
            LegState::Ringing => LegCommand::Ring { early: Some(told) },
            LegState::Early | LegState::Down | LegState::Ring | LegState::Up => {
                LegCommand::Progress { early: told }
            }
        },
    );
    true
}

/// A caller that made no offer is offered what the branch was: otherwise it could not be told that it rings.
fn ring_with_offer(desk: &mut Desk<'_>, caller: &mut Leg, branch: &Leg) {
    let formats = branch.local.as_ref().map(|local| local.formats.clone()).unwrap_or_default();
    let early = offer_caller(caller, formats);
    caller.command(desk, LegCommand::Ring { early });
}

/// Our offer to a caller that made none, once and if it can be told before it is answered.
fn offer_caller(caller: &mut Leg, formats: Formats) -> Option<Description> {
    if caller.early_offer == EarlyOffer::Impossible || caller.pending.is_some() || formats.is_empty() {
        return None;
    }
    caller.pending = caller.describe(formats, Direction::SendRecv);
    caller.pending.clone()
}

/// The caller hears our ringing tone, or makes its own when it offered nothing that we can generate.
fn ring_with_tone(desk: &mut Desk<'_>, caller: &mut Leg) {
    if caller.remote.is_none()
        && let Some(early) = offer_caller(caller, negotiate::own_offer(GENERATED))
    {
        caller.hears(desk, Feed::Ringback);
        return caller.command(desk, LegCommand::Ring { early: Some(early) });
    }
    let answer = caller.remote.clone().and_then(|offer| {
        let codec = tone_codec(&offer.formats)?;
        let formats = negotiate::answer_from(&offer.formats, &[codec]);
        answer_caller(caller, &offer, formats).map(|answer| (offer, answer))
    });
    let Some((offer, answer)) = answer else {
        return caller.command(desk, LegCommand::Ring { early: None });
    };
    caller.agree(desk, answer.clone(), offer, Answer::Ours);
    caller.hears(desk, Feed::Ringback);
    caller.command(desk, LegCommand::Ring { early: Some(answer) });
}

fn answer_caller(caller: &Leg, offer: &Description, formats: Formats) -> Option<Description> {
    if formats.is_empty() { None } else { caller.describe(formats, negotiate::answer_direction(offer)) }
}
