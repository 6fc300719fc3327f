//! Where a URI or a Via points: a name or an address (RFC 3261 §25.1 `host`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::u16 as number;
use nom::combinator::{map, map_opt, opt};
use nom::sequence::{delimited, preceded};
use serde::{Deserialize, Serialize};

use super::grammar::{Parsed, around};
use super::write::{Print, push_number};

/// A host; compared without case (RFC 3261 §19.1.4).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Host {
    /// A name, as it was written.
    Domain(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, printed in brackets.
    V6(Ipv6Addr),
}

impl Host {
    /// From text without a port: a name, an IPv4 address, an IPv6 address with or without brackets.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(address) = ipv6(text) {
            return Some(Host::V6(address));
        }
        match host(text) {
            Ok(("", host)) => Some(host),
            _ => None,
        }
    }

    /// The address, unless it is a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Domain(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Domain(a), Host::Domain(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a.ip().is_some() && a.ip() == b.ip(),
        }
    }
}

impl Eq for Host {}

/// As if the text were parsed.
impl PartialEq<str> for Host {
    fn eq(&self, other: &str) -> bool {
        match self {
            Host::Domain(name) => name.eq_ignore_ascii_case(other),
            Host::V4(_) | Host::V6(_) => Host::parse(other).is_some_and(|other| *self == other),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl Print for Host {
    fn print(&self, out: &mut String) {
        match self {
            Host::Domain(name) => out.push_str(name),
            Host::V4(address) => IpAddr::V4(*address).print(out),
            Host::V6(address) => {
                out.push('[');
                IpAddr::V6(*address).print(out);
                out.push(']');
            }
        }
    }
}

/// An IPv6 address. Of the three colons that the grammar of RFC 3261 puts before an IPv4 address at its end, one
/// is too many and forgiven (RFC 5118 §4.10).
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    if !text.contains(':') {
        return None;
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (groups, last) = text.split_once(":::")?;
    let last: Ipv4Addr = last.parse().ok()?;
    format!("{groups}::{last}").parse().ok()
}

/// A host. Underscores are forgiven: local names have them.
pub(crate) fn host(input: &str) -> Parsed<'_, Host> {
    let in_brackets = delimited(tag("["), take_while1(|c| c != ']'), tag("]"));
    let name = take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    alt((
        map(map_opt(in_brackets, ipv6), Host::V6),
        map(name, |text: &str| match text.parse() {
            Ok(address) => Host::V4(address),
            Err(_) => Host::Domain(text.to_owned()),
        }),
    ))
    .parse(input)
}

/// `host [ ":" port ]`; blanks around the colon are legal in a Via alone, and asked for by it.
pub(crate) fn host_port(input: &str, blanks: bool) -> Parsed<'_, (Host, Option<u16>)> {
    if blanks {
        (host, opt(preceded(around(":"), number))).parse(input)
    } else {
        (host, opt(preceded(tag(":"), number))).parse(input)
    }
}

/// Prints a host with its port.
pub(crate) fn push_host_port(out: &mut String, host: &Host, port: Option<u16>) {
    host.print(out);
    if let Some(port) = port {
        out.push(':');
        push_number(out, port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let table = [
            ("example.com", Some("example.com")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("[2001:DB8::1]", Some("[2001:db8::1]")),
            ("2001:db8::1", Some("[2001:db8::1]")),
            ("192.0.2.300", Some("192.0.2.300")),
            ("[2001:db8::192.0.2.1]", Some("[2001:db8::c000:201]")),
            ("[2001:db8:::192.0.2.1]", Some("[2001:db8::c000:201]")),
            ("[2001:db8::::192.0.2.1]", None),
            ("[2001:db8:::1]", None),
            ("[2001:db8::1:::192.0.2.1]", None),
            ("[::1", None),
            ("[fe80::1%eth0]", None),
            ("", None),
            ("a b", None),
        ];
        for (text, printed) in table {
            assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), printed, "{text}");
        }
        assert_eq!(Host::parse("EXAMPLE.com"), Host::parse("example.COM"));
        assert_ne!(Host::parse("192.0.2.1"), Host::parse("[::ffff:192.0.2.1]"));
    }
}
