//! What a URI says of where it leads (RFC 3263 §4), before anybody was asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::message::{Host, Scheme, Uri};
use crate::wire::Transport;

/// Transports that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    udp: bool,
    tcp: bool,
    tls: bool,
}

impl Allowed {
    /// Each for which `may` says so.
    pub fn where_(may: impl Fn(Transport) -> bool) -> Allowed {
        Allowed { udp: may(Transport::Udp), tcp: may(Transport::Tcp), tls: may(Transport::Tls) }
    }

    /// Whether this one is among them.
    pub fn has(self, transport: Transport) -> bool {
        match transport {
            Transport::Udp => self.udp,
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
        }
    }
}

/// Where a URI leads whose host is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// TARGET of RFC 3263 §4: maddr, or else the host; in lower case.
    pub host: Arc<str>,
    /// The port, when it names one.
    pub port: Option<u16>,
    /// The transport, when it names one.
    pub transport: Option<Transport>,
    /// A SIPS URI: over TLS or not at all (RFC 3261 §26.2.2).
    pub secure: bool,
    /// It names a transport that we do not speak.
    pub unspoken: bool,
    /// The only host that it may lead to, when who named it is not believed about others.
    pub within: Option<IpAddr>,
}

impl Hop {
    /// Where a URI leads; `None` when that is an address, or it is no SIP URI.
    pub fn of(uri: &Uri) -> Option<Hop> {
        let secure = match uri.scheme {
            Scheme::Sip => false,
            Scheme::Sips => true,
            Scheme::Tel | Scheme::Other(_) => return None,
        };
        let maddr = uri.param("maddr").and_then(Host::parse);
        let host = match maddr.as_ref().unwrap_or(&uri.host) {
            Host::Domain(name) => name.to_ascii_lowercase(),
            address if matches!(uri.host, Host::Domain(_)) => address.ip()?.to_string(),
            Host::V4(_) | Host::V6(_) => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(&host).into();
        let transport = Transport::named_by(uri);
        let unspoken = transport.is_none() && uri.param("transport").is_some();
        Some(Hop { host, port: uri.port, transport, secure, unspoken, within: None })
    }

    /// The address, when maddr names one.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whom a peer must prove to be over TLS, unless that is an address.
    pub fn domain(&self) -> Option<Arc<str>> {
        self.ip().is_none().then(|| Arc::clone(&self.host))
    }

    /// Whether a transport is within what the URI and the caller allow.
    pub(super) fn takes(&self, transport: Transport, allowed: Allowed) -> bool {
        allowed.has(transport)
            && (!self.secure || transport == Transport::Tls)
            && self.transport.is_none_or(|named| named == transport)
            && !self.unspoken
    }
}

/// Where a request can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Over what.
    pub transport: Transport,
    /// To whom.
    pub address: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> Option<Hop> {
        Hop::of(&Uri::parse(text).unwrap())
    }

    /// RFC 3263 §4: TARGET is the maddr parameter when there is one, and the host otherwise.
    #[test]
    fn a_uri_says_where_it_leads() {
        let plain = hop("sip:a@Example.COM").unwrap();
        assert_eq!(
            (&*plain.host, plain.port, plain.transport, plain.secure),
            ("example.com", None, None, false)
        );
        let all = hop("sip:a@example.com:5070;transport=TCP").unwrap();
        assert_eq!((all.port, all.transport), (Some(5070), Some(Transport::Tcp)));
        let secure = hop("sips:a@example.com;transport=tcp").unwrap();
        assert_eq!((secure.transport, secure.secure), (Some(Transport::Tls), true));
        assert_eq!(&*hop("sip:a@example.com;maddr=edge.example.net").unwrap().host, "edge.example.net");
        assert_eq!(hop("sip:a@example.com;maddr=192.0.2.9").unwrap().ip(), Some([192, 0, 2, 9].into()));
        assert!(hop("sip:a@example.com;transport=sctp").unwrap().unspoken);
        for none in ["sip:a@192.0.2.1", "sip:a@[2001:db8::1]", "tel:+15551234"] {
            assert_eq!(hop(none), None, "{none}");
        }
    }
}
