//! Which of our addresses the kernel would use towards a peer, for sockets that are bound to all of them: Via,
//! Contact and SDP need one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Peers remembered. When full, all are forgotten: asking anew costs three system calls.
const PEERS: usize = 4096;
/// Any port will do, nothing is sent to it.
const DISCARD: u16 = 9;

/// Answers of the kernel, kept.
#[derive(Default)]
pub(super) struct Routes(Mutex<HashMap<IpAddr, IpAddr>>);

impl Routes {
    /// Our address towards `remote`; `None` when there is no route.
    pub(super) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known.get(&remote) {
            return Some(*source);
        }
        let source = ask_kernel(remote)?;
        if known.len() >= PEERS {
            known.clear();
        }
        known.insert(remote, source);
        Some(source)
    }

    /// Asks the kernel anew from now on: addresses of this machine come and go.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connected UDP socket has the address of its route; connecting sends nothing.
fn ask_kernel(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(remote, DISCARD)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let routes = Routes::default();
        for address in ["127.0.0.1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(routes.source_for(address), Some(address));
            assert_eq!(routes.source_for(address), Some(address), "remembered");
        }
    }
}
