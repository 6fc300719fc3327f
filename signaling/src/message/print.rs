//! Messages to bytes (RFC 3261 §7): names in their usual spelling, one Content-Length, written last.

use std::fmt;

use bytes::Bytes;

use super::headers::Headers;
use super::name::Name;
use super::{Message, Request, Response};

impl Message {
    /// The message as it is sent. Content-Length is that of the body, whatever the list says.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// The request as it is sent.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(size(&self.headers, &self.body) + self.uri.as_str().len());
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.uri.as_str().as_bytes());
        out.extend_from_slice(b" SIP/2.0\r\n");
        finish(out, &self.headers, &self.body)
    }
}

impl Response {
    /// The response as it is sent.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(size(&self.headers, &self.body) + self.reason.len());
        out.extend_from_slice(b"SIP/2.0 ");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.push(b' ');
        // Whatever else stands in a phrase is the peer's, and survives.
        out.extend(self.reason.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        out.extend_from_slice(b"\r\n");
        finish(out, &self.headers, &self.body)
    }
}

/// Bytes that the message will need, or a little more: start line and Content-Length are estimates.
fn size(headers: &Headers, body: &Bytes) -> usize {
    const AROUND: usize = 64;
    let lines: usize = headers.iter().map(|header| header.name.as_str().len() + header.value.len() + 4).sum();
    AROUND + lines + body.len()
}

fn finish(mut out: Vec<u8>, headers: &Headers, body: &Bytes) -> Bytes {
    for header in headers.iter().filter(|header| header.name != Name::ContentLength) {
        out.extend_from_slice(header.name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(&header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
    out.into()
}

/// For traces: the bytes as text.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}
