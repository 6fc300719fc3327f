//! The port between calls and any signaling: what a leg can be told, and what it tells.
//!
//! Rules that every signaling obeys:
//! - an inbound leg begins with [`LegEvent::Offered`], an outbound one with [`LegCommand::Originate`];
//! - [`LegEvent::HungUp`], or [`LegEvent::Redirected`] in its place, is the last event of a leg and comes exactly once, unless the PBX said
//!   [`LegCommand::HangUp`] first: after that the leg is forgotten here and signaling finishes alone
//!   (a CANCEL that crosses a 200, a BYE that nobody answers);
//! - an offer of ours that an inbound leg gets before the answer is made once, and `Answer` then says the
//!   same;
//! - upstream sees one answer: the description of the first of `Ring`, `Progress` or `Answer` that
//!   carries one is the answer, and later ones carry the same;
//! - [`LegEvent::TransferAsked`] is answered at once by [`LegCommand::RefuseTransfer`] or by
//!   [`LegCommand::TransferProgress`]; of the latter there may be several, until `Done` or `Failed`, also
//!   after the leg that asked has hung up.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::description::Description;
use crate::id::{ContactId, LegId};

/// A number or name that can be dialed, as it was dialed: `1001`, `*43`, `alice`.
pub type Number = String;

/// Somebody, as shown to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The number that can be called back.
    pub number: Number,
    /// The name to show; may be empty.
    pub name: String,
    /// Whether it wants to be shown to nobody who is not trusted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

/// Where an outbound leg goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// One registered contact of an extension.
    Contact {
        /// The extension.
        endpoint: Number,
        /// Which of its contacts.
        contact: ContactId,
    },
}

/// Why a call did not stay with somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiversionReason {
    /// Nobody says.
    Unknown,
    /// They were busy.
    UserBusy,
    /// They did not answer.
    NoAnswer,
    /// They could not be reached.
    Unavailable,
    /// All their calls go elsewhere.
    Unconditional,
    /// They wanted no calls.
    DoNotDisturb,
    /// They sent it on when they saw it.
    Deflection,
}

/// Somebody who was called first and did not take the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diversion {
    /// Who.
    pub by: Party,
    /// Why.
    pub reason: DiversionReason,
}

/// Diversions that are remembered of one call.
pub const DIVERSIONS_MAX: usize = 10;

/// How a call came to a leg, for whoever it goes on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// How many servers may pass it on from here, us included; signaling refuses a call that has none left.
    pub hops: u8,
    /// Who was called before, first to last; at most [`DIVERSIONS_MAX`].
    pub diversions: Vec<Diversion>,
    /// Whether it was promised that nobody on the way reads it: it goes on over TLS or not at all (RFC 5630 §5.3).
    pub secure: bool,
}

/// Of a call that begins here.
impl Default for Journey {
    fn default() -> Self {
        Journey { hops: 70, diversions: Vec::new(), secure: false }
    }
}

impl Journey {
    /// The same one server further.
    pub fn passed_on(&self) -> Journey {
        Journey { hops: self.hops.saturating_sub(1), ..self.clone() }
    }

    /// The same after one more diversion. Of too many, the first and the last ones are kept: whom the caller wanted,
    /// and how the call came here.
    pub fn diverted(&self, last: Diversion) -> Journey {
        let mut journey = self.clone();
        if journey.diversions.len() >= DIVERSIONS_MAX {
            journey.diversions.remove(1);
        }
        journey.diversions.push(last);
        journey
    }
}

/// Where a transfer leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferTo {
    /// To a number: a blind transfer.
    Number(Number),
    /// To whoever is at the other end of this leg: an attended transfer.
    Leg(LegId),
}

/// How far a transfer is, for whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferProgress {
    /// It was begun.
    Trying,
    /// The target is being alerted.
    Ringing,
    /// The other party and the target are connected. Nothing follows.
    Done,
    /// It failed. Nothing follows.
    Failed {
        /// Why.
        cause: Cause,
    },
}

