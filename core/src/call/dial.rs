//! Branches ring until one is answered, all refuse, the caller gives up, or time is up.
//!
//! Upstream sees one answer of ours. It is given when a branch answers, or earlier, with early media or
//! our own ringing tone; a branch that then answers with something else is asked to change, never the
//! caller.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::leg::{Answer, Leg};
use super::redirect::Redirects;
use super::{Call, Desk, State};
use crate::cause::Cause;
use crate::codec::Codec;
use crate::description::{Description, Direction};
use crate::endpoint::Contact;
use crate::event::{DialOutcome, Fact, LegState, Side};
use crate::id::LegId;
use crate::leg::{HungUpBy, Journey, LegCommand, Number, Party, Target};
use crate::negotiate::{self, GENERATED};
use crate::site::{Extension, RingGroup, Ringback};
use crate::time::Mono;

/// What somebody hears who waits for a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hearing {
    /// Nothing of ours, or has no stream yet.
    Nothing,
    /// Our ringing tone.
    Tone,
    /// The early media of this branch.
    Early(LegId),
}

/// What is known while branches ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dialing {
    deadline: Mono,
    pub(super) ringback: Ringback,
    /// Whether the caller has been told that somebody rings.
    pub(super) rang: bool,
    /// What whoever waits hears meanwhile.
    pub(super) hearing: Hearing,
    /// The most telling cause that a branch gave.
    best: Cause,
    pub(super) redirects: Redirects,
}

impl Dialing {
    /// When ringing ends.
    pub fn deadline(&self) -> Mono {
        self.deadline
    }

    /// Branches ring once more, for so long from now on.
    pub fn rings_until(&mut self, deadline: Mono) {
        self.deadline = deadline;
    }

    /// Whether the caller hears this branch.
    pub fn hears(&self, branch: LegId) -> bool {
        self.hearing == Hearing::Early(branch)
    }
}

/// One place to ring.
pub(super) struct Goal {
    endpoint: Number,
    name: String,
    codecs: Vec<Codec>,
    contact: Contact,
}

impl Call {
    pub(super) fn dial_extension(&mut self, desk: &mut Desk<'_>, extension: &Extension) {
        // One person's phones: what the phone sends before the answer is meant for the caller.
        let device = self.device.take(); // A transfer dials again, and means another.
        let goals = goals(desk, extension, device.as_deref());
        self.dial(desk, goals, extension.ring_timeout, Ringback::Member);
    }

    pub(super) fn dial_group(&mut self, desk: &mut Desk<'_>, group: &RingGroup) {
        let goals = self.members(desk, group);
        self.dial(desk, goals, group.ring_timeout, group.ringback);
    }

    /// The phones of a group's members, but not of the caller's own extension.
    pub(super) fn members(&self, desk: &Desk<'_>, group: &RingGroup) -> Vec<Goal> {
        let caller = self.caller.as_ref().map(|caller| &caller.endpoint);
        let members = group.members.iter().filter(|member| Some(*member) != caller);
        members
            .filter_map(|member| self.site.extensions.get(member))
            .flat_map(|extension| goals(desk, extension, None))
            .collect()
    }

    fn dial(&mut self, desk: &mut Desk<'_>, goals: Vec<Goal>, timeout: Duration, ringback: Ringback) {
        let best = Cause::SubscriberAbsent;
        self.state = State::Dialing(Dialing {
            deadline: desk.now + timeout,
            ringback,
            rang: false,
            hearing: Hearing::Nothing,
            best,
            redirects: Redirects::default(),
        });
        let journey = self.onward();
        self.begin_branches(desk, goals, &journey);
        if self.branches.is_empty() {
            self.dial_failed(desk);
        }
    }

    /// How a call that is dialed now goes on from here. Who hands a call over is named; who was called before it came
    /// to them is not.
    fn onward(&self) -> Journey {
        let Some(caller) = &self.caller else { return Journey::default() };
        let mut journey = caller.journey.passed_on();
        if caller.state == LegState::Up {
            journey.diversions.clear();
        }
        journey
    }

    /// As many as there is room for.
    pub(super) fn begin_branches(&mut self, desk: &mut Desk<'_>, goals: Vec<Goal>, journey: &Journey) {
        let room = desk.limits.branches_max.saturating_sub(self.branches.len());
        self.branches.reserve_exact(goals.len().min(room));
        for goal in goals.into_iter().take(room) {
            self.begin_branch(desk, goal, journey);
        }
    }

