//! Everything noteworthy that happens, as one typed, gap-free stream.
//!
//! CDRs, the flight recorder, metrics, AMI and the web page are folds over this stream and nothing
//! else: what is not here did not happen. A new variant makes the compiler list every fold that must
//! decide about it.

mod subject;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::codec::Codec;
use crate::endpoint::ContactFacts;
use crate::id::{BridgeId, CallId, ContactId, ConversationId, LegId};
use crate::leg::{Number, Party};
use crate::media::Quality;
use crate::time::Now;

/// A fact with its place in the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Place in the stream of this boot: starts at 1, no gaps.
    pub seq: u64,
    /// When.
    pub at: Now,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Which way a leg was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The peer called us.
    Inbound,
    /// We called the peer.
    Outbound,
}

/// What a person sees of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Outbound, nothing heard from the far end yet.
    Down,
    /// Inbound, wants to be answered.
    Ring,
    /// Outbound, the far end alerts.
    Ringing,
    /// Sound before the answer.
    Early,
    /// Answered.
    Up,
}

/// What a phone is doing, from its registration and its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// No contact and no leg.
    Unavailable,
    /// Reachable, no leg.
    Idle,
    /// A call comes in and nothing else goes on.
    Ringing,
    /// On a call.
    InUse,
    /// On a call, and another comes in.
    RingInUse,
    /// All its calls are held by it.
    OnHold,
}

/// How a branch ended for whoever dialed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialOutcome {
    /// It was answered and took the call.
    Answered,
    /// Busy.
    Busy,
    /// It rang for its time.
    NoAnswer,
    /// The caller gave up.
    Cancelled,
    /// Another branch was answered.
    AnsweredElsewhere,
    /// It sent the call to another number.
    Redirected,
    /// It could not be reached, or refused for a technical reason.
    Unreachable,
}

/// What a number leads to, for whoever reads the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routed {
    /// An extension.
    Extension(Number),
    /// A ring group.
    RingGroup(Number),
    /// A flow.
    Flow(Number),
    /// Nothing.
    Nowhere,
}

/// What joins the legs of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeMode {
    /// Packets are passed on.
    Relay,
    /// One leg with a generator.
    Hold,
}

/// Whether the transferor has spoken with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// To a number, without a word.
    Blind,
    /// To the other end of a second call of the transferor, answered or still ringing.
    Attended,
}

