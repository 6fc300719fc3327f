//! Which call, and which leg, a fact is about.

use super::Fact;
use crate::id::{CallId, LegId};

impl Fact {
    /// The call that it names; what concerns a leg alone names none, and belongs to the call of that leg.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Fact::CallStarted { call, .. }
            | Fact::LegCreated { call, .. }
            | Fact::RouteTaken { call, .. }
            | Fact::DialBegan { call, .. }
            | Fact::DialProgressed { call, .. }
            | Fact::DialEnded { call, .. }
            | Fact::DialRedirected { call, .. }
            | Fact::CallAnswered { call, .. }
            | Fact::FlowStarted { call, .. }
            | Fact::FlowEnded { call, .. }
            | Fact::BridgeCreated { call, .. }
            | Fact::BridgeDestroyed { call, .. }
            | Fact::TransferBegan { call, .. }
            | Fact::TransferEnded { call, .. }
            | Fact::LegMoved { call, .. }
            | Fact::LegReplaced { call, .. }
            | Fact::ConversationMerged { call, .. }
            | Fact::LegEnded { call, .. }
            | Fact::LegMeasured { call, .. }
            | Fact::CallEnded { call, .. } => Some(*call),
            Fact::Fault { call, .. } => *call,
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
            | Fact::ConnectedLine { .. }
            | Fact::LegStateChanged { .. }
            | Fact::LegNegotiated { .. }
            | Fact::LegLatched { .. }
            | Fact::LegHeld { .. }
            | Fact::LegResumed { .. }
            | Fact::BridgeEntered { .. }
            | Fact::BridgeLeft { .. }
            | Fact::HangupRequested { .. }
            | Fact::LegSilent { .. } => None,
        }
    }

    /// The leg that it is about, if it is about one.
    pub fn leg(&self) -> Option<LegId> {
        match self {
            Fact::CallStarted { leg, .. }
            | Fact::LegCreated { leg, .. }
            | Fact::RouteTaken { leg, .. }
            | Fact::ConnectedLine { leg, .. }
            | Fact::DialBegan { leg, .. }
            | Fact::DialProgressed { leg, .. }
            | Fact::DialEnded { leg, .. }
            | Fact::DialRedirected { leg, .. }
            | Fact::LegStateChanged { leg, .. }
            | Fact::LegNegotiated { leg, .. }
            | Fact::LegLatched { leg, .. }
            | Fact::LegHeld { leg }
            | Fact::LegResumed { leg }
            | Fact::FlowStarted { leg, .. }
            | Fact::BridgeEntered { leg, .. }
            | Fact::BridgeLeft { leg, .. }
            | Fact::LegMoved { leg, .. }
            | Fact::LegReplaced { leg, .. }
            | Fact::HangupRequested { leg, .. }
            | Fact::LegSilent { leg, .. }
            | Fact::LegEnded { leg, .. }
            | Fact::LegMeasured { leg, .. } => Some(*leg),
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
            | Fact::CallAnswered { .. }
            | Fact::FlowEnded { .. }
            | Fact::BridgeCreated { .. }
            | Fact::BridgeDestroyed { .. }
            | Fact::TransferBegan { .. }
            | Fact::TransferEnded { .. }
            | Fact::ConversationMerged { .. }
            | Fact::CallEnded { .. }
            | Fact::Fault { .. } => None,
        }
    }
}
