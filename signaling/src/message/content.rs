//! What a body is, and the part of it that is wanted (RFC 3261 §7.4, §8.2.3, §20.11; RFC 2046 §5.1; RFC 5621).
//!
//! A part that is not understood is ignored when its sender says that it may be, and refused otherwise. Bounded
//! in parts and in depth. Encodings other than the identity are not undone.

use bytes::Bytes;

use super::headers::{Header, Headers};
use super::limits::{PARTS_DEPTH_MAX, PARTS_MAX};
use super::lines::Lines;
use super::name::Name;
use super::params::{Of, Params, only_params};
use super::parse::header_line;
use super::uri::unescape;

/// Its name; only parts have one.
const TRANSFER_ENCODING: &[u8] = b"Content-Transfer-Encoding";
/// The header that says how others refer to a part (RFC 2392 §2, RFC 8262 §1).
const CONTENT_ID: &[u8] = b"Content-ID";

/// Why a body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It, or a part that must be understood, is of another type or encoding: 415.
    #[error("unsupported content")]
    Unsupported,
    /// The boundaries of its parts are missing, or there are more than [`PARTS_MAX`]: 400.
    #[error("malformed multipart body")]
    Malformed,
}

/// A type and its parameters, from a value such as `multipart/mixed;boundary=x`; in lower case.
struct Labelled {
    kind: String,
    params: Params,
}

/// One part of a body: its headers, as far as they are legible, and what follows them.
struct Part {
    headers: Headers,
    body: Bytes,
}

/// What is looked for.
struct Search<'a> {
    /// The headers of the message, which may refer to parts of its body.
    message: &'a Headers,
    /// Its type, in lower case.
    wanted: &'a str,
    /// Parts that may still be looked at.
    left: usize,
}

impl Headers {
    /// The content of type `wanted` (lower case) in the body that these headers describe; `None` when there is none
    /// and nothing else that must be understood. A body without a type is taken for what is wanted.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn content(&self, body: &Bytes, wanted: &str) -> Result<Option<Bytes>, ContentError> {
        if body.is_empty() {
            return Ok(None);
        }
        if !self.has(&Name::ContentType) {
            return Ok(Some(body.clone()));
        }
        Search { message: self, wanted, left: PARTS_MAX }.find(self, body, PARTS_DEPTH_MAX)
    }

    /// Whether the whole body is of type `wanted` (lower case), or says nothing of itself, so that [`Headers::content`]
    /// would give it as it is.
    pub fn is_plain(&self, wanted: &str) -> bool {
        self.has_content_type(wanted) && !self.iter().any(|header| describes(&header.name))
    }

    /// Whether an answer may carry this type (lower case, RFC 3261 §20.1).
    pub fn accepts(&self, kind: &str) -> bool {
        let family = kind.split('/').next().unwrap_or_default();
        let fits = |range: &str| {
            let range = range.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            range == "*/*" || range == kind || range.strip_suffix("/*") == Some(family)
        };
        !self.has(&Name::Accept) || self.tokens(&Name::Accept).any(fits)
    }

    fn labelled(&self, name: &Name) -> Option<Labelled> {
        let text = self.text(name)?;
        let (kind, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let kind = kind.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>().to_ascii_lowercase();
        Some(Labelled { kind, params: only_params(Of::Header, rest)? })
    }

    /// Whether the bytes of the body are the content itself.
    fn is_encoded(&self) -> bool {
        let transfer = self.text(&Name::from_bytes(TRANSFER_ENCODING)).unwrap_or_default();
        ["base64", "quoted-printable"].iter().any(|name| transfer.eq_ignore_ascii_case(name))
            || self.tokens(&Name::ContentEncoding).any(|name| !name.eq_ignore_ascii_case("identity"))
    }

    /// Whether somebody who does not understand the body must not go on (RFC 3261 §20.11: by default). What is only
    /// referred to is nothing to whoever does not follow the reference (RFC 5621 §9.1), also where it does not say so
    /// itself, as a location (RFC 6442 §4.1); `message` has the headers that may refer to it.
    fn is_required(&self, message: &Headers) -> bool {
        let disposition = self.labelled(&Name::ContentDisposition);
        let handling = disposition.as_ref().and_then(|found| found.params.text("handling"));
        match handling {
            Some(handling) if handling.eq_ignore_ascii_case("optional") => false,
            _ if disposition.as_ref().is_some_and(|found| found.kind == "by-reference") => false,
            Some(handling) if handling.eq_ignore_ascii_case("required") => true,
            Some(_) | None => {
                let id = self.text(&Name::from_bytes(CONTENT_ID)).unwrap_or_default();
                let id = id.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
                !id.is_some_and(|id| message.refer_to(id))
            }
        }
    }

    /// Whether one of these headers has the URL (RFC 2392 §2) of the part that has this identifier.
    fn refer_to(&self, id: &str) -> bool {
        let names = |url: &str| {
            let end = url.find(|c: char| c.is_ascii_whitespace() || ">\",;".contains(c)).unwrap_or(url.len());
            url.get(..end).is_some_and(|url| unescape(url) == id)
        };
        self.iter()
            .filter_map(|header| std::str::from_utf8(&header.value).ok())
            .any(|value| value.split("cid:").skip(1).any(names))
    }

    /// RFC 3959: a description of early media is not that of the session.
    fn is_of_session(&self) -> bool {
        self.labelled(&Name::ContentDisposition).is_none_or(|found| found.kind != "early-session")
    }
}

