//! Whom we do not answer: decided on the bytes of a message, before anything is allocated for it.
//!
//! ```text
//! datagram ─▶ rate of its address ─▶ silenced? ─▶ scanner? ─▶ has it had its challenges? ─▶ gate
//!                  │ spent                └──────────┴─────────────┴─ dropped, counted
//!                  └─▶ shows what only the true owner of the address can know? ─▶ a rate of its own
//! ```
//!
//! Over UDP anybody can write anybody's address. So what a datagram costs its address is never more than service to
//! those that show no proof: a Call-ID in which we have said something to that address ([`Known`]), or a nonce that
//! we issued to it. And nobody is silenced but for passwords that answered such a nonce.

mod glance;
mod known;
mod security;
mod silence;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::Mono;

use super::budget::Budget;
use super::gate::Arrival;
use super::limits::Limits;
use super::metrics::Metrics;
use crate::auth::{NonceKey, network as network_of};
use crate::net::Network;

pub use glance::Glance;
pub use security::SECURITY_TARGET;

pub(super) use security::Event;

use known::Known;
use security::SecurityLog;
use silence::Silence;

/// Who is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardPolicy {
    /// Parts of a User-Agent by which scanners give themselves away; case does not matter.
    pub scanners: Vec<String>,
    /// Hosts that scanners write into From, where no phone of ours has its address.
    pub scanner_hosts: Vec<String>,
    /// Networks whose members are neither taken for scanners nor silenced. Their rates are limited like others'.
    pub trusted: Vec<Network>,
    /// Accounts at which one address fails within `window` before it is silenced. Whether they exist must not matter:
    /// silence would tell.
    pub accounts_tried: usize,
    /// The span over which they count.
    pub window: Duration,
    /// How long a silenced address is not answered.
    pub silence: Duration,
}

/// What tools that look for open systems call themselves.
pub const SCANNERS: [&str; 12] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipsscuser",
    "sundayddr",
    "vaxsipuseragent",
    "pplsip",
    "iwar",
    "siparmyknife",
    "smap ",
];

impl Default for GuardPolicy {
    fn default() -> Self {
        GuardPolicy {
            scanners: SCANNERS.map(str::to_owned).into(),
            scanner_hosts: vec!["1.1.1.1".to_owned()],
            trusted: Network::LOOPBACK.into(),
            accounts_tried: 10,
            window: Duration::from_secs(60),
            silence: Duration::from_secs(600),
        }
    }
}

/// What is known of a message that may be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether its Call-ID is one in which we have said something to its source.
    pub(super) known: bool,
    /// Whether it is one in which we have said something to anybody: it belongs to what we have taken on or begun.
    pub(super) goes_on: bool,
}

/// Decides for all sockets alike. Every table has a fixed size.
pub(super) struct Guard {
    policy: GuardPolicy,
    key: NonceKey,
    /// Messages of each address.
    arrivals: Budget,
    /// The same for those that show a proof.
    proved: Budget,
    /// Stateless challenges to each address.
    pub(super) challenges: Budget,
    known: Known,
    silence: Silence,
    log: SecurityLog,
    metrics: Arc<Metrics>,
}

impl Guard {
    pub(super) fn new(key: NonceKey, limits: &Limits, metrics: Arc<Metrics>) -> Guard {
        let mut policy = limits.guard.clone();
        policy.scanners.iter_mut().for_each(|scanner| scanner.make_ascii_lowercase());
        Guard {
            key,
            arrivals: Budget::new(limits.datagrams_per_second),
            proved: Budget::new(limits.datagrams_per_second),
            challenges: Budget::new(limits.challenges_per_second),
            known: Known::default(),
            silence: Silence::new(&policy),
            policy,
            log: SecurityLog::default(),
            metrics,
        }
    }

