//! SIP messages.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use dialtone_signaling::message::{Message, Name, NameAddr, Uri, Via, content_length, head_end};
use dialtone_signaling::sdp::CONTENT_TYPE;
use dialtone_signaling::wire::Transport;

/// Whom a message is supposed to come from.
const SOURCE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5080));

/// No panic, and what parses prints to something that parses alike.
pub fn sip_message(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    if let Some(head) = head_end(data).and_then(|end| data.get(..end)) {
        let _ = content_length(head);
    }
    let message = match Message::parse(datagram.clone()) {
        Ok(message) => message,
        Err(error) => {
            if let Some(answer) = error.reply(&datagram) {
                assert!(Message::parse(answer.to_bytes()).is_ok());
            }
            return;
        }
    };
    same(&message);
    views(&message);
}

/// Parse and print are inverse, up to Content-Length.
fn same(message: &Message) {
    let mut before = message.clone();
    let mut after = Message::parse(message.to_bytes()).expect("what we print is a message");
    before.headers_mut().remove(&Name::ContentLength);
    after.headers_mut().remove(&Name::ContentLength);
    assert_eq!(before, after);
}

/// Every view either fails or prints to what it was.
fn views(message: &Message) {
    let headers = message.headers();
    if let Message::Request(request) = message {
        let _ = request.check();
        if let Ok(uri) = request.uri.parse() {
            assert_eq!(Uri::parse(&uri.to_string()), Ok(uri.clone()));
            assert!(uri.matches(&uri));
        }
    }
    for address in [headers.from(), headers.to(), headers.contact()].into_iter().flatten() {
        let _ = (address.tag(), address.q(), address.expires(), address.uri.user_decoded());
        assert_eq!(NameAddr::parse(&address.to_string()), Ok(address.clone()));
    }
    for via in headers.vias().unwrap_or_default() {
        let _ = (via.branch(), via.received(), via.rport(), via.response_target(Transport::Udp, SOURCE));
        assert_eq!(Via::parse(&via.to_string()), Ok(via));
    }
    let _ =
        (headers.call_id(), headers.cseq(), headers.contacts(), headers.max_forwards(), headers.expires());
    let _ = (headers.routes(&Name::Route), headers.accepts(CONTENT_TYPE));
    let found = headers.content(message.body(), CONTENT_TYPE);
    if headers.is_plain(CONTENT_TYPE) && !message.body().is_empty() {
        assert_eq!(found, Ok(Some(Bytes::clone(message.body()))));
    }
    for auth in headers.auth(&Name::Authorization) {
        assert_eq!(auth.to_string().parse(), Ok(auth));
    }
}
