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

/// Its name; only parts have one.
const TRANSFER_ENCODING: &[u8] = b"Content-Transfer-Encoding";

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

/// Parts that may still be looked at.
struct Left(usize);

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
        find(self, body, wanted, PARTS_DEPTH_MAX, &mut Left(PARTS_MAX))
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

    /// Whether somebody who does not understand the body must not go on (RFC 3261 §20.11: by default).
    fn is_required(&self) -> bool {
        let Some(Labelled { kind, params }) = self.labelled(&Name::ContentDisposition) else { return true };
        let handling = params.text("handling").unwrap_or_default();
        // RFC 5621 §9.1: what is only referred to is nothing to whoever does not follow the reference.
        kind != "by-reference" && !handling.eq_ignore_ascii_case("optional")
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

fn find(
    headers: &Headers,
    body: &Bytes,
    wanted: &str,
    depth: usize,
    left: &mut Left,
) -> Result<Option<Bytes>, ContentError> {
    let found = match headers.labelled(&Name::ContentType) {
        Some(Labelled { kind, .. }) if kind == wanted && !headers.is_encoded() && headers.is_of_session() => {
            return Ok(Some(body.clone()));
        }
        Some(Labelled { kind, params }) if kind.starts_with("multipart/") && !headers.is_encoded() => {
            let boundary = params.text("boundary").filter(|text| !text.is_empty());
            let boundary = boundary.ok_or(ContentError::Malformed)?;
            let depth = depth.checked_sub(1).ok_or(ContentError::Malformed)?;
            let parts = parts(body, &boundary, left)?;
            match kind.as_str() {
                "multipart/alternative" => find_last(&parts, wanted, depth, left),
                // RFC 2046 §5.1.7: what is not known is treated as mixed.
                _ => find_first(&parts, wanted, depth, left),
            }
        }
        Some(_) | None => Err(ContentError::Unsupported),
    };
    match found {
        Err(ContentError::Unsupported) if !headers.is_required() => Ok(None),
        found => found,
    }
}

/// The first that is wanted; every other must be dispensable.
fn find_first(
    parts: &[Part],
    wanted: &str,
    depth: usize,
    left: &mut Left,
) -> Result<Option<Bytes>, ContentError> {
    let mut first = None;
    for part in parts {
        let found = find(&part.headers, &part.body, wanted, depth, left)?;
        first = first.or(found);
    }
    Ok(first)
}

/// RFC 2046 §5.1.4: the last that is understood is the best, and the others do not matter.
fn find_last(
    parts: &[Part],
    wanted: &str,
    depth: usize,
    left: &mut Left,
) -> Result<Option<Bytes>, ContentError> {
    let mut last = Err(ContentError::Unsupported);
    for part in parts {
        match find(&part.headers, &part.body, wanted, depth, left) {
            Ok(found @ Some(_)) => last = Ok(found),
            Ok(None) | Err(ContentError::Unsupported) => {}
            Err(malformed @ ContentError::Malformed) => return Err(malformed),
        }
    }
    last
}

/// What stands between the boundaries. What is before the first and after the last is for nobody.
fn parts(body: &Bytes, boundary: &str, left: &mut Left) -> Result<Vec<Part>, ContentError> {
    let (mut parts, mut begun, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line.len();
        let Some(last) = delimiter(line, boundary) else { continue };
        if let Some(begun) = begun.replace(at) {
            left.0 = left.0.checked_sub(1).ok_or(ContentError::Malformed)?;
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
