//! The bound ports that media workers have reported and no leg uses yet.
//!
//! All legs of a call are taken from one worker, so that a bridge never spans two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::PortId;
use crate::media::ReadyPort;

/// Ready ports by worker and address family.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PortPool {
    workers: BTreeMap<u16, Shelf>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Shelf {
    ipv4: Vec<ReadyPort>,
    ipv6: Vec<ReadyPort>,
    used: u32,
}

impl Shelf {
    fn family(&mut self, ipv6: bool) -> &mut Vec<ReadyPort> {
        if ipv6 { &mut self.ipv6 } else { &mut self.ipv4 }
    }
}

impl PortPool {
    /// A worker has bound these.
    pub fn stock(&mut self, ports: impl IntoIterator<Item = ReadyPort>) {
        for port in ports {
            let shelf = self.workers.entry(port.port.worker).or_default();
            shelf.family(port.rtp.is_ipv6()).push(port);
        }
    }

    /// A port on `worker`, or for `None` on the worker with the fewest ports in use. `None` when that
    /// family is exhausted there.
    pub fn take(&mut self, worker: Option<u16>, ipv6: bool) -> Option<ReadyPort> {
        let shelf = match worker {
            Some(worker) => self.workers.get_mut(&worker)?,
            None => self
                .workers
                .values_mut()
                .filter_map(|shelf| (!shelf.family(ipv6).is_empty()).then_some(shelf))
                .min_by_key(|shelf| shelf.used)?,
        };
        let port = shelf.family(ipv6).pop()?;
        shelf.used += 1;
        Some(port)
    }

    /// A port that was taken is gone.
    pub fn gone(&mut self, port: PortId) {
        if let Some(shelf) = self.workers.get_mut(&port.worker) {
            shelf.used = shelf.used.saturating_sub(1);
        }
    }

    /// Ports that could be taken now.
    pub fn ready(&self) -> usize {
        self.workers.values().map(|shelf| shelf.ipv4.len() + shelf.ipv6.len()).sum()
    }

    /// Ports in use by legs, or being closed.
    pub fn used(&self) -> u32 {
        self.workers.values().map(|shelf| shelf.used).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(worker: u16, number: u32, ip: &str) -> ReadyPort {
        let ip = ip.parse().unwrap();
        ReadyPort {
            port: PortId { worker, number },
            rtp: std::net::SocketAddr::new(ip, 10_000 + number as u16 * 2),
            rtcp: std::net::SocketAddr::new(ip, 10_001 + number as u16 * 2),
        }
    }

    #[test]
    fn a_call_stays_on_the_least_used_worker() {
        let mut pool = PortPool::default();
        pool.stock([port(0, 1, "127.0.0.1"), port(0, 2, "127.0.0.1"), port(0, 3, "::1")]);
        pool.stock([port(1, 1, "127.0.0.1"), port(1, 2, "127.0.0.1")]);
        let first = pool.take(None, false).unwrap().port;
        let second = pool.take(Some(first.worker), false).unwrap().port;
        assert_eq!(first.worker, second.worker);
        assert_ne!(pool.take(None, false).unwrap().port.worker, first.worker);
        assert_eq!(pool.take(Some(first.worker), false), None, "never from another worker");
        assert_eq!((pool.used(), pool.ready()), (3, 2));
        pool.gone(first);
        assert_eq!(pool.used(), 2);
        assert!(pool.take(None, true).unwrap().rtp.is_ipv6());
        assert_eq!(pool.take(None, true), None);
    }
}
