//! The calls that go on, kept in the live state so that a start after a crash can close their records.
//!
//! ```text
//!  begins, is answered ─▶ Put        record is safe on the disk ─▶ Remove        every few seconds ─▶ alive
//! ```
//!
//! Nobody waits for the disk: the last milliseconds before a power cut may be missing. Before a crash they are not, because
//! what is answered is noted in `notes.rs` before anybody is told. A call is removed only
//! after its record is safe, so what a start finds may have its record already; it looks before it writes one.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dialtone_core::cdr::{Cdr, OpenCall};
use dialtone_core::{CallId, Mono, Now, Wall};
use dialtone_store::{
    Batch, Change, Notice, ReadError, RecordReader, StateError, StateStore, StateWriter, Stream,
};
use serde::Deserialize;

use super::notes::Notes;

const CALLS: &str = "calls";
const ALIVE: &str = "alive";

/// How exactly the end of a call is known that a crash cut off.
const BEAT: Duration = Duration::from_secs(5);
/// Records read at a time when it is looked whether a call has one.
const PAGE: usize = 1000;

/// What the process before this one left behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Records of calls that it did not live to end.
    pub cdrs: Vec<Cdr>,
    /// Calls whose records it had written.
    pub recorded: Vec<CallId>,
}

impl Left {
    /// Reads the live state with what was noted since, and which of the calls in it have a record.
    ///
    /// # Errors
    /// [`StateError`] when the live state cannot be read. Records that cannot be read count as none.
    pub fn find(store: &mut impl StateStore, data: &Path) -> Result<Left, StateError> {
        let noted = Notes::left(data);
        for call in &noted {
            store.put(CALLS, &key(call.call), &serde_json::to_vec(call).unwrap_or_default())?;
        }
        if !noted.is_empty() {
            store.commit()?;
        }
        Notes::forget(data);
        Left::find_in(store, &RecordReader::in_data_dir(data))
    }

    fn find_in(store: &impl StateStore, records: &RecordReader) -> Result<Left, StateError> {
        let mut open: Vec<OpenCall> = Vec::new();
        for (_, value) in store.scan(CALLS, b"")? {
            match serde_json::from_slice(&value) {
                Ok(call) => open.push(call),
                Err(error) => tracing::warn!(%error, "a call that was cut off cannot be read"),
            }
        }
        if open.is_empty() {
            return Ok(Left::default());
        }
        let alive =
            store.scan(ALIVE, b"")?.into_iter().find_map(|(_, value)| serde_json::from_slice(&value).ok());
        let recorded = recorded(&open, records).unwrap_or_else(|error| {
            tracing::warn!(%error, "the records of calls that were cut off cannot be looked for");
            HashSet::new()
        });
        let (done, cut): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| recorded.contains(&open.call));
        if !cut.is_empty() {
            tracing::warn!(
                calls = cut.len(),
                "the last run ended without warning; the records of its calls are closed"
            );
        }
        Ok(Left {
            cdrs: cut.into_iter().map(|open| open.close(alive.unwrap_or(Wall::default()))).collect(),
            recorded: done.into_iter().map(|open| open.call).collect(),
        })
    }
}

/// Of a record, what it takes to know whose it is.
#[derive(Deserialize)]
struct Whose {
    call: CallId,
    ended: String,
}

/// Which of these calls have a record. Records stand in the order in which calls ended, so older ones than
/// the first of these calls need not be read.
fn recorded(open: &[OpenCall], records: &RecordReader) -> Result<HashSet<CallId>, ReadError> {
    let wanted: HashSet<CallId> = open.iter().map(|open| open.call).collect();
    let first = open.iter().map(|open| open.started).min().unwrap_or_default().to_string();
    let (mut found, mut cursor) = (HashSet::new(), None);
    loop {
        let page = records.page::<Whose>(Stream::Cdr, PAGE, cursor)?;
        let older = page.records.last().is_none_or(|last| last.ended < first);
        found.extend(page.records.into_iter().map(|whose| whose.call).filter(|call| wanted.contains(call)));
        cursor = page.next;
        if older || cursor.is_none() || found.len() == wanted.len() {
            return Ok(found);
        }
    }
}

/// The keeper's side.
pub(super) struct Journal {
    state: Arc<StateWriter>,
    /// The number of the last record that is safe.
    safe: Arc<AtomicU64>,
    /// Records that were handed over and are not known to be safe: as many as the records' queue takes.
    written: VecDeque<(u64, CallId)>,
    next: u64,
    /// Removals that found no room.
    removals: Vec<CallId>,
    last_beat: Option<Mono>,
    notes: Notes,
}