/// What came of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferOutcome {
    /// The transferee talks with the target.
    Completed,
    /// The target is busy, or declined.
    Busy,
    /// The target did not answer in time.
    NoAnswer,
    /// The target could not be reached, or shares no codec.
    Unreachable,
    /// The transferee hung up, or the call was ended, before anybody answered.
    Abandoned,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Fact {
    /// The server runs.
    Started {
        /// Its version.
        version: String,
        /// The boot counter that its ids carry.
        boot: u32,
    },
    /// No new calls are taken; it ends when the last call has.
    Draining {
        /// Calls that are still up.
        calls: u32,
    },
    /// The last event of this boot.
    Stopped,
    /// A new site is in force.
    SiteApplied {
        /// Its name.
        name: String,
        /// How many extensions it has.
        extensions: u32,
    },
    /// An endpoint can be reached at one more place.
    ContactAdded {
        /// The endpoint.
        endpoint: Number,
        /// The contact.
        contact: ContactId,
        /// From where it registered.
        source: SocketAddr,
        /// What it tells about itself.
        about: ContactFacts,
    },
    /// A contact stays for longer.
    ContactRefreshed {
        /// The endpoint.
        endpoint: Number,
        /// The contact.
        contact: ContactId,
        /// From now on, seconds.
        lasts_s: u64,
    },
    /// A contact was asked whether it is there, or its connection broke.
    ContactReached {
        /// The endpoint.
        endpoint: Number,
        /// The contact.
        contact: ContactId,
        /// Whether it can be reached now.
        reachable: bool,
        /// From the question to the answer, microseconds.
        round_trip_us: Option<u64>,
    },
    /// An endpoint can no longer be reached at a place.
    ContactRemoved {
        /// The endpoint.
        endpoint: Number,
        /// The contact.
        contact: ContactId,
        /// Whether it ran out, rather than being taken back.
        expired: bool,
    },
    /// A phone does something else now.
    DeviceStateChanged {
        /// The endpoint.
        endpoint: Number,
        /// What it does.
        state: DeviceState,
    },
    /// Somebody failed to prove who they are.
    AuthFailed {
        /// The account that they named; may not exist.
        account: String,
        /// From where.
        source: SocketAddr,
    },
    /// Somebody wants something. A conversation begins.
    CallStarted {
        /// The call.
        call: CallId,
        /// Its conversation.
        conversation: ConversationId,
        /// The leg of whoever called.
        leg: LegId,
        /// Who calls.
        from: Party,
        /// What they dialed.
        dialed: Number,
    },
    /// A leg joined a call.
    LegCreated {
        /// The leg.
        leg: LegId,
        /// Its call.
        call: CallId,
        /// The endpoint at its far end.
        endpoint: Number,
        /// Which way it was set up.
        side: Side,
        /// What it is doing.
        state: LegState,
        /// Who is at its far end.
        party: Party,
        /// What was dialed to get here.
        dialed: Number,
    },
    /// The number was looked up.
    RouteTaken {
        /// The call.
        call: CallId,
        /// The leg that dialed.
        leg: LegId,
        /// What it dialed.
        dialed: Number,
        /// Where that leads.
        to: Routed,
    },
    /// A leg learned whom it is connected with, or is about to be.
    ConnectedLine {
        /// The leg.
        leg: LegId,
        /// Whom its phone should show.
        party: Party,
    },
    /// A branch began to ring for a caller.
    DialBegan {
        /// The call.
        call: CallId,
        /// Who dials.
        caller: LegId,
        /// The branch.
        leg: LegId,
        /// The endpoint.
        endpoint: Number,
    },
    /// The branch's far end is alerting, or sends early media.
    DialProgressed {
        /// The call.
        call: CallId,
        /// Who dials.
        caller: LegId,
        /// The branch.
        leg: LegId,
        /// `Ringing` or `Early`.
        state: LegState,
    },
    /// A branch is decided.
    DialEnded {
        /// The call.
        call: CallId,
        /// Who dials.
        caller: LegId,
        /// The branch.
        leg: LegId,
        /// How.
        outcome: DialOutcome,
        /// The cause that its far end gave.
        cause: Cause,
    },
    /// A branch that sent the call elsewhere is followed there.
    DialRedirected {
        /// The call.
        call: CallId,
        /// Who dials.
        caller: LegId,
        /// The branch, which has ended.
        leg: LegId,
        /// Where to.
        to: Number,
    },
    /// A leg does something else now.
    LegStateChanged {
        /// The leg.
        leg: LegId,
        /// What.
        state: LegState,
    },
    /// Voice formats were agreed with a leg's far end.
    LegNegotiated {
        /// The leg.
        leg: LegId,
        /// The preferred voice codec.
        codec: Codec,
        /// Where the far end receives.
        remote: SocketAddr,
    },
    /// A leg's first packet arrived and fixed where its far end really is.
    LegLatched {
        /// The leg.
        leg: LegId,
        /// Its source.
        source: SocketAddr,
    },
    /// The far end put us on hold.
    LegHeld {
        /// The leg that asked for it.
        leg: LegId,
    },
    /// The far end took us back.
    LegResumed {
        /// The leg that asked for it.
        leg: LegId,
    },
    /// The caller was answered, by a person or by a flow.
    CallAnswered {
        /// The call.
        call: CallId,
        /// The leg that answered; the caller's own when a flow did.
        by: LegId,
    },
    /// A flow runs.
    FlowStarted {
        /// The call.
        call: CallId,
        /// The leg that hears it.
        leg: LegId,
        /// The flow's number.
        flow: Number,
    },
    /// A flow is over.
    FlowEnded {
        /// The call.
        call: CallId,
        /// The flow's number.
        flow: Number,
    },
    /// A bridge was made.
    BridgeCreated {
        /// The bridge.
        bridge: BridgeId,
        /// The call that it serves.
        call: CallId,
        /// What it does.
        mode: BridgeMode,
    },
    /// A leg entered a bridge.
    BridgeEntered {
        /// The bridge.
        bridge: BridgeId,
        /// The leg.
        leg: LegId,
        /// Legs in it now.
        legs: u32,
    },
    /// A leg left a bridge.
    BridgeLeft {
        /// The bridge.
        bridge: BridgeId,
        /// The leg.
        leg: LegId,
        /// Legs in it now.
        legs: u32,
    },
    /// A bridge is gone.
    BridgeDestroyed {
        /// The bridge.
        bridge: BridgeId,
        /// The call that it served.
        call: CallId,
    },
    /// One party of a call asked that the other be connected with somebody else.
    TransferBegan {
        /// The call that goes on.
        call: CallId,
        /// Of which kind.
        kind: TransferKind,
        /// Who asked.
        transferor: LegId,
        /// Who is transferred.
        transferee: LegId,
        /// What both were in.
        bridge: BridgeId,
        /// The number that leads to the target.
        to: Number,
        /// The transferor's leg of its second call, when it is attended.
        second: Option<LegId>,
        /// What that leg was in, when its far end had answered.
        second_bridge: Option<BridgeId>,
    },
    /// A transfer is decided. When it failed, the call returns to the transferor.
    TransferEnded {
        /// The call.
        call: CallId,
        /// Of which kind.
        kind: TransferKind,
        /// Who asked.
        transferor: LegId,
        /// How.
        outcome: TransferOutcome,
        /// The cause that the target's side gave.
        cause: Cause,
        /// The leg that the transferee is connected with now; `None` when that is a flow, or nobody.
        target: Option<LegId>,
    },
    /// A leg left its call for another one.
    LegMoved {
        /// The leg.
        leg: LegId,
        /// The call that it left.
        from: CallId,
        /// The call that it belongs to from now on.
        call: CallId,
    },
    /// A leg took the place of another one.
    LegReplaced {
        /// The call.
        call: CallId,
        /// The new leg.
        leg: LegId,
        /// The leg that ends.
        replaced: LegId,
    },
    /// Two conversations are one from now on, and the call of one of them ends: its legs have ended or moved.
    ConversationMerged {
        /// The call that ends.
        call: CallId,
        /// The call that goes on.
        survivor: CallId,
        /// The older conversation: the id of both.
        into: ConversationId,
        /// The younger one, whose id is used no more.
        from: ConversationId,
    },
    /// A leg is to end: its far end asked for it, or we do.
    HangupRequested {
        /// The leg.
        leg: LegId,
        /// Whether its far end asked.
        by_peer: bool,
        /// Why.
        cause: Cause,
    },
    /// A leg should be heard and is silent.
    LegSilent {
        /// The leg.
        leg: LegId,
        /// For how long, milliseconds.
        silence_ms: u64,
    },
    /// A leg is over.
    LegEnded {
        /// The leg.
        leg: LegId,
        /// Its call.
        call: CallId,
        /// Why.
        cause: Cause,
    },
    /// What a leg's packets were like; after its end.
    LegMeasured {
        /// The leg.
        leg: LegId,
        /// Its call.
        call: CallId,
        /// The sum of its life.
        quality: Quality,
    },
    /// The call is over; every leg has ended.
    CallEnded {
        /// The call.
        call: CallId,
        /// Why.
        cause: Cause,
        /// Who ended it: a leg's far end, or us.
        by: Option<LegId>,
    },
    /// Something that must not happen did; what was touched has been ended or rebuilt.
    Fault {
        /// What.
        what: String,
        /// The call that was being served, when there was one.
        call: Option<CallId>,
    },
}
