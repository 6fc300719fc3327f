//! A bounded map that forgets what was written longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most `limit` entries, ordered by last write.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    by_write: BTreeMap<u64, K>,
    next_write: u64,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// Empty.
    pub(crate) fn new(limit: usize) -> Self {
        Recent { entries: HashMap::new(), by_write: BTreeMap::new(), next_write: 0, limit: limit.max(1) }
    }

    /// The value, not counted as a write.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The value for writing, not counted as a write.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// The value for writing, made when missing. Tells whether another had to be forgotten for it.
    pub(crate) fn write(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let write = self.next_write;
        self.next_write += 1;
        let evicted = match self.entries.get(key) {
            Some((last, _)) => {
                self.by_write.remove(last);
                false
            }
            None => self.entries.len() >= self.limit && self.forget_oldest(),
        };
        self.by_write.insert(write, key.clone());
        let entry = self.entries.entry(key.clone()).or_insert_with(|| (write, make()));
        entry.0 = write;
        (&mut entry.1, evicted)
    }

    /// Forgets an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((write, _)) = self.entries.remove(key) {
            self.by_write.remove(&write);
        }
    }

    /// Entries now.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_oldest(&mut self) -> bool {
        self.by_write.pop_first().is_some_and(|(_, key)| self.entries.remove(&key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unwritten_is_forgotten() {
        let mut recent = Recent::new(2);
        assert!(!recent.write(&1, || 'a').1);
        assert!(!recent.write(&2, || 'b').1);
        let (value, evicted) = recent.write(&1, || 'x');
        assert_eq!((*value, evicted), ('a', false));
        recent.remove(&9);
        assert!(recent.write(&3, || 'c').1);
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (Some(&'a'), None, Some(&'c')));
        assert_eq!((recent.len(), recent.by_write.len()), (2, 2));
        recent.remove(&1);
        assert_eq!((recent.len(), recent.by_write.len()), (1, 1));
    }
}
