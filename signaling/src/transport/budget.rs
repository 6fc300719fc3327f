//! How much a source may have in a second: a table of fixed size that no flood can grow.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use dialtone_core::Mono;

/// Sources share slots by a keyed hash; two that collide share a budget.
const SLOTS: usize = 4096;

/// One budget per source and second.
pub(super) struct Budget {
    per_second: u32,
    hasher: RandomState,
    /// The second in the upper half, what was taken within it in the lower.
    slots: Box<[AtomicU64]>,
}

impl Budget {
    /// So much per second and source.
    pub(super) fn new(per_second: u32) -> Budget {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Budget { per_second, hasher: RandomState::new(), slots }
    }

    /// Whether `source` may have one more now; takes it.
    pub(super) fn take(&self, source: IpAddr, now: Mono) -> bool {
        let second = (now.as_nanos() / 1_000_000_000) & u64::from(u32::MAX);
        let hash = self.hasher.hash_one(source);
        let Some(slot) = self.slots.get(hash as usize % SLOTS) else { return false };
        let spend = |value: u64| {
            let spent = if value >> 32 == second { value & u64::from(u32::MAX) } else { 0 };
            (spent < u64::from(self.per_second)).then_some(second << 32 | (spent + 1))
        };
        slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_share_each_second() {
        let budget = Budget::new(2);
        let source = IpAddr::from([192, 0, 2, 1]);
        let steps = [(0, true), (10, true), (999, false), (1000, true), (1001, true), (1002, false)];
        for (at_ms, given) in steps {
            assert_eq!(budget.take(source, Mono::from_millis(at_ms)), given, "{at_ms}");
        }
    }
}
