//! The order of requests (RFC 3261 §20.16).

use std::fmt;
use std::str::FromStr;

use nom::Parser;
use nom::character::complete::{one_of, u32 as number};
use nom::combinator::{all_consuming, verify};
use nom::sequence::{delimited, separated_pair};
use serde::{Deserialize, Serialize};

use super::grammar::{Malformed, blanks, token};
use super::method::Method;
use super::write::{Print, push_number};

/// A request's place in its dialog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CSeq {
    /// Below 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// From a header value.
    pub fn parse(text: &str) -> Result<CSeq, Malformed> {
        let below_limit = verify(number, |number| *number < 1 << 31);
        let pair = separated_pair(below_limit, (one_of::<_, _, ()>(" \t"), blanks), token);
        match all_consuming(delimited(blanks, pair, blanks)).parse(text) {
            Ok((_, (number, method))) => Ok(CSeq { number, method: Method::from_token(method) }),
            Err(_) => Err(Malformed("CSeq")),
        }
    }
}

impl FromStr for CSeq {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        CSeq::parse(text)
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl Print for CSeq {
    fn print(&self, out: &mut String) {
        push_number(out, self.number);
        out.push(' ');
        out.push_str(self.method.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_methods() {
        let table = [
            ("4711 INVITE", Some("4711 INVITE")),
            (" 0009 \t NEWMETHOD ", Some("9 NEWMETHOD")),
            ("2147483647 ACK", Some("2147483647 ACK")),
            ("2147483648 ACK", None),
            ("36893488147419103232 ACK", None),
            ("-1 ACK", None),
            ("1ACK", None),
            ("1", None),
            ("1 ACK x", None),
            ("", None),
        ];
        for (text, printed) in table {
            assert_eq!(CSeq::parse(text).ok().map(|cseq| cseq.to_string()).as_deref(), printed, "{text}");
        }
    }
}
