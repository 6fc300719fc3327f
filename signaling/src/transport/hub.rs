//! What all sockets share: the gate, the way to the stack, the flows, and the way out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::flows::Flows;
use super::gate::{Arrival, Gate};
use super::limits::Limits;
use super::metrics::Metrics;
use super::resolver::Names;
use super::routes::Routes;
use super::sink::{Class, Sink};
use super::tls::TlsConfig;
use super::udp::UdpPort;
use crate::wire::{FlowId, Ticket, Transport, TransportEvent};

/// Between two attempts to hand an event to a stack that is behind. One task tries at a time.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// Shared by every task and by the handle.
pub(super) struct Hub {
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Gate,
    pub(super) clock: Clock,
    pub(super) udp: Vec<UdpPort>,
    /// Where we accept connections.
    pub(super) listening: Vec<(Transport, SocketAddr)>,
    pub(super) tls: Option<TlsConfig>,
    pub(super) routes: Routes,
    pub(super) names: Names,
    pub(super) runtime: Handle,
    pub(super) sink: Box<dyn Sink>,
    /// Held by the task whose turn it is to wait for room in the sink.
    pub(super) turnstile: tokio::sync::Mutex<()>,
    pub(super) reports: mpsc::Sender<TransportEvent>,
    /// Turns true once, when everything must end.
    pub(super) stop: watch::Receiver<bool>,
    /// Held by every task; when the last is gone, shutdown is complete. `None` once it has begun.
    pub(super) alive: Mutex<Option<mpsc::Sender<()>>>,
    pub(super) flows: Mutex<Flows>,
    pub(super) next_flow: AtomicU64,
}

impl Hub {
    /// A flow id that was never given out.
    pub(super) fn new_flow(&self) -> FlowId {
        FlowId(self.next_flow.fetch_add(1, Ordering::Relaxed))
    }

    /// What TLS handshakes go by.
    ///
    /// # Errors
    /// We do not speak TLS: a way that an earlier process stored does not lead anywhere any more.
    pub(super) fn tls(&self) -> io::Result<&TlsConfig> {
        self.tls.as_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The first listener of a transport that is of `remote`'s family.
    pub(super) fn listening(&self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        let fits = |(kind, local): &&(Transport, SocketAddr)| {
            *kind == transport && local.is_ipv4() == remote.is_ipv4()
        };
        self.listening.iter().find(fits).map(|(_, local)| *local)
    }

    /// The flows; held shortly, never over an await.
    pub(super) fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where and when a message arrived.
    pub(super) fn arrival(&self, transport: Transport, source: SocketAddr) -> Arrival {
        Arrival { transport, source, now: self.clock.now() }
    }

    /// Runs a task until it ends by itself or everything does; not at all when that has begun.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(alive) = alive else { return false };
        self.runtime.spawn(async move {
            task.await;
            drop(alive);
        });
        true
    }

    /// Ends when everything must.
    pub(super) async fn stopped(&self) {
        // An error means that whoever could say so is gone, which says it too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Hands an event to the stack, and waits for room as long as that takes.
    pub(super) async fn deliver(&self, class: Class, event: TransportEvent) {
        let Err(refused) = self.sink.offer(class, event) else { return };
        let mut event = *refused;
        let _turn = self.turnstile.lock().await;
        loop {
            event = match self.sink.offer(class, event) {
                Ok(()) => return,
                Err(event) => *event,
            };
            pause(RETRY_INTERVAL).await;
        }
    }

    /// Tells that somebody failed to authenticate, if the stack has room for it.
    pub(super) fn alarm(&self, event: Option<TransportEvent>) {
        if event.is_some_and(|event| self.sink.offer(Class::New, event).is_err()) {
            self.metrics.reports_lost.add();
        }
    }

    /// A transmission could not be made. Never calls into the sink itself: the caller may be the stack.
    pub(super) fn send_failed(&self, ticket: Ticket) {
        self.metrics.send_failures.add();
        let nobody_cares = ticket == Ticket::default();
        if !nobody_cares && self.reports.try_send(TransportEvent::SendFailed { ticket }).is_err() {
            self.metrics.reports_lost.add();
        }
    }

    /// Our address as `remote` sees it, of a socket bound to `bound`, which may be a wildcard.
    pub(super) fn local_address(&self, bound: SocketAddr, remote: IpAddr) -> SocketAddr {
        match bound.ip().is_unspecified().then(|| self.routes.source_for(remote)).flatten() {
            Some(ip) => SocketAddr::new(ip, bound.port()),
            None => bound,
        }
    }
}

/// Carries reports to the stack in order, waiting for room.
pub(super) async fn run_reports(hub: Arc<Hub>, mut reports: mpsc::Receiver<TransportEvent>) {
    let forward = async {
        while let Some(event) = reports.recv().await {
            hub.deliver(Class::Kept, event).await;
        }
    };
    tokio::select! {
        () = forward => {}
        () = hub.stopped() => {}
    }
}

#[allow(clippy::disallowed_methods, reason = "the shell's own timer: the sink cannot be awaited")]
async fn pause(interval: Duration) {
    tokio::time::sleep(interval).await;
}
