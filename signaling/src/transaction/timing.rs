//! The intervals of RFC 3261 §17 (Table 4) and the table of a machine's timers.

use std::time::Duration;

use dialtone_core::Mono;
use serde::{Deserialize, Serialize};

/// Base intervals; every timer is a multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Estimate of the round trip: first retransmission interval. 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval. 4 s.
    pub t2: Duration,
    /// Longest time that a message stays in the network. 5 s.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timing {
    /// How long a transaction is tried: timers B, F, H, J, L and M.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: how long retransmitted refusals are absorbed (at least 32 s on UDP).
    pub fn absorb_refusals(&self) -> Duration {
        self.patience().max(Duration::from_secs(32))
    }
}

/// Two timers are enough for every transaction: one repeats, one ends a state.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    /// When to send again (A, E, G), and the interval that led there.
    resend: Option<(Mono, Duration)>,
    /// When to leave the state (B, D, F, H, I, J, K, L, M).
    leave: Option<Mono>,
}

impl Timers {
    pub fn resend_after(&mut self, now: Mono, interval: Duration) {
        self.resend = Some((now + interval, interval));
    }

    pub fn leave_after(&mut self, now: Mono, interval: Duration) {
        self.leave = Some(now + interval);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Mono> {
        match (self.resend.map(|(at, _)| at), self.leave) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes a due end of the state.
    pub fn take_leave(&mut self, now: Mono) -> bool {
        let due = self.leave.is_some_and(|at| at <= now);
        if due {
            *self = Timers::default();
        }
        due
    }

    /// Takes a due repetition; gives the interval that has passed.
    pub fn take_resend(&mut self, now: Mono) -> Option<Duration> {
        let (at, interval) = self.resend?;
        if at > now {
            return None;
        }
        self.resend = None;
        Some(interval)
    }
}
