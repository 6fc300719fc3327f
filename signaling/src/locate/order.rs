//! In which order records are taken: RFC 3403 §4.1 for NAPTR, RFC 2782 for SRV.

use std::sync::Arc;

use super::dns::Record;
use crate::wire::Transport;

/// Draws a number below the one that it is given, which is above 0.
pub type Roll<'a> = &'a mut dyn FnMut(u32) -> u32;

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub port: u16,
    pub target: Arc<str>,
}

/// The services among NAPTR records for which there is a transport, in their order, with the name to ask SRV for
/// (RFC 3263 §4.1).
pub(super) fn services(records: &[Record], takes: impl Fn(Transport) -> bool) -> Vec<(Transport, Arc<str>)> {
    let mut found: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Naptr { order, preference, flags, service, replacement } => {
                let transport = transport_of(service).filter(|transport| takes(*transport))?;
                let asks_srv = flags.eq_ignore_ascii_case("s") && !replacement.is_empty();
                asks_srv.then(|| ((*order, *preference), transport, Arc::clone(replacement)))
            }
            Record::Srv { .. } | Record::Address(_) => None,
        })
        .collect();
    found.sort_by_key(|(rank, ..)| *rank);
    found.into_iter().map(|(_, transport, name)| (transport, name)).collect()
}

/// RFC 3263 §4.1: the resolution services of SIP and SIPS.
fn transport_of(service: &str) -> Option<Transport> {
    let table = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    table.into_iter().find(|(name, _)| service.eq_ignore_ascii_case(name)).map(|(_, transport)| transport)
}

/// The servers among SRV records, by priority, and by lot within one, where the weight is a server's share of first
/// places (RFC 2782).
pub(super) fn servers(records: &[Record], roll: Roll<'_>) -> Vec<Service> {
    let mut left: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Srv { priority, weight, port, target } if !target.is_empty() => {
                Some((*priority, u32::from(*weight), Service { port: *port, target: Arc::clone(target) }))
            }
            Record::Naptr { .. } | Record::Srv { .. } | Record::Address(_) => None,
        })
        .collect();
    // Those without weight stand first, so that they have a small chance where others have weight.
    left.sort_by_key(|(priority, weight, _)| (*priority, *weight > 0));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(&(priority, ..)) = left.first() {
        let peers = left.iter().take_while(|(of, ..)| *of == priority);
        let total: u32 = peers.map(|(_, weight, _)| *weight).sum();
        let drawn = roll(total + 1);
        let mut sum = 0;
        let chosen = left.iter().position(|(_, weight, _)| {
            sum += weight;
            sum >= drawn
        });
        ordered.push(left.remove(chosen.unwrap_or(0)).2);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dialtone_core::NodeId;
    use proptest::prelude::*;

    use super::*;
    use crate::ua::Tokens;

    fn srv(priority: u16, weight: u16, target: &str) -> Record {
        Record::Srv { priority, weight, port: 5060, target: target.into() }
    }

    fn naptr(order: u16, preference: u16, flags: &str, service: &str, replacement: &str) -> Record {
        let (flags, service) = (flags.into(), service.into());
        Record::Naptr { order, preference, flags, service, replacement: replacement.into() }
    }

    /// RFC 3263 §4.1, RFC 3403 §4.1: by order, then preference; what is not ours is left out.
    #[test]
    fn services_come_by_order_and_preference() {
        let records = [
            naptr(100, 50, "s", "SIP+D2U", "udp.example"),
            naptr(50, 60, "S", "sip+d2t", "tcp.example"),
            naptr(50, 50, "s", "SIPS+D2T", "tls.example"),
            naptr(1, 1, "u", "E2U+sip", "enum.example"),
            naptr(2, 1, "s", "SIP+D2S", "sctp.example"),
            naptr(3, 1, "s", "SIP+D2U", ""),
        ];
        let names = |takes: &dyn Fn(Transport) -> bool| {
            services(&records, takes).into_iter().map(|(_, name)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&|_| true), ["tls.example", "tcp.example", "udp.example"]);
        assert_eq!(names(&|transport| transport == Transport::Udp), ["udp.example"]);
        assert!(names(&|_| false).is_empty());
    }

    /// RFC 2782: the weight is the share of first places, and 0 is almost none. A fixed seed.
    #[test]
    fn the_weight_is_the_share_of_first_places() {
        let records = [srv(1, 60, "a"), srv(1, 30, "b"), srv(1, 10, "c"), srv(1, 0, "d"), srv(0, 0, "first")];
        let mut tokens = Tokens::new([7; 32], NodeId(1));
        let mut seconds: HashMap<String, u32> = HashMap::new();
        let rounds = 20_000;
        for _ in 0..rounds {
            let order = servers(&records, &mut |below| tokens.below(below));
            assert_eq!((order.len(), &*order[0].target), (5, "first"));
            *seconds.entry(order[1].target.to_string()).or_default() += 1;
        }
        let share = |name: &str| f64::from(seconds.get(name).copied().unwrap_or(0)) / f64::from(rounds);
        for (name, expected) in [("a", 60.0), ("b", 30.0), ("c", 10.0), ("d", 1.0)] {
            assert!((share(name) - expected / 101.0).abs() < 0.01, "{name}: {}", share(name));
        }
    }

    /// RFC 2782: a target of "." says that the service is not there.
    #[test]
    fn a_service_that_is_not_there_has_no_servers() {
        assert_eq!(servers(&[srv(0, 0, "")], &mut |_| 0), []);
    }

    proptest! {
        /// RFC 2782: every server once, no lower priority before a higher one, whatever is drawn.
        #[test]
        fn every_server_has_its_turn(
            given in proptest::collection::vec((0_u16..4, any::<u16>()), 0..32),
            seed in any::<u32>(),
        ) {
            let records: Vec<_> =
                given.iter().enumerate().map(|(at, (p, w))| srv(*p, *w, &format!("{p}-{at}"))).collect();
            let mut next = seed;
            let order = servers(&records, &mut |below| {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                next % below
            });
            let mut names: Vec<_> = order.iter().map(|one| one.target.to_string()).collect();
            let priorities: Vec<u16> =
                names.iter().map(|name| name.split('-').next().unwrap().parse().unwrap()).collect();
            prop_assert!(priorities.is_sorted());
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), given.len());
        }
    }
}