/// What calls tell a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegCommand {
    /// Begin an outbound leg.
    Originate {
        /// Where to.
        target: Target,
        /// Who is calling.
        caller: Party,
        /// Our offer.
        offer: Description,
        /// Who transferred the caller here.
        referred_by: Option<Party>,
        /// How the call came here.
        journey: Journey,
    },
    /// Inbound: the far end is being alerted; with a description, there is early media too.
    Ring {
        /// Our answer, when there is early media.
        early: Option<Description>,
    },
    /// Inbound: early media without alerting.
    Progress {
        /// Our answer.
        early: Description,
    },
    /// Inbound: answer. Our answer to their offer, or our offer when theirs was empty.
    Answer {
        /// See above.
        description: Description,
        /// Who answered; `None` when nobody in particular did.
        connected: Option<Party>,
    },
    /// Change the stream of a leg: of one that is not answered only after both have described it.
    Modify {
        /// Our new offer.
        offer: Description,
    },
    /// Agree to a change that the peer asked for. Our answer, or our offer when theirs was empty.
    AcceptModify {
        /// See above.
        description: Description,
    },
    /// Refuse a change that the peer asked for; the leg stays as it was.
    RefuseModify {
        /// Why.
        cause: Cause,
    },
    /// Refuse the transfer that the peer asked for; the leg stays as it was.
    RefuseTransfer {
        /// Why. [`Cause::TemporaryFailure`] asks it to come back later.
        cause: Cause,
    },
    /// Say how far the transfer is that the peer asked for. The first one accepts it.
    TransferProgress(TransferProgress),
    /// Of an answered leg: say who is at the other end from now on, if the far end is told such things.
    Connected {
        /// Who.
        party: Party,
    },
    /// End the leg, whatever its state: refuse, cancel or hang up.
    HangUp {
        /// Why.
        cause: Cause,
    },
}

/// What a leg tells calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegEvent {
    /// Somebody calls.
    Offered {
        /// The extension that proved who it is.
        endpoint: Number,
        /// As whom it calls.
        caller: Party,
        /// What it dialed.
        dialed: Number,
        /// The one device of the extension that is meant, when not all are.
        device: Option<String>,
        /// Its offer; `None` asks us to offer.
        offer: Option<Description>,
        /// Whether an offer of ours can go in `Ring` or `Progress`; its answer is a `Modified`.
        early_offer: EarlyOffer,
        /// Whether our offer to it, if we make one, should use IPv6.
        ipv6: bool,
        /// Whether it came over TLS.
        over_tls: bool,
        /// How it came here.
        journey: Journey,
        /// The leg whose place it takes, if it does not want a call of its own.
        replaces: Option<LegId>,
    },
    /// Outbound: the far end is being alerted; with a description, there is early media too.
    Ringing {
        /// Their answer, when they already gave one.
        early: Option<Description>,
    },
    /// Outbound: progress without alerting.
    Progress {
        /// Their answer, when they already gave one.
        early: Option<Description>,
    },
    /// Outbound: answered, with their answer to our offer.
    Answered {
        /// Their answer.
        description: Description,
        /// Who answered, when a far end that is trusted says so.
        connected: Option<Party>,
        /// Whether whoever answered wants to be shown to nobody who is not trusted.
        private: bool,
    },
    /// Outbound: the far end refused and says where else its person is. Nothing follows.
    Redirected {
        /// Numbers, most wanted first; not empty.
        to: Vec<Number>,
    },
    /// Inbound: our answer has arrived; with their answer, when we had to make the offer.
    Confirmed {
        /// Their answer to our offer.
        description: Option<Description>,
    },
    /// The peer asks to change the stream; `None` asks us to offer.
    ModifyOffered {
        /// Their new offer.
        offer: Option<Description>,
    },
    /// The peer agreed to our change, or answered the offer that our `AcceptModify` made.
    Modified {
        /// Their answer.
        description: Description,
    },
    /// The peer refused our change; the leg stays as it was.
    ModifyRefused {
        /// Why.
        cause: Cause,
    },
    /// The peer asks that whoever it talks with be connected with somebody else.
    TransferAsked {
        /// With whom.
        to: TransferTo,
    },
    /// The leg is over.
    HungUp {
        /// Why.
        cause: Cause,
        /// Who ended it. The cause does not tell: a peer may name any.
        by: HungUpBy,
    },
}

/// Whether an inbound leg that made no offer can be offered ours before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlyOffer {
    /// It cannot.
    #[default]
    Impossible,
    /// It can.
    Possible,
    /// Without one it cannot be told that anybody rings.
    Owed,
}

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HungUpBy {
    /// Nobody over there: a timer ran out, there was no way to the peer, or it broke the protocol and we
    /// gave up.
    System,
    /// The far end, for itself.
    Phone,
    /// The far end, and its refusal speaks for all phones of the person.
    Person,
}

impl HungUpBy {
    /// Whether the far end did.
    pub const fn is_peer(self) -> bool {
        matches!(self, HungUpBy::Phone | HungUpBy::Person)
    }
}
