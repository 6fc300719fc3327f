//! What a Via says about where a request came from, and where its answer goes.

use std::net::SocketAddr;

use crate::message::{HeaderError, Headers, Name, Via};
use crate::wire::Transport;

/// Writes where the message came from into its topmost Via and returns that (RFC 3261 §18.2.1, RFC 3581 §4).
/// Whatever `received` the sender wrote itself goes: it would send our answers to somebody else.
///
/// # Errors
/// The topmost Via is missing or malformed.
pub fn stamp_via(headers: &mut Headers, source: SocketAddr) -> Result<Via, HeaderError> {
    let mut via = headers.via()?;
    via.params.remove("received");
    via.stamp(SocketAddr::new(source.ip().to_canonical(), source.port()));
    headers.set_top(&Name::Via, &via);
    Ok(via)
}

/// Where an answer goes, from the topmost Via as [`stamp_via`] left it: back on the connection, or over UDP
/// to the port that asked for it with rport, or else to the one that the Via names (RFC 3261 §18.2.2).
pub fn response_target(via: &Via, transport: Transport, source: SocketAddr) -> SocketAddr {
    if transport.is_reliable() {
        return source;
    }
    let port = via.response_addr().map_or(source.port(), |target| target.port());
    SocketAddr::new(source.ip(), if port == 0 { source.port() } else { port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(via: &str, source: &str) -> (String, String, String) {
        let source: SocketAddr = source.parse().unwrap();
        let mut headers = Headers::new();
        headers.push(Name::Via, format!("{via}, SIP/2.0/TCP b"));
        let top = stamp_via(&mut headers, source).unwrap();
        let text = headers.text(&Name::Via).unwrap().to_owned();
        let udp = response_target(&top, Transport::Udp, source).to_string();
        let tcp = response_target(&top, Transport::Tcp, source).to_string();
        assert_eq!(tcp, source.to_string());
        let target = top.response_addr().map_or("none".into(), |target| target.to_string());
        assert_eq!(udp, target);
        (text, udp, tcp)
    }

    #[test]
    fn the_top_via_tells_where_it_came_from() {
        let cases = [
            (
                "SIP/2.0/UDP 192.0.2.1;branch=z",
                "192.0.2.1:5070",
                "SIP/2.0/UDP 192.0.2.1;branch=z",
                "192.0.2.1:5060",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z",
                "192.0.2.1:40000",
                "SIP/2.0/UDP 192.0.2.1:5070;rport=40000;branch=z;received=192.0.2.1",
                "192.0.2.1:40000",
            ),
            (
                "SIP/2.0/UDP phone.local:5070;branch=z",
                "192.0.2.1:40000",
                "SIP/2.0/UDP phone.local:5070;branch=z;received=192.0.2.1",
                "192.0.2.1:5070",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;received=203.0.113.9;branch=z",
                "192.0.2.1:5060",
                "SIP/2.0/UDP 192.0.2.1;branch=z",
                "192.0.2.1:5060",
            ),
            (
                "SIP/2.0/UDP [2001:db8::1];rport=9;branch=z",
                "[2001:db8::2]:40000",
                "SIP/2.0/UDP [2001:db8::1];rport=40000;branch=z;received=2001:db8::2",
                "[2001:db8::2]:40000",
            ),
        ];
        for (via, source, text, target) in cases {
            let (found, udp, _) = stamped(via, source);
            assert_eq!((found, udp), (format!("{text}, SIP/2.0/TCP b"), target.to_owned()));
        }
    }

    #[test]
    fn without_a_via_there_is_nothing_to_stamp() {
        assert!(stamp_via(&mut Headers::new(), "192.0.2.1:5060".parse().unwrap()).is_err());
    }
}
