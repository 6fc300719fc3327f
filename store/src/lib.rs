//! Keeps things: live state in sled, records as lines of JSON, and the folder that holds both.
//!
//! - [`DataDir`] owns the data directory: one process at a time, one boot number per start.
//! - [`state`] is for what can be rebuilt but should not have to be: registrations. Behind the narrow
//!   trait [`StateStore`], written by one thread in groups.
//! - [`records`] is for what must never be lost: call records, and the traces of calls beside them.
//!
//! Nothing here decides anything: what is kept, and what waits for it, is the caller's to say. Nothing is
//! reported as kept before the disk has it, and every queue is bounded and says when it is full.

mod data_dir;
mod group;
pub mod records;
pub mod state;

pub use data_dir::{DataDir, DataDirError};
pub use records::{Cursor, Page, ReadError, RecordReader, RecordSettings, Records, Stream, TraceRecord};
pub use state::{Batch, Change, MemoryStore, SledStore, StateError, StateStore, StateWriter};

use serde::{Deserialize, Serialize};

/// What became of something that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// It survives a power cut from now on.
    Persisted {
        /// The number under which it was handed in.
        seq: u64,
    },
    /// It could not be written. Whoever waits must not be told that it was.
    Lost {
        /// The number under which it was handed in.
        seq: u64,
    },
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full: the disk does not keep up, or fails.
    #[error("the queue of things to write is full")]
    Full,
    /// The writer has been closed.
    #[error("the writer has stopped")]
    Stopped,
    /// The record has no form in JSON.
    #[error("the record cannot be written as JSON")]
    NotJson,
}

/// Counters of one writer, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterCounters {
    /// Waiting now.
    pub queued: u64,
    /// Written and safe, since start.
    pub written: u64,
    /// Groups written, since start: each is one wait for the disk.
    pub groups: u64,
    /// Refused because the queue was full, since start.
    pub refused: u64,
    /// Attempts to write that failed, since start.
    pub failures: u64,
}
