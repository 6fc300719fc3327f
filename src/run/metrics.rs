//! What `/metrics` shows.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dialtone_api::{MetricFamily, Registry, Sample, View};
use dialtone_media::EngineMetrics;
use dialtone_signaling::stack::SeekCounts;
use dialtone_signaling::transport::{Metrics as TransportMetrics, TransportHandle};
use dialtone_store::WriterCounters;

use super::addresses::Answers;
use super::control::ControlQueue;
use super::queues::{self, Bounds};
use super::turns::Turns;
use crate::clock::ProcessClock;
use crate::switch::SwitchCounts;
use crate::tls::Certificates;

/// What the writing threads count, as last looked at by whoever feeds them.
#[derive(Default)]
pub(super) struct Writers {
    pub records: Mutex<WriterCounters>,
    pub state: Mutex<WriterCounters>,
    /// Commands that wait for the ring of the media worker of which most do.
    pub media_backlog: AtomicUsize,
    /// Whether the live state of the last run did not open and was put aside.
    pub moved_aside: AtomicBool,
}

impl Writers {
    /// Records, changes of live state, and media commands that wait.
    pub fn queued(&self) -> (usize, usize, usize) {
        let queued = |counters: &Mutex<WriterCounters>| {
            usize::try_from(counters.lock().unwrap_or_else(PoisonError::into_inner).queued)
                .unwrap_or(usize::MAX)
        };
        (queued(&self.records), queued(&self.state), self.media_backlog.load(Ordering::Relaxed))
    }

    fn families(&self) -> Vec<MetricFamily> {
        let now = |counters: &Mutex<WriterCounters>| *counters.lock().unwrap_or_else(PoisonError::into_inner);
        let each = [("records", now(&self.records)), ("state", now(&self.state))];
        let of = |family: MetricFamily, value: fn(&WriterCounters) -> u64| {
            each.iter().fold(family, |family, (writer, counters)| {
                family.labelled([("writer", *writer)], value(counters) as f64)
            })
        };
        let counter = MetricFamily::counter;
        let aside = MetricFamily::gauge(
            "dialtone_state_moved_aside",
            "1 when the live state did not open at the start and phones must register again",
        );
        vec![
            of(counter("dialtone_writer_written_total", "Things written and safe"), |c| c.written),
            of(counter("dialtone_writer_groups_total", "Waits for the disk"), |c| c.groups),
            of(counter("dialtone_writer_refused_total", "Things refused because a queue was full"), |c| {
                c.refused
            }),
            of(counter("dialtone_writer_failures_total", "Attempts to write that failed"), |c| c.failures),
            aside.value(f64::from(u8::from(self.moved_aside.load(Ordering::Relaxed)))),
        ]
    }
}

/// Where the numbers come from.
pub(super) struct Sources {
    pub counts: Arc<Mutex<SwitchCounts>>,
    pub queue: ControlQueue,
    pub turns: Arc<Turns>,
    pub writers: Arc<Writers>,
    pub transport: TransportHandle,
    pub media: Arc<EngineMetrics>,
    pub bounds: Bounds,
    pub certificates: Option<Arc<Certificates>>,
    pub stun: Arc<Answers>,
    pub view: Arc<View>,
    pub clock: ProcessClock,
}

/// Everything that can be scraped.
pub(super) fn registry(sources: Sources) -> Registry {
    let Sources { counts, queue, turns, writers, transport, media, bounds, certificates, stun, view, clock } =
        sources;
    let sip_metrics = transport.metrics();
    Registry::default()
        .with({
            let counts = Arc::clone(&counts);
            move || names(counts.lock().unwrap_or_else(PoisonError::into_inner).stack.names)
        })
        .with(move || switch(&counts.lock().unwrap_or_else(PoisonError::into_inner)))
        .with({
            let (queue, writers, media) = (queue.clone(), Arc::clone(&writers), Arc::clone(&media));
            move || queues::families(&queue, &writers, &transport, &media, bounds)
        })
        .with(move || control_queue(&queue, clock))
        .with(move || turns.families())
        .with(move || writers.families())
        .with(move || sip(&sip_metrics))
        .with(move || self::media(&media))
        .with(move || certificates.as_deref().map(tls).unwrap_or_default())
        .with(move || stun.families())
        .with(move || view.metrics())
}

fn switch(counts: &SwitchCounts) -> Vec<MetricFamily> {
    let gauge = |name, help, value: usize| MetricFamily::gauge(name, help).value(value as f64);
    let counter = |name, help, value: u64| MetricFamily::counter(name, help).value(value as f64);
    vec![
        gauge("dialtone_flows", "Call flows that run", counts.flows),
        gauge("dialtone_sip_legs", "Legs that signaling has not finished with", counts.stack.legs),
        gauge("dialtone_sip_dialogs", "Established dialogs", counts.stack.dialogs),
        gauge("dialtone_sip_transactions", "Transactions that are not over", counts.stack.transactions),
        gauge(
            "dialtone_sip_waiting",
            "Transactions whose peer owes an answer or an ACK",
            counts.stack.waiting,
        ),
        gauge("dialtone_sip_bindings", "Registered contacts", counts.stack.bindings),
        gauge(
            "dialtone_sip_unreachable",
            "Registered contacts that cannot be reached",
            counts.stack.unreachable,
        ),
        gauge(
            "dialtone_sip_questions",
            "Contacts asked whether they are there that have not answered yet",
            counts.stack.questions,
        ),
        gauge("dialtone_media_ports_ready", "Bound ports that wait for a leg", counts.ports_ready),
        gauge("dialtone_media_ports_used", "Ports that legs use", counts.ports_used as usize),
        counter(
            "dialtone_sip_refused_total",
            "Requests refused because a table was full",
            counts.stack.refused,
        ),
        counter(
            "dialtone_calls_turned_away_total",
            "Calls refused without a record while records waited for the disk",
            counts.turned_away,
        ),
        counter("dialtone_sip_replayed_total", "Requests with a used nonce count", counts.stack.replayed),
        counter("dialtone_sip_info_keys_total", "Keys that came in INFO", counts.stack.info_keys),
    ]
}