    fn begin_branch(&mut self, desk: &mut Desk<'_>, goal: Goal, journey: &Journey) {
        let State::Dialing(Dialing { ringback, .. }) = self.state else { return };
        let Some(caller) = &self.caller else { return };
        let worker = caller.worker();
        let formats = match &caller.remote {
            // Who is being transferred speaks what it has agreed to.
            Some(_) if caller.state == LegState::Up => {
                negotiate::forwarded_offer(&caller.agreed(), &goal.codecs, None)
            }
            Some(offer) => {
                // When the caller will hear our tone, the branch should choose the tone's codec too.
                let first = (ringback == Ringback::Tone).then(|| tone_codec(&offer.formats)).flatten();
                negotiate::forwarded_offer(&offer.formats, &goal.codecs, first)
            }
            None => negotiate::own_offer(&goal.codecs),
        };
        if formats.is_empty() {
            return self.branch_impossible(Cause::IncompatibleDestination);
        }
        let (caller_id, caller_party) = (caller.id, caller.party.clone());
        let callee = Party { number: goal.endpoint.clone(), name: goal.name, private: false };
        let id = desk.ids.leg();
        let (dialed, referred_by) = self.dialed_now();
        let mut leg = Leg::create(
            desk,
            (self.id, id),
            (goal.endpoint.clone(), callee.clone()),
            (Side::Outbound, LegState::Down),
            &dialed,
        );
        if !leg.take_port(desk, worker, goal.contact.ipv6) {
            leg.close(desk, Cause::NoCircuit);
            return self.branch_impossible(Cause::NoCircuit);
        }
        self.ports_out += 1;
        let ptime = self.caller.as_ref().and_then(|caller| caller.remote.as_ref()?.ptime_ms);
        let offer =
            leg.describe(formats, Direction::SendRecv).map(|offer| Description { ptime_ms: ptime, ..offer });
        let Some(offer) = offer else { return };
        leg.local = Some(offer.clone());
        leg.journey = journey.clone();
        desk.fact(Fact::ConnectedLine { leg: id, party: caller_party.clone() });
        let endpoint = goal.endpoint.clone();
        desk.fact(Fact::DialBegan { call: self.id, caller: caller_id, leg: id, endpoint });
        desk.fact(Fact::ConnectedLine { leg: caller_id, party: callee });
        let target = Target::Contact { endpoint: goal.endpoint, contact: goal.contact.id };
        leg.command(
            desk,
            LegCommand::Originate {
                target,
                caller: caller_party,
                offer,
                referred_by,
                journey: journey.clone(),
            },
        );
        self.branches.push(leg);
    }

    pub(super) fn branch_impossible(&mut self, cause: Cause) {
        if let State::Dialing(dialing) = &mut self.state {
            dialing.best = more_telling(dialing.best, cause);
        }
    }

    /// A branch says who answers.
    pub(super) fn answered_as(
        &mut self,
        desk: &mut Desk<'_>,
        leg: LegId,
        connected: Option<Party>,
        private: bool,
    ) {
        let (Some(caller), Some(branch)) =
            (&self.caller, self.branches.iter_mut().find(|branch| branch.id == leg))
        else {
            return;
        };
        if let Some(party) = connected {
            desk.fact(Fact::ConnectedLine { leg: caller.id, party: party.clone() });
            branch.party = party;
        }
        branch.party.private |= private;
    }

    /// A branch answered: it takes the call, and the others stop ringing.
    pub(super) fn branch_answered(&mut self, desk: &mut Desk<'_>, leg: LegId, answer: Description) {
        if !matches!(self.state, State::Dialing(_)) {
            return;
        }
        let Some(caller) = &self.caller else { return };
        let (caller_id, offer, committed) = (caller.id, caller.remote.clone(), caller.local.clone());
        let Some(mut branch) = self.take_branch(leg) else { return };
        let offered = branch.local.as_ref().map(|offer| &*offer.formats).unwrap_or_default();
        let agreed = negotiate::answer(offered, &answer.formats);
        let formats = match (&committed, &offer) {
            (Some(local), _) => local.formats.clone(),
            (None, Some(offer)) => negotiate::answer(&offer.formats, &agreed),
            (None, None) => agreed.clone(),
        };
        if agreed.is_empty() || formats.is_empty() {
            // It answered with nothing that we offered: as good as a refusal of this branch.
            branch.command(desk, LegCommand::HangUp { cause: Cause::IncompatibleDestination });
            self.branches.push(branch);
            return self.branch_hung_up(desk, leg, Cause::IncompatibleDestination, HungUpBy::System);
        }
        branch.set_state(desk, LegState::Up);
        let (outcome, cause) = (DialOutcome::Answered, Cause::NormalClearing);
        desk.fact(Fact::DialEnded { call: self.id, caller: caller_id, leg, outcome, cause });
        self.drop_branches(desk, DialOutcome::AnsweredElsewhere, Cause::AnsweredElsewhere);
        if let Some(local) = branch.local.clone() {
            branch.agree(desk, local, answer, Answer::Theirs);
        }
        self.branches.push(branch);
        if self.caller_is_up() {
            // It was offered what the caller speaks and has chosen: if that does not fit, it is for the caller to
            // change.
            return self.join(desk, leg, caller_id);
        }
        self.connect(desk, leg, formats);
    }

