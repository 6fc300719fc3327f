//! Live state: what a restart should find again. Keys and values are bytes; trees keep kinds apart.

mod memory;
mod sled;
#[cfg(test)]
pub(crate) mod testing;
mod writer;

pub use memory::MemoryStore;
pub use sled::{Opened, SledStore};
pub use writer::StateWriter;

use std::io;
use std::path::PathBuf;

/// Live state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it open.
    #[error("the live state in {0} is in use by another process")]
    InUse(PathBuf),
    /// The disk or its permissions.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The store itself failed.
    #[error("the live state in {0} failed: {1}")]
    Store(PathBuf, String),
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Where live state is kept. As narrow as it can be, because another store will stand here when there are
/// many machines.
pub trait StateStore {
    /// Sets a key of a tree.
    fn put(&mut self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), StateError>;

    /// Removes a key of a tree; one that is not there is no error.
    fn remove(&mut self, tree: &str, key: &[u8]) -> Result<(), StateError>;

    /// Every pair of a tree whose key begins with `prefix`, by rising key.
    fn scan(&self, tree: &str, prefix: &[u8]) -> Result<Vec<Pair>, StateError>;

    /// Makes everything before it survive a power cut.
    fn commit(&mut self) -> Result<(), StateError>;
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set a key.
    Put {
        /// In which tree.
        tree: &'static str,
        /// Which key.
        key: Vec<u8>,
        /// To what.
        value: Vec<u8>,
    },
    /// Remove a key.
    Remove {
        /// From which tree.
        tree: &'static str,
        /// Which key.
        key: Vec<u8>,
    },
}

/// Changes that belong together, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
    /// The number to report when they are durable; `None` when nobody waits.
    pub notify: Option<u64>,
}
