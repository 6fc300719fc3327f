//! Conversations in which we have said something: what an address can know of them that others cannot.
//!
//! A Call-ID is drawn at random by whoever begins, and seen by nobody but the two ends. That the stack has said
//! something in one other than a refusal means that somebody proved an account in it, or that we began it.
//!
//! The table has a fixed size. What is forgotten because others came is a stranger again, no more than that.
//!
//! Who shows a Call-ID of the table goes on with something, wherever it comes from: a proxy has several addresses, and a
//! phone moves. Whose address it was said to has in addition shown that the address is not forged.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use dialtone_core::Mono;

use super::Standing;

/// Conversations remembered, one for each address: 2 MiB.
const SLOTS: usize = 262_144;
/// Slots that one conversation may be in.
const WAYS: usize = 4;
/// Bits of a slot that say when it was last used, in units of four seconds.
const TIME_BITS: u32 = 24;
/// Bits above that say of whom it is known. Those above them are of the Call-ID.
const SOURCE_BITS: u32 = 16;

/// See the module.
pub(super) struct Known {
    hasher: RandomState,
    /// Of the Call-ID's hash, of its source's, then the time; 0 is free.
    slots: Box<[AtomicU64]>,
}

impl Default for Known {
    fn default() -> Self {
        Known { hasher: RandomState::new(), slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Known {
    /// From now on `call_id` is known of `source`.
    pub(super) fn mark(&self, call_id: &[u8], source: IpAddr, now: Mono) {
        if call_id.is_empty() {
            return;
        }
        let (set, mark) = self.place(call_id, source);
        let marked = mark | tick(now);
        let same = set.iter().find(|slot| slot.load(Ordering::Relaxed) & !TIME_MASK == mark);
        let age = |slot: &&AtomicU64| match slot.load(Ordering::Relaxed) {
            0 => u64::MAX,
            value => tick(now).wrapping_sub(value) & TIME_MASK,
        };
        // Two that write at once may lose one of them, which is then a stranger until the next time.
        if let Some(slot) = same.or_else(|| set.iter().max_by_key(age)) {
            slot.store(marked, Ordering::Relaxed);
        }
    }

    /// What is known of it.
    pub(super) fn standing(&self, call_id: &[u8], source: IpAddr, now: Mono) -> Standing {
        let mut standing = Standing { known: false, goes_on: false };
        if call_id.is_empty() {
            return standing;
        }
        let (set, mark) = self.place(call_id, source);
        for slot in set {
            let found = slot.load(Ordering::Relaxed);
            if found == 0 || (found ^ mark) & CALL_MASK != 0 {
                continue;
            }
            standing.goes_on = true;
            standing.known |= (found ^ mark) & SOURCE_MASK == 0;
            slot.store(found & !TIME_MASK | tick(now), Ordering::Relaxed);
        }
        standing
    }

    fn place(&self, call_id: &[u8], source: IpAddr) -> (&[AtomicU64], u64) {
        let hash = self.hasher.hash_one(call_id);
        let set = hash as usize % (SLOTS / WAYS) * WAYS;
        // Never 0, which is free.
        let source = (self.hasher.hash_one(source) | 1) << TIME_BITS & SOURCE_MASK;
        (self.slots.get(set..set + WAYS).unwrap_or_default(), hash & CALL_MASK | source)
    }
}

const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const SOURCE_MASK: u64 = ((1 << SOURCE_BITS) - 1) << TIME_BITS;
const CALL_MASK: u64 = !(SOURCE_MASK | TIME_MASK);

fn tick(now: Mono) -> u64 {
    (now.as_nanos() / 4_000_000_000) & TIME_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_known_of_one_address() {
        let known = Known::default();
        let [a, b] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        known.mark(b"c1", a, Mono::ZERO);
        known.mark(b"", a, Mono::ZERO);
        let now = Mono::from_millis(3_600_000);
        let of = |call_id, source| {
            let standing = known.standing(call_id, source, now);
            (standing.known, standing.goes_on)
        };
        assert_eq!(of(b"c1", a), (true, true));
        assert_eq!(of(b"c1", b), (false, true), "whoever shows the Call-ID has heard it");
        assert_eq!([of(b"c2", a), of(b"", a)], [(false, false); 2]);
        known.mark(b"c1", b, now);
        assert_eq!([of(b"c1", a), of(b"c1", b)], [(true, true); 2]);
    }

    #[test]
    fn the_oldest_of_a_full_set_is_forgotten_and_the_rest_is_kept() {
        let known = Known::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let ids: Vec<String> = (0..2 * SLOTS).map(|number| number.to_string()).collect();
        for (second, id) in ids.iter().enumerate() {
            known.mark(id.as_bytes(), source, Mono::from_millis(second as u64));
        }
        let now = Mono::from_millis(ids.len() as u64);
        let left =
            |ids: &[String]| ids.iter().filter(|id| known.standing(id.as_bytes(), source, now).known).count();
        let (old, new) = ids.split_at(ids.len() - SLOTS / 8);
        assert!(left(new) > new.len() * 99 / 100, "{} of {}", left(new), new.len());
        assert!(left(old) < SLOTS);
    }
}
