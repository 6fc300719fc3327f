//! What is wrong with bytes that are no SIP message, and what is owed for them.

use bytes::Bytes;

use super::limits::{HEADERS_MAX, LINE_MAX, MESSAGE_MAX};
use super::lines::Lines;
use super::method::Method;
use super::name::Name;
use super::parse::header_name;
use super::{Headers, Response};

/// What is wrong. The sender is at fault in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1).
    #[error("no message")]
    Empty,
    /// The first line is not one of SIP.
    #[error("not a SIP start line")]
    NotSip,
    /// It wants to be a request but its line is malformed.
    #[error("malformed request line")]
    RequestLine,
    /// Another version than 2.0.
    #[error("SIP version is not 2.0")]
    Version,
    /// Longer than [`MESSAGE_MAX`].
    #[error("message of {0} bytes, at most {MESSAGE_MAX} are read")]
    MessageTooLong(usize),
    /// The start line is longer than [`LINE_MAX`].
    #[error("start line of {0} bytes, at most {LINE_MAX} are read")]
    StartLineTooLong(usize),
    /// A header line is longer than [`LINE_MAX`].
    #[error("header line of {0} bytes, at most {LINE_MAX} are read")]
    HeaderTooLong(usize),
    /// There are more header lines than [`HEADERS_MAX`].
    #[error("more than {HEADERS_MAX} header lines")]
    TooManyHeaders,
    /// A header line without a name or a colon, or with a bare CR. Counted from 1, the start line is 0.
    #[error("header line {0} is malformed")]
    HeaderLine(usize),
    /// The empty line after the headers is missing.
    #[error("the head has no end")]
    NoEnd,
    /// Content-Length is not a number.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Content-Length is given twice.
    #[error("Content-Length is given twice")]
    ContentLengthTwice,
    /// The body is shorter than Content-Length says (RFC 3261 §18.3).
    #[error("body of {present} bytes, Content-Length is {declared}")]
    BodyTooShort {
        /// Bytes that Content-Length promised.
        declared: usize,
        /// Bytes that arrived.
        present: usize,
    },
}

impl Fault {
    /// The status that a request with this fault is owed.
    pub const fn status(&self) -> u16 {
        match self {
            Fault::Version => 505,
            Fault::MessageTooLong(_) | Fault::HeaderTooLong(_) | Fault::TooManyHeaders => 513,
            Fault::StartLineTooLong(_) => 414,
            Fault::Empty
            | Fault::NotSip
            | Fault::RequestLine
            | Fault::HeaderLine(_)
            | Fault::NoEnd
            | Fault::ContentLength
            | Fault::ContentLengthTwice
            | Fault::BodyTooShort { .. } => 400,
        }
    }

    /// What a reason phrase says about it.
    const fn phrase(&self) -> &'static str {
        match self {
            Fault::Empty | Fault::NotSip => "Bad Request",
            Fault::RequestLine => "Malformed Request Line",
            Fault::Version => "Version Not Supported",
            Fault::MessageTooLong(_) => "Message Too Large",
            Fault::StartLineTooLong(_) => "Request-URI Too Long",
            Fault::HeaderTooLong(_) => "Header Too Large",
            Fault::TooManyHeaders => "Too Many Headers",
            Fault::HeaderLine(_) => "Malformed Header Line",
            Fault::NoEnd => "Message Truncated",
            Fault::ContentLength => "Malformed Content-Length",
            Fault::ContentLengthTwice => "Repeated Content-Length",
            Fault::BodyTooShort { .. } => "Body Shorter Than Content-Length",
        }
    }
}

/// Bytes that are no SIP message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong.
    pub fault: Fault,
    /// Whether it is a request, ACK excepted: whether it is owed an answer at all.
    pub answerable: bool,
}

impl ParseError {
    /// The status owed; `None` when nothing is: for responses, ACK, and what is not SIP.
    pub const fn owed(&self) -> Option<u16> {
        if self.answerable { Some(self.fault.status()) } else { None }
    }

    /// The answer owed, if the datagram still has what an answer must echo: Via, and From, To, Call-ID
    /// and CSeq once each. Stateless, so the To tag is the same each time (RFC 3261 §8.2.7).
    pub fn reply(&self, datagram: &Bytes) -> Option<Response> {
        let status = self.owed()?;
        let echoed = echo(datagram)?;
        let mut answer = Response::bare(status);
        answer.reason = Bytes::from_static(self.fault.phrase().as_bytes());
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            let times = echoed.all(&name).count();
            if times == 0 || (times > 1 && name != Name::Via) {
                return None;
            }
            answer.headers.copy(&name, &echoed);
        }
        answer.tag_to(|| stateless_tag(&echoed));
        // What nobody could read again is no answer.
        answer.headers.iter().all(|header| header.printed_len() <= LINE_MAX).then_some(answer)
    }
}

/// The headers that an answer echoes, from a message that is malformed elsewhere.
fn echo(datagram: &Bytes) -> Option<Headers> {
    let mut found = Headers::new();
    for line in Lines::new(datagram.get(..datagram.len().min(MESSAGE_MAX))?).skip(1).take(HEADERS_MAX) {
        let Some((name, value)) = header_name(line.text) else { continue };
        if matches!(name, Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq) {
            found.push(name, datagram.slice_ref(value));
        }
    }
    Some(found)
}

/// A tag that depends on the request alone (FNV-1a over its topmost Via and Call-ID). Nothing rests on
/// its being unguessable: no dialog comes of it.
fn stateless_tag(headers: &Headers) -> String {
    let seed = [Name::Via, Name::CallId].map(|name| headers.get(&name).unwrap_or_default().to_vec()).concat();
    let hash = seed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Whether a request of this method is ever answered (RFC 3261 §17.1.1.3).
pub(super) fn is_answered(method: &Method) -> bool {
    *method != Method::Ack
}
