//! The characters and the small parsers that every header shares (RFC 3261 §25.1), on nom.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::recognize;
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::borrow::Cow;

/// A header value or URI that does not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// What the small parsers return: why one failed is told by its caller.
pub(crate) type Parsed<'a, T> = IResult<&'a str, T, ()>;

/// `token` characters.
pub(crate) const fn is_token(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9'
        | '-' | '.' | '!' | '%' | '*' | '_' | '+' | '`' | '\'' | '~')
}

/// Blank once folding is undone.
pub(crate) const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What may stand unquoted in a value. Wider than `token` and `host`: peers put URNs, addresses and
/// UTF-8 there. Never what ends a value.
pub(crate) const fn is_bare(c: char) -> bool {
    !matches!(c, ';' | ',' | '"' | '<' | '>' | '\\') && !c.is_ascii_control() && !c.is_ascii_whitespace()
}

/// `token`.
pub(crate) fn token(input: &str) -> Parsed<'_, &str> {
    take_while1(is_token).parse(input)
}

/// Any run of blanks.
pub(crate) fn blanks(input: &str) -> Parsed<'_, &str> {
    take_while(is_blank).parse(input)
}

/// This text with blanks around it, such as EQUAL, SEMI and SLASH.
pub(crate) fn around<'a>(mark: &'static str) -> impl Parser<&'a str, Output = &'a str, Error = ()> {
    delimited(blanks, tag(mark), blanks)
}

/// `quoted-string` with its quotes and escapes.
pub(crate) fn quoted(input: &str) -> Parsed<'_, &str> {
    let plain = take_while1(|c| c != '"' && c != '\\');
    let escaped = recognize(preceded(tag("\\"), nom::character::complete::anychar));
    let inside = fold_many0(alt((plain, escaped)), || (), |(), _| ());
    recognize(delimited(tag("\""), inside, tag("\""))).parse(input)
}

/// The text of a `quoted-string`, or the value itself when it is not quoted.
pub(crate) fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(text)
}

/// Appends `text` as a `quoted-string`. A line break cannot be said in one and becomes a space.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            // NUL may stand there, but only escaped.
            '"' | '\\' | '\0' => out.extend(['\\', c]),
            '\r' | '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Splits a list at its commas, but not at those in quotes or in `<>` (RFC 3261 §7.3.1). Elements are
/// trimmed, empty ones left out.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let whole = rest?;
        let end = element_end(whole);
        rest = whole.get(end + 1..);
        Some(whole.get(..end)?.trim_ascii())
    })
    .filter(|element| !element.is_empty())
}

/// Where the first element of a list ends: at a comma or at the end of the value.
pub(crate) fn element_end(value: &[u8]) -> usize {
    let end = find_element_end(value);
    #[cfg(test)]
    super::work::look(end);
    end
}

fn find_element_end(value: &[u8]) -> usize {
    let (mut in_quotes, mut in_angles, mut escaped) = (false, false, false);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' if !in_angles => in_quotes = !in_quotes,
            b'<' if !in_quotes => in_angles = true,
            b'>' if !in_quotes => in_angles = false,
            b',' if !in_quotes && !in_angles => return at,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_angles_do_not_split() {
        let list = br#""A, \" B" <sip:a,b@h>;x="1,2" , <sip:c@h>,, sip:d@h "#;
        let found: Vec<_> = elements(list).map(|e| std::str::from_utf8(e).unwrap()).collect();
        assert_eq!(found, [r#""A, \" B" <sip:a,b@h>;x="1,2""#, "<sip:c@h>", "sip:d@h"]);
        assert_eq!(elements(b"").count(), 0);
        assert_eq!(elements(b" , ").count(), 0);
    }

    #[test]
    fn quoting_is_undone_by_unquoting() {
        for text in ["", "plain", r#"a "b" \c"#, "ü, ;<>", "\u{1}\0"] {
            let mut out = String::new();
            push_quoted(&mut out, text);
            assert_eq!(quoted(&out), Ok(("", out.as_str())));
            assert_eq!(unquote(&out), text);
        }
        assert_eq!(quoted("\"open"), Err(nom::Err::Error(())));
        assert_eq!(unquote("bare"), "bare");
    }
}