    /// Whether a message is worth parsing; `None` drops it. Allocates nothing.
    pub(super) fn inspect(&self, glance: &Glance<'_>, arrival: Arrival, realm: &str) -> Option<Standing> {
        let (source, now) = (network_of(arrival.source.ip()), arrival.now.mono);
        let within = arrival.transport.is_reliable() || self.arrivals.take(&source, now);
        let standing = self.known.standing(glance.call_id, source, now);
        let known = standing.known;
        if !within && !known && !self.shows_nonce(glance, arrival, realm) {
            self.metrics.flooded.add();
            self.log.note(Event::Flood, arrival, "");
            return None;
        }
        if !within && !self.proved.take(&source, now) {
            self.metrics.flooded.add();
            return None;
        }
        if known {
            return Some(standing);
        }
        if !self.is_trusted(arrival.source.ip()) {
            if self.silence.holds(source, now) {
                self.metrics.silenced_messages.add();
                return None;
            }
            if self.is_scanner(glance) {
                self.metrics.scanners.add();
                self.log.note(Event::Scanner, arrival, "");
                return None;
            }
        }
        if glance.will_be_challenged() && !self.challenges.has(&source, now) {
            self.metrics.refusals_suppressed.add();
            return None;
        }
        Some(standing)
    }

    /// Whether a datagram that is no message may be answered; takes its share of what its address may send.
    pub(super) fn admits(&self, arrival: Arrival) -> bool {
        let (source, now) = (network_of(arrival.source.ip()), arrival.now.mono);
        if !self.arrivals.take(&source, now) {
            self.metrics.flooded.add();
            return false;
        }
        let silenced = self.is_silenced(source, now);
        if silenced {
            self.metrics.silenced_messages.add();
        }
        !silenced
    }

    /// What is known of a Call-ID that only a parser found.
    pub(super) fn standing(&self, call_id: &[u8], arrival: Arrival) -> Standing {
        self.known.standing(call_id, network_of(arrival.source.ip()), arrival.now.mono)
    }

    /// The stack was handed a request whose sender has proved an account: what follows it belongs to it.
    pub(super) fn taken(&self, call_id: &[u8], arrival: Arrival) {
        self.known.mark(call_id, network_of(arrival.source.ip()), arrival.now.mono);
    }

    /// The stack has sent this there: the far end of a conversation that goes on may answer it.
    pub(super) fn sent(&self, message: &[u8], target: IpAddr, now: Mono) {
        let glance = Glance::of_sent(message);
        // Whoever made us refuse, or answer a ping, has proved nothing.
        if glance.is_request() || matches!(glance.status, 101..300) && !glance.is_ping() {
            self.known.mark(glance.call_id, network_of(target), now);
        }
    }

    /// A password answered our nonce, and was right.
    pub(super) fn proved(&self, arrival: Arrival) {
        self.silence.proved(network_of(arrival.source.ip()), arrival.now.mono);
    }

    /// A password answered our nonce, and was wrong.
    pub(super) fn failed(&self, arrival: Arrival, account: &str) {
        self.log.note(Event::AuthFailed, arrival, account);
        let ip = arrival.source.ip();
        if !self.is_trusted(ip) && self.silence.strike(network_of(ip), account, arrival.now.mono) {
            self.metrics.silenced.add();
            self.log.note(Event::Silenced, arrival, account);
        }
        self.metrics.silenced_now.set(self.silence.len() as u64);
    }

    /// Whether an address is not even worth a connection.
    pub(super) fn is_silenced(&self, source: IpAddr, now: Mono) -> bool {
        !self.is_trusted(source) && self.silence.holds(network_of(source), now)
    }

    /// An attempt was turned away because of the failures before it.
    pub(super) fn throttled(&self, arrival: Arrival, account: &str) {
        self.log.note(Event::Throttled, arrival, account);
    }

    fn is_trusted(&self, source: IpAddr) -> bool {
        self.policy.trusted.iter().any(|network| network.contains(source))
    }

    fn is_scanner(&self, glance: &Glance<'_>) -> bool {
        let agent = |scanner: &String| glance::has(glance.user_agent, scanner.as_bytes());
        let host = |host: &String| glance::at_host(glance.from, host.as_bytes());
        glance.is_request()
            && (self.policy.scanners.iter().any(agent) || self.policy.scanner_hosts.iter().any(host))
    }

    /// Whether it carries a nonce that we issued to its source: nobody else has seen it.
    fn shows_nonce(&self, glance: &Glance<'_>, arrival: Arrival, realm: &str) -> bool {
        let nonce = glance.nonce().and_then(|nonce| std::str::from_utf8(nonce).ok());
        nonce.is_some_and(|nonce| self.key.is_fresh(nonce, arrival.source.ip(), realm, arrival.now.wall))
    }
}

/// A slot of a table of fixed size for `key`.
fn slot(hasher: &std::collections::hash_map::RandomState, key: impl Hash, slots: usize) -> usize {
    use std::hash::BuildHasher;
    hasher.hash_one(key) as usize % slots
}