fn names(counts: SeekCounts) -> Vec<MetricFamily> {
    let gauge = |name, help, value: usize| MetricFamily::gauge(name, help).value(value as f64);
    let counter = |name, help, value: u64| MetricFamily::counter(name, help).value(value as f64);
    let SeekCounts { names, failovers } = counts;
    vec![
        counter("dialtone_dns_questions_total", "Questions to DNS", names.asked),
        counter("dialtone_dns_failures_total", "Questions that DNS could not answer", names.failed),
        counter("dialtone_dns_stale_total", "Questions answered by records past their time", names.stale),
        counter("dialtone_dns_not_found_total", "Requests whose name led nowhere", names.not_found),
        counter("dialtone_dns_refused_total", "Requests that found no room to wait for DNS", names.refused),
        gauge("dialtone_dns_cached", "Answers of DNS that are kept", names.cached),
        gauge("dialtone_dns_waiting", "Requests that wait for DNS", names.waiting),
        gauge("dialtone_dns_open", "Questions that DNS has not answered yet", names.open),
        gauge("dialtone_dns_failed_targets", "Targets that failed a moment ago", names.resting),
        counter("dialtone_sip_failovers_total", "Requests sent on to another target", failovers),
    ]
}

fn control_queue(queue: &ControlQueue, clock: ProcessClock) -> Vec<MetricFamily> {
    let gauge = |name, help, value: f64| MetricFamily::gauge(name, help).value(value);
    let mut shedding = MetricFamily::gauge("dialtone_shedding", "Whether work of this class is refused now");
    let mut times = MetricFamily::counter("dialtone_shedding_total", "How often refusing it began");
    for (class, shut, began) in queue.lag().states() {
        shedding = shedding.labelled([("class", class)], f64::from(u8::from(shut)));
        times = times.labelled([("class", class)], began as f64);
    }
    vec![
        gauge(
            "dialtone_control_behind_seconds",
            "How long the input that is worked on had to wait",
            queue.lag().behind(clock.now().mono).as_secs_f64(),
        ),
        shedding,
        times,
        MetricFamily::counter(
            "dialtone_traces_lost_total",
            "Messages not kept for traces because the record keeper was behind",
        )
        .value(queue.lag().keeper().traces_lost() as f64),
        gauge(
            "dialtone_uptime_seconds",
            "Since the process started",
            clock.now().mono.as_nanos() as f64 / 1e9,
        ),
    ]
}

fn sip(metrics: &TransportMetrics) -> Vec<MetricFamily> {
    let mut events =
        MetricFamily::counter("dialtone_sip_transport_total", "What the SIP transport met, by kind");
    let mut connections = MetricFamily::gauge("dialtone_sip_connections", "SIP connections now");
    let mut silenced = MetricFamily::gauge("dialtone_sip_silenced", "Addresses that are not answered now");
    for (name, _, value) in metrics.all() {
        if name == "connections" {
            connections = connections.value(value as f64);
        } else if name == "silenced_now" {
            silenced = silenced.value(value as f64);
        } else {
            events = events.labelled([("kind", name)], value as f64);
        }
    }
    vec![events, connections, silenced]
}

fn tls(certificates: &Certificates) -> Vec<MetricFamily> {
    let (done, failed) = certificates.reloads();
    vec![
        MetricFamily::gauge(
            "dialtone_tls_certificate_expires_seconds",
            "When the certificate in force is over, seconds since 1970",
        )
        .value(certificates.facts().not_after.as_secs() as f64),
        MetricFamily::counter("dialtone_tls_reloads_total", "How often certificates were read again")
            .labelled([("result", "replaced")], done as f64)
            .labelled([("result", "kept")], failed as f64),
    ]
}

fn media(metrics: &EngineMetrics) -> Vec<MetricFamily> {
    let mut families: Vec<MetricFamily> = Vec::new();
    metrics.visit(|metric| {
        let place = families.iter().position(|family| family.name == metric.name).unwrap_or_else(|| {
            families.push(match metric.kind {
                dialtone_media::engine::MetricKind::Counter => {
                    MetricFamily::counter(metric.name, metric.help)
                }
                dialtone_media::engine::MetricKind::Gauge => MetricFamily::gauge(metric.name, metric.help),
            });
            families.len() - 1
        });
        let worker = metric.worker.map(|worker| ("worker", worker.to_string()));
        let reason = metric.reason.map(|reason| ("reason", reason.to_owned()));
        let labels = worker.into_iter().chain(reason).collect();
        families[place].samples.push(Sample { suffix: "", labels, value: metric.value as f64 });
    });
    families
}
