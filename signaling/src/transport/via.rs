//! What a Via says about where a request came from.

use std::net::SocketAddr;

use crate::message::{HeaderError, Headers, Name, Via};

/// Writes where the message came from into its topmost Via and returns that (RFC 3261 §18.2.1, RFC 3581 §4).
/// Whatever `received` the sender wrote itself goes: it would send our answers to somebody else.
///
/// # Errors
/// The topmost Via is missing or malformed.
pub fn stamp_via(headers: &mut Headers, source: SocketAddr) -> Result<Via, HeaderError> {
    let mut via = headers.via()?.clone();
    via.restamp(source);
    headers.set_top(&Name::Via, &via);
    Ok(via)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(via: &str, source: &str) -> String {
        let source: SocketAddr = source.parse().unwrap();
        let mut headers = Headers::new();
        headers.push(Name::Via, format!("{via}, SIP/2.0/TCP b"));
        stamp_via(&mut headers, source).unwrap();
        headers.text(&Name::Via).unwrap().to_owned()
    }

    #[test]
    fn the_top_via_tells_where_it_came_from() {
        let cases = [
            ("SIP/2.0/UDP 192.0.2.1;branch=z", "192.0.2.1:5070", "SIP/2.0/UDP 192.0.2.1;branch=z"),
            (
                "SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z",
                "192.0.2.1:40000",
                "SIP/2.0/UDP 192.0.2.1:5070;rport=40000;branch=z;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP phone.local:5070;branch=z",
                "192.0.2.1:40000",
                "SIP/2.0/UDP phone.local:5070;branch=z;received=192.0.2.1",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;received=203.0.113.9;branch=z",
                "192.0.2.1:5060",
                "SIP/2.0/UDP 192.0.2.1;branch=z",
            ),
            (
                "SIP/2.0/UDP [2001:db8::1];rport=9;branch=z",
                "[2001:db8::2]:40000",
                "SIP/2.0/UDP [2001:db8::1];rport=40000;branch=z;received=2001:db8::2",
            ),
        ];
        for (via, source, text) in cases {
            assert_eq!(stamped(via, source), format!("{text}, SIP/2.0/TCP b"));
        }
    }

    #[test]
    fn without_a_via_there_is_nothing_to_stamp() {
        assert!(stamp_via(&mut Headers::new(), "192.0.2.1:5060".parse().unwrap()).is_err());
    }
}
