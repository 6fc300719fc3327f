//! Live state that is kept nowhere: for the simulator and for tests. Only what was committed is found
//! again by [`MemoryStore::after_power_cut`], as on a disk.

use std::collections::BTreeMap;

use super::{Pair, StateError, StateStore};

type Trees = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    live: Trees,
    durable: Trees,
    commits: u64,
}

impl MemoryStore {
    /// What a restart would find: the state of the last commit.
    pub fn after_power_cut(&self) -> Self {
        Self { live: self.durable.clone(), durable: self.durable.clone(), commits: 0 }
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.commits
    }
}

impl StateStore for MemoryStore {
    fn put(&mut self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.live.entry(tree.into()).or_default().insert(key.into(), value.into());
        Ok(())
    }

    fn remove(&mut self, tree: &str, key: &[u8]) -> Result<(), StateError> {
        if let Some(tree) = self.live.get_mut(tree) {
            tree.remove(key);
        }
        Ok(())
    }

    fn scan(&self, tree: &str, prefix: &[u8]) -> Result<Vec<Pair>, StateError> {
        let pairs = self.live.get(tree).into_iter().flat_map(|tree| tree.range(prefix.to_vec()..));
        Ok(pairs
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&mut self) -> Result<(), StateError> {
        self.durable = self.live.clone();
        self.commits += 1;
        Ok(())
    }
}
