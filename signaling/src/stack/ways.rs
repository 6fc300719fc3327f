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
        let same = |socket: &Socket| {
            (socket.transport, socket.flow, socket.local) == (Transport::Udp, path.flow, path.local)
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
