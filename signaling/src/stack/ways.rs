//! The sockets that are bound and the connections that are up: over which of them a peer is reached.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::Socket;
use crate::message::RawUri;
use crate::wire::{FlowId, Path, Transport};

/// See the module.
#[derive(Default)]
pub(crate) struct Ways {
    pub sockets: Vec<Socket>,
    /// Connections that are up.
    pub flows: HashSet<FlowId>,
}

impl Ways {
    /// Whether what a path names still is what it was when the path was learned.
    pub fn stands(&self, path: Path) -> bool {
        // A socket that is bound to all addresses stands for each of them.
        let address = |socket: &Socket| {
            let (bound, named) = (socket.local, path.local);
            bound == named
                || bound.ip().is_unspecified()
                    && (bound.port(), bound.is_ipv4()) == (named.port(), named.is_ipv4())
        };
        let same = |socket: &Socket| {
            (socket.transport, socket.flow) == (Transport::Udp, path.flow) && address(socket)
        };
        match path.transport {
            Transport::Udp => self.sockets.iter().any(same),
            Transport::Tcp | Transport::Tls => self.flows.contains(&path.flow),
        }
    }

    /// A way to an address from which nothing need have come, from an address of ours like `local` if there
    /// is one.
    pub fn to(&self, transport: Transport, remote: SocketAddr, local: SocketAddr) -> Option<Path> {
        let fits =
            |socket: &&Socket| socket.transport == transport && socket.local.is_ipv4() == remote.is_ipv4();
        let socket = self.sockets.iter().filter(fits).min_by_key(|socket| socket.local != local)?;
        Some(Path { transport, flow: socket.flow, local: socket.local, remote })
    }

    /// The way of a dialog. A connection that is gone cannot be called back at its source port: its peer
    /// listens where its contact says. A path without a connection opens one by itself.
    pub fn still(&self, path: Path, target: &RawUri) -> Path {
        if path.transport == Transport::Udp || path.flow == FlowId(0) || self.stands(path) {
            return path;
        }
        let remote = target.parse().ok().and_then(|target| path.transport.address_of(&target));
        remote.and_then(|remote| self.to(path.transport, remote, path.local)).unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_all_addresses_stands_for_each() {
        let socket = |local: &str| Socket {
            transport: Transport::Udp,
            flow: FlowId(1),
            local: local.parse().unwrap(),
        };
        let path = |local: &str| {
            let remote = "192.0.2.9:5060".parse().unwrap();
            Path { transport: Transport::Udp, flow: FlowId(1), local: local.parse().unwrap(), remote }
        };
        let stands = |bound: &str, named: &str| {
            Ways { sockets: vec![socket(bound)], flows: HashSet::new() }.stands(path(named))
        };
        assert!(stands("192.0.2.1:5060", "192.0.2.1:5060") && stands("0.0.0.0:5060", "192.0.2.1:5060"));
        assert!(!stands("192.0.2.2:5060", "192.0.2.1:5060") && !stands("0.0.0.0:5070", "192.0.2.1:5060"));
        assert!(!stands("[::]:5060", "192.0.2.1:5060"));
    }
}
