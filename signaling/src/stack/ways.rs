//! The sockets that are bound and the connections that are up: over which of them a peer is reached.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::Socket;
use crate::locate::Hop;
use crate::message::{RawUri, Scheme, Uri};
use crate::net::{Addresses, same_host};
use crate::registrar::Nat;
use crate::ua::Identity;
use crate::wire::{FlowId, Path, Transport};

/// See the module.
#[derive(Default)]
pub(crate) struct Ways {
    pub sockets: Vec<Socket>,
    /// Connections that are up.
    pub flows: HashSet<FlowId>,
    /// What the kernel would use towards the world.
    pub default: Addresses,
}

/// Whether a socket bound to `bound`, which may be every address, is one at `local`.
fn takes(bound: SocketAddr, local: SocketAddr) -> bool {
    let wild = bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4();
    bound.port() == local.port() && (wild || bound.ip() == local.ip())
}

impl Ways {
    /// Whether a URI that a peer named is one of this server: one of its names, or an address of its sockets. A socket
    /// of every address has the one at which that peer reaches us, and the one that the kernel would use.
    pub fn serves(&self, identity: &Identity, peer: Path, uri: &Uri) -> bool {
        let is_ours = |ip| peer.local.ip() == ip || self.default.all().any(|own| own == ip);
        let is_socket = |ip: IpAddr, port: Option<u16>| {
            let fits = |local: SocketAddr| {
                let wild = local.ip().is_unspecified() && local.is_ipv4() == ip.is_ipv4() && is_ours(ip);
                (local.ip() == ip || wild) && port.is_none_or(|port| port == local.port())
            };
            self.sockets.iter().any(|socket| fits(socket.local))
        };
        let is_external = |ip| identity.net.external.all().any(|external| external == ip);
        match uri.scheme {
            Scheme::Tel => true,
            Scheme::Sip | Scheme::Sips => {
                identity.is_called(&uri.host)
                    || uri.host.ip().is_some_and(|ip| is_external(ip) || is_socket(ip, uri.port))
            }
            Scheme::Other(_) => false,
        }
    }

    /// Where a URI leads that a peer named, whose host is a name and not ours: to the peer's own host, unless it is
    /// believed about others. A flow is the only way to a contact that says ob (RFC 5626 §4.3).
    pub fn hop(&self, identity: &Identity, peer: Path, uri: &Uri, nat: Nat) -> Option<Hop> {
        let hop = Hop::of(uri).filter(|_| !uri.params.has("ob") && !self.serves(identity, peer, uri))?;
        let within = (nat != Nat::Never).then(|| peer.remote.ip());
        Some(Hop { within, ..hop })
    }

    /// Whether what a path names still is what it was when the path was learned.
    pub fn stands(&self, path: Path) -> bool {
        let same = |socket: &Socket| {
            (socket.transport, socket.flow) == (Transport::Udp, path.flow) && takes(socket.local, path.local)
        };
        match path.transport {
            Transport::Udp => self.sockets.iter().any(same),
            Transport::Tcp | Transport::Tls => self.flows.contains(&path.flow),
        }
    }

    /// A way to an address from which nothing need have come, from an address of ours like `local` if there
    /// is one. `local` is what the kernel chose towards that peer when it was last heard: a socket that is bound to
    /// every address speaks from there too.
    pub fn to(&self, transport: Transport, remote: SocketAddr, local: SocketAddr) -> Option<Path> {
        let fits =
            |socket: &&Socket| socket.transport == transport && socket.local.is_ipv4() == remote.is_ipv4();
        let socket = self.sockets.iter().filter(fits).min_by_key(|socket| !takes(socket.local, local))?;
        let local =
            SocketAddr::new(self.default.instead_of(socket.local.ip(), local.ip()), socket.local.port());
        Some(Path { transport, flow: socket.flow, local, remote })
    }

