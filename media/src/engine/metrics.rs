//! What the engine counts, readable from any thread while it runs.
//!
//! Each worker writes its own cells once per turn with plain stores; nobody adds to a shared one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::events::PENDING_MAX;
use crate::counters::{Counters, DropReason};

/// How a value behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One value, with what Prometheus needs to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// With the unit last.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// The `worker` label; `None` for the reserve, which serves all of them.
    pub worker: Option<u16>,
    /// The `reason` label.
    pub reason: Option<&'static str>,
    /// The value now.
    pub value: u64,
}

/// One worker's cells. Aligned so that two workers never write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    packets_in: AtomicU64,
    bytes_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_out: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    ticks: AtomicU64,
    late_ticks: AtomicU64,
    skipped_ticks: AtomicU64,
    feeds_without_format: AtomicU64,
    prompts_unknown: AtomicU64,
    commands_ignored: AtomicU64,
    latches: AtomicU64,
    silences: AtomicU64,
    ports_reserved: AtomicU64,
    ports_in_use: AtomicU64,
    events_pending: AtomicU64,
    events_dropped: AtomicU64,
    turns: AtomicU64,
    faults: AtomicU64,
    /// Written by whoever sends commands and by the worker: not on the path of a packet.
    pub(super) commands_queued: AtomicU64,
}

/// What a worker knows beside its counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    pub reserved: usize,
    pub in_use: usize,
    pub events_pending: usize,
    pub events_dropped: u64,
    pub turns: u64,
    pub faults: u64,
}

impl WorkerMetrics {
    pub(super) fn publish(&self, counters: &Counters, gauges: Gauges) {
        let set = |cell: &AtomicU64, value: u64| cell.store(value, Ordering::Relaxed);
        set(&self.packets_in, counters.packets_in);
        set(&self.bytes_in, counters.bytes_in);
        set(&self.packets_out, counters.packets_out);
        set(&self.bytes_out, counters.bytes_out);
        for (cell, value) in self.dropped.iter().zip(counters.dropped) {
            set(cell, value);
        }
        set(&self.ticks, counters.ticks);
        set(&self.late_ticks, counters.late_ticks);
        set(&self.skipped_ticks, counters.skipped_ticks);
        set(&self.feeds_without_format, counters.feeds_without_format);
        set(&self.prompts_unknown, counters.prompts_unknown);
        set(&self.commands_ignored, counters.commands_ignored);
        set(&self.latches, counters.latches);
        set(&self.silences, counters.silences);
        set(&self.ports_reserved, gauges.reserved as u64);
        set(&self.ports_in_use, gauges.in_use as u64);
        set(&self.events_pending, gauges.events_pending as u64);
        set(&self.events_dropped, gauges.events_dropped);
        set(&self.turns, gauges.turns);
        set(&self.faults, gauges.faults);
    }

    /// Packets that were not used or not sent for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }
}

/// The reserve's cells.
#[derive(Debug, Default)]
pub struct ReserveMetrics {
    pub(super) bound: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) exhausted: AtomicU64,
    pub(super) bind_failures: AtomicU64,
}

/// What waits in one queue now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The queue: `media_commands`, on their way to a worker, or `media_events`, on their way out of it.
    pub queue: &'static str,
    /// The worker.
    pub worker: u16,
    /// What waits.
    pub depth: u64,
    /// What may wait before the other side has to.
    pub bound: u64,
}

/// Every cell of an engine.
#[derive(Debug)]
pub struct EngineMetrics {
    workers: Box<[WorkerMetrics]>,
    /// Commands that may wait for a worker.
    commands_max: usize,
    pub(super) reserve: ReserveMetrics,
}

impl EngineMetrics {
    pub(super) fn new(workers: u16, commands_max: usize) -> Self {
        let workers = (0..workers).map(|_| WorkerMetrics::default()).collect();
        Self { workers, commands_max, reserve: ReserveMetrics::default() }
    }

    /// What waits for the workers, and in them, queue by queue.
    pub fn queues(&self) -> impl Iterator<Item = QueueDepth> {
        let of = |queue, bound: usize, cell: fn(&WorkerMetrics) -> &AtomicU64| {
            (0u16..).zip(&self.workers).map(move |(worker, cells)| QueueDepth {
                queue,
                worker,
                depth: cell(cells).load(Ordering::Relaxed),
                bound: bound as u64,
            })
        };
        let commands = of("media_commands", self.commands_max, |cells| &cells.commands_queued);
        commands.chain(of("media_events", PENDING_MAX, |cells| &cells.events_pending))
    }

    pub(super) fn worker(&self, number: u16) -> &WorkerMetrics {
        &self.workers[usize::from(number)]
    }

