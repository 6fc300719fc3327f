//! What the rest of the server holds of the transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::flows::Outgoing;
use super::hub::Hub;
use super::metrics::Metrics;
use super::udp::UdpPort;
use super::{resolver, stream};
use crate::auth::Accounts;
use crate::locate::Question;
use crate::net::Addresses;
use crate::wire::{FlowId, Path, Transmit, Transport};

/// Sends, and tells addresses. Cheap to clone, usable from any thread, never blocks.
#[derive(Clone)]
pub struct TransportHandle(pub(super) Arc<Hub>);

impl TransportHandle {
    /// Sends one message. A failure is told by
    /// [`SendFailed`](crate::wire::TransportEvent::SendFailed), when the ticket is not 0.
    pub fn send(&self, transmit: Transmit) {
        let hub = &self.0;
        hub.gate.guard.sent(&transmit.payload, transmit.path.remote.ip(), hub.clock.now().mono);
        match transmit.path.transport {
            Transport::Tcp | Transport::Tls => stream::send(hub, transmit),
            Transport::Udp => match self.udp_port(&transmit.path) {
                Some(port) => {
                    let target = transmit.path.remote;
                    port.send(hub, Outgoing::from(transmit), target);
                }
                None => hub.send_failed(transmit.ticket),
            },
        }
    }

    /// Asks DNS. [`LookedUp`](crate::wire::TransportEvent::LookedUp) tells what it said, or that it could not.
    pub fn look_up(&self, question: Question) {
        resolver::look_up(&self.0, question);
    }

    /// Closes a connection; one that is gone already is no error.
    pub fn close(&self, flow: FlowId) {
        self.0.flows().close(flow);
    }

    /// The bound addresses, in the order configured, with the ports that the system chose where 0 was asked for.
    pub fn locals(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self.0.udp.iter().map(|port| (Transport::Udp, port.local));
        udp.chain(self.0.listening.iter().copied()).collect()
    }

    /// What the kernel would use towards the world now, and nothing that it said before.
    pub fn default_addresses(&self) -> Addresses {
        let mut found = Addresses::default();
        self.0.routes.forget();
        // Documentation addresses (RFC 5737, RFC 3849): nothing is sent to them.
        for remote in [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
            self.0.routes.source_for(remote).into_iter().for_each(|ip| found.set(ip));
        }
        found
    }

    /// A path that was kept over a restart, from the address that the kernel would use today if our socket is
    /// bound to every address.
    pub fn renewed(&self, path: Path) -> Path {
        let same = |(transport, bound): &(Transport, SocketAddr)| {
            *transport == path.transport
                && bound.port() == path.local.port()
                && bound.ip().is_unspecified()
                && bound.is_ipv4() == path.remote.is_ipv4()
        };
        let bound = self.locals().into_iter().find(same).map(|(_, bound)| bound);
        Path {
            local: bound.map_or(path.local, |bound| self.0.local_address(bound, path.remote.ip())),
            ..path
        }
    }

    /// Replaces the accounts; messages that are being checked finish with the old ones.
    pub fn set_accounts(&self, accounts: Arc<Accounts>) {
        self.0.gate.set_accounts(accounts);
    }

    /// What the transport counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.0.metrics.clone()
    }

    /// The socket of a path, or, when the path is an earlier process's, the one that is like it.
    fn udp_port(&self, path: &Path) -> Option<&UdpPort> {
        let fits = |port: &&UdpPort| port.local.is_ipv4() == path.remote.is_ipv4();
        self.0
            .udp
            .iter()
            .filter(fits)
            .find(|port| port.flow == path.flow)
            .or_else(|| self.port_towards(path.remote))
    }

    /// Of the sockets of the right family, the one whose address the kernel would use, or a wildcard one.
    fn port_towards(&self, remote: SocketAddr) -> Option<&UdpPort> {
        let ports = || self.0.udp.iter().filter(|port| port.local.is_ipv4() == remote.is_ipv4());
        if ports().count() < 2 {
            return ports().next();
        }
        let source = self.0.routes.source_for(remote.ip());
        ports()
            .find(|port| Some(port.local.ip()) == source)
            .or_else(|| ports().find(|port| port.local.ip().is_unspecified()))
            .or_else(|| ports().next())
    }
}

impl std::fmt::Debug for TransportHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TransportHandle").field(&self.locals()).finish()
    }
}
