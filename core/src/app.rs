//! The port between calls and whatever runs a call flow.
//!
//! A flow is a program; its interpreter is a machine that gets [`AppEvent`]s and asks with
//! [`AppCommand`]s. The PBX carries them out and never looks inside a flow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::id::CallId;
use crate::media::Feed;
use crate::site::Step;

/// What a flow asks for, always about its own call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AppCommand {
    /// Answer the caller; [`AppEvent::Answered`] follows.
    Answer,
    /// Let the caller hear this; for a prompt [`AppEvent::PlayEnded`] follows.
    Feed(Feed),
    /// End the call.
    HangUp {
        /// Why.
        cause: Cause,
    },
}

/// What a flow is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AppEvent {
    /// Begin.
    Started {
        /// The program.
        steps: Vec<Step>,
    },
    /// The caller has been answered and can hear.
    Answered,
    /// The prompt has come to its end.
    PlayEnded,
    /// The call is gone; nothing more can be asked.
    Ended,
}

/// A flow event or command with the call that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About<T> {
    /// The call.
    pub call: CallId,
    /// What about it.
    pub what: T,
}

/// Longest wait of one step.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Longest time that a flow leaves its caller without an answer, and that the answer may need to arrive.
/// Nobody is billed, heard or played to meanwhile, so nothing else would end such a call.
pub const UNANSWERED_MAX: Duration = Duration::from_secs(60);
