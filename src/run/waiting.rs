//! What waits for the record keeper, known to those who put it there, to the keeper, and to whoever refuses calls.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Waiting {
    depth: AtomicUsize,
    limit: usize,
    traces_lost: AtomicU64,
}

impl Waiting {
    /// `limit` is how much may wait before new calls are refused, and twice what may before traces are left out.
    pub fn new(limit: usize) -> Waiting {
        Waiting { depth: AtomicUsize::new(0), limit, traces_lost: AtomicU64::new(0) }
    }

    /// One more waits.
    pub fn put(&self) {
        self.depth.fetch_add(1, Ordering::Relaxed);
    }

    /// One less waits.
    pub fn taken(&self) {
        self.depth.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much waits.
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// How much may wait before new calls are refused.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a message of a call is kept: what explains a call gives way before the next call does.
    pub fn takes_traces(&self) -> bool {
        self.depth() < self.limit / 2
    }

    /// A message of a call is not kept.
    pub fn lose_trace(&self) {
        self.traces_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were not kept, since the start.
    pub fn traces_lost(&self) -> u64 {
        self.traces_lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_give_way_at_half_of_what_calls_may_add() {
        let waiting = Waiting::new(4);
        waiting.put();
        assert!(waiting.takes_traces());
        waiting.put();
        assert!(!waiting.takes_traces());
        waiting.taken();
        assert!(waiting.takes_traces());
        waiting.lose_trace();
        assert_eq!((waiting.depth(), waiting.limit(), waiting.traces_lost()), (1, 4, 1));
    }
}
