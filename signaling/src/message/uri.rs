//! URIs (RFC 3261 §19.1, RFC 3966), kept as they were written.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{opt, rest, verify};
use nom::sequence::{preceded, terminated};
use serde::{Deserialize, Serialize};

use super::grammar::{Malformed, Parsed};
use super::host::{Host, host_port, push_host_port};
use super::params::{Of, Params, only_params, params};
use super::write::Print;

/// A URI's scheme, compared without case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other, in lower case.
    Other(String),
}

impl Scheme {
    /// Without its colon.
    pub fn as_str(&self) -> &str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
            Scheme::Other(scheme) => scheme,
        }
    }

    fn new(text: &str) -> Scheme {
        match text.to_ascii_lowercase().as_str() {
            "sip" => Scheme::Sip,
            "sips" => Scheme::Sips,
            "tel" => Scheme::Tel,
            other => Scheme::Other(other.to_owned()),
        }
    }

    /// Whether it has a user, a host and a port.
    pub const fn is_sip(&self) -> bool {
        matches!(self, Scheme::Sip | Scheme::Sips)
    }
}

/// A URI. `==` compares what is written (hosts without case); [`Uri::matches`] compares as the RFC says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// What kind it is.
    pub scheme: Scheme,
    /// The user with its escapes. For `tel:` the number as written, for an unknown scheme everything
    /// after the colon.
    pub user: Option<String>,
    /// The password with its escapes.
    pub password: Option<String>,
    /// The host; an empty name unless the scheme is sip or sips.
    pub host: Host,
    /// The port, if it is written.
    pub port: Option<u16>,
    /// The parameters of a sip, sips or tel URI.
    pub params: Params,
    /// What follows the question mark, as written.
    pub headers: Option<String>,
}

impl Uri {
    /// `sip:user@host:port`; the user is escaped where it must be.
    pub fn sip(user: Option<&str>, host: impl Into<Host>, port: Option<u16>) -> Uri {
        Uri {
            scheme: Scheme::Sip,
            user: user.filter(|user| !user.is_empty()).map(escape_user),
            password: None,
            host: host.into(),
            port,
            params: Params::new(),
            headers: None,
        }
    }

    /// From text that is nothing but a URI.
    pub fn parse(text: &str) -> Result<Uri, Malformed> {
        let wrong = Malformed("URI");
        let (after, scheme) = scheme(text).map_err(|_| wrong)?;
        let uri = match scheme {
            Scheme::Sip | Scheme::Sips => match sip(scheme, after) {
                Ok(("", uri)) => Some(uri),
                _ => None,
            },
            Scheme::Tel => tel(after),
            Scheme::Other(_) => opaque(scheme, after),
        };
        uri.ok_or(wrong)
    }

    /// The same as it may stand in a request line: without headers and without `method` (RFC 3261 §19.1.1, §19.1.5).
    /// Headers that a peer hides in an address are not honored: they could make us say anything to anybody.
    pub fn as_target(&self) -> Cow<'_, Uri> {
        if self.headers.is_none() && !self.params.has("method") {
            return Cow::Borrowed(self);
        }
        let mut target = self.clone();
        target.headers = None;
        target.params.remove("method");
        Cow::Owned(target)
    }

    /// The user with its escapes undone; for `tel:` the number without its visual separators
    /// (RFC 3966 §5.1.1).
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        let user = self.user.as_deref()?;
        if self.scheme == Scheme::Tel && user.contains(['-', '.', '(', ')']) {
            return Some(user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect());
        }
        Some(unescape(user))
    }

    /// A parameter's value; `None` also when it has none.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// A parameter without its escapes.
    pub fn param_decoded(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(unescape)
    }

    /// The first header of this name that a request to it should have, with its escapes undone.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let headers = self.headers.as_deref()?.split('&').filter_map(|header| header.split_once('='));
        let mut named = headers.filter(|(found, _)| unescape(found).eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| unescape(value))
    }

    /// Sets a parameter; what may not stand there is escaped.
    pub fn set_param(&mut self, name: &str, value: &str) {
        self.params.set(name, &escape(value, is_param));
    }

    /// Whether it asks for a `lr` next hop (RFC 3261 §19.1.1).
    pub fn is_loose(&self) -> bool {
        self.params.has("lr")
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4).
    pub fn matches(&self, other: &Uri) -> bool {
        let same_user = match self.scheme {
            Scheme::Sip | Scheme::Sips | Scheme::Tel => self.user_decoded() == other.user_decoded(),
            Scheme::Other(_) => self.user == other.user,
        };
        let password = |uri: &Uri| uri.password.as_deref().map(|text| unescape(text).into_owned());
        self.scheme == other.scheme
            && same_user
            && password(self) == password(other)
            && self.host == other.host
            && self.port == other.port
            && params_match(&self.params, &other.params)
            && params_match(&other.params, &self.params)
            && sorted_headers(self) == sorted_headers(other)
    }
}

