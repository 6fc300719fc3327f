//! Typed views of the headers that the stack reads. Those of every message are parsed once and kept with
//! its headers; the others parse when they are asked for.

use std::borrow::Cow;
use std::time::Duration;

use super::addr::{ContactList, NameAddr};
use super::auth_params::AuthParams;
use super::cseq::CSeq;
use super::grammar::Malformed;
use super::headers::Headers;
use super::limits::ELEMENTS_MAX;
use super::name::Name;
use super::uri::Uri;
use super::via::Via;
use super::{Message, Request, Response};

/// The Max-Forwards of every request of ours (RFC 3261 §8.1.1.6).
pub(crate) const MAX_FORWARDS: &[u8] = b"70";
/// What a request without Max-Forwards has (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS_DEFAULT: u8 = 70;

/// A header that was asked for and cannot be had; in a request it owes 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is none.
    #[error("missing {0}")]
    Missing(Name),
    /// It does not follow its grammar, or its list has too many elements.
    #[error("malformed {0}")]
    Malformed(Name),
}

/// `delta-seconds`; more than fits is the most that fits (RFC 3261 §20.19). `None` if not a number.
pub(crate) fn delta_seconds(text: &str) -> Option<u32> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

impl Headers {
    fn required(&self, name: &Name) -> Result<&[u8], HeaderError> {
        self.get(name).ok_or_else(|| HeaderError::Missing(name.clone()))
    }

    fn address(&self, name: &Name) -> Result<NameAddr, HeaderError> {
        parse_with(name, self.required(name)?, NameAddr::parse)
    }

    /// Every element of a list through one parser. More than [`ELEMENTS_MAX`] are malformed.
    pub(super) fn list<T>(
        &self,
        name: &Name,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, HeaderError> {
        let all = self.all(name).flat_map(super::grammar::elements).take(ELEMENTS_MAX + 1);
        let parsed: Vec<T> = all.map(|one| parse_with(name, one, &parse)).collect::<Result<_, _>>()?;
        if parsed.len() > ELEMENTS_MAX {
            return Err(HeaderError::Malformed(name.clone()));
        }
        Ok(parsed)
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<&Via, HeaderError> {
        self.views().via.or_parse(|| {
            let top = self.elements(&Name::Via).next().ok_or(HeaderError::Missing(Name::Via))?;
            parse_with(&Name::Via, top, Via::parse)
        })
    }

    /// Every Via, topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.list(&Name::Via, Via::parse)
    }

    /// From.
    pub fn from(&self) -> Result<&NameAddr, HeaderError> {
        self.views().from.or_parse(|| self.address(&Name::From))
    }

    /// To.
    pub fn to(&self) -> Result<&NameAddr, HeaderError> {
        self.views().to.or_parse(|| self.address(&Name::To))
    }

    /// Call-ID; compared with case (RFC 3261 §20.8).
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let text = std::str::from_utf8(self.required(&Name::CallId)?).ok();
        text.filter(|text| !text.is_empty()).ok_or(HeaderError::Malformed(Name::CallId))
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<&CSeq, HeaderError> {
        let parse = || parse_with(&Name::CSeq, self.required(&Name::CSeq)?, CSeq::parse);
        self.views().cseq.or_parse(parse)
    }

    /// The contacts; an empty list when there is none. `*` beside others is malformed (RFC 3261 §10.3).
    pub fn contacts(&self) -> Result<ContactList, HeaderError> {
        let mut all = self.elements(&Name::Contact);
        if self.elements(&Name::Contact).any(|one| one == b"*") {
            let alone = all.next().is_some() && all.next().is_none();
            return if alone { Ok(ContactList::Star) } else { Err(HeaderError::Malformed(Name::Contact)) };
        }
        Ok(ContactList::List(self.list(&Name::Contact, NameAddr::parse)?))
    }

    /// The only or first contact of a request that makes a dialog, or of its answer.
    pub fn contact(&self) -> Result<&NameAddr, HeaderError> {
        self.views().contact.or_parse(|| {
            let first = self.elements(&Name::Contact).next().ok_or(HeaderError::Missing(Name::Contact))?;
            parse_with(&Name::Contact, first, NameAddr::parse)
        })
    }

    /// The addresses of Route, Record-Route, Path or Service-Route, topmost first.
    pub fn routes(&self, name: &Name) -> Result<Vec<NameAddr>, HeaderError> {
        self.list(name, NameAddr::parse)
    }

    /// Max-Forwards, [`MAX_FORWARDS_DEFAULT`] when there is none.
    pub fn max_forwards(&self) -> Result<u8, HeaderError> {
        let Some(value) = self.get(&Name::MaxForwards) else { return Ok(MAX_FORWARDS_DEFAULT) };
        let text = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
        text.and_then(|text| text.parse().ok()).ok_or(HeaderError::Malformed(Name::MaxForwards))
    }

    /// The value of a header up to its parameters.
    pub(crate) fn bare(&self, name: &Name) -> Option<&str> {
        self.text(name)?.split(';').next().map(str::trim)
    }

    /// Retry-After, without its comment (RFC 3261 §20.33); `None` when there is none that is a number.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.text(&Name::RetryAfter)?.trim_start();
        let digits = text.split(|letter: char| !letter.is_ascii_digit()).next()?;
        let seconds: u32 = digits.parse().ok()?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Expires, seconds; `None` when there is none that is a number.
    pub fn expires(&self) -> Option<u32> {
        delta_seconds(self.text(&Name::Expires)?)
    }

    /// Whether the media type of the body, without its parameters, is this one (`application/sdp`, in lower
    /// case), or is not said.
    pub fn has_content_type(&self, kind: &str) -> bool {
        let Some(said) = self.get(&Name::ContentType) else { return true };
        let said = said.split(|byte| *byte == b';').next().unwrap_or_default().iter();
        said.filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).eq(kind.bytes())
    }

