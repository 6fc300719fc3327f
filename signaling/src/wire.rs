//! Where messages come from and go to: the words that the pure stack and the socket shell share.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::Number;
use serde::{Deserialize, Serialize};

use crate::locate::{Question, Reply};
use crate::message::{Message, Scheme, Uri};

/// A SIP transport (RFC 3261 §18, RFC 7118).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams; the transaction layer retransmits.
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS (RFC 3261 §26.2.1).
    Tls,
}

impl Transport {
    /// Every one.
    pub const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    /// Whether it delivers or breaks, so that nothing is retransmitted (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls)
    }

    /// As in a Via: `UDP`.
    pub const fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// As in a URI's `transport` parameter: `udp`.
    pub const fn uri(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// Where peers listen that name no port (RFC 3261 §18.2.2, §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }

    /// Where whoever a URI names listens, if its host is an address.
    pub fn address_of(self, uri: &Uri) -> Option<SocketAddr> {
        Some(SocketAddr::new(uri.host.ip()?, uri.port.unwrap_or(self.default_port())))
    }

    /// What a URI asks for (RFC 3261 §19.1.1, §26.2.2); `None` when it leaves the choice, or names what we do not
    /// speak. A SIPS URI asks for TLS whatever stream it names.
    pub fn named_by(uri: &Uri) -> Option<Transport> {
        let is = |name: &str, transport: Transport| name.eq_ignore_ascii_case(transport.uri());
        match (&uri.scheme, uri.param("transport")) {
            (Scheme::Sips, None) => Some(Transport::Tls),
            (Scheme::Sips, Some(name)) if is(name, Transport::Tcp) || is(name, Transport::Tls) => {
                Some(Transport::Tls)
            }
            (Scheme::Sips, Some(_)) | (_, None) => None,
            (_, Some(name)) => Transport::ALL.into_iter().find(|one| is(name, *one)),
        }
    }
}

/// One socket (UDP) or one connection (TCP, TLS) of this process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlowId(pub u64);

/// A way to a peer: over which flow, from which of our addresses, to which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The transport.
    pub transport: Transport,
    /// The socket or connection. For TCP and TLS the transport opens a new connection to `remote` when this
    /// one is gone.
    pub flow: FlowId,
    /// Our address.
    pub local: SocketAddr,
    /// Theirs.
    pub remote: SocketAddr,
}

impl Path {
    /// Whether both lead to the same socket of the same host.
    pub fn is_same_peer(&self, other: Path) -> bool {
        (self.transport, self.remote) == (other.transport, other.remote)
    }
}

/// Names a transmission so that its failure can be told to whoever cares; 0 when nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Where a connection is opened for a message whose own is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opens {
    /// To the peer of its path.
    #[default]
    Peer,
    /// To the peer of its path, who over TLS must prove to be this domain: that of the URI that led there
    /// (RFC 5922 §7.3). What is open to that address takes the message only when it was opened for the same domain.
    Named(Arc<str>),
    /// There: where the sender of the request that is answered listens (RFC 3261 §18.2.2).
    At(SocketAddr),
    /// Nowhere: address translation stands before whoever waits for it.
    Nowhere,
}

/// Bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where.
    pub path: Path,
    /// And where that takes another connection; of streams.
    pub opens: Opens,
    /// What: one whole SIP message.
    pub payload: Bytes,
    /// Reported by [`TransportEvent::SendFailed`].
    pub ticket: Ticket,
}

/// What the transport worker found out about a request's digest credentials, by hashing against the
/// account snapshot. The nonce-count window is not checked there: the stack does, after the
/// transaction layer has absorbed retransmissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// It carried none for our realm, or they were refused already.
    #[default]
    None,
    /// It proved to be this account.
    Good {
        /// The account.
        account: Number,
        /// The nonce, as sent.
        nonce: String,
        /// Its count (RFC 7616 §3.4).
        nonce_count: u32,
    },
}

/// What the transport tells the stack.
#[derive(Clone, Debug)]
pub enum TransportEvent {
    /// A whole message arrived.
    Received {
        /// From where; a reply over this path reaches the sender.
        path: Path,
        /// The message.
        message: Message,
        /// What its credentials are worth.
        credentials: Credentials,
    },
    /// A connection is established (either way).
    FlowUp {
        /// It.
        path: Path,
    },
    /// A connection is gone.
    FlowDown {
        /// Which.
        flow: FlowId,
    },
    /// A transmission could not be made, or its connection could not be opened.
    SendFailed {
        /// Which.
        ticket: Ticket,
    },
    /// DNS was asked, and said so.
    LookedUp {
        /// What.
        question: Question,
        /// What it said, or that it could not.
        reply: Reply,
    },
    /// Somebody failed to prove who they are.
    AuthFailed {
        /// The account that they named; may not exist. At most 64 bytes, control characters removed.
        account: String,
        /// From where.
        source: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §19.1.1, §26.2.2: the parameter names the transport, and SIPS means TLS.
    #[test]
    fn a_uri_names_transport_and_port() {
        let table = [
            ("sip:a@192.0.2.1", None, "192.0.2.1:5060"),
            ("sip:a@192.0.2.1;transport=udp", Some(Transport::Udp), "192.0.2.1:5060"),
            ("sip:a@192.0.2.1:5070;transport=TCP", Some(Transport::Tcp), "192.0.2.1:5070"),
            ("sip:a@192.0.2.1;transport=tls", Some(Transport::Tls), "192.0.2.1:5061"),
            ("sip:a@192.0.2.1;transport=sctp", None, "192.0.2.1:5060"),
            ("sips:a@192.0.2.1", Some(Transport::Tls), "192.0.2.1:5061"),
            ("sips:a@[2001:db8::1];transport=tcp", Some(Transport::Tls), "[2001:db8::1]:5061"),
            ("sips:a@192.0.2.1;transport=udp", None, "192.0.2.1:5060"),
        ];
        for (text, named, address) in table {
            let uri = Uri::parse(text).unwrap();
            assert_eq!(Transport::named_by(&uri), named, "{text}");
            let transport = named.unwrap_or(Transport::Udp);
            assert_eq!(transport.address_of(&uri), Some(address.parse().unwrap()), "{text}");
        }
        assert_eq!(Transport::Udp.address_of(&Uri::parse("sip:example.com").unwrap()), None);
    }
}
