//! Which nonce counts have been used (RFC 7616 §3.4, `nc`): a replayed request is refused, requests that
//! overtook each other are not.
//!
//! Per nonce, the highest count and a bit for each of the 64 counts up to it, as in the replay window of
//! IPsec. The control thread asks after the transaction layer has absorbed retransmissions, which carry
//! the same count legitimately.

use std::collections::BTreeMap;
use std::time::Duration;

use dialtone_core::Mono;

use super::nonce::{NONCE_LIFETIME, NonceId};

/// Nonces remembered. At 300 s of life this bears 436 fresh nonces a second before the oldest go early.
pub const NONCE_WINDOW_LIMIT: usize = 131_072;

/// What a [`NonceWindow`] has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonceWindowCounts {
    /// Counts accepted.
    pub accepted: u64,
    /// Counts refused as used or too old.
    pub replayed: u64,
    /// Nonces forgotten because the table was full.
    pub evicted: u64,
}

/// The bounded table of nonces in use.
#[derive(Debug)]
pub struct NonceWindow {
    // In order of issue, so that the first is the one with the least life left.
    nonces: BTreeMap<NonceId, Seen>,
    limit: usize,
    lifetime: Duration,
    forgotten: Option<Forgotten>,
    counts: NonceWindowCounts,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    highest: u32,
    /// Bit n: count `highest - n` was used.
    used: u64,
}

/// Nonces issued up to `id` may have been evicted with counts used, so an unknown one of them is refused
/// until all of them have expired.
#[derive(Clone, Copy, Debug)]
struct Forgotten {
    id: NonceId,
    until: Mono,
}

impl Default for NonceWindow {
    fn default() -> Self {
        NonceWindow::new(NONCE_WINDOW_LIMIT)
    }
}

impl NonceWindow {
    /// An empty table of at most `limit` nonces.
    pub fn new(limit: usize) -> NonceWindow {
        NonceWindow {
            nonces: BTreeMap::new(),
            limit: limit.max(1),
            lifetime: NONCE_LIFETIME,
            forgotten: None,
            counts: NonceWindowCounts::default(),
        }
    }

    /// The same for nonces that live for so long.
    pub fn with_lifetime(self, lifetime: Duration) -> NonceWindow {
        NonceWindow { lifetime, ..self }
    }

    /// True once for each pair of nonce and count; the nonce must have come as
    /// [`Credentials::Good`](crate::wire::Credentials::Good). False asks for a challenge with stale=true.
    pub fn accept(&mut self, nonce: &str, nonce_count: u32, now: Mono) -> bool {
        let accepted = NonceId::of(nonce).is_some_and(|id| self.accept_id(id, nonce_count, now));
        match accepted {
            true => self.counts.accepted += 1,
            false => self.counts.replayed += 1,
        }
        accepted
    }

    /// What it has counted.
    pub fn counts(&self) -> NonceWindowCounts {
        self.counts
    }

    /// Nonces remembered now.
    pub fn len(&self) -> usize {
        self.nonces.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.nonces.is_empty()
    }

    fn accept_id(&mut self, id: NonceId, nonce_count: u32, now: Mono) -> bool {
        if nonce_count == 0 {
            // RFC 7616 §3.4: the first request carries nc=00000001.
            return false;
        }
        if let Some(seen) = self.nonces.get_mut(&id) {
            return seen.accept(nonce_count);
        }
        if self.forgotten.is_some_and(|forgotten| id <= forgotten.id && now < forgotten.until) {
            return false;
        }
        self.nonces.insert(id, Seen { highest: nonce_count, used: 1 });
        if self.nonces.len() > self.limit {
            self.evict(now);
        }
        true
    }

    fn evict(&mut self, now: Mono) {
        if let Some((id, _)) = self.nonces.pop_first() {
            let id = self.forgotten.map_or(id, |forgotten| forgotten.id.max(id));
            self.forgotten = Some(Forgotten { id, until: now + self.lifetime });
            self.counts.evicted += 1;
        }
    }
}

impl Seen {
    fn accept(&mut self, nonce_count: u32) -> bool {
        if nonce_count > self.highest {
            let ahead = nonce_count - self.highest;
            self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = nonce_count;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - nonce_count).unwrap_or(0);
        let fresh = bit != 0 && self.used & bit == 0;
        self.used |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use dialtone_core::Wall;
    use proptest::prelude::*;

    use super::*;
    use crate::auth::NonceKey;

    fn nonce(at_s: i64) -> String {
        let key = NonceKey::new([1; 32]);
        key.issue([192, 0, 2, 1].into(), "pbx", Wall::from_micros(at_s * 1_000_000), 0)
    }

    #[test]
    fn each_count_is_accepted_once() {
        let mut window = NonceWindow::default();
        let steps = [
            (1, true),
            (1, false),
            (2, true),
            (5, true),
            (4, true),
            (4, false),
            (3, true),
            (0, false),
            (70, true),
            (7, true),
            (6, false), // Outside of the window of 64: it cannot be told whether it was used.
            (u32::MAX, true),
            (70, false),
            (u32::MAX, false),
        ];
        let nonce = nonce(1);
        for (count, accepted) in steps {
            assert_eq!(window.accept(&nonce, count, Mono::ZERO), accepted, "{count}");
        }
        assert_eq!(window.counts(), NonceWindowCounts { accepted: 8, replayed: 6, evicted: 0 });
        assert!(!window.accept("not one of ours", 1, Mono::ZERO));
    }

    #[test]
    fn an_evicted_nonce_cannot_be_replayed() {
        let mut window = NonceWindow::new(2);
        for second in 1..=3 {
            assert!(window.accept(&nonce(second), 1, Mono::ZERO));
        }
        assert_eq!((window.len(), window.counts().evicted), (2, 1));
        assert!(!window.accept(&nonce(1), 1, Mono::ZERO), "evicted, and not to be told from unused");
        assert!(!window.accept(&nonce(2), 1, Mono::ZERO), "remembered as used");
        assert!(window.accept(&nonce(4), 1, Mono::ZERO), "later than anything evicted");
        // When everything evicted has expired, the transport refuses it as stale, and we need not.
        assert!(window.accept(&nonce(1), 1, Mono::ZERO + NONCE_LIFETIME));
    }

    proptest! {
        #[test]
        fn never_twice(counts in proptest::collection::vec(1u32..200, 1..300)) {
            let mut window = NonceWindow::default();
            let mut accepted = HashSet::new();
            let nonce = nonce(1);
            for count in counts {
                if window.accept(&nonce, count, Mono::ZERO) {
                    prop_assert!(accepted.insert(count));
                }
            }
        }
    }
}
