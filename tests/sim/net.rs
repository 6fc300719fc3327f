//! The network: what becomes of a message between a phone and the switch, and when.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::wire::{FlowId, Path, Transport};

use super::phone::{Line, Phone};
use super::rng::Rng;
use super::swarm::Network;

/// The socket of the switch for datagrams.
pub fn udp(ipv6: bool) -> FlowId {
    FlowId(if ipv6 { 2 } else { 1 })
}

/// Addresses of this site: the switch is 1 in subnet 0, phones are in subnet 1.
pub fn address(ipv6: bool, subnet: u8, host: u8) -> IpAddr {
    match ipv6 {
        true => IpAddr::from([0xfd00, 0, 0, u16::from(subnet), 0, 0, 0, u16::from(host)]),
        false => IpAddr::from([10, 0, subnet, host]),
    }
}

pub fn ours(transport: Transport, ipv6: bool) -> SocketAddr {
    SocketAddr::new(address(ipv6, 0, 1), transport.default_port())
}

pub struct Net {
    rng: Rng,
    conditions: Network,
    pub faults: bool,
    /// Until when each phone is cut off.
    pub cut: Vec<Mono>,
    next_flow: u64,
    next_port: u16,
    /// Connections that stand, by phone; and when the last byte arrives, each way.
    flows: BTreeMap<FlowId, Connection>,
}

#[derive(Clone, Copy)]
struct Connection {
    phone: usize,
    towards_us: Mono,
    towards_phone: Mono,
}

impl Net {
    pub fn new(seed: u64, conditions: Network, phones: usize) -> Net {
        let cut = vec![Mono::ZERO; phones];
        let rng = Rng::new(seed, 3);
        Net { rng, conditions, faults: true, cut, next_flow: 100, next_port: 20_000, flows: BTreeMap::new() }
    }

    fn is_cut(&self, phone: usize, now: Mono) -> bool {
        self.faults && self.cut[phone] > now
    }

    fn delay(&mut self) -> Duration {
        let (low, high) = self.conditions.delay_ms;
        let late = self.faults && self.rng.chance(self.conditions.late);
        let more = if late { self.rng.millis(0, self.conditions.late_ms) } else { Duration::ZERO };
        self.rng.millis(low, high) + more
    }

    /// When the copies of a datagram arrive.
    pub fn datagram(&mut self, phone: usize, now: Mono) -> Vec<Duration> {
        let lost = self.faults && self.rng.chance(self.conditions.loss);
        let twice = self.faults && self.rng.chance(self.conditions.duplicate);
        let first = self.delay();
        if lost || self.is_cut(phone, now) {
            return Vec::new();
        }
        if twice { vec![first, self.delay()] } else { vec![first] }
    }

    /// When a message over a connection arrives, or that it stands no more. A cut delays, as TCP repeats.
    pub fn stream(&mut self, flow: FlowId, now: Mono, towards_phone: bool) -> Option<Duration> {
        let delay = self.delay();
        let phone = self.flows.get(&flow)?.phone;
        let held = if self.is_cut(phone, now) { self.cut[phone].since(now) } else { Duration::ZERO };
        let connection = self.flows.get_mut(&flow)?;
        let last = if towards_phone { &mut connection.towards_phone } else { &mut connection.towards_us };
        let arrival = (now + delay + held).max(*last + Duration::from_micros(1));
        *last = arrival;
        Some(arrival.since(now))
    }

    /// A connection of a phone, from a port of its own.
    pub fn connect(&mut self, phone: &mut Phone) -> FlowId {
        let flow = FlowId(self.next_flow);
        self.next_flow += 1;
        phone.line.public.set_port(self.port());
        phone.line.flow = Some(flow);
        let connection = Connection { phone: phone.at, towards_us: Mono::ZERO, towards_phone: Mono::ZERO };
        self.flows.insert(flow, connection);
        flow
    }

    /// A port that was not used before.
    pub fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// Ends a connection; false when it had ended.
    pub fn disconnect(&mut self, flow: FlowId) -> Option<usize> {
        self.flows.remove(&flow).map(|connection| connection.phone)
    }

    pub fn stands(&self, flow: FlowId) -> bool {
        self.flows.contains_key(&flow)
    }
}

/// The way to a phone, as the switch sees it.
pub fn path(line: &Line) -> Path {
    let ipv6 = line.public.is_ipv6();
    let flow = line.flow.filter(|_| line.transport.is_reliable()).unwrap_or(udp(ipv6));
    Path { transport: line.transport, flow, local: ours(line.transport, ipv6), remote: line.public }
}
