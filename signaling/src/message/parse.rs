//! Bytes to messages (RFC 3261 §7). Refuses only what it could not represent, or what two readers
//! could understand in two ways; [`Request::check`](super::Request::check) judges the rest.

use bytes::Bytes;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while, take_while1};
use nom::character::complete::{char as mark, digit1};
use nom::combinator::{all_consuming, rest, verify};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

use super::error::{Fault, ParseError, is_answered};
use super::grammar::is_token;
use super::headers::{Header, Headers};
use super::limits::{HEADERS_MAX, LINE_MAX, MESSAGE_MAX};
use super::lines::{Line, Lines};
use super::method::Method;
use super::name::Name;
use super::value::RawUri;
use super::{Message, Request, Response};

/// Room for the headers of a usual message.
const HEADERS_USUAL: usize = 24;

type Piece<'a, T> = IResult<&'a [u8], T, ()>;

/// A start line, understood.
enum Start {
    Request(Method, RawUri),
    Response(u16, Bytes),
}

impl Message {
    /// Parses one whole message: a datagram, or what the framing of a stream cut out.
    ///
    /// Without Content-Length the body is the rest; beyond Content-Length bytes are cut off; fewer
    /// bytes than Content-Length are an error (RFC 3261 §18.3).
    pub fn parse(datagram: Bytes) -> Result<Message, ParseError> {
        let mut lines = Lines::new(&datagram);
        let Some(first) = lines.next() else {
            return Err(ParseError { fault: Fault::Empty, answerable: false });
        };
        let start = start_line(&datagram, first)?;
        let answerable = match &start {
            Start::Request(method, _) => is_answered(method),
            Start::Response(..) => false,
        };
        let (headers, body) =
            head(&datagram, &mut lines).map_err(|fault| ParseError { fault, answerable })?;
        Ok(match start {
            Start::Request(method, uri) => {
                Message::Request(Request { method, uri, headers, body: body.into() })
            }
            Start::Response(status, reason) => {
                Message::Response(Response { status, reason, headers, body: body.into() })
            }
        })
    }
}

/// The Content-Length of a head, for the framing of streams; `None` when it has none.
pub fn content_length(head: &[u8]) -> Result<Option<usize>, Fault> {
    let mut found = None;
    for line in Lines::new(head).skip(1) {
        let Some((Name::ContentLength, value)) = header_name(line.text) else { continue };
        if found.replace(declared(value)?).is_some() {
            return Err(Fault::ContentLengthTwice);
        }
    }
    Ok(found)
}

/// A header line's name and value, still folded. A name is a token; blanks alone may stand between it
/// and the colon (RFC 3261 §7.3.1), so that no reader sees a header where we see none.
pub(super) fn header_name(line: &[u8]) -> Option<(Name, &[u8])> {
    #[cfg(test)]
    super::work::look(line.len());
    let name = take_while1(|byte| is_token(char::from(byte)));
    let blanks = take_while(|byte| matches!(byte, b' ' | b'\t'));
    let colon: Piece<'_, _> = separated_pair(name, (blanks, mark(':')), rest).parse(line);
    let (_, (name, value)) = colon.ok()?;
    Some((Name::from_bytes(name), value.trim_ascii()))
}

fn start_line(datagram: &Bytes, line: Line<'_>) -> Result<Start, ParseError> {
    let fault = |fault, answerable| Err(ParseError { fault, answerable });
    if let Ok((_, (status, reason))) = status_line(line.text) {
        if line.text.len() > LINE_MAX || datagram.len() > MESSAGE_MAX {
            return fault(Fault::StartLineTooLong(line.text.len()), false);
        }
        return Ok(Start::Response(status, datagram.slice_ref(reason)));
    }
    let Ok((_, RequestLine { method, uri, version })) = request_line(line.text) else {
        return fault(Fault::NotSip, false);
    };
    let method = Method::from_token(&String::from_utf8_lossy(method));
    let answerable = is_answered(&method);
    if datagram.len() > MESSAGE_MAX {
        return fault(Fault::MessageTooLong(datagram.len()), answerable);
    }
    if line.text.len() > LINE_MAX {
        return fault(Fault::StartLineTooLong(line.text.len()), answerable);
    }
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return fault(Fault::Version, answerable);
    }
    match RawUri::from_line(datagram.slice_ref(uri)) {
        Some(uri) => Ok(Start::Request(method, uri)),
        None => fault(Fault::RequestLine, answerable),
    }
}

