//! RFC 3263 §4.1 and §4.2 as one function over what is known: it says what must be asked first, or all targets in
//! their order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::dns::{Answer, Kind, Question, Record};
use super::hop::{Allowed, Hop, Target};
use super::order::{Roll, servers, services};
use crate::wire::Transport;

/// Targets of one request; the surplus is dropped.
pub const TARGETS_MAX: usize = 16;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These must be answered first.
    Ask(Vec<Question>),
    /// Here it is, in this order; nowhere when there is none.
    Targets(Vec<Target>),
}

/// How a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Over what.
    pub allowed: Allowed,
    /// Whether we have sockets of IPv4.
    pub ipv4: bool,
    /// Whether we have sockets of IPv6.
    pub ipv6: bool,
    /// Whether IPv6 is tried before IPv4: the peer was last heard so.
    pub ipv6_first: bool,
}

/// One look at what is known.
struct Look<'a> {
    known: &'a dyn Fn(&Question) -> Option<Answer>,
    means: Means,
    missing: Vec<Question>,
    targets: Vec<Target>,
}

/// Where `hop` leads, by what is `known`.
pub(super) fn step(
    hop: &Hop,
    means: Means,
    known: &dyn Fn(&Question) -> Option<Answer>,
    roll: Roll<'_>,
) -> Step {
    let mut look = Look { known, means, missing: Vec::new(), targets: Vec::new() };
    look.hop(hop, roll);
    let Look { mut missing, mut targets, .. } = look;
    if !missing.is_empty() {
        missing.sort();
        missing.dedup();
        return Step::Ask(missing);
    }
    let mut seen = std::collections::HashSet::new();
    targets.retain(|target| seen.insert(*target));
    targets.truncate(TARGETS_MAX);
    Step::Targets(targets)
}

/// What SRV is asked for (RFC 3263 §4.1, §4.2).
fn service_name(transport: Transport, host: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{host}")
}

impl Look<'_> {
    fn hop(&mut self, hop: &Hop, roll: Roll<'_>) {
        let takes = |transport: &Transport| hop.takes(*transport, self.means.allowed);
        // In the order of RFC 3263 §4.1 where a URI leaves the choice and DNS does too: UDP for SIP, TLS for SIPS.
        let spoken: Vec<Transport> = Transport::ALL.into_iter().filter(takes).collect();
        let Some(&default) = spoken.first() else { return };
        if let Some(ip) = hop.ip() {
            let address = SocketAddr::new(ip, hop.port.unwrap_or(default.default_port()));
            return self.targets.push(Target { transport: default, address });
        }
        // §4.2: a port that is named is asked no SRV record for.
        if let Some(port) = hop.port {
            return self.addresses(default, &hop.host, port);
        }
        let asked: Vec<(Transport, Arc<str>)> = match hop.transport {
            // §4.1: a transport that is named is asked no NAPTR record for.
            Some(_) => Vec::new(),
            None => match self.ask(Kind::Naptr, &hop.host) {
                None => return,
                Some(Answer::Records(records)) => {
                    services(&records, |transport| hop.takes(transport, self.means.allowed))
                }
                // Whoever cannot say that there are none is taken to have none: many servers know no NAPTR.
                Some(Answer::Nothing | Answer::Failed) => Vec::new(),
            },
        };
        let by_naptr = !asked.is_empty();
        let asked = if by_naptr {
            asked
        } else {
            let name = |transport| (transport, service_name(transport, &hop.host).into());
            spoken.into_iter().map(name).collect()
        };
        if !self.services(&asked, roll) && !by_naptr {
            self.addresses(default, &hop.host, default.default_port());
        }
    }

    /// The servers of these services; whether there are SRV records, or that is not known yet.
    fn services(&mut self, asked: &[(Transport, Arc<str>)], roll: Roll<'_>) -> bool {
        let answers: Vec<_> =
            asked.iter().map(|(transport, name)| (*transport, self.ask(Kind::Srv, name))).collect();
        if answers.iter().any(|(_, answer)| answer.is_none()) {
            return true;
        }
        let mut found = false;
        for (transport, answer) in answers {
            if let Some(Answer::Records(records)) = answer {
                found = true;
                for server in servers(&records, roll) {
                    self.addresses(transport, &server.target, server.port);
                }
            }
        }
        found
    }

    fn addresses(&mut self, transport: Transport, host: &str, port: u16) {
        let families = match self.means.ipv6_first {
            true => [(Kind::Aaaa, self.means.ipv6), (Kind::A, self.means.ipv4)],
            false => [(Kind::A, self.means.ipv4), (Kind::Aaaa, self.means.ipv6)],
        };
        for (kind, _) in families.into_iter().filter(|(_, have)| *have) {
            let Some(Answer::Records(records)) = self.ask(kind, host) else { continue };
            let ips = records.iter().filter_map(|record| match record {
                Record::Address(ip) if is_of(kind, *ip) => Some(*ip),
                Record::Address(_) | Record::Naptr { .. } | Record::Srv { .. } => None,
            });
            self.targets.extend(ips.map(|ip| Target { transport, address: SocketAddr::new(ip, port) }));
        }
    }

    fn ask(&mut self, kind: Kind, name: &str) -> Option<Answer> {
        let question = Question::new(kind, name);
        let answer = (self.known)(&question);
        if answer.is_none() {
            self.missing.push(question);
        }
        answer
    }
}

/// A broadcast, multicast or unspecified address is nobody's.
fn is_of(kind: Kind, ip: IpAddr) -> bool {
    let one = !ip.is_unspecified() && !ip.is_multicast();
    match ip {
        IpAddr::V4(ip) => kind == Kind::A && one && !ip.is_broadcast(),
        IpAddr::V6(_) => kind == Kind::Aaaa && one,
    }
}