    /// Shows every value. Those of one name follow each other, as Prometheus wants them.
    pub fn visit(&self, mut visit: impl FnMut(Metric)) {
        let numbered = || (0u16..).zip(&self.workers);
        for (name, help, kind, cell) in OF_WORKER {
            for (number, worker) in numbered() {
                let value = cell(worker).load(Ordering::Relaxed);
                visit(Metric { name, help, kind: *kind, worker: Some(number), reason: None, value });
            }
        }
        for (number, worker) in numbered() {
            for reason in DropReason::ALL {
                visit(Metric {
                    name: "dialtone_media_dropped_total",
                    help: "Datagrams that were not used or not sent.",
                    kind: MetricKind::Counter,
                    worker: Some(number),
                    reason: Some(reason.name()),
                    value: worker.dropped(reason),
                });
            }
        }
        for (name, help, kind, cell) in OF_RESERVE {
            let value = cell(&self.reserve).load(Ordering::Relaxed);
            visit(Metric { name, help, kind: *kind, worker: None, reason: None, value });
        }
    }

    /// The sum of a metric over workers and reasons; 0 for an unknown name.
    pub fn total(&self, name: &str) -> u64 {
        let mut total = 0;
        self.visit(|metric| total += if metric.name == name { metric.value } else { 0 });
        total
    }

    /// Packets that were not used or not sent for this reason, over all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|worker| worker.dropped(reason)).sum()
    }
}

/// Name, help, kind, and where the value lies.
type Row<T> = (&'static str, &'static str, MetricKind, fn(&T) -> &AtomicU64);

const OF_WORKER: &[Row<WorkerMetrics>] = {
    use MetricKind::{Counter, Gauge};
    &[
        ("dialtone_media_packets_in_total", "Datagrams received.", Counter, |w| &w.packets_in),
        ("dialtone_media_bytes_in_total", "Bytes received, without IP and UDP.", Counter, |w| &w.bytes_in),
        ("dialtone_media_packets_out_total", "Datagrams sent.", Counter, |w| &w.packets_out),
        ("dialtone_media_bytes_out_total", "Bytes sent, without IP and UDP.", Counter, |w| &w.bytes_out),
        ("dialtone_media_ticks_total", "20 ms ticks that were run.", Counter, |w| &w.ticks),
        ("dialtone_media_late_ticks_total", "20 ms ticks that began more than 5 ms late.", Counter, |w| {
            &w.late_ticks
        }),
        (
            "dialtone_media_skipped_ticks_total",
            "20 ms ticks that came too late and were left out.",
            Counter,
            |w| &w.skipped_ticks,
        ),
        ("dialtone_media_feeds_without_format_total", "Generators without a G.711 format.", Counter, |w| {
            &w.feeds_without_format
        }),
        ("dialtone_media_prompts_unknown_total", "Prompts that the library does not have.", Counter, |w| {
            &w.prompts_unknown
        }),
        ("dialtone_media_commands_ignored_total", "Commands for a port that was gone.", Counter, |w| {
            &w.commands_ignored
        }),
        ("dialtone_media_latches_total", "Sources latched.", Counter, |w| &w.latches),
        ("dialtone_media_silences_total", "Silent periods told of.", Counter, |w| &w.silences),
        ("dialtone_media_ports_reserved", "Ports bound and waiting for a call.", Gauge, |w| {
            &w.ports_reserved
        }),
        ("dialtone_media_ports_in_use", "Ports that calls use.", Gauge, |w| &w.ports_in_use),
        ("dialtone_media_events_dropped_total", "Events that may be lost and were.", Counter, |w| {
            &w.events_dropped
        }),
        ("dialtone_media_turns_total", "Turns of the worker's loop: its wake-ups.", Counter, |w| &w.turns),
        ("dialtone_media_faults_total", "Panics that a worker survived.", Counter, |w| &w.faults),
    ]
};

const OF_RESERVE: &[Row<ReserveMetrics>] = {
    use MetricKind::{Counter, Gauge};
    &[
        ("dialtone_media_ports_bound", "Bound RTP/RTCP pairs.", Gauge, |r| &r.bound),
        ("dialtone_media_ports_quarantined", "Port numbers that rest after use.", Gauge, |r| &r.quarantined),
        ("dialtone_media_ports_exhausted_total", "Times that the port range had run out.", Counter, |r| {
            &r.exhausted
        }),
        ("dialtone_media_bind_failures_total", "Port numbers that could not be bound.", Counter, |r| {
            &r.bind_failures
        }),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_follow_each_other() {
        let metrics = EngineMetrics::new(3, 7);
        let counters = Counters { packets_in: 5, ..Counters::default() };
        metrics.worker(1).publish(&counters, Gauges { in_use: 2, ..Gauges::default() });
        let (mut names, mut values) = (Vec::new(), 0);
        metrics.visit(|metric| {
            names.push(metric.name);
            values += 1;
        });
        names.dedup();
        let runs = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(runs, names.len());
        assert_eq!(values, 3 * (OF_WORKER.len() + DropReason::ALL.len()) + OF_RESERVE.len());
        assert_eq!(metrics.total("dialtone_media_packets_in_total"), 5);
        assert_eq!(metrics.total("dialtone_media_ports_in_use"), 2);
        assert_eq!(metrics.total("no_such_metric"), 0);
        metrics.worker(2).commands_queued.store(4, Ordering::Relaxed);
        let queues: Vec<_> = metrics.queues().collect();
        assert_eq!(queues[2], QueueDepth { queue: "media_commands", worker: 2, depth: 4, bound: 7 });
        assert_eq!(queues.len(), 6);
    }
}