    /// The challenges or credentials of this name, a line each; lines that are malformed are left out.
    pub fn auth(&self, name: &Name) -> impl Iterator<Item = AuthParams> {
        self.all(name).filter_map(|line| AuthParams::parse(std::str::from_utf8(line).ok()?).ok())
    }
}

/// Bytes that are not UTF-8 become U+FFFD in the view; the message keeps them.
fn parse_with<T>(
    name: &Name,
    value: &[u8],
    parse: impl Fn(&str) -> Result<T, Malformed>,
) -> Result<T, HeaderError> {
    #[cfg(test)]
    super::work::look(value.len());
    let text: Cow<'_, str> = String::from_utf8_lossy(value);
    parse(&text).map_err(|Malformed(_)| HeaderError::Malformed(name.clone()))
}

macro_rules! views {
    ($type:ty, $self:ident, $headers:expr) => {
        impl $type {
            /// The topmost Via.
            pub fn via(&$self) -> Result<&Via, HeaderError> {
                $headers.via()
            }

            /// Call-ID.
            pub fn call_id(&$self) -> Result<&str, HeaderError> {
                $headers.call_id()
            }

            /// CSeq.
            pub fn cseq(&$self) -> Result<&CSeq, HeaderError> {
                $headers.cseq()
            }

            /// The contacts.
            pub fn contacts(&$self) -> Result<ContactList, HeaderError> {
                $headers.contacts()
            }

            /// The first contact.
            pub fn contact(&$self) -> Result<&NameAddr, HeaderError> {
                $headers.contact()
            }

            /// Expires, seconds.
            pub fn expires(&$self) -> Option<u32> {
                $headers.expires()
            }

            /// The addresses of Route, Record-Route, Path or Service-Route, topmost first.
            pub fn routes(&$self, name: &Name) -> Result<Vec<NameAddr>, HeaderError> {
                $headers.routes(name)
            }
        }
    };
}

views!(Request, self, self.headers);
views!(Response, self, self.headers);
views!(Message, self, self.headers());

// `Message::from` and `Response::to` make one; these views are had from their headers.
impl Response {
    /// From.
    pub fn from(&self) -> Result<&NameAddr, HeaderError> {
        self.headers.from()
    }
}

impl Request {
    /// From.
    pub fn from(&self) -> Result<&NameAddr, HeaderError> {
        self.headers.from()
    }

    /// To.
    pub fn to(&self) -> Result<&NameAddr, HeaderError> {
        self.headers.to()
    }

    /// Where requests go within the dialog that this one makes (RFC 3261 §12.1.1): to its Contact. Peers of RFC 2543
    /// need not have one; they are reached at the address in From (RFC 4475 §3.4.1).
    pub fn dialog_target(&self) -> Result<Cow<'_, Uri>, HeaderError> {
        match self.contact() {
            Err(HeaderError::Missing(_)) if !self.via()?.has_cookie() => Ok(self.from()?.uri.as_target()),
            contact => Ok(contact?.uri.as_target()),
        }
    }

    /// Max-Forwards, [`MAX_FORWARDS_DEFAULT`] when there is none.
    pub fn max_forwards(&self) -> Result<u8, HeaderError> {
        self.headers.max_forwards()
    }
}
