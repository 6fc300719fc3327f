//! What waits in each bounded queue between threads, and how much may: `/metrics` shows both under the queue's name.

use dialtone_api::MetricFamily;
use dialtone_media::EngineMetrics;
use dialtone_signaling::transport::TransportHandle;

use super::control::ControlQueue;
use super::effects::BACKLOG_LIMIT;
use super::metrics::Writers;
use crate::config::LimitsConfig;

/// Lengths of the queues that do not know their own.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    keeper: usize,
    state: usize,
    records: usize,
}

impl Bounds {
    pub fn of(limits: &LimitsConfig) -> Bounds {
        Bounds { keeper: limits.event_queue, state: limits.state_queue, records: limits.record_queue }
    }
}

pub(super) fn families(
    control: &ControlQueue,
    writers: &Writers,
    transport: &TransportHandle,
    media: &EngineMetrics,
    bounds: Bounds,
) -> Vec<MetricFamily> {
    let (records, state, backlog) = writers.queued();
    let plain = [
        ("control", control.depth(), control.capacity()),
        ("keeper", control.lag().keeper().depth(), bounds.keeper),
        ("records", records, bounds.records),
        ("state", state, bounds.state),
        ("media_backlog", backlog, BACKLOG_LIMIT),
    ];
    let depth = MetricFamily::gauge("dialtone_queue_depth", "What waits in a queue between threads now");
    let bound = MetricFamily::gauge("dialtone_queue_bound", "What may wait in it");
    let mut both = [depth, bound];
    let mut add = |labels: &[(&'static str, &str)], values: [f64; 2]| {
        for (family, value) in both.iter_mut().zip(values) {
            family.push(labels, value);
        }
    };
    for (queue, depth, bound) in plain {
        add(&[("queue", queue)], [depth as f64, bound as f64]);
    }
    for queue in transport.queues() {
        let local = queue.local.map(|local| local.to_string());
        let labels = [("queue", queue.queue), ("socket", local.as_deref().unwrap_or_default())];
        let labels = if local.is_some() { &labels[..] } else { &labels[..1] };
        add(labels, [queue.depth as f64, queue.bound as f64]);
    }
    for queue in media.queues() {
        let worker = queue.worker.to_string();
        add(&[("queue", queue.queue), ("worker", &worker)], [queue.depth as f64, queue.bound as f64]);
    }
    both.into()
}
