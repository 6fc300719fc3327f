//! The path of a request (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use nom::Parser;
use nom::sequence::{preceded, terminated};
use serde::{Deserialize, Serialize};

use super::grammar::{Malformed, Parsed, around, blanks, token};
use super::host::{Host, host_port, push_host_port};
use super::params::{Of, Params, only_params};
use super::write::Print;
use crate::net::same_host;
use crate::wire::Transport;

/// What every branch starts with that is unique over space and time (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// The protocol and its version as they were written, when they are not `SIP/2.0`.
    pub protocol: Option<Box<str>>,
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
        Via { protocol: None, transport: transport.to_owned(), host: host.into(), port, params }
    }

    /// From one element of a Via header.
    pub fn parse(text: &str) -> Result<Via, Malformed> {
        let wrong = Malformed("Via");
        let (after, (name, version, transport, (host, port))) = sent(text).map_err(|_| wrong)?;
        let usual = name.eq_ignore_ascii_case("SIP") && version == "2.0";
        let protocol = (!usual).then(|| format!("{name}/{version}").into_boxed_str());
        let params = only_params(Of::Header, after).ok_or(wrong)?;
        Ok(Via { protocol, transport: transport.to_owned(), host, port, params })
    }

    /// The transaction's id; `None` also when it is empty.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is one of RFC 3261 and so identifies the transaction (§17.2.3). The cookie alone
    /// tells no two transactions apart (RFC 4475 §3.2.1).
    pub fn has_cookie(&self) -> bool {
        self.unique_branch().is_some()
    }

    /// The branch, when it identifies the transaction.
    pub(crate) fn unique_branch(&self) -> Option<&str> {
        let branch = self.branch()?;
        let (start, rest) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        (start.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty()).then_some(branch)
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

    /// The same, for a Via as it came: what its sender wrote there itself would send our answers to somebody else.
    pub fn restamp(&mut self, source: SocketAddr) {
        self.params.remove("received");
        self.stamp(SocketAddr::new(source.ip().to_canonical(), source.port()));
    }

    /// The sender as it wrote itself: host and port.
    pub fn sent_by(&self) -> String {
        let mut out = String::new();
        push_host_port(&mut out, &self.host, self.port);
        out
    }

    /// Where the answers to a request from `source` go: back on a connection; over UDP to the address that it
    /// came from, at its port when that is asked for, and at the port written here otherwise (RFC 3261 §18.2.2,
    /// RFC 3581 §4). Port 0 is nobody's: the source's is taken.
    pub fn response_target(&self, transport: Transport, source: SocketAddr) -> SocketAddr {
        let port = match self.rport() {
            None if !transport.is_reliable() => self.port.unwrap_or(transport.default_port()),
            None | Some(_) => 0,
        };
        SocketAddr::new(source.ip(), if port == 0 { source.port() } else { port })
    }

    /// Where whoever sent a request from `source` takes connections, for answers whose own is gone: where it came
    /// from, which is what `received` says, at the port written here (RFC 3261 §18.2.2). `None` when the address
    /// written here is another one: nobody knows at which port its address translation would let us in.
    pub fn listens_at(&self, transport: Transport, source: SocketAddr) -> Option<SocketAddr> {
        let port = self.port.unwrap_or(transport.default_port());
        let is_there = self.host.ip().is_none_or(|ip| same_host(ip, source.ip()));
        (is_there && port != 0).then(|| SocketAddr::new(source.ip(), port))
    }
}

/// Protocol, version, transport, and who sent it. RFC 3261 §25.1 lets the first two be any tokens; what a version
/// means, the request line says.
type Sent<'a> = (&'a str, &'a str, &'a str, (Host, Option<u16>));

fn sent(input: &str) -> Parsed<'_, Sent<'_>> {
    let protocol = (terminated(token, around("/")), terminated(token, around("/")));
    let (input, (name, version)) = preceded(blanks, protocol).parse(input)?;
    let (input, transport) = terminated(token, nom::character::complete::one_of(" \t")).parse(input)?;
    let (input, sent_by) = preceded(blanks, |input| host_port(input, true)).parse(input)?;
    Ok((input, (name, version, transport, sent_by)))
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Via::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl Print for Via {
    fn print(&self, out: &mut String) {
        out.push_str(self.protocol.as_deref().unwrap_or("SIP/2.0"));
        out.push('/');
        out.push_str(&self.transport);
        out.push(' ');
        push_host_port(out, &self.host, self.port);
        self.params.print(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §18.2.2: the port of sent-by or the transport's own, at the address that the request came from.
    #[test]
    fn answers_without_their_connection_go_where_the_sender_listens() {
        let source: SocketAddr = "192.0.2.9:40000".parse().unwrap();
        let table = [
            ("SIP/2.0/TCP 192.0.2.9", Transport::Tcp, Some(5060)),
            ("SIP/2.0/TLS 192.0.2.9;rport", Transport::Tls, Some(5061)),
            ("SIP/2.0/TCP 192.0.2.9:5070;rport=40000;received=192.0.2.9", Transport::Tcp, Some(5070)),
            ("SIP/2.0/TCP [::ffff:192.0.2.9]:5070", Transport::Tcp, Some(5070)),
            ("SIP/2.0/TCP proxy.example:5070;received=192.0.2.9", Transport::Tcp, Some(5070)),
            ("SIP/2.0/TCP 10.0.0.1:5070;received=192.0.2.9", Transport::Tcp, None),
            ("SIP/2.0/TCP 192.0.2.9:0", Transport::Tcp, None),
        ];
        for (text, transport, port) in table {
            let expected = port.map(|port| SocketAddr::new(source.ip(), port));
            assert_eq!(Via::parse(text).unwrap().listens_at(transport, source), expected, "{text}");
        }
    }

    /// RFC 3261 §18.2.2, RFC 3581 §4: as a Via comes, and as it is once it is stamped.
    #[test]
    fn answers_go_where_the_top_via_and_its_source_say() {
        let source: SocketAddr = "192.0.2.9:40000".parse().unwrap();
        let table = [
            ("SIP/2.0/UDP 192.0.2.9", 5060),
            ("SIP/2.0/UDP 192.0.2.9:5070", 5070),
            ("SIP/2.0/UDP phone.local:5070", 5070),
            ("SIP/2.0/UDP 10.0.0.1:5070;received=203.0.113.9", 5070),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport", 40000),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport=9", 40000),
            ("SIP/2.0/UDP 10.0.0.1:5070;rport=x", 40000),
            ("SIP/2.0/UDP 192.0.2.9:0", 40000),
            ("SIP/2.0/UDP 192.0.2.9:0;rport", 40000),
        ];
        for (text, port) in table {
            let mut via = Via::parse(text).unwrap();
            for _ in 0..2 {
                let expected = SocketAddr::new(source.ip(), port);
                assert_eq!(via.response_target(Transport::Udp, source), expected, "{via}");
                assert_eq!(via.response_target(Transport::Tcp, source), source, "{via}");
                via.stamp(source);
            }
        }
    }
}
