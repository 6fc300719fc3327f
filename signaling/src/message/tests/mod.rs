//! Odd but legal messages, malformed ones, and properties.

mod bounds;
mod contents;
mod malformed;
mod odd;
mod properties;
mod uris;

use bytes::Bytes;

use super::{Message, ParseError, Request, Response};

/// A message written with LF, parsed as it would arrive: with CRLF.
fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::from(text.replace('\n', "\r\n")))
}

fn request(text: &str) -> Request {
    match parse(text).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("a response: {response:?}"),
    }
}

fn response(text: &str) -> Response {
    match parse(text).unwrap() {
        Message::Response(response) => response,
        Message::Request(request) => panic!("a request: {request:?}"),
    }
}

/// A request that passes every check, with lines added to its head.
fn invite(more: &str) -> String {
    format!(
        "INVITE sip:bob@example.com SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\n\
         From: <sip:alice@example.com>;tag=a\n\
         To: <sip:bob@example.com>\n\
         Call-ID: 1@192.0.2.1\n\
         CSeq: 1 INVITE\n\
         {more}\n"
    )
}
