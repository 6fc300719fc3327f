//! The thread that writes live state, so that the control thread never waits for a disk.

use std::collections::HashMap;
use std::io;

use super::{Batch, Change, StateError, StateStore};
use crate::group::{Item, Queue};
use crate::{Notice, Refused, WriterCounters};

/// Hands changes to a store, in order, in groups. Dropping it writes what is queued, notifies, and ends the
/// thread.
pub struct StateWriter {
    queue: Queue<Vec<Change>>,
}

impl StateWriter {
    /// Starts the thread. `queue` batches may wait; `notify` runs on the thread, in the order in which
    /// batches came, and must not block.
    pub fn spawn(
        mut store: impl StateStore + Send + 'static,
        queue: usize,
        notify: impl FnMut(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let mut owed = Owed::default();
        let queue = Queue::spawn(
            "state",
            queue,
            move |group: &[Item<Vec<Change>>], counters| match write(&mut store, &owed, group) {
                Ok(()) => {
                    owed.0.clear();
                    true
                }
                Err(error) => {
                    counters.failed();
                    tracing::error!(%error, batches = group.len(), "live state could not be written");
                    owed.keep(group);
                    false
                }
            },
            notify,
        )?;
        Ok(Self { queue })
    }

    /// Queues a batch, or refuses at once.
    pub fn submit(&self, batch: Batch) -> Result<(), Refused> {
        self.queue.push(batch.changes, batch.notify)
    }

    /// For metrics.
    pub fn counters(&self) -> WriterCounters {
        self.queue.counters()
    }
}

/// Most changes that are kept for later.
const OWED_MAX: usize = 65_536;

/// The last change of each key that nobody waited for and that could not be written: whoever waited was told, but
/// nobody would ever write these again. They go with the next group.
#[derive(Default)]
struct Owed(HashMap<(&'static str, Vec<u8>), Change>);

impl Owed {
    fn keep(&mut self, group: &[Item<Vec<Change>>]) {
        for change in group.iter().filter(|item| item.notify.is_none()).flat_map(|item| &item.what) {
            let (Change::Put { tree, key, .. } | Change::Remove { tree, key }) = change;
            if self.0.len() < OWED_MAX || self.0.contains_key(&(*tree, key.clone())) {
                self.0.insert((*tree, key.clone()), change.clone());
            }
        }
    }
}

fn write(store: &mut impl StateStore, owed: &Owed, group: &[Item<Vec<Change>>]) -> Result<(), StateError> {
    for change in owed.0.values().chain(group.iter().flat_map(|item| &item.what)) {
        match change {
            Change::Put { tree, key, value } => store.put(tree, key, value)?,
            Change::Remove { tree, key } => store.remove(tree, key)?,
        }
    }
    store.commit()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::state::{MemoryStore, Pair};

    fn put(key: &str, notify: Option<u64>) -> Batch {
        let change = Change::Put { tree: "t", key: key.into(), value: b"v".to_vec() };
        Batch { changes: vec![change], notify }
    }

    /// Reports each commit with what it made durable, and waits to be let on; fails when told to.
    struct Gate {
        store: MemoryStore,
        commits: Sender<Vec<Pair>>,
        results: Receiver<bool>,
    }

    impl StateStore for Gate {
        fn put(&mut self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), StateError> {
            self.store.put(tree, key, value)
        }

        fn remove(&mut self, tree: &str, key: &[u8]) -> Result<(), StateError> {
            self.store.remove(tree, key)
        }

        fn scan(&self, tree: &str, prefix: &[u8]) -> Result<Vec<Pair>, StateError> {
            self.store.scan(tree, prefix)
        }

        fn commit(&mut self) -> Result<(), StateError> {
            self.commits.send(self.store.scan("t", b"")?).unwrap();
            match self.results.recv() {
                Ok(true) => self.store.commit(),
                Ok(false) => {
                    self.store = MemoryStore::default();
                    Err(StateError::Store("nowhere".into(), "told to fail".into()))
                }
                Err(_) => Err(StateError::Store("nowhere".into(), "told to fail".into())),
            }
        }
    }

    struct Rig {
        writer: StateWriter,
        commits: Receiver<Vec<Pair>>,
        results: Sender<bool>,
        notices: Receiver<Notice>,
    }

    fn rig(queue: usize) -> Rig {
        let (commit_sender, commits) = channel();
        let (results, result_receiver) = channel();
        let (notice_sender, notices) = channel();
        let store = Gate { store: MemoryStore::default(), commits: commit_sender, results: result_receiver };
        let notify = move |notice| notice_sender.send(notice).unwrap();
        let writer = StateWriter::spawn(store, queue, notify).unwrap();
        Rig { writer, commits, results, notices }
    }

    #[test]
    fn nobody_is_notified_before_the_commit_and_all_in_order_after_it() {
        let rig = rig(8);
        rig.writer.submit(put("a", Some(7))).unwrap();
        rig.commits.recv().unwrap();
        assert!(rig.notices.try_recv().is_err());
        // These gather while the first commit is under way, and share the next one.
        rig.writer.submit(put("b", Some(8))).unwrap();
        rig.writer.submit(put("c", None)).unwrap();
        rig.writer.submit(put("d", Some(9))).unwrap();
        rig.results.send(true).unwrap();
        assert_eq!(rig.notices.recv().unwrap(), Notice::Persisted { seq: 7 });
        assert_eq!(rig.commits.recv().unwrap().len(), 4);
        rig.results.send(true).unwrap();
        assert_eq!(rig.notices.recv().unwrap(), Notice::Persisted { seq: 8 });
        assert_eq!(rig.notices.recv().unwrap(), Notice::Persisted { seq: 9 });
        let counters = rig.writer.counters();
        assert_eq!((counters.written, counters.groups, counters.queued), (4, 2, 0));
    }

    #[test]
    fn a_failed_commit_is_reported_as_lost_and_the_next_one_is_tried() {
        let rig = rig(8);
        rig.writer.submit(put("a", Some(1))).unwrap();
        rig.results.send(false).unwrap();
        assert_eq!(rig.notices.recv().unwrap(), Notice::Lost { seq: 1 });
        rig.writer.submit(put("b", Some(2))).unwrap();
        rig.results.send(true).unwrap();
        assert_eq!(rig.notices.recv().unwrap(), Notice::Persisted { seq: 2 });
        assert_eq!(rig.writer.counters().failures, 1);
    }

    /// What nobody waits for would be forgotten: it is written with what comes next.
    #[test]
    fn what_nobody_waits_for_is_tried_again() {
        let rig = rig(8);
        rig.writer.submit(put("a", None)).unwrap();
        assert_eq!(rig.commits.recv().unwrap().len(), 1);
        // Nothing of it is there any more, as after a failure of sled.
        rig.results.send(false).unwrap();
        rig.writer.submit(put("b", Some(1))).unwrap();
        assert_eq!(rig.commits.recv().unwrap().len(), 2);
        rig.results.send(true).unwrap();
        assert_eq!(rig.notices.recv().unwrap(), Notice::Persisted { seq: 1 });
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let rig = rig(2);
        rig.writer.submit(put("a", Some(1))).unwrap();
        rig.commits.recv().unwrap();
        rig.writer.submit(put("b", None)).unwrap();
        rig.writer.submit(put("c", None)).unwrap();
        assert_eq!(rig.writer.submit(put("d", None)), Err(Refused::Full));
        assert_eq!((rig.writer.counters().refused, rig.writer.counters().queued), (1, 3));
        rig.results.send(true).unwrap();
        rig.results.send(true).unwrap();
        drop(rig.writer);
    }

    #[test]
    fn closing_writes_what_nobody_waits_for() {
        let rig = rig(8);
        rig.writer.submit(put("a", None)).unwrap();
        rig.results.send(true).unwrap();
        drop(rig.writer);
        assert_eq!(rig.commits.recv().unwrap().len(), 1);
    }
}
