//! Records as lines of JSON, in numbered files that are only ever appended to:
//! `records/cdr-000001.jsonl`, `records/trace-000001.jsonl`, …
//!
//! One thread writes. A line that was reported as [`Notice::Persisted`](crate::Notice::Persisted) is complete and synced; a line
//! that a crash tore is cut off at the next start, and nobody was ever told about it. When the disk fails,
//! the thread keeps what it holds and tries again, the queue fills, and whoever appends is refused: so
//! new calls can be turned away before the record of one is lost.
//!
//! Reading needs no server and no lock: [`RecordReader`] follows the files, newest line first.

mod backward;
mod file;
mod reader;
mod writer;

pub use reader::{Cursor, Page, ReadError, RecordReader};
pub use writer::Records;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A kind of record, with files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Call records: one per call, never removed.
    Cdr,
    /// Traces of calls; old ones make room.
    Trace,
}

impl Stream {
    /// Every kind.
    pub const ALL: [Stream; 2] = [Stream::Cdr, Stream::Trace];

    /// The beginning of its files' names.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Cdr => "cdr",
            Stream::Trace => "trace",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line of [`Stream::Trace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// The call.
    pub call: String,
    /// Its ladder, ready to print.
    pub ladder: String,
    /// Its SIP messages, ready to print.
    #[serde(default)]
    pub messages: String,
}

/// How records are written.
#[derive(Clone, Debug)]
pub struct RecordSettings {
    /// The folder; made when missing.
    pub folder: PathBuf,
    /// Lines that may wait.
    pub queue: usize,
    /// A file of call records is closed at this size, bytes.
    pub cdr_file_bytes: u64,
    /// A file of traces is closed at this size, bytes.
    pub trace_file_bytes: u64,
    /// Closed files of traces kept; 0 keeps all.
    pub trace_files: u32,
    /// How long the thread waits after the disk failed before it tries again.
    pub retry: Duration,
}

impl RecordSettings {
    /// Settings for the folder of a data directory, with room for testing things out.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            queue: 8192,
            cdr_file_bytes: 64 << 20,
            trace_file_bytes: 64 << 20,
            trace_files: 16,
            retry: Duration::from_secs(1),
        }
    }

    fn file_bytes(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Cdr => self.cdr_file_bytes,
            Stream::Trace => self.trace_file_bytes,
        }
    }

    /// How many closed files stay; `None` for all.
    fn closed_files(&self, stream: Stream) -> Option<usize> {
        match stream {
            Stream::Cdr => None,
            Stream::Trace => (self.trace_files > 0).then_some(self.trace_files as usize),
        }
    }
}

fn file_name(folder: &Path, stream: Stream, number: u32) -> PathBuf {
    folder.join(format!("{stream}-{number:06}.jsonl"))
}

/// The numbers of a stream's files, rising.
fn file_numbers(folder: &Path, stream: Stream) -> std::io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_prefix(stream.name())?.strip_prefix('-')?.strip_suffix(".jsonl"))
            .and_then(|number| number.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}
