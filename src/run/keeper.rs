//! The record keeper: one thread that folds the event stream into CDRs, traces and the view.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dialtone_api::{CallText, View};
use dialtone_core::cdr::{Cdr, CdrFold};
use dialtone_core::{CallId, Event};
use dialtone_store::{RecordReader, Records, Refused, Stream, TraceRecord};

use super::metrics::Writers;
use crate::clock::ProcessClock;
use crate::ladder::{draw, messages};
use crate::recorder::{CallTrace, Recorder};
use crate::switch::Traced;

/// What the control thread hands over.
pub(super) enum Kept {
    Event(Box<Event>),
    Trace(Box<Traced>),
}

/// The traces of calls that are up or have just ended, and behind them the records.
#[derive(Clone)]
pub(super) struct LiveTraces {
    recorder: Arc<Mutex<Recorder>>,
    records: RecordReader,
}

impl LiveTraces {
    pub fn new(records: RecordReader) -> Self {
        LiveTraces { recorder: Arc::default(), records }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Recorder) -> T) -> T {
        what(&mut self.recorder.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl dialtone_api::Traces for LiveTraces {
    async fn trace(&self, call: CallId) -> Option<CallText> {
        if let Some(trace) = self.with(|recorder| recorder.trace(call)) {
            return Some(CallText { ladder: picture(&trace), messages: messages(&trace.rungs) });
        }
        let records = self.records.clone();
        let name = call.to_string();
        let found = tokio::task::spawn_blocking(move || {
            records.find(Stream::Trace, |record: &TraceRecord| record.call == name)
        });
        let record = found.await.ok()?.ok()??;
        Some(CallText { ladder: record.ladder, messages: record.messages })
    }
}

fn picture(trace: &CallTrace) -> String {
    let mut text = format!("call {}  {}\n\n{}", trace.call, trace.started, draw(&trace.rungs));
    if trace.left_out > 0 {
        text.push_str(&format!("\n{} more lines did not fit\n", trace.left_out));
    }
    text
}

/// See the module.
pub(super) struct Keeper {
    pub received: Receiver<Kept>,
    pub records: Records,
    pub view: Arc<View>,
    pub live: LiveTraces,
    /// Set while CDRs wait for room: new calls are refused meanwhile.
    pub congested: Arc<AtomicBool>,
    pub clock: ProcessClock,
    pub writers: Arc<Writers>,
}

/// How often finished traces are put away, and refused records tried again.
const LOOK: Duration = Duration::from_millis(200);
/// Inputs between two looks when they come without a pause.
const LOOK_EVERY: usize = 512;

impl Keeper {
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || super::or_die("keeper", || self.run()))
    }

    fn run(self) {
        let mut cdrs = CdrFold::default();
        let mut waiting: VecDeque<Cdr> = VecDeque::new();
        let mut since_look = 0;
        loop {
            match self.received.recv_timeout(LOOK) {
                Ok(Kept::Event(event)) => {
                    self.view.apply(&event);
                    self.live.with(|recorder| recorder.event(&event));
                    waiting.extend(cdrs.apply(&event));
                }
                Ok(Kept::Trace(traced)) => self.live.with(|recorder| recorder.message(*traced)),
                Err(RecvTimeoutError::Timeout) => since_look = LOOK_EVERY,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.write(&mut waiting);
            since_look += 1;
            if since_look >= LOOK_EVERY {
                since_look = 0;
                self.put_away(self.clock.now().mono);
            }
        }
        self.put_away(dialtone_core::Mono::from_nanos(u64::MAX));
        while !waiting.is_empty() {
            self.write(&mut waiting);
            std::thread::yield_now();
        }
        self.records.close();
    }

    /// CDRs are never lost: what finds no room waits, and no new calls are taken until it has found some.
    fn write(&self, waiting: &mut VecDeque<Cdr>) {
        while let Some(cdr) = waiting.front() {
            match self.records.append(Stream::Cdr, cdr, None) {
                Ok(()) => {
                    waiting.pop_front();
                }
                Err(Refused::Full) => break,
                Err(error @ (Refused::Stopped | Refused::NotJson)) => {
                    tracing::error!(%error, call = %cdr.call, "a call record could not be written");
                    waiting.pop_front();
                }
            }
        }
        let behind = !waiting.is_empty();
        if self.congested.swap(behind, Ordering::Relaxed) != behind {
            tracing::warn!(behind, "call records wait for the disk; new calls are refused while they do");
        }
    }

    fn put_away(&self, now: dialtone_core::Mono) {
        *self.writers.records.lock().unwrap_or_else(PoisonError::into_inner) = self.records.counters();
        for trace in self.live.with(|recorder| recorder.complete(now)) {
            let record = TraceRecord {
                call: trace.call.to_string(),
                ladder: picture(&trace),
                messages: messages(&trace.rungs),
            };
            // A trace that finds no room is lost: it explains a call, it does not prove it.
            if let Err(error) = self.records.append(Stream::Trace, &record, None) {
                tracing::debug!(%error, call = %trace.call, "a trace was not kept");
            }
        }
    }
}