/// Whether a header says of a body what its type does not.
fn describes(name: &Name) -> bool {
    matches!(name, Name::ContentEncoding | Name::ContentDisposition)
        || matches!(name, Name::Other(other) if other.as_bytes().eq_ignore_ascii_case(TRANSFER_ENCODING))
}

impl Search<'_> {
    fn find(&mut self, headers: &Headers, body: &Bytes, depth: usize) -> Result<Option<Bytes>, ContentError> {
        let found = match headers.labelled(&Name::ContentType) {
            Some(Labelled { kind, .. })
                if kind == self.wanted && !headers.is_encoded() && headers.is_of_session() =>
            {
                return Ok(Some(body.clone()));
            }
            Some(Labelled { kind, params }) if kind.starts_with("multipart/") && !headers.is_encoded() => {
                let boundary = params.text("boundary").filter(|text| !text.is_empty());
                let boundary = boundary.ok_or(ContentError::Malformed)?;
                let depth = depth.checked_sub(1).ok_or(ContentError::Malformed)?;
                let parts = parts(body, &boundary, &mut self.left)?;
                match kind.as_str() {
                    "multipart/alternative" => self.find_last(&parts, depth),
                    // RFC 2046 §5.1.7: what is not known is treated as mixed.
                    _ => self.find_first(&parts, depth),
                }
            }
            Some(_) | None => Err(ContentError::Unsupported),
        };
        match found {
            Err(ContentError::Unsupported) if !headers.is_required(self.message) => Ok(None),
            found => found,
        }
    }

    /// The first that is wanted; every other must be dispensable.
    fn find_first(&mut self, parts: &[Part], depth: usize) -> Result<Option<Bytes>, ContentError> {
        let mut first = None;
        for part in parts {
            let found = self.find(&part.headers, &part.body, depth)?;
            first = first.or(found);
        }
        Ok(first)
    }

    /// RFC 2046 §5.1.4: the last that is understood is the best, and the others do not matter.
    fn find_last(&mut self, parts: &[Part], depth: usize) -> Result<Option<Bytes>, ContentError> {
        let mut last = Err(ContentError::Unsupported);
        for part in parts {
            match self.find(&part.headers, &part.body, depth) {
                Ok(found @ Some(_)) => last = Ok(found),
                Ok(None) | Err(ContentError::Unsupported) => {}
                Err(malformed @ ContentError::Malformed) => return Err(malformed),
            }
        }
        last
    }
}

/// What stands between the boundaries. What is before the first and after the last is for nobody.
fn parts(body: &Bytes, boundary: &str, left: &mut usize) -> Result<Vec<Part>, ContentError> {
    let (mut parts, mut begun, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line.len();
        let Some(last) = delimiter(line, boundary) else { continue };
        if let Some(begun) = begun.replace(at) {
            *left = left.checked_sub(1).ok_or(ContentError::Malformed)?;
            parts.push(part(body, begun, start).ok_or(ContentError::Malformed)?);
        }
        if last {
            return Ok(parts);
        }
    }
    Err(ContentError::Malformed)
}

/// Whether a line parts the body, and if so, whether nothing follows.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    match rest.trim_ascii_end() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// The part from `begun` to the boundary at `end`; the line end before that belongs to the boundary.
fn part(body: &Bytes, begun: usize, end: usize) -> Option<Part> {
    let text = body.get(begun..end)?;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = body.slice_ref(text.strip_suffix(b"\r").unwrap_or(text));
    // An empty line at once: there are no headers.
    let empty = [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.starts_with(end));
    if let Some(empty) = empty {
        return Some(Part { headers: Headers::new(), body: text.slice(empty.len()..) });
    }
    let mut lines = Lines::new(&text);
    let headers = lines.by_ref().filter_map(|line| header_line(&text, line));
    let headers = headers.map(|(name, value)| Header { name, value }).collect();
    let body = lines.body.map_or(Bytes::new(), |at| text.slice(at..));
    Some(Part { headers, body })
}