    /// A branch refused or failed.
    pub(super) fn branch_hung_up(&mut self, desk: &mut Desk<'_>, leg: LegId, cause: Cause, by: HungUpBy) {
        match &mut self.state {
            State::Dialing(dialing) => {
                dialing.best = more_telling(dialing.best, cause);
                let Some(branch) = self.take_branch(leg) else { return };
                let person = branch.endpoint.clone();
                self.end_branch(desk, branch, outcome_of(cause), cause);
                if by == HungUpBy::Person {
                    self.drop_phones_of(desk, &person);
                }
                if self.branches.is_empty() {
                    return self.dial_failed(desk);
                }
                self.early_media_ended(desk, leg);
            }
            State::Joining(_) => self.callee_hung_up(desk, leg, cause),
            State::Talking(_) => self.end(desk, cause, by.is_peer().then_some(leg)),
            State::Arriving | State::Flow(_) | State::Settling { .. } => {}
        }
    }

    pub(super) fn ring_timeout(&mut self, desk: &mut Desk<'_>) {
        self.branch_impossible(Cause::NoAnswer);
        self.drop_branches(desk, DialOutcome::NoAnswer, Cause::NoAnswer);
        self.dial_failed(desk);
    }

    /// Nobody rings any more. Perhaps somebody has said where else the call may go.
    pub(super) fn dial_failed(&mut self, desk: &mut Desk<'_>) {
        if self.follow(desk) {
            return;
        }
        if let State::Dialing(dialing) = &self.state {
            let cause = dialing.best;
            self.transfer_failed(desk, cause);
        }
    }

    /// Every branch that still rings stops.
    pub(super) fn drop_branches(&mut self, desk: &mut Desk<'_>, outcome: DialOutcome, cause: Cause) {
        for branch in std::mem::take(&mut self.branches) {
            branch.command(desk, LegCommand::HangUp { cause });
            self.end_branch(desk, branch, outcome, cause);
        }
    }

    /// Who declined for themselves need not be rung elsewhere; other members of a group ring on.
    fn drop_phones_of(&mut self, desk: &mut Desk<'_>, person: &str) {
        let (theirs, others) =
            std::mem::take(&mut self.branches).into_iter().partition(|branch| branch.endpoint == person);
        self.branches = theirs;
        self.drop_branches(desk, DialOutcome::Cancelled, Cause::NormalClearing);
        self.branches = others;
    }

    pub(super) fn end_branch(
        &mut self,
        desk: &mut Desk<'_>,
        branch: Leg,
        outcome: DialOutcome,
        cause: Cause,
    ) {
        if let Some(caller) = &self.caller {
            let (call, leg) = (self.id, branch.id);
            desk.fact(Fact::DialEnded { call, caller: caller.id, leg, outcome, cause });
        }
        branch.close(desk, cause);
    }
}

pub(super) fn goals(desk: &Desk<'_>, extension: &Extension, device: Option<&str>) -> Vec<Goal> {
    let goal = |contact: Contact| Goal {
        endpoint: extension.number.clone(),
        name: extension.name.clone(),
        codecs: extension.codecs.clone(),
        contact,
    };
    desk.endpoints.bells(&extension.number, device).into_iter().map(goal).collect()
}

pub(super) fn tone_codec(offered: &[crate::description::Format]) -> Option<Codec> {
    offered.iter().map(|format| format.codec).find(|codec| GENERATED.contains(codec))
}

pub(super) fn outcome_of(cause: Cause) -> DialOutcome {
    match cause {
        Cause::UserBusy | Cause::CallRejected => DialOutcome::Busy,
        Cause::NoAnswer | Cause::NoUserResponding => DialOutcome::NoAnswer,
        Cause::NormalClearing => DialOutcome::Cancelled,
        Cause::AnsweredElsewhere => DialOutcome::AnsweredElsewhere,
        Cause::UnallocatedNumber
        | Cause::SubscriberAbsent
        | Cause::NumberChanged
        | Cause::DestinationOutOfOrder
        | Cause::InvalidNumberFormat
        | Cause::NormalUnspecified
        | Cause::NoCircuit
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::Congestion
        | Cause::BearerNotAuthorized
        | Cause::FacilityNotImplemented
        | Cause::IncompatibleDestination
        | Cause::RecoveryOnTimer
        | Cause::ProtocolError
        | Cause::Interworking => DialOutcome::Unreachable,
    }
}

/// Of what several branches say, the caller is told what a person decided before what a machine met
/// (RFC 3261 §16.7 step 6 leaves the choice within a class to us).
fn more_telling(one: Cause, other: Cause) -> Cause {
    let rank = |cause: Cause| match cause {
        Cause::CallRejected => 6,
        Cause::UserBusy => 5,
        Cause::NoAnswer => 4,
        Cause::NoUserResponding => 3,
        Cause::SubscriberAbsent => 1,
        Cause::UnallocatedNumber
        | Cause::NormalClearing
        | Cause::NumberChanged
        | Cause::AnsweredElsewhere
        | Cause::DestinationOutOfOrder
        | Cause::InvalidNumberFormat
        | Cause::NormalUnspecified
        | Cause::NoCircuit
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::Congestion
        | Cause::BearerNotAuthorized
        | Cause::FacilityNotImplemented
        | Cause::IncompatibleDestination
        | Cause::RecoveryOnTimer
        | Cause::ProtocolError
        | Cause::Interworking => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}
