//! Requests that were refused because there was no room: without a transaction, and yet each repetition is refused as
//! well (RFC 3261 §8.2.7). Otherwise phones would ring for a caller who has been told that they do not.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use dialtone_core::Mono;

use super::key::Lookup;

/// Requests that are remembered; one takes the place of another.
const REMEMBERED: usize = 1024;

/// See the module.
pub(crate) struct Refusals {
    /// What stands for a request, and until when it may be repeated.
    table: Vec<Option<(u64, Mono)>>,
    count: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { table: vec![None; REMEMBERED], count: 0 }
    }
}

fn hash(key: &Lookup) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % REMEMBERED as u64).unwrap_or_default()
}

impl Refusals {
    /// How often, since the start.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A request is refused; it may be repeated for `patience` from the first time.
    pub fn add(&mut self, now: Mono, key: &Lookup, patience: Duration) {
        self.count += 1;
        if !self.has(now, key) {
            let hash = hash(key);
            self.table[place(hash)] = Some((hash, now + patience));
        }
    }

    /// Whether a request repeats one that was refused.
    pub fn has(&self, now: Mono, key: &Lookup) -> bool {
        let hash = hash(key);
        self.table[place(hash)].is_some_and(|(known, until)| known == hash && now < until)
    }
}
