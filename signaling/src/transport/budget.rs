//! How much somebody may have in a while: token buckets in a table of fixed size that no flood can grow.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use dialtone_core::Mono;

/// Buckets. Keys share them by a keyed hash; two that fall together share what is in it.
const SLOTS: usize = 16_384;

/// One bucket per key, full at first.
pub(super) struct Budget {
    /// Until one more token is there, nanoseconds.
    interval: u64,
    /// Until an empty bucket is full, nanoseconds.
    refill: u64,
    hasher: RandomState,
    /// When each will be full again, nanoseconds.
    slots: Box<[AtomicU64]>,
}

impl Budget {
    /// So much per second and key, and as much at once.
    pub(super) fn new(per_second: u32) -> Budget {
        Budget::with_burst(per_second, per_second)
    }

    /// So much per second and key, and `burst` at once.
    pub(super) fn with_burst(per_second: u32, burst: u32) -> Budget {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        Budget {
            interval,
            refill: interval * u64::from(burst),
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether `key` may have one more now; takes it.
    pub(super) fn take(&self, key: &impl Hash, now: Mono) -> bool {
        let spend = |full_at| self.after(full_at, now);
        self.slot(key)
            .is_some_and(|slot| slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok())
    }

    /// Whether `key` might have one more now.
    pub(super) fn has(&self, key: &impl Hash, now: Mono) -> bool {
        self.slot(key).is_some_and(|slot| self.after(slot.load(Ordering::Relaxed), now).is_some())
    }

    /// When a bucket that will be full at `full_at` will be, with one token less.
    fn after(&self, full_at: u64, now: Mono) -> Option<u64> {
        let after = full_at.max(now.as_nanos()) + self.interval;
        (after - now.as_nanos() <= self.refill).then_some(after)
    }

    fn slot(&self, key: &impl Hash) -> Option<&AtomicU64> {
        self.slots.get(self.hasher.hash_one(key) as usize % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again_as_time_goes_by() {
        let budget = Budget::new(2);
        let steps = [
            (0, true),
            (10, true),
            (11, false),
            (499, false),
            (500, true),
            (501, false),
            (2000, true),
            (2000, true),
            (2000, false),
        ];
        for (at_ms, given) in steps {
            let now = Mono::from_millis(at_ms);
            assert_eq!(budget.has(&"a", now), given, "{at_ms}");
            assert_eq!(budget.take(&"a", now), given, "{at_ms}");
        }
        let burst = Budget::with_burst(1, 3);
        let taken = (0..10).filter(|_| burst.take(&"a", Mono::ZERO)).count();
        assert_eq!((taken, burst.take(&"a", Mono::from_millis(1000))), (3, true));
    }
}
