//! What can be written as a header's value or as a request URI.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::addr::{ContactList, NameAddr};
use super::auth_params::AuthParams;
use super::cseq::CSeq;
use super::grammar::Malformed;
use super::method::Method;
use super::uri::Uri;
use super::via::Via;
use super::write::Print;

/// A header's value on its way into a message. Line ends and NUL become spaces: no text that we were
/// handed can start a header of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// Its bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Whether a byte could end a header line.
const fn breaks_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        if !bytes.iter().any(|byte| breaks_line(*byte)) {
            return Value(bytes);
        }
        Value(bytes.iter().map(|byte| if breaks_line(*byte) { b' ' } else { *byte }).collect())
    }
}

impl From<&'static [u8]> for Value {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Bytes::copy_from_slice(text.as_bytes()).into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Bytes::copy_from_slice(text.as_bytes()).into()
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

macro_rules! printed {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                value.to_string().into()
            }
        }

        impl From<&$type> for Value {
            fn from(value: &$type) -> Self {
                value.to_string().into()
            }
        }
    )*};
}

printed!(u8, u16, u32, u64, usize, ContactList, AuthParams, Method);

macro_rules! appended {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                value.printed().into()
            }
        }

        impl From<&$type> for Value {
            fn from(value: &$type) -> Self {
                value.printed().into()
            }
        }
    )*};
}

appended!(Uri, NameAddr, Via, CSeq);

/// A request URI as it was written, in one piece: never a space or a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RawUri(Bytes);

impl RawUri {
    /// From the bytes of a request line; `None` when they are empty, not UTF-8, or could not stand there.
    pub(crate) fn from_line(bytes: Bytes) -> Option<RawUri> {
        let fits = !bytes.is_empty() && bytes.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        (fits && std::str::from_utf8(&bytes).is_ok()).then_some(RawUri(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it asks for TLS all the way (RFC 3261 §19.1).
    pub fn is_sips(&self) -> bool {
        self.0.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
    }

    /// The typed view.
    pub fn parse(&self) -> Result<Uri, Malformed> {
        Uri::parse(self.as_str())
    }
}

impl std::fmt::Display for RawUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Blanks and control characters are escaped as `%20`.
impl From<&str> for RawUri {
    fn from(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if c <= ' ' || c == '\x7f' {
                clean.push_str(&format!("%{:02X}", u32::from(c)));
            } else {
                clean.push(c);
            }
        }
        RawUri(clean.into())
    }
}

impl From<String> for RawUri {
    fn from(text: String) -> Self {
        match text.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
            true => RawUri(text.into()),
            false => text.as_str().into(),
        }
    }
}

impl From<&Uri> for RawUri {
    fn from(uri: &Uri) -> Self {
        uri.printed().into()
    }
}

impl From<Uri> for RawUri {
    fn from(uri: Uri) -> Self {
        uri.printed().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_we_write_can_break_its_line() {
        assert_eq!(Value::from("a\r\nVia: x\0").into_bytes(), "a  Via: x ");
        assert_eq!(RawUri::from("sip:a b@h\r\nX").as_str(), "sip:a%20b@h%0D%0AX");
        assert_eq!(RawUri::from_line(Bytes::from_static(b"sip:a b")), None);
        assert_eq!(RawUri::from_line(Bytes::from_static(b"")), None);
        assert_eq!(RawUri::from_line(Bytes::from_static(b"\xff")), None);
    }
}
