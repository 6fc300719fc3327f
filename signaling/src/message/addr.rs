//! Addresses with a name: From, To, Contact, Route (RFC 3261 §20.10, §25.1 `name-addr`).

use std::fmt;
use std::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::{map_opt, opt};
use nom::sequence::delimited;
use serde::{Deserialize, Serialize};

use super::grammar::{Malformed, Parsed, blanks, push_quoted, quoted, unquote};
use super::params::{Of, Params, only_params};
use super::uri::Uri;
use super::write::Print;

/// A URI with a display name and the parameters of its header. Always printed with `<>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameAddr {
    /// The display name without quotes and escapes; `None` also when it is empty.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// The parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without a name and parameters.
    pub fn new(uri: Uri) -> Self {
        NameAddr { display: None, uri, params: Params::new() }
    }

    /// From one element of a header.
    pub fn parse(text: &str) -> Result<NameAddr, Malformed> {
        let wrong = Malformed("address");
        let (after, (display, uri)) = address(text).map_err(|_| wrong)?;
        let params = only_params(Of::Header, after).ok_or(wrong)?;
        Ok(NameAddr { display, uri, params })
    }

    /// The dialog tag (RFC 3261 §19.3); `None` also when it is empty.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// Sets the dialog tag.
    pub fn set_tag(&mut self, tag: &str) {
        self.params.set("tag", tag);
    }

    /// A contact's preference, thousandths (0 to 1000); `None` when it has none that is well formed.
    pub fn q(&self) -> Option<u16> {
        let (whole, fraction) = match self.params.get("q")?.split_once('.') {
            Some((whole, fraction)) => (whole, fraction),
            None => (self.params.get("q")?, ""),
        };
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
        match (whole, thousandths) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1000),
            _ => None,
        }
    }

    /// A contact's lifetime, seconds; `None` when it has none that is a number. Larger ones than fit
    /// are the largest.
    pub fn expires(&self) -> Option<u32> {
        super::typed::delta_seconds(self.params.get("expires")?)
    }
}

fn address(input: &str) -> Parsed<'_, (Option<String>, Uri)> {
    let (input, _) = blanks(input)?;
    if input.starts_with('"') {
        let (input, name) = quoted(input)?;
        let (input, uri) = in_angles(input)?;
        let name = unquote(name).into_owned();
        return Ok((input, (Some(name).filter(|name| !name.is_empty()), uri)));
    }
    // A `<` after a `;` or a quote is in a parameter and the address is a bare one.
    let (after, name) = opt(take_while1(|c| !matches!(c, '<' | ';' | '"'))).parse(input)?;
    if after.starts_with('<') {
        let (rest, uri) = in_angles(after)?;
        let name = name.map(str::trim_ascii).filter(|name| !name.is_empty());
        return Ok((rest, (name.map(str::to_owned), uri)));
    }
    // Parameters after a bare URI are the header's; a URI with a question mark must not be bare (RFC 3261 §20.10),
    // for nobody knows whose what follows is.
    let bare = take_while1(|c| !matches!(c, ';' | ',' | '?' | ' ' | '\t'));
    map_opt(bare, |text| Uri::parse(text).ok()).map(|uri| (None, uri)).parse(input)
}

fn in_angles(input: &str) -> Parsed<'_, Uri> {
    let (input, _) = blanks(input)?;
    let inside = delimited(tag("<"), take_while1(|c| c != '>'), tag(">"));
    map_opt(inside, |text: &str| Uri::parse(text.trim_ascii()).ok()).parse(input)
}

impl FromStr for NameAddr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        NameAddr::parse(text)
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        NameAddr::new(uri)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl Print for NameAddr {
    fn print(&self, out: &mut String) {
        if let Some(display) = &self.display {
            push_quoted(out, display);
            out.push(' ');
        }
        out.push('<');
        self.uri.print(out);
        out.push('>');
        self.params.print(out);
    }
}

/// The Contacts of a message (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContactList {
    /// `*`: all of them, in a REGISTER that removes.
    Star,
    /// These, in order; empty when there is no Contact.
    List(Vec<NameAddr>),
}

impl ContactList {
    /// The first contact.
    pub fn first(&self) -> Option<&NameAddr> {
        match self {
            ContactList::Star => None,
            ContactList::List(contacts) => contacts.first(),
        }
    }
}

impl fmt::Display for ContactList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contacts = match self {
            ContactList::Star => return f.write_str("*"),
            ContactList::List(contacts) => contacts,
        };
        for (at, contact) in contacts.iter().enumerate() {
            write!(f, "{}{contact}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
