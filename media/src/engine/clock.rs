//! The engine's clocks: the only place of the crate that reads one.

use std::time::{SystemTime, UNIX_EPOCH};

use dialtone_core::{Mono, Wall};

use super::sys;

/// The monotonic clock, counted from the engine's start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin_ns: u64,
}

impl Clock {
    pub fn start() -> Self {
        Self { origin_ns: sys::monotonic_ns() }
    }

    pub fn now(self) -> Mono {
        Mono::from_nanos(sys::monotonic_ns() - self.origin_ns)
    }

    /// The kernel's reading at `instant`, for an absolute timer.
    pub fn kernel_ns(self, instant: Mono) -> u64 {
        self.origin_ns + instant.as_nanos()
    }
}

/// The wall clock now.
#[allow(clippy::disallowed_methods)]
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
