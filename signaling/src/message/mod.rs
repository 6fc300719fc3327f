//! SIP messages: lossless, bounded, tolerant (RFC 3261 §7, §25).
//!
//! [`Message::parse`] makes an ordered list of raw headers out of bytes: continuation lines are joined,
//! compact names expanded, values stay slices of the datagram. Nothing is lost that could be printed
//! again, and only what cannot be represented, or what two readers could take in two ways, is refused.
//! [`Request::check`] then says whether a request can be handled, and typed views
//! ([`Headers::via`], [`Headers::from`] …) parse a header when it is first asked for.
//!
//! Deliberately not here: framing of streams beyond [`head_end`] and [`content_length`], the content
//! encodings of bodies, and any rule of a transaction or a dialog.

#![forbid(unsafe_code)]

mod addr;
mod auth_params;
mod body;
mod check;
mod content;
mod cseq;
mod error;
mod grammar;
mod headers;
mod host;
mod limits;
mod lines;
mod method;
mod name;
mod params;
mod parse;
mod print;
mod replaces;
mod status;
#[cfg(test)]
mod tests;
mod typed;
mod uri;
mod value;
mod via;
mod views;
#[cfg(test)]
mod work;
mod write;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use addr::{ContactList, NameAddr};
pub use auth_params::{AuthParam, AuthParams};
pub use body::Body;
pub use check::Invalid;
pub use content::ContentError;
pub use cseq::CSeq;
pub use error::{Fault, ParseError};
pub use grammar::Malformed;
pub use headers::{Header, Headers};
pub use host::Host;
pub use limits::{ELEMENTS_MAX, HEADERS_MAX, LINE_MAX, MESSAGE_MAX, PARAMS_MAX, PARTS_DEPTH_MAX, PARTS_MAX};
pub use lines::head_end;
pub use method::Method;
pub use name::Name;
pub use params::Params;
pub use parse::content_length;
pub use replaces::Replaces;
pub use status::reason;
pub(crate) use typed::MAX_FORWARDS;
pub use typed::{HeaderError, MAX_FORWARDS_DEFAULT};
pub use uri::{Scheme, Uri, escape_user};
pub use value::{RawUri, Value};
pub use via::{MAGIC_COOKIE, Via};
pub(crate) use write::{Print, push_hex, push_number};

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Its headers.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// Its headers, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Message::Request(request) => &mut request.headers,
            Message::Response(response) => &mut response.headers,
        }
    }

    /// Its body.
    pub fn body(&self) -> &Body {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }

    /// Reads what the stack will ask of it, so that it is read here and not on the control thread. What is
    /// missing or malformed is found again there, and answered there.
    pub fn read(&self) {
        let headers = self.headers();
        let _ = (headers.via(), headers.from(), headers.to(), headers.contact(), headers.cseq());
        if !self.body().is_empty() && headers.is_plain(crate::sdp::CONTENT_TYPE) {
            let _ = self.body().sdp();
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Message::Response(response)
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What it asks for.
    pub method: Method,
    /// Of whom, as written.
    pub uri: RawUri,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, uri: impl Into<RawUri>) -> Self {
        Request { method, uri: uri.into(), headers: Headers::usual(), body: Body::default() }
    }

    /// Sets the body and its Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
        self.headers.set(Name::ContentType, content_type);
        self.body = Body::from(body.into());
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase; any bytes.
    pub reason: Bytes,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// A response to a request: Via, From, To, Call-ID and CSeq are copied in order (RFC 3261 §8.2.6.2),
    /// Timestamp into a 100 (§8.2.6.1). The To tag is the caller's to add.
    pub fn to(request: &Request, status: u16) -> Self {
        let mut response = Response { headers: request.headers.answered(), ..Response::bare(status) };
        if status == 100 {
            response.headers.copy(&Name::Timestamp, &request.headers);
        }
        response
    }

    /// A response without headers, with the usual phrase.
    fn bare(status: u16) -> Self {
        let reason = Bytes::from_static(reason(status).as_bytes());
        Response { status, reason, headers: Headers::default(), body: Body::default() }
    }

    /// The same with another phrase.
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.reason = Value::from(reason).into_bytes();
        self
    }

    /// The phrase as text.
    pub fn reason_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.reason)
    }

    /// Gives To a tag unless it has one; a To that is malformed is left alone (RFC 3261 §8.2.6.2). The tag is
    /// asked for only when it is needed: it may cost a hash or a random number.
    pub fn tag_to<T: AsRef<str>>(&mut self, tag: impl FnOnce() -> T) {
        let Ok(to) = self.headers.to() else { return };
        if to.tag().is_some() {
            return;
        }
        let tagged = tagged(to, self.headers.get(&Name::To).unwrap_or_default(), tag().as_ref());
        self.headers.set(Name::To, tagged);
    }

    /// The tag of To; empty when there is none.
    pub fn to_tag(&self) -> String {
        self.headers.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether the request goes on: 1xx.
    pub const fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// Whether it was granted: 2xx.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Sets the body and its Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
        self.headers.set(Name::ContentType, content_type);
        self.body = Body::from(body.into());
    }
}

/// An address that has no tag, with this tag. What is written already stays so when that is possible.
pub(crate) fn tagged(address: &NameAddr, written: &[u8], tag: &str) -> Bytes {
    let plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    if plain && !address.params.has("tag") && !written.ends_with(b";") {
        return [written, b";tag=", tag.as_bytes()].concat().into();
    }
    let mut address = address.clone();
    address.set_tag(tag);
    Value::from(address).into_bytes()
}
