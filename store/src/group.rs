//! The thread behind both writers: takes what is queued, hands it over in groups, counts.
//!
//! Somebody who waits is served at once, together with whatever else is queued; while one group is on
//! its way to the disk, the next one gathers by itself. What nobody waits for may linger for
//! [`LINGER`], so that a stream of refreshes costs one wait for the disk and not many.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Notice, Refused, WriterCounters};

/// Longest time that something nobody waits for stays in memory.
pub(crate) const LINGER: Duration = Duration::from_millis(5);
/// Most items of one group.
pub(crate) const GROUP_MAX: usize = 512;

/// Something with somebody who may wait for it.
pub(crate) struct Item<T> {
    pub what: T,
    pub notify: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Counters {
    queued: AtomicU64,
    written: AtomicU64,
    groups: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// The sending side of a writer thread; closing it writes what is queued.
pub(crate) struct Queue<T> {
    sender: Option<SyncSender<Item<T>>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. `write` makes a group durable and says whether it did.
    pub fn spawn(
        name: &str,
        length: usize,
        mut write: impl FnMut(&[Item<T>], &Counters) -> bool + Send + 'static,
        mut notify: impl FnMut(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(length);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let mut group = Vec::with_capacity(GROUP_MAX);
            while gather(&receiver, &mut group) {
                let kept = write(&group, &shared);
                let length = group.len() as u64;
                shared.queued.fetch_sub(length, Ordering::Relaxed);
                if kept {
                    shared.written.fetch_add(length, Ordering::Relaxed);
                    shared.groups.fetch_add(1, Ordering::Relaxed);
                }
                for seq in group.drain(..).filter_map(|item| item.notify) {
                    notify(if kept { Notice::Persisted { seq } } else { Notice::Lost { seq } });
                }
            }
        })?;
        Ok(Self { sender: Some(sender), counters, thread: Some(thread) })
    }

    /// Queues one item, or refuses at once.
    pub fn push(&self, what: T, notify: Option<u64>) -> Result<(), Refused> {
        let Some(sender) = &self.sender else { return Err(Refused::Stopped) };
        // Counted before it is sent: the thread may be done with it before `try_send` returns.
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        sender.try_send(Item { what, notify }).map_err(|error| {
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                    Refused::Full
                }
                TrySendError::Disconnected(_) => Refused::Stopped,
            }
        })
    }

    pub fn counters(&self) -> WriterCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterCounters {
            queued: read(&self.counters.queued),
            written: read(&self.counters.written),
            groups: read(&self.counters.groups),
            refused: read(&self.counters.refused),
            failures: read(&self.counters.failures),
        }
    }
}

impl<T> Queue<T> {
    /// Writes what is queued and ends the thread.
    pub fn close(&mut self) {
        self.sender = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a writer thread ended by a panic; what it held is lost");
        }
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for the next group; false when nothing more can come.
fn gather<T>(receiver: &Receiver<Item<T>>, group: &mut Vec<Item<T>>) -> bool {
    let Ok(first) = receiver.recv() else { return false };
    let mut awaited = first.notify.is_some();
    group.push(first);
    let end = lingers_until();
    while group.len() < GROUP_MAX {
        let wait = if awaited { Duration::ZERO } else { remaining(end) };
        match receiver.recv_timeout(wait) {
            Ok(item) => {
                awaited |= item.notify.is_some();
                group.push(item);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    true
}

// The writer thread is a shell: it times its own waiting and nothing that anybody sees.
#[allow(clippy::disallowed_methods)]
fn lingers_until() -> Instant {
    Instant::now() + LINGER
}

#[allow(clippy::disallowed_methods)]
fn remaining(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}