/// `SIP/2.0 200 OK`; the phrase and the blank before it may be missing.
fn status_line(line: &[u8]) -> Piece<'_, (u16, &[u8])> {
    let code = verify(digit1, |digits: &[u8]| digits.len() == 3)
        .map(|digits: &[u8]| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')));
    let known = verify(code, |code| (100..700).contains(code));
    let phrase = alt((preceded(mark(' '), take_while(|byte| byte != b'\r')), tag("")));
    all_consuming(preceded((tag_no_case("SIP/2.0"), mark(' ')), (known, phrase))).parse(line)
}

/// The pieces of a request line, as they stand.
struct RequestLine<'a> {
    method: &'a [u8],
    uri: &'a [u8],
    version: &'a [u8],
}

/// `INVITE sip:bob@example.com SIP/2.0`: the URI is what stands between the first and the last blank,
/// to be judged later, so that a malformed one is still answered.
fn request_line(line: &[u8]) -> Piece<'_, RequestLine<'_>> {
    let method = take_while1(|byte| is_token(char::from(byte)));
    let (after, (method, _)) = (method, mark(' ')).parse(line)?;
    let after = after.trim_ascii_end();
    let blank = after.iter().rposition(|byte| *byte == b' ').ok_or(nom::Err::Error(()))?;
    let (uri, version) = after.split_at(blank);
    let number = take_while1(|byte: u8| byte.is_ascii_digit() || byte == b'.');
    let (rest, _) = all_consuming((tag_no_case(" SIP/"), number)).parse(version)?;
    Ok((rest, RequestLine { method, uri, version: version.trim_ascii_start() }))
}

/// The headers and the body.
fn head(datagram: &Bytes, lines: &mut Lines<'_>) -> Result<(Headers, Bytes), Fault> {
    let mut headers = Vec::with_capacity(HEADERS_USUAL);
    // Content-Length is not counted: what we print has one even when what came had none.
    let mut counted = 0;
    let mut length = None;
    for line in lines.by_ref() {
        if line.text.len() > LINE_MAX {
            return Err(Fault::HeaderTooLong(line.text.len()));
        }
        let (name, value) = header_line(datagram, line).ok_or(Fault::HeaderLine(headers.len() + 1))?;
        if name != Name::ContentLength {
            counted += 1;
        } else if length.replace(declared(&value)?).is_some() {
            return Err(Fault::ContentLengthTwice);
        }
        if counted > HEADERS_MAX {
            return Err(Fault::TooManyHeaders);
        }
        let header = Header { name, value };
        // What is compact must be short enough to be printed, too.
        if header.printed_len() > LINE_MAX {
            return Err(Fault::HeaderTooLong(header.printed_len()));
        }
        headers.push(header);
    }
    let rest = datagram.slice(lines.body.ok_or(Fault::NoEnd)?..);
    Ok((headers.into(), body(rest, length)?))
}

/// A header line of `message`, unfolded.
pub(super) fn header_line(message: &Bytes, line: Line<'_>) -> Option<(Name, Bytes)> {
    let (name, value) = header_name(line.text)?;
    let value = if line.folded { unfold(value) } else { message.slice_ref(value) };
    // A CR that ends no line would end one for another reader.
    (!value.contains(&b'\r')).then_some((name, value))
}

/// The body as Content-Length says; without it, all of the rest (RFC 3261 §18.3).
fn body(mut rest: Bytes, length: Option<usize>) -> Result<Bytes, Fault> {
    match length {
        Some(declared) if declared > rest.len() => Err(Fault::BodyTooShort { declared, present: rest.len() }),
        Some(declared) => {
            rest.truncate(declared);
            Ok(rest)
        }
        None => Ok(rest),
    }
}

/// Digits alone: no sign, no list. A number too large for any message saturates.
fn declared(value: &[u8]) -> Result<usize, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0, |number: usize, digit| number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))))
}

/// Joins continuation lines with one space each (RFC 3261 §7.3.1).
fn unfold(value: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(value.len());
    for piece in value.split(|byte| *byte == b'\n') {
        let piece = piece.strip_suffix(b"\r").unwrap_or(piece).trim_ascii();
        if !out.is_empty() && !piece.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(piece);
    }
    out.into()
}
