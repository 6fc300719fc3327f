//! Somebody takes a call that rings elsewhere: their leg takes the place of the branches, already answered.

use super::{Arrival, Call, Desk, State};
use crate::cause::Cause;
use crate::event::{DialOutcome, Fact};
use crate::id::LegId;
use crate::negotiate::{self, GENERATED};

impl Call {
    /// Whether this leg is one that rings.
    pub(super) fn rings(&self, leg: LegId) -> bool {
        matches!(self.state, State::Dialing(_)) && self.branches.iter().any(|branch| branch.id == leg)
    }

    /// Whether `arrival` may take the place of this leg (RFC 3891 §3, §8): as a phone of the same extension, or while it
    /// rings as one of a pickup group with it; and of a call that nobody on its way may read over TLS alone (RFC 5630
    /// §5.3).
    pub(super) fn may_be_replaced(&self, leg: LegId, arrival: &Arrival) -> bool {
        let legs = || self.caller.iter().chain(&self.branches);
        if !arrival.over_tls && legs().any(|leg| leg.journey.secure) {
            return false;
        }
        let Some(replaced) = legs().find(|other| other.id == leg) else {
            return true; // What it is, is found out next.
        };
        let endpoint = &*arrival.endpoint;
        let extension = |number: &str| self.site.extensions.get(number);
        let grouped = || {
            extension(endpoint)
                .zip(extension(&replaced.endpoint))
                .is_some_and(|(one, other)| one.may_pick_up(other))
        };
        replaced.endpoint == endpoint || self.rings(leg) && grouped()
    }

    /// `arrival` answers instead of `branch`, which rings (RFC 3891 §3, an early dialog that we began). Both whom it
    /// takes the place of and everybody else who was rung stop ringing, as if one of them had answered.
    pub(super) fn pick_up(&mut self, desk: &mut Desk<'_>, arrival: Arrival, branch: LegId) {
        let Some(caller) = &self.caller else { return };
        let (caller_id, worker, party) = (caller.id, caller.worker(), caller.party.clone());
        let theirs = match (&caller.local, &caller.remote) {
            (Some(_), _) => caller.agreed_or_offered(),
            (None, Some(offer)) => offer.formats.clone(),
            (None, None) => negotiate::own_offer(GENERATED),
        };
        let Some((mut fresh, formats)) = self.take_in(desk, arrival, theirs, worker) else { return };
        let leg = fresh.id;
        desk.fact(Fact::LegReplaced { call: self.id, leg, replaced: branch });
        desk.fact(Fact::ConnectedLine { leg: caller_id, party: fresh.party.clone() });
        desk.fact(Fact::ConnectedLine { leg, party: party.clone() });
        self.drop_branches(desk, DialOutcome::AnsweredElsewhere, Cause::AnsweredElsewhere);
        fresh.answer(desk, formats, Some(party));
        let spoken = fresh.agreed_or_pending();
        self.branches.push(fresh);
        if self.caller_is_up() {
            return self.join(desk, leg, caller_id);
        }
        let formats = match self.caller.as_ref().and_then(|caller| caller.remote.as_ref()) {
            Some(offer) => negotiate::answer(&offer.formats, &spoken),
            None => spoken,
        };
        self.connect(desk, leg, formats);
    }
}
