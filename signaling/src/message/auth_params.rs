//! Challenges and credentials (RFC 3261 §20.7, §20.44; RFC 7616; RFC 8898): a scheme, and what follows it.

use std::fmt;
use std::str::FromStr;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{all_consuming, eof, map, not, opt, recognize};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use serde::{Deserialize, Serialize};

use super::grammar::{
    Malformed, Parsed, around, blanks, is_bare, is_blank, is_token, push_quoted, quoted, token, unquote,
};
use super::limits::PARAMS_MAX;

/// One `name=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthParam {
    /// Its name as it was written; compared without case.
    pub name: String,
    /// Its value without quotes and escapes.
    pub value: String,
    /// Whether it is printed in quotes.
    pub quoted: bool,
}

/// The value of a WWW-Authenticate, Authorization or Authentication-Info header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthParams {
    /// `Digest`, `Bearer` … as written; compared without case. Empty in an Authentication-Info.
    pub scheme: String,
    /// A token in place of parameters, as in `Bearer eyJ…` (RFC 8898 §3).
    pub token: Option<String>,
    /// The parameters in order. At most [`PARAMS_MAX`].
    pub params: Vec<AuthParam>,
}

impl AuthParams {
    /// A scheme without parameters yet.
    pub fn new(scheme: &str) -> Self {
        AuthParams { scheme: scheme.chars().filter(|c| is_token(*c)).collect(), ..AuthParams::default() }
    }

    /// From a header value.
    pub fn parse(text: &str) -> Result<AuthParams, Malformed> {
        let wrong = Malformed("authentication parameters");
        let (_, auth) = all_consuming(delimited(blanks, auth, blanks)).parse(text).map_err(|_| wrong)?;
        Ok(auth)
    }

    /// Whether the scheme is this one, without case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of the first parameter of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|param| param.name.eq_ignore_ascii_case(name))
            .map(|param| param.value.as_str())
    }

    /// How often a parameter is given: more than once is refused by careful readers.
    pub fn count(&self, name: &str) -> usize {
        self.params.iter().filter(|param| param.name.eq_ignore_ascii_case(name)).count()
    }

    /// Adds a parameter that is printed in quotes: `realm`, `nonce` …
    pub fn push_quoted(&mut self, name: &str, value: &str) -> &mut Self {
        self.push(name, value, true)
    }

    /// Adds a parameter that is printed bare if it is a token: `algorithm`, `stale`, `nc` …
    pub fn push_token(&mut self, name: &str, value: &str) -> &mut Self {
        self.push(name, value, value.is_empty() || !value.chars().all(is_token))
    }

    fn push(&mut self, name: &str, value: &str, quoted: bool) -> &mut Self {
        let name = name.chars().filter(|c| is_token(*c)).collect();
        self.params.push(AuthParam { name, value: value.to_owned(), quoted });
        self
    }
}

fn auth(input: &str) -> Parsed<'_, AuthParams> {
    let with_scheme = (token, take_while1(is_blank), not(tag("=")));
    let (rest, scheme) = opt(with_scheme).parse(input)?;
    if let Some((scheme, ..)) = scheme {
        let scheme = scheme.to_owned();
        // A bearer token ends the value; a parameter that looks like one goes on after its `=`.
        if let Ok((rest, token)) = terminated(token68, (blanks, eof)).parse(rest) {
            return Ok((rest, AuthParams { scheme, token: Some(token.to_owned()), params: Vec::new() }));
        }
        let (rest, params) = list(rest)?;
        return Ok((rest, AuthParams { scheme, token: None, params }));
    }
    // A lone token is a scheme (RFC 7235 §2.1); anything else has parameters alone.
    if let Ok((rest, scheme)) = terminated(token, eof).parse(input) {
        return Ok((rest, AuthParams::new(scheme)));
    }
    let (rest, params) = list(input)?;
    Ok((rest, AuthParams { params, ..AuthParams::default() }))
}

/// `token68` (RFC 7235 §2.1), as bearer tokens are written.
fn token68(input: &str) -> Parsed<'_, &str> {
    let body =
        take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/'));
    recognize((body, take_while(|c| c == '='))).parse(input)
}

/// One `name=value` or more with commas between, to the end of the value; stray commas are forgiven.
fn list(input: &str) -> Parsed<'_, Vec<AuthParam>> {
    let comma = (blanks, take_while1(|c| c == ',' || is_blank(c)));
    let (rest, params) = delimited(
        take_while(|c| c == ','),
        separated_list1(comma, param),
        take_while(|c| c == ',' || is_blank(c)),
    )
    .parse(input)?;
    if params.len() > PARAMS_MAX {
        return Err(nom::Err::Failure(()));
    }
    Ok((rest, params))
}

fn param(input: &str) -> Parsed<'_, AuthParam> {
    // `a==` is a token in place of parameters, wherever it stands.
    let bare = preceded(not(tag("=")), take_while1(is_bare));
    let value = alt((
        map(quoted, |text| (unquote(text).into_owned(), true)),
        map(bare, |text: &str| (text.to_owned(), false)),
    ));
    let (rest, (name, (value, quoted))) = separated_pair(token, around("="), value).parse(input)?;
    Ok((rest, AuthParam { name: name.to_owned(), value, quoted }))
}

impl FromStr for AuthParams {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        AuthParams::parse(text)
    }
}

impl fmt::Display for AuthParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        let mut gap = if self.scheme.is_empty() { "" } else { " " };
        if let Some(token) = &self.token {
            return write!(f, "{gap}{token}");
        }
        for param in &self.params {
            write!(f, "{gap}{}=", param.name)?;
            if param.quoted {
                let mut text = String::with_capacity(param.value.len() + 2);
                push_quoted(&mut text, &param.value);
                f.write_str(&text)?;
            } else {
                f.write_str(&param.value)?;
            }
            gap = ", ";
        }
        Ok(())
    }
}
