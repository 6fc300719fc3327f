//! Parameters of URIs and of header values: `;name=value`, ordered (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;
use std::fmt;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::combinator::opt;
use nom::sequence::{preceded, terminated};
use serde::{Deserialize, Serialize};

use super::grammar::{Parsed, around, is_bare, push_quoted, quoted, unquote};
use super::limits::PARAMS_MAX;
use super::write::Print;

/// An ordered list of parameters, kept as the text that is printed, without blanks: `;lr;q=0.5`.
///
/// Names are compared without case. At most [`PARAMS_MAX`] are parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(String);

/// Whose parameters they are: a URI ends at `?` and quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Uri,
    Header,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Params::default()
    }

    /// Every one in order: its name, and its value as it was written (with its quotes) if it has one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let here = rest.strip_prefix(';')?;
            let (one, after) = here.split_at(param_end(here));
            rest = after;
            Some(match one.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (one, None),
            })
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of the first one of this name, as it was written; `None` also when it has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).flatten()
    }

    /// The same with quotes and escapes undone.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(unquote)
    }

    /// The first one of this name: `Some(None)` when it has no value.
    pub fn find(&self, name: &str) -> Option<Option<&str>> {
        let mut rest = self.0.as_str();
        while let Some(here) = rest.strip_prefix(';') {
            let (one, after) = here.split_at(param_end(here));
            if let Some((start, value)) = one.split_at_checked(name.len())
                && start.eq_ignore_ascii_case(name)
            {
                match value.as_bytes().first() {
                    None => return Some(None),
                    Some(b'=') => return Some(value.get(1..)),
                    Some(_) => {}
                }
            }
            rest = after;
        }
        None
    }

    /// Replaces the first one of this name, and removes the others, or adds it at the end. A value
    /// that cannot stand bare is quoted, which a URI does not know: there, see [`Uri::set_param`].
    ///
    /// [`Uri::set_param`]: super::Uri::set_param
    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name, Some(value));
    }

    /// The same for one without a value.
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None);
    }

    /// Removes every one of this name; whether there was any.
    pub fn remove(&mut self, name: &str) -> bool {
        let mut kept = Params::default();
        for (found, value) in self.iter().filter(|(found, _)| !found.eq_ignore_ascii_case(name)) {
            kept.push_raw(found, value);
        }
        let removed = kept.0.len() != self.0.len();
        *self = kept;
        removed
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        let clean: String = name.chars().filter(|c| is_name(*c)).collect();
        let value = value.map(bare_or_quoted);
        let mut changed = Params::default();
        let mut placed = false;
        for (found, old) in self.iter() {
            if !found.eq_ignore_ascii_case(&clean) {
                changed.push_raw(found, old);
            } else if !placed {
                placed = true;
                changed.push_raw(found, value.as_deref());
            }
        }
        if !placed {
            changed.push_raw(&clean, value.as_deref());
        }
        *self = changed;
    }

    fn push_raw(&mut self, name: &str, value: Option<&str>) {
        self.0.push(';');
        self.0.push_str(name);
        if let Some(value) = value {
            self.0.push('=');
            self.0.push_str(value);
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Print for Params {
    fn print(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

const fn is_name(c: char) -> bool {
    is_bare(c) && !matches!(c, '=' | '?')
}

/// What stands for a value: itself, or its quoted form.
fn bare_or_quoted(value: &str) -> Cow<'_, str> {
    if value.chars().all(is_bare) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 2);
    push_quoted(&mut out, value);
    Cow::Owned(out)
}

/// Where a printed parameter ends: at the next `;` outside quotes.
fn param_end(text: &str) -> usize {
    match text.bytes().position(|byte| matches!(byte, b';' | b'"')) {
        Some(at) if text.as_bytes().get(at) == Some(&b'"') => quoted_param_end(text),
        end => end.unwrap_or(text.len()),
    }
}

/// The same when there are quotes.
fn quoted_param_end(text: &str) -> usize {
    let (mut in_quotes, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b';' if !in_quotes => return at,
            _ => {}
        }
    }
    text.len()
}

/// Any number of parameters. Stray semicolons are forgiven; more than [`PARAMS_MAX`] are not.
pub(crate) fn params(of: Of, mut input: &str) -> Parsed<'_, Params> {
    let mut out = Params::default();
    let mut count = 0;
    while let Ok((rest, _)) = around(";").parse(input) {
        let (rest, found) = opt(|input| param(of, input)).parse(rest)?;
        input = rest;
        let Some((name, value)) = found else { continue };
        count += 1;
        if count > PARAMS_MAX {
            return Err(nom::Err::Failure(()));
        }
        out.push_raw(name, value);
    }
    Ok((input, out))
}

fn param(of: Of, input: &str) -> Parsed<'_, (&str, Option<&str>)> {
    let name = take_while1(is_name);
    match of {
        Of::Uri => {
            let value = take_while(|c| (is_bare(c) || c == ',') && c != '?');
            (name, opt(preceded(nom::bytes::complete::tag("="), value))).parse(input)
        }
        Of::Header => {
            let value = alt((quoted, take_while(is_bare)));
            (name, opt(preceded(around("="), value))).parse(input)
        }
    }
}

/// Parses parameters that are followed by nothing but blanks.
pub(crate) fn only_params(of: Of, input: &str) -> Option<Params> {
    let (_, params) = terminated(|input| params(of, input), (super::grammar::blanks, nom::combinator::eof))
        .parse(input)
        .ok()?;
    Some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Params {
        only_params(Of::Header, text).unwrap()
    }

    #[test]
    fn values_may_be_quoted_bare_empty_or_missing() {
        let params = header(r#" ; a = "x;y,\"z" ;LR; b=urn:uuid:1;;c= "#);
        assert_eq!(params.to_string(), r#";a="x;y,\"z";LR;b=urn:uuid:1;c="#);
        assert_eq!(params.text("A").unwrap(), r#"x;y,"z"#);
        assert_eq!((params.has("lr"), params.get("lr"), params.find("lr")), (true, None, Some(None)));
        assert_eq!((params.get("b"), params.get("c")), (Some("urn:uuid:1"), Some("")));
        assert_eq!(params.get("d"), None);
    }

    #[test]
    fn malformed_ones_are_refused() {
        for text in [";a=\"x", ";a=<b>", ";a b", "a", ";=x", ";a=x,y"] {
            assert_eq!(only_params(Of::Header, text), None, "{text}");
        }
        assert!(only_params(Of::Header, &";a=1".repeat(PARAMS_MAX)).is_some());
        assert_eq!(only_params(Of::Header, &";a=1".repeat(PARAMS_MAX + 1)), None);
    }

    #[test]
    fn setting_replaces_in_place_and_quotes_when_it_must() {
        let mut params = header(";a=1;b;A=2");
        params.set("a", "x y");
        params.set("c", "[::1]:5060");
        params.set_flag("d\r\n;e");
        assert_eq!(params.to_string(), r#";a="x y";b;c=[::1]:5060;de"#);
        assert!(params.remove("B") && !params.remove("b"));
        assert_eq!(params.iter().count(), 3);
    }
}
