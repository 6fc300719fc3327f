//! What can be asked of a running server from outside. Every outside tongue (CLI, REST, AMI, feature
//! codes) is a translation into this.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::id::CallId;

/// A request to the control thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// End a call.
    HangUp {
        /// Which.
        call: CallId,
        /// Why.
        cause: Cause,
    },
    /// Take no new calls.
    Drain,
    /// End every call now.
    HangUpAll {
        /// Why.
        cause: Cause,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// There is no such call (any more).
    NoSuchCall {
        /// Which.
        call: CallId,
    },
}