    /// The way of a dialog. A connection that is gone cannot be called back at its source port: its peer
    /// listens where its contact says, if that is its own host: nobody makes us connect to another's. A path without a
    /// connection opens one by itself.
    pub fn still(&self, path: Path, target: &RawUri) -> Path {
        if path.transport == Transport::Udp || path.flow == FlowId(0) || self.stands(path) {
            return path;
        }
        let remote = target.parse().ok().and_then(|target| path.transport.address_of(&target));
        let own = |remote: &SocketAddr| same_host(remote.ip(), path.remote.ip());
        remote.filter(own).and_then(|remote| self.to(path.transport, remote, path.local)).unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Socket;

    fn ways() -> Ways {
        let socket = |flow, local: &str| {
            let local = local.parse().unwrap();
            Socket { transport: Transport::Udp, flow: FlowId(flow), local }
        };
        let mut ways = Ways {
            sockets: vec![socket(1, "0.0.0.0:5060"), socket(2, "[::]:5060"), socket(3, "192.0.2.1:5070")],
            ..Ways::default()
        };
        ways.default.set("192.0.2.1".parse().unwrap());
        ways
    }

    fn local(ways: &Ways, remote: &str, known: &str) -> (FlowId, String) {
        let path = ways.to(Transport::Udp, remote.parse().unwrap(), known.parse().unwrap()).unwrap();
        (path.flow, path.local.to_string())
    }

    /// RFC 3261 §18.1.1: Via and Contact name an address that a peer can answer to; 0.0.0.0 is none.
    #[test]
    fn a_socket_of_every_address_speaks_from_one_of_them() {
        let ways = ways();
        let remote = "198.51.100.9:5060";
        assert_eq!(local(&ways, remote, "10.0.0.1:5060"), (FlowId(1), "10.0.0.1:5060".into()));
        assert_eq!(local(&ways, remote, "192.0.2.1:5070"), (FlowId(3), "192.0.2.1:5070".into()));
        assert_eq!(local(&ways, remote, "[2001:db8::1]:5060"), (FlowId(1), "192.0.2.1:5060".into()));
        let remote6 = "[2001:db8::9]:5060";
        assert_eq!(local(&ways, remote6, "[2001:db8::1]:5060"), (FlowId(2), "[2001:db8::1]:5060".into()));
    }

    /// RFC 3261 §16.4: a request for another server is not for us, whatever our sockets take.
    #[test]
    fn a_socket_of_every_address_is_not_every_address() {
        let ways = ways();
        let identity = Identity {
            domain: "dialtone".into(),
            aliases: vec!["pbx.example".into()],
            product: "test".into(),
            net: Default::default(),
        };
        let path =
            ways.to(Transport::Udp, "198.51.100.9:5060".parse().unwrap(), "10.0.0.1:5060".parse().unwrap());
        let serves = |uri: &str| ways.serves(&identity, path.unwrap(), &Uri::parse(uri).unwrap());
        for ours in
            ["sip:1@pbx.example", "sip:1@10.0.0.1", "sip:1@192.0.2.1:5070", "sip:1@192.0.2.1", "tel:1"]
        {
            assert!(serves(ours), "{ours}");
        }
        for other in
            ["sip:1@203.0.113.5", "sip:1@10.0.0.1:5999", "sip:1@other.example", "sip:1@[2001:db8::7]"]
        {
            assert!(!serves(other), "{other}");
        }
    }

    #[test]
    fn a_way_over_a_socket_of_every_address_stands() {
        let ways = ways();
        let path = |flow, local: &str| Path {
            transport: Transport::Udp,
            flow: FlowId(flow),
            local: local.parse().unwrap(),
            remote: "198.51.100.9:5060".parse().unwrap(),
        };
        assert!(ways.stands(path(1, "10.0.0.1:5060")));
        assert!(!ways.stands(path(1, "10.0.0.1:5062")), "another port");
        assert!(!ways.stands(path(1, "[2001:db8::1]:5060")), "another family");
        assert!(ways.stands(path(3, "192.0.2.1:5070")));
        assert!(!ways.stands(path(3, "10.0.0.1:5070")), "it is bound to another address");
    }
}