impl Journal {
    /// Writes to `state` and `notes`; learns from `safe`, see [`Journal::notice`].
    pub fn new(state: Arc<StateWriter>, safe: Arc<AtomicU64>, notes: Notes) -> Self {
        let (written, removals) = (VecDeque::new(), Vec::new());
        Journal { state, safe, written, next: 1, removals, last_beat: None, notes }
    }

    /// Takes what the records say of a line, on their thread.
    pub fn notice(safe: &AtomicU64, notice: Notice) {
        match notice {
            Notice::Persisted { seq } => safe.store(seq, Ordering::Release),
            // Its call stays in the journal, and gets its record at the next start.
            Notice::Lost { .. } => {}
        }
    }

    /// A call has begun, or has been answered.
    pub fn open(&mut self, now: Mono, call: &OpenCall) {
        // A call is plain data: this cannot fail.
        let value = serde_json::to_vec(call).unwrap_or_default();
        if call.answered.is_some() {
            self.notes.note(now, &value);
        }
        let change = Change::Put { tree: CALLS, key: key(call.call), value };
        if let Err(error) = self.state.submit(Batch { changes: vec![change], notify: None }) {
            tracing::debug!(%error, call = %call.call, "a call that goes on was not noted");
        }
    }

    /// The number under which the next record is to be written.
    pub fn number(&self) -> u64 {
        self.next
    }

    /// The record of this call was handed over under that number.
    pub fn handed_over(&mut self, call: CallId) {
        self.written.push_back((self.next, call));
        self.next += 1;
    }

    /// This call needs no record any more.
    pub fn forget(&mut self, call: CallId) {
        self.removals.push(call);
    }

    /// Removes the calls whose records are safe, and notes that the process lives while there are calls.
    pub fn look(&mut self, now: Now, open: usize) {
        self.notes.look(now.mono);
        let safe = self.safe.load(Ordering::Acquire);
        while let Some((_, call)) = self.written.pop_front_if(|(number, _)| *number <= safe) {
            self.removals.push(call);
        }
        let mut changes: Vec<Change> =
            self.removals.iter().map(|call| Change::Remove { tree: CALLS, key: key(*call) }).collect();
        if open > 0 && self.last_beat.is_none_or(|last| now.mono.since(last) >= BEAT) {
            self.last_beat = Some(now.mono);
            let value = serde_json::to_vec(&now.wall).unwrap_or_default();
            changes.push(Change::Put { tree: ALIVE, key: b"at".to_vec(), value });
        }
        if !changes.is_empty() && self.state.submit(Batch { changes, notify: None }).is_ok() {
            self.removals.clear();
        }
    }
}

fn key(call: CallId) -> Vec<u8> {
    call.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use dialtone_core::{IdSource, NodeId, Party};
    use dialtone_store::{MemoryStore, RecordSettings, Records};

    use super::*;

    fn call(ids: &mut IdSource) -> OpenCall {
        let call = ids.call();
        OpenCall {
            call,
            conversation: call.into(),
            from: Party { number: "1001".into(), name: String::new(), private: false },
            dialed: "1002".into(),
            answered_by: None,
            started: Wall::from_micros(10_000_000),
            answered: None,
            legs: Vec::new(),
            transfers: Vec::new(),
        }
    }

    #[test]
    fn a_call_with_a_record_gets_no_second_one() {
        let folder = std::env::temp_dir().join(format!("dialtone-journal-{}", std::process::id()));
        let records = Records::open(RecordSettings::in_folder(&folder), |_| {}).unwrap();
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (recorded, cut) = (call(&mut ids), call(&mut ids));
        records.append(Stream::Cdr, &recorded.clone().close(Wall::from_micros(12_000_000)), None).unwrap();
        // What ended since then, and is nobody's here.
        for _ in 0..2 * PAGE {
            records.append(Stream::Cdr, &call(&mut ids).close(Wall::from_micros(13_000_000)), None).unwrap();
        }
        records.close();
        let mut store = MemoryStore::default();
        for open in [&recorded, &cut] {
            store.put(CALLS, &key(open.call), &serde_json::to_vec(open).unwrap()).unwrap();
        }
        store.put(CALLS, b"broken", b"{").unwrap();
        store.put(ALIVE, b"at", &serde_json::to_vec(&Wall::from_micros(15_000_000)).unwrap()).unwrap();
        store.commit().unwrap();
        let left = Left::find_in(&store, &RecordReader::new(&folder)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left.recorded, [recorded.call]);
        assert_eq!(left.cdrs, [cut.close(Wall::from_micros(15_000_000))]);
    }
}
