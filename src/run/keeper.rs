//! The record keeper: one thread that folds the event stream into CDRs, traces, the view and the journal of calls
//! that go on.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dialtone_api::{CallText, View};
use dialtone_core::cdr::{Cdr, CdrFold};
use dialtone_core::event::Fact;
use dialtone_core::{CallId, Event, Mono};
use dialtone_signaling::transport::TransportHandle;
use dialtone_signaling::wire::Transmit;
use dialtone_store::{RecordReader, Records, Refused, Stream, TraceRecord};

use super::held::Released;
use super::journal::{Journal, Left};
use super::metrics::Writers;
use super::waiting::Waiting;
use crate::clock::ProcessClock;
use crate::ladder::{draw, messages};
use crate::recorder::{CallTrace, Recorder};
use crate::switch::Traced;

/// What the control thread hands over.
pub(super) enum Kept {
    Event(Box<Event>),
    Trace(Box<Traced>),
    /// To be sent when all before it is noted.
    Send(Box<Transmit>),
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
    pub waiting: Arc<Waiting>,
    pub records: Records,
    pub journal: Journal,
    pub transport: TransportHandle,
    pub released: Released,
    /// What the last run did not live to do.
    pub left: Left,
    pub view: Arc<View>,
    pub live: LiveTraces,
    /// Set while CDRs wait for room: new calls are refused meanwhile.
    pub congested: Arc<AtomicBool>,
    pub clock: ProcessClock,
    pub writers: Arc<Writers>,
}

/// How often finished traces are put away, and refused records tried again.
const LOOK: Duration = Duration::from_millis(200);

impl Keeper {
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || super::or_die("keeper", || self.run()))
    }

    fn run(mut self) {
        let mut cdrs = CdrFold::default();
        let left = std::mem::take(&mut self.left);
        left.recorded.into_iter().for_each(|call| self.journal.forget(call));
        let mut waiting = VecDeque::from(left.cdrs);
        let mut next_look = Mono::ZERO;
        loop {
            let received = self.received.recv_timeout(LOOK);
            if received.is_ok() {
                self.waiting.taken();
            }
            match received {
                Ok(Kept::Event(event)) => {
                    self.view.apply(&event);
                    self.live.with(|recorder| recorder.event(&event));
                    waiting.extend(cdrs.apply(&event));
                    if let Fact::CallStarted { call, .. } | Fact::CallAnswered { call, .. } = &event.fact
                        && let Some(open) = cdrs.open_call(*call)
                    {
                        self.journal.open(event.at.mono, &open);
                    }
                }
                Ok(Kept::Send(transmit)) => {
                    self.transport.send(*transmit);
                    self.released.one();
                }
                Ok(Kept::Trace(traced)) => self.live.with(|recorder| recorder.message(*traced)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.write(&mut waiting);
            let now = self.clock.now();
            if now.mono >= next_look {
                next_look = now.mono + LOOK;
                self.put_away(now.mono);
                self.journal.look(now, cdrs.open());
            }
        }
        self.put_away(Mono::from_nanos(u64::MAX));
        while !waiting.is_empty() {
            self.write(&mut waiting);
            std::thread::yield_now();
        }
        self.records.close();
        self.journal.look(self.clock.now(), 0);
    }

    /// CDRs are never lost: what finds no room waits, and no new calls are taken until it has found some.
    fn write(&mut self, waiting: &mut VecDeque<Cdr>) {
        while let Some(cdr) = waiting.front() {
            match self.records.append(Stream::Cdr, cdr, Some(self.journal.number())) {
                Ok(()) => {
                    self.journal.handed_over(cdr.call);
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

    fn put_away(&self, now: Mono) {
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
