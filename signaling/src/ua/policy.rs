//! What the operator and the far end have to say about how calls are made.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::{Headers, Name};

/// Whether provisional answers are made reliable (RFC 3262), for one extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reliability {
    /// Neither offered nor understood.
    Off,
    /// Used when both sides have it.
    #[default]
    Supported,
    /// Without it there is no call.
    Required,
}

/// Which header says to somebody who calls, or who answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendIdentity {
    /// None; From alone.
    #[default]
    None,
    /// P-Asserted-Identity (RFC 3325).
    Pai,
    /// Remote-Party-ID, for what is older.
    Rpid,
}

/// How far an extension is believed, and what it is told, about who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityPolicy {
    /// Whether it may say who calls through it, and is told who does not want to be known (RFC 3324 §4: a trust
    /// domain is what its operator says).
    pub trusted: bool,
    /// What it is told.
    pub sends: SendIdentity,
}

impl IdentityPolicy {
    /// One that says nothing of what it wants is told who calls when it is trusted.
    pub fn new(trusted: bool, sends: Option<SendIdentity>) -> Self {
        let usual = if trusted { SendIdentity::Pai } else { SendIdentity::None };
        IdentityPolicy { trusted, sends: sends.unwrap_or(usual) }
    }
}

/// What holds for every call of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPolicy {
    /// How long a session lasts that nobody refreshes (RFC 4028 §4).
    pub session_expires: Duration,
    /// The shortest such time that a peer may ask for (RFC 4028 §5).
    pub min_se: Duration,
    /// How long a far end may keep quiet between two provisional answers (RFC 3261 §16.6 step 11).
    pub timer_c: Duration,
}

impl Default for CallPolicy {
    fn default() -> Self {
        CallPolicy {
            session_expires: Duration::from_secs(30 * 60),
            min_se: Duration::from_secs(90),
            timer_c: Duration::from_secs(4 * 60),
        }
    }
}

/// What the far end of a dialog has said that it understands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    /// UPDATE (RFC 3311 §4).
    pub updates: bool,
    /// Session timers (RFC 4028 §4).
    pub timers: bool,
}

impl Peer {
    /// Takes what a message of its says. A message that is silent about something changes nothing.
    pub fn heed(&mut self, headers: &Headers) {
        if headers.has(&Name::Allow) {
            self.updates = headers.has_token(&Name::Allow, "UPDATE");
        }
        if headers.has(&Name::Supported) || headers.has(&Name::Require) {
            self.timers = understands(headers, "timer");
        }
    }
}

/// Whether the sender of a message has this extension: it says so, or asks for it.
pub(crate) fn understands(headers: &Headers, option: &str) -> bool {
    headers.has_token(&Name::Supported, option) || headers.has_token(&Name::Require, option)
}