/// Whether no parameter of `a` contradicts `b`: those in both are equal, and those that never have a
/// default are not in one alone (RFC 3261 §19.1.4). Of those given twice the first counts.
fn params_match(a: &Params, b: &Params) -> bool {
    const NEVER_ALONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    a.iter().all(|(name, _)| match (a.get(name), b.find(name)) {
        (_, None) => !NEVER_ALONE.iter().any(|never| never.eq_ignore_ascii_case(name)),
        (None, Some(found)) => found.is_none(),
        (Some(_), Some(None)) => false,
        (Some(value), Some(Some(found))) => unescape(value).eq_ignore_ascii_case(&unescape(found)),
    })
}

/// The headers of a URI in an order of their own: it carries no meaning (RFC 3261 §19.1.4).
fn sorted_headers(uri: &Uri) -> Vec<Cow<'_, str>> {
    let mut headers: Vec<_> = uri.headers.as_deref().unwrap_or_default().split('&').map(unescape).collect();
    headers.sort_unstable();
    headers
}

fn scheme(input: &str) -> Parsed<'_, Scheme> {
    let letters = take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let starts_right = verify(letters, |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()));
    terminated(starts_right, tag(":")).map(Scheme::new).parse(input)
}

/// What may stand in a user, a password or a part of a URI that we do not understand.
const fn is_uri(c: char) -> bool {
    !matches!(c, '<' | '>' | '"' | ' ' | '\\') && !c.is_ascii_control()
}

fn sip(scheme: Scheme, input: &str) -> Parsed<'_, Uri> {
    let user = take_while1(|c| is_uri(c) && !matches!(c, '@' | ':'));
    let password = take_while(|c| is_uri(c) && c != '@');
    let userinfo = terminated((user, opt(preceded(tag(":"), password))), tag("@"));
    let (input, userinfo) = opt(userinfo).parse(input)?;
    let (input, (host, port)) = host_port(input, false)?;
    let (input, params) = params(Of::Uri, input)?;
    let (input, headers) = opt(preceded(tag("?"), take_while(is_uri))).parse(input)?;
    let (user, password) = userinfo.unzip();
    let uri = Uri {
        scheme,
        user: user.map(str::to_owned),
        password: password.flatten().map(str::to_owned),
        host,
        port,
        params,
        headers: headers.map(str::to_owned),
    };
    Ok((input, uri))
}

/// A number and its parameters (RFC 3966 §3).
fn tel(input: &str) -> Option<Uri> {
    let is_number =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '(' | ')' | '*' | '#');
    let (after, number) = take_while1::<_, _, ()>(is_number).parse(input).ok()?;
    let params = only_params(Of::Uri, after)?;
    let mut uri = opaque(Scheme::Tel, number)?;
    uri.params = params;
    Some(uri)
}

fn opaque(scheme: Scheme, input: &str) -> Option<Uri> {
    let (_, all) =
        verify(rest::<_, ()>, |text: &str| !text.is_empty() && text.chars().all(is_uri)).parse(input).ok()?;
    Some(Uri {
        scheme,
        user: Some(all.to_owned()),
        password: None,
        host: Host::Domain(String::new()),
        port: None,
        params: Params::new(),
        headers: None,
    })
}

/// Characters of a user that need no escape (RFC 3261 §25.1 `user`).
const fn is_user(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '-' | '_' | '.' | '!' | '~' | '*' | '\'' | '(' | ')')
        || matches!(c, '&' | '=' | '+' | '$' | ',' | ';' | '?' | '/')
}

/// Characters of a parameter that need no escape (RFC 3261 §25.1 `paramchar`).
const fn is_param(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '-' | '_' | '.' | '!' | '~' | '*' | '\'' | '(' | ')')
        || matches!(c, '[' | ']' | '/' | ':' | '&' | '+' | '$')
}

/// A user as it must be written in a URI.
pub fn escape_user(user: &str) -> String {
    escape(user, is_user)
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut utf8 = [0; 4];
    for c in text.chars() {
        if keep(c) {
            out.push(c);
        } else {
            out.extend(c.encode_utf8(&mut utf8).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

/// Undoes `%41`; what is not an escape stays, what is not UTF-8 becomes U+FFFD.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, after @ ..] = bytes {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        bytes = if escaped.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Uri::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl Print for Uri {
    fn print(&self, out: &mut String) {
        out.push_str(self.scheme.as_str());
        out.push(':');
        if let Some(user) = &self.user {
            out.push_str(user);
            if let Some(password) = &self.password {
                out.push(':');
                out.push_str(password);
            }
        }
        if self.scheme.is_sip() {
            if self.user.is_some() {
                out.push('@');
            }
            push_host_port(out, &self.host, self.port);
        }
        self.params.print(out);
        if let Some(headers) = &self.headers {
            out.push('?');
            out.push_str(headers);
        }
    }
}
