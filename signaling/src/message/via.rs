//! The path of a request (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use nom::Parser;
use nom::bytes::complete::tag_no_case;
use nom::sequence::{preceded, terminated};
use serde::{Deserialize, Serialize};

use super::grammar::{Malformed, Parsed, around, blanks, token};
use super::host::{Host, host_port, socket_addr, write_host_port};
use super::params::{Of, Params, only_params};

/// What every branch starts with that is unique over space and time (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// The transport token as it was written: `UDP`, `TCP`, `WS` …
    pub transport: String,
    /// The sender's host.
    pub host: Host,
    /// The sender's port, if it is written.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params,
}

impl Via {
    /// A hop of ours.
    pub fn new(transport: &str, host: impl Into<Host>, port: Option<u16>, branch: &str) -> Via {
        let mut params = Params::new();
        params.set("branch", branch);
        Via { transport: transport.to_owned(), host: host.into(), port, params }
    }

    /// From one element of a Via header.
    pub fn parse(text: &str) -> Result<Via, Malformed> {
        let wrong = Malformed("Via");
        let (after, (transport, (host, port))) = sent(text).map_err(|_| wrong)?;
        let params = only_params(Of::Header, after).ok_or(wrong)?;
        Ok(Via { transport: transport.to_owned(), host, port, params })
    }

    /// The transaction's id; `None` also when it is empty.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is one of RFC 3261 and so identifies the transaction (§17.2.3).
    pub fn has_cookie(&self) -> bool {
        let start = self.branch().and_then(|branch| branch.get(..MAGIC_COOKIE.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// Where the request really came from; `None` also when it is no address.
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        Host::parse(text)?.ip()
    }

    /// RFC 3581: `Some(None)` when the port is asked for, `Some(Some(_))` when it was filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        Some(self.params.find("rport")?.and_then(|port| port.parse().ok()))
    }

    /// Fills in where the request came from: `received` where RFC 3261 §18.2.1 or RFC 3581 §4 asks for
    /// it, `rport` when the sender asked.
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.rport().is_some();
        if asked {
            self.params.set("rport", &source.port().to_string());
        }
        if asked || self.host.ip() != Some(source.ip()) {
            self.params.set("received", &source.ip().to_string());
        }
    }

    /// The sender as it wrote itself: host and port.
    pub fn sent_by(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// Where a response goes over UDP, if that is an address (RFC 3261 §18.2.2, RFC 3581 §4).
    pub fn response_addr(&self) -> Option<SocketAddr> {
        let port = self.rport().flatten().or(self.port).unwrap_or(5060);
        match self.received() {
            Some(ip) => Some(SocketAddr::new(ip, port)),
            None => socket_addr(&self.host, port),
        }
    }
}

fn sent(input: &str) -> Parsed<'_, (&str, (Host, Option<u16>))> {
    let protocol = (tag_no_case("SIP"), around("/"), tag_no_case("2.0"), around("/"));
    let (input, transport) =
        preceded((blanks, protocol), terminated(token, nom::character::complete::one_of(" \t")))
            .parse(input)?;
    let (input, sent_by) = preceded(blanks, |input| host_port(input, true)).parse(input)?;
    Ok((input, (transport, sent_by)))
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Via::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} ", self.transport)?;
        write_host_port(f, &self.host, self.port)?;
        write!(f, "{}", self.params)
    }
}
