//! The site: everything that an administrator configures, validated as a whole before it gets here.
//!
//! A site is an immutable value behind an `Arc`: applying a change swaps the whole, and a call keeps
//! the one with which it began.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::codec::Codec;
use crate::leg::Number;

/// Somebody who can register and be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The number; also the SIP user name.
    pub number: Number,
    /// The name shown to others.
    pub name: String,
    /// Codecs it may use, most wanted first; voice codecs only.
    pub codecs: Vec<Codec>,
    /// How long it rings before the caller is told that nobody answers.
    pub ring_timeout: Duration,
    /// Names of groups whose members may take each other's ringing calls.
    pub pickup_groups: Vec<String>,
}

impl Extension {
    /// Whether it may take a call that rings at another one.
    pub fn may_pick_up(&self, other: &Extension) -> bool {
        self.pickup_groups.iter().any(|group| other.pickup_groups.contains(group))
    }
}

/// What the caller of a ring group hears while members ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ringback {
    /// Our own ringing tone, as early media.
    #[default]
    Tone,
    /// Nothing from us: the caller's phone makes the tone.
    Phone,
    /// The early media of the first member that has some.
    Member,
}

/// A number that rings several extensions at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingGroup {
    /// The number.
    pub number: Number,
    /// The name shown to supervisors.
    pub name: String,
    /// Who rings.
    pub members: Vec<Number>,
    /// How long they ring.
    pub ring_timeout: Duration,
    /// What the caller hears meanwhile.
    pub ringback: Ringback,
}

/// One step of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Answer the caller.
    Answer,
    /// Say nothing for a while.
    Wait {
        /// Milliseconds, at most an hour.
        ms: u32,
    },
    /// Send back what the caller says, until it hangs up.
    Echo,
    /// A sine until the caller hangs up.
    Tone {
        /// Frequency, 50 to 3400 Hz.
        hz: u16,
        /// Level, −60 to 0 dBm0.
        level_dbm0: i8,
    },
    /// Play a prompt to its end.
    Play {
        /// Its name, without folder or extension.
        prompt: String,
    },
    /// End the call.
    HangUp {
        /// Why.
        cause: Cause,
    },
}

/// A number behind which a program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The number.
    pub number: Number,
    /// The name shown to supervisors.
    pub name: String,
    /// The program, at most [`STEPS_MAX`] steps.
    pub steps: Vec<Step>,
}

/// Longest program of a flow.
pub const STEPS_MAX: usize = 64;

/// The whole site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The name shown to people.
    pub name: String,
    /// Extensions by number.
    pub extensions: BTreeMap<Number, Extension>,
    /// Ring groups by number.
    pub ring_groups: BTreeMap<Number, RingGroup>,
    /// Flows by number.
    pub flows: BTreeMap<Number, Flow>,
}
