//! What an operator's watchdog wants to know, a line per event, on a tracing target of its own.
//!
//! ```text
//! event=auth_failed source=192.0.2.7 port=40000 transport=UDP verified=true repeated=0 account="1001"
//! ```
//!
//! `verified` says whether the address is the sender's: it answered a nonce of ours, or it is the far end of a
//! connection. Whoever bans by these lines must pass over the others, or anybody could have anybody banned.
//!
//! Lines are a rate, not a record: a source has one a second and a few more at once, all sources together have a
//! hundred. What is left out is counted in the next line of its kind.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::slot;
use crate::auth::network;
use crate::transport::budget::Budget;
use crate::transport::gate::Arrival;

/// The tracing target of these lines.
pub const SECURITY_TARGET: &str = "dialtone::security";

/// Lines of one source and kind at once; a tenth of that each second.
const BURST: u32 = 10;
/// Lines of all sources in a second.
const LINES: u32 = 100;
/// Counters of what was left out; kinds and sources that fall together share one.
const SLOTS: usize = 4096;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::transport) enum Event {
    /// A wrong password, or an account that does not exist: in the time of the one as of the other.
    AuthFailed,
    /// An attempt after too many of these.
    Throttled,
    /// The address is not answered for a while.
    Silenced,
    /// It called itself a scanner.
    Scanner,
    /// It sent more than it may.
    Flood,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::AuthFailed => "auth_failed",
            Event::Throttled => "throttled",
            Event::Silenced => "silenced",
            Event::Scanner => "scanner",
            Event::Flood => "flood",
        }
    }

    /// Whether it takes an answer to a nonce that only the true owner of the address has seen.
    fn answers_nonce(self) -> bool {
        match self {
            Event::AuthFailed | Event::Throttled | Event::Silenced => true,
            Event::Scanner | Event::Flood => false,
        }
    }
}

/// See the module.
pub(super) struct SecurityLog {
    of_source: Budget,
    of_all: Budget,
    hasher: RandomState,
    left_out: Box<[AtomicU64]>,
}

impl Default for SecurityLog {
    fn default() -> Self {
        SecurityLog {
            of_source: Budget::with_burst(1, BURST),
            of_all: Budget::new(LINES),
            hasher: RandomState::new(),
            left_out: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl SecurityLog {
    /// Writes a line, or counts it as left out.
    pub(super) fn note(&self, event: Event, arrival: Arrival, account: &str) {
        let Some(repeated) = self.due(event, arrival) else { return };
        let source = arrival.source.ip().to_canonical();
        let (port, transport) = (arrival.source.port(), arrival.transport.via());
        let verified = event.answers_nonce() || arrival.transport.is_reliable();
        tracing::warn!(
            target: SECURITY_TARGET,
            event = %event.name(), %source, port, transport = %transport, verified, repeated,
            account = %Quoted(account),
        );
    }

    /// How many like it were left out before; `None` when this is left out too.
    fn due(&self, event: Event, arrival: Arrival) -> Option<u64> {
        let key: (Event, IpAddr) = (event, network(arrival.source.ip()));
        let left_out = self.left_out.get(slot(&self.hasher, key, SLOTS))?;
        let now = arrival.now.mono;
        if self.of_source.take(&key, now) && self.of_all.take(&(), now) {
            return Some(left_out.swap(0, Ordering::Relaxed));
        }
        left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// An account in quotes, with nothing in it that could end them or the line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"")?;
        for letter in self.0.chars().take(64) {
            let plain = letter.is_ascii_alphanumeric() || "+-._@*#".contains(letter);
            write!(f, "{}", if plain { letter } else { '?' })?;
        }
        write!(f, "\"")
    }
}

#[cfg(test)]
mod tests {
    use dialtone_core::{Mono, Now, Wall};

    use super::*;
    use crate::wire::Transport;

    fn arrival(ip: [u8; 4], at_ms: u64) -> Arrival {
        let now = Now { mono: Mono::from_millis(at_ms), wall: Wall::from_micros(0) };
        Arrival { transport: Transport::Udp, source: (IpAddr::from(ip), 5060).into(), now }
    }

    #[test]
    fn a_source_that_repeats_itself_is_counted_and_not_written_out() {
        let log = SecurityLog::default();
        let source = [192, 0, 2, 1];
        let written = (0..1000).filter(|_| log.due(Event::Scanner, arrival(source, 1000)).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(log.due(Event::AuthFailed, arrival(source, 1000)), Some(0), "another kind");
        assert_eq!(log.due(Event::Scanner, arrival([192, 0, 2, 2], 1000)), Some(0), "another source");
        assert_eq!(log.due(Event::Scanner, arrival(source, 2000)), Some(990));
        assert_eq!(log.due(Event::Scanner, arrival(source, 3000)), Some(0));
    }

    #[test]
    fn forged_sources_do_not_fill_the_disk() {
        let log = SecurityLog::default();
        let flood = |from: u32| (from..from + 10_000).map(|number| arrival(number.to_be_bytes(), 1000));
        assert_eq!(
            flood(1).filter(|arrival| log.due(Event::Flood, *arrival).is_some()).count(),
            LINES as usize
        );
    }

    #[test]
    fn an_account_cannot_forge_a_line() {
        let account = "1001\" source=198.51.100.1\r\n2026 event=auth_failed \u{1b}[1m";
        let quoted = Quoted(account).to_string();
        assert_eq!(quoted, "\"1001??source?198.51.100.1??2026?event?auth_failed???1m\"");
        assert_eq!(Quoted(&"x".repeat(100)).to_string().len(), 66);
    }
}
