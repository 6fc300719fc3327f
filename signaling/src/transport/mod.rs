//! Sockets: the only part of this crate that knows tokio.
//!
//! ```text
//! udp: one task per socket ─┐                              ┌─▶ Sink (the control thread's queue)
//! tcp, tls: one task per    ├─▶ gate: parse, check, digest ┤
//!      listener, connection ┘                              └─▶ 400, 401, 503 … at once, stateless
//!
//! TransportHandle::send ──▶ socket, or the connection's bounded queue, or a new connection
//! ```
//!
//! A request reaches the stack with its topmost Via stamped (RFC 3261 §18.2.1) and with what its credentials are
//! worth. Nothing is remembered of a sender that has not authenticated but its open connections, its failures in
//! a bounded table, and its share of stateless answers. Every queue has a bound in [`Limits`] and a number in
//! [`Metrics`].
//!
//! `resolver.rs` asks DNS and tells what it said. Not here: retransmission, the switch from UDP to TCP for large
//! requests (RFC 3261 §18.1.1), what a name leads to, and any memory of calls.

mod budget;
mod clock;
mod connection;
mod external;
mod flows;
mod framer;
mod gate;
mod guard;
mod handle;
mod hub;
mod limits;
mod metrics;
mod queues;
mod resolver;
mod routes;
mod sink;
mod stream;
pub mod stun;
mod tls;
mod udp;
mod via;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::auth::{Accounts, NonceKey};
use crate::wire::{FlowId, Transport};

pub use clock::Clock;
pub use external::{StunError, external_address};
pub use framer::{Frame, Framer, FramingError};
pub use guard::{Glance, GuardPolicy, SCANNERS, SECURITY_TARGET};
pub use handle::TransportHandle;
pub use limits::Limits;
pub use metrics::{Count, Metrics};
pub use queues::QueueDepth;
pub use resolver::DnsConfig;
pub use sink::{Class, Sink};
pub use tls::TlsConfig;
pub use via::stamp_via;

use flows::Flows;
use gate::Gate;
use hub::Hub;
use resolver::Names;
use routes::Routes;
use udp::UdpPort;

/// For connections to flush and tasks to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// How the transport runs.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where datagrams are received. An IPv6 address takes IPv6 alone, so both wildcards may be given. Port 0
    /// lets the system choose.
    pub udp: Vec<SocketAddr>,
    /// Where connections are accepted; the same rules.
    pub tcp: Vec<SocketAddr>,
    /// Where connections with TLS are accepted; the same rules.
    pub tls: Vec<SocketAddr>,
    /// How they, and those that we open, are protected; `None` without TLS.
    pub tls_config: Option<TlsConfig>,
    /// Who is asked for names.
    pub dns: DnsConfig,
    /// Bounds.
    pub limits: Limits,
    /// Seals nonces; the stack needs the same one if it issues challenges itself.
    pub key: NonceKey,
    /// The control thread's clocks.
    pub clock: Clock,
}

/// Why the transport did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Operator: the address is taken, not ours, or not allowed.
    #[error("cannot bind {} {address}: {source}", transport.via())]
    Bind {
        /// Which transport.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The running transport. Dropping it stops it without waiting; [`Transports::shutdown`] waits.
pub struct Transports {
    handle: TransportHandle,
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

impl Transports {
    /// Binds everything and starts receiving. Runs on the current tokio runtime, with its I/O and timers enabled.
    ///
    /// # Errors
    /// An address cannot be bound; nothing runs then.
    pub async fn start(
        config: TransportConfig,
        accounts: Arc<Accounts>,
        sink: impl Sink,
    ) -> Result<Transports, StartError> {
        let TransportConfig { udp, tcp, tls, tls_config, dns, limits, key, clock } = config;
        let (mut ports, mut lates) = (Vec::new(), Vec::new());
        // 0 is no flow.
        for (flow, address) in (1..).zip(udp) {
            let (port, late) = UdpPort::bind(address, FlowId(flow), limits.datagram_queue)
                .map_err(|source| StartError::Bind { transport: Transport::Udp, address, source })?;
            ports.push(port);
            lates.push(late);
        }
        let (mut listeners, mut listening) = (Vec::new(), Vec::new());
        let tcp = tcp.into_iter().map(|address| (Transport::Tcp, address));
        for (transport, address) in tcp.chain(tls.into_iter().map(|address| (Transport::Tls, address))) {
            let bind = |source| StartError::Bind { transport, address, source };
            let listener = stream::listen(address).map_err(bind)?;
            listening.push((transport, listener.local_addr().map_err(bind)?));
            listeners.push((transport, listener));
        }

        let metrics = Arc::new(Metrics::default());
        let (reports, reported) = mpsc::channel(limits.report_queue);
        let (stop, stopped) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let hub = Arc::new(Hub {
            gate: Gate::new(accounts, key, &limits, metrics.clone()),
            next_flow: AtomicU64::new(ports.len() as u64 + 1),
            limits,
            metrics,
            clock,
            udp: ports,
            listening,
            tls: tls_config,
            routes: Routes::default(),
            names: Names::new(&dns),
            runtime: Handle::current(),
            sink: Box::new(sink),
            turnstile: tokio::sync::Mutex::new(()),
            reports,
            stop: stopped,
            alive: Mutex::new(Some(alive)),
            flows: Mutex::new(Flows::default()),
        });
        hub.spawn(hub::run_reports(hub.clone(), reported));
        for (index, late) in lates.into_iter().enumerate() {
            hub.spawn(udp::receive(hub.clone(), index));
            hub.spawn(udp::send_late(hub.clone(), index, late));
        }
        for (transport, listener) in listeners {
            hub.spawn(stream::accept(hub.clone(), transport, listener));
        }
        Ok(Transports { handle: TransportHandle(hub), stop, ended })
    }

    /// What others hold of it.
    pub fn handle(&self) -> TransportHandle {
        self.handle.clone()
    }

    /// Stops receiving, writes what is queued on connections, closes them, and waits for it, three seconds at
    /// most. Whatever is sent afterwards over a connection fails.
    pub async fn shutdown(mut self) {
        *self.handle.0.alive.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Nobody listening means that every task has ended already.
        let _ = self.stop.send(true);
        // `None` when the last task has dropped its sender.
        if timeout(SHUTDOWN_DEADLINE, self.ended.recv()).await.is_err() {
            tracing::warn!("transport did not end in time");
        }
    }
}
