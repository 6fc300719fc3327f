//! The longest turns of the control thread: what kept everybody else waiting.

use std::sync::Arc;

use dialtone_core::{CallId, LegId};
use serde::{Deserialize, Serialize};

/// One turn: an input, from its taking to the last of what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongTurn {
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The part of it that was spent deciding; the rest went into carrying out.
    pub decided_us: u64,
    /// When it was over, RFC 3339 UTC.
    pub at: String,
    /// What kind of input it was: `sip_request`, `media`, `timers` …
    pub kind: String,
    /// Which: a method or the name of an event. None of it is a peer's own words.
    pub what: String,
    /// The status of a response.
    pub status: Option<u16>,
    /// The call that it was about, if that shows in what it did.
    pub call: Option<CallId>,
    /// The leg that it was about.
    pub leg: Option<LegId>,
    /// How many things it asked for.
    pub effects: usize,
}

/// The longest turns since the start, the longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestTurns {
    /// Turns since the start.
    pub turns: u64,
    /// Those that took longest.
    pub longest: Vec<LongTurn>,
}

/// Where they are kept; asked at each look.
pub type TurnSource = Arc<dyn Fn() -> LongestTurns + Send + Sync>;
