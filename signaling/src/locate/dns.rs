//! What is asked of DNS and what it says, as far as locating a server needs it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Records of one answer that are looked at; the surplus is dropped.
pub const RECORDS_MAX: usize = 32;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
}

/// One question to DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Of which type.
    pub kind: Kind,
    /// Absolute, in lower case, without the dot at its end.
    pub name: Arc<str>,
}

impl Question {
    /// About a name, whatever its case and whether or not a dot ends it.
    pub fn new(kind: Kind, name: &str) -> Question {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Question { kind, name: name.into() }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Naptr => "NAPTR",
            Kind::Srv => "SRV",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// A record; of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// RFC 3403 §4.1. One with a regular expression is none of ours (RFC 3263 §4.1).
    Naptr {
        /// The lower comes first.
        order: u16,
        /// Among those of one order, the lower comes first.
        preference: u16,
        /// `s` when what follows is a question for SRV.
        flags: Box<str>,
        /// Such as `SIP+D2U`.
        service: Box<str>,
        /// What to ask next.
        replacement: Arc<str>,
    },
    /// RFC 2782.
    Srv {
        /// The lower comes first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// Its name; empty when the service is not there at all.
        target: Arc<str>,
    },
    /// An address.
    Address(IpAddr),
}

/// What is known about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There are these, at least one.
    Records(Arc<[Record]>),
    /// There is none: no such name, or none of this type.
    Nothing,
    /// Nobody could say: SERVFAIL, or nobody answered.
    Failed,
}

/// An answer, and how long it may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// As DNS says; `None` when it does not say.
    pub ttl: Option<Duration>,
}

impl Reply {
    /// Nobody could say.
    pub const FAILED: Reply = Reply { answer: Answer::Failed, ttl: None };
}
