//! What the transport counts. The root exports each under the name of its field.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::Transport;

/// A number that only grows, or for gauges, moves both ways.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters since start, and gauges where the text says so.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])* pub $name: Count,)*
        }

        impl Metrics {
            /// Every metric: name, meaning, value.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*).trim_ascii(), self.$name.get()),)*].into_iter()
            }
        }
    };
}

metrics! {
    /// Datagrams that arrived.
    udp_received,
    /// Whole messages that arrived over TCP.
    tcp_received,
    /// Whole messages that arrived over TLS.
    tls_received,
    /// Datagrams that left.
    udp_sent,
    /// Messages written to TCP connections.
    tcp_sent,
    /// Messages written to TLS connections.
    tls_sent,
    /// Messages handed to the stack.
    delivered,
    /// Keep-alives: empty datagrams and CRLF pings.
    keepalives,
    /// STUN binding requests answered.
    stun_answered,
    /// Datagrams dropped before parsing because they cannot be SIP.
    junk,
    /// Datagrams dropped unread because their source sent too many.
    flooded,
    /// Messages dropped because they gave themselves away as a scanner's.
    scanners,
    /// Addresses silenced because they tried the passwords of many accounts.
    silenced,
    /// Messages dropped because their address was silenced.
    silenced_messages,
    /// New requests refused with 503 because their account had had its share.
    account_limited,
    /// Messages that could not be parsed or lacked what is mandatory.
    parse_errors,
    /// Streams closed because messages could not be told apart.
    framing_errors,
    /// Requests challenged for lack of credentials.
    challenged,
    /// Requests challenged because their nonce had expired or was not ours.
    stale,
    /// Requests whose credentials were right.
    auth_succeeded,
    /// Requests whose credentials were wrong.
    auth_failures,
    /// Requests turned away because their source or account had failed too often.
    throttled,
    /// Failures and proofs forgotten because their table was full.
    throttle_evicted,
    /// ACKs to our stateless refusals, absorbed.
    acks_absorbed,
    /// New requests, calls first of all, refused with 503 because the stack was behind.
    shed,
    /// First registrations refused with 503 because the stack was behind.
    shed_registrations,
    /// Registrations to be renewed refused with 503 because the stack was far behind.
    shed_renewals,
    /// New requests of any kind dropped without an answer because too many were refused or waited behind them.
    shed_silently,
    /// Responses and requests inside dialogs dropped because even the reserved share was full.
    shed_reserved,
    /// Responses dropped because we have asked nothing in their Call-ID.
    strays,
    /// Stateless answers not sent because their source had had its share.
    refusals_suppressed,
    /// Events about failures or flows lost because the stack was far behind.
    reports_lost,
    /// Transmissions that could not be made.
    send_failures,
    /// Answers whose connection was gone and whose sender, behind address translation, takes no other.
    answers_unreturned,
    /// Connections closed because their write queue was full or did not move.
    slow_peers,
    /// Connections refused because a limit was reached.
    connections_refused,
    /// Connections closed at a deadline for reading.
    connections_timed_out,
    /// TLS handshakes of peers that failed or took too long.
    handshakes_failed,
    /// Connections accepted.
    connections_accepted,
    /// Connections that we opened.
    connections_opened,
    /// Connections that we could not open, or whose peer did not prove who it is.
    connects_failed,
    /// Connections now (gauge).
    connections,
    /// Addresses silenced now (gauge).
    silenced_now,
}

impl Metrics {
    /// Whole messages that arrived over a transport.
    pub(super) fn received(&self, transport: Transport) -> &Count {
        match transport {
            Transport::Udp => &self.udp_received,
            Transport::Tcp => &self.tcp_received,
            Transport::Tls => &self.tls_received,
        }
    }

    /// Messages that left over a transport.
    pub(super) fn sent(&self, transport: Transport) -> &Count {
        match transport {
            Transport::Udp => &self.udp_sent,
            Transport::Tcp => &self.tcp_sent,
            Transport::Tls => &self.tls_sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_and_a_meaning() {
        let metrics = Metrics::default();
        metrics.junk.add();
        let junk = metrics.all().find(|(name, _, _)| *name == "junk").unwrap();
        assert_eq!(junk, ("junk", "Datagrams dropped before parsing because they cannot be SIP.", 1));
        assert!(metrics.all().all(|(_, meaning, _)| meaning.ends_with('.')));
    }
}
