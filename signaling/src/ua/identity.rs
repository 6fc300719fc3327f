//! How we call ourselves towards peers.

use std::net::IpAddr;

use bytes::Bytes;
use dialtone_core::Description;
use serde::{Deserialize, Serialize};

use super::policy::Reliability;
use crate::message::{Headers, Host, Name, NameAddr, Request, Response, Uri};
use crate::net::Net;
use crate::sdp::CONTENT_TYPE;
use crate::wire::Path;

/// Methods that we understand (RFC 3261 §20.5).
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER";

/// Extensions that we have (RFC 3261 §20.37): reliable provisional answers, session timers,
/// RFC 3891, RFC 4488.
const EXTENSIONS: [&str; 4] = ["100rel", "timer", "replaces", "norefersub"];

const OTHERS: &str = "timer, replaces, norefersub";
const WITH_100REL: &str = "100rel, timer, replaces, norefersub";

/// How we call ourselves towards peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The domain of our users' addresses.
    pub domain: String,
    /// Other names that peers know this server by.
    pub aliases: Vec<String>,
    /// Product and version, for Server and User-Agent.
    pub product: Bytes,
    /// Which of our addresses a peer is told.
    pub net: Net,
}

impl Identity {
    /// Our stream as the peer at the far end of `path` can send to it. Ports stay: a translator in front of us
    /// forwards them as they are.
    pub(crate) fn described(&self, local: &Description, path: Path) -> Description {
        let mut shown = local.clone();
        for address in [&mut shown.rtp, &mut shown.rtcp] {
            address.set_ip(self.net.shown(path, address.ip()));
        }
        shown
    }

    pub(crate) fn agent(&self) -> Bytes {
        self.product.clone()
    }

    /// What every answer of ours carries.
    pub(crate) fn sign(&self, response: &mut Response) {
        if response.status != 100 {
            self.allow(&mut response.headers);
            response.headers.set(Name::Server, self.agent());
        }
    }

    /// What we understand.
    pub(crate) fn allow(&self, headers: &mut Headers) {
        headers.set(Name::Allow, ALLOW.as_bytes());
    }

    /// What an OPTIONS is told (RFC 3261 §11.2).
    pub(crate) fn capabilities(&self, response: &mut Response) {
        readable(&mut response.headers);
        self.supported(&mut response.headers, Reliability::Supported);
    }

    /// The extensions that we have towards somebody.
    pub(crate) fn supported(&self, headers: &mut Headers, reliability: Reliability) {
        let list = if reliability == Reliability::Off { OTHERS } else { WITH_100REL };
        headers.set(Name::Supported, list.as_bytes());
    }

    /// A Warning's value (RFC 3261 §20.43); 399 is for people.
    pub(crate) fn warning(&self, code: u16, why: &str) -> String {
        format!("{code} {} \"{why}\"", self.domain)
    }

    /// The refusal of a request, and why (RFC 3261 §20.43). With 415, also what can be read instead
    /// (RFC 3261 §8.2.3, §21.4.13).
    pub(crate) fn unusable(&self, request: &Request, status: u16, why: &str) -> Response {
        let mut response = Response::to(request, status);
        response.headers.push(Name::Warning, self.warning(399, why));
        if status == 415 {
            readable(&mut response.headers);
        }
        response
    }

    /// The address of one of our users, as shown to others.
    pub(crate) fn user(&self, number: &str, name: &str) -> NameAddr {
        // A domain that is no host name cannot be written; configuration refuses it.
        let host = Host::parse(&self.domain).unwrap_or(Host::from(IpAddr::from([127, 0, 0, 1])));
        let mut address = NameAddr::new(Uri::sip(Some(number), host, None));
        address.display = Some(name.to_owned()).filter(|name| !name.is_empty());
        address
    }

    /// Our own address.
    pub(crate) fn server(&self) -> NameAddr {
        let mut address = self.user("", "");
        address.uri.user = None;
        address
    }

    /// Whether an address is in our domain.
    pub(crate) fn is_ours(&self, uri: &Uri) -> bool {
        uri.scheme.is_sip() && uri.host == *self.domain
    }

    /// Whether peers know this server by this name.
    pub(crate) fn is_called(&self, host: &Host) -> bool {
        std::iter::once(&self.domain).chain(&self.aliases).any(|name| *host == **name)
    }

    /// Extensions that a request requires and we do not have (RFC 3261 §8.2.2.3).
    pub(crate) fn unsupported(&self, request: &Request) -> Vec<String> {
        let ours = |token: &&str| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(token));
        request.headers.tokens(&Name::Require).filter(|token| !ours(token)).map(str::to_owned).collect()
    }
}

/// What we can read: bodies of this type, as they are.
fn readable(headers: &mut Headers) {
    headers.push(Name::Accept, CONTENT_TYPE);
    headers.push(Name::AcceptEncoding, "identity");
}
