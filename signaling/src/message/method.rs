//! Request methods (RFC 3261 §7.1): an open set, compared with case.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::grammar::is_token;

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What a request asks for. Method names are case-sensitive (RFC 3261 §7.1).
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// Any other token; answered with 405 or 501, never a parse error.
            Other(Box<str>),
        }

        impl Method {
            /// From a token. Whatever could not stand in a request line is left out.
            pub fn from_token(token: &str) -> Method {
                match token {
                    $($text => Method::$variant,)*
                    other => Method::Other(other.chars().filter(|c| is_token(*c)).collect()),
                }
            }

            /// As in a request line; `other` for one that is not listed here.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Method::$variant => $text,)*
                    Method::Other(_) => "other",
                }
            }

            /// As in a request line.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Method::$variant => $text,)*
                    Method::Other(token) => token,
                }
            }
        }
    };
}

methods! {
    /// RFC 3261 §13.
    Invite = "INVITE",
    /// RFC 3261 §17.
    Ack = "ACK",
    /// RFC 3261 §15.
    Bye = "BYE",
    /// RFC 3261 §9.
    Cancel = "CANCEL",
    /// RFC 3261 §10.
    Register = "REGISTER",
    /// RFC 3261 §11.
    Options = "OPTIONS",
    /// RFC 3262.
    Prack = "PRACK",
    /// RFC 6665.
    Subscribe = "SUBSCRIBE",
    /// RFC 6665.
    Notify = "NOTIFY",
    /// RFC 3903.
    Publish = "PUBLISH",
    /// RFC 6086.
    Info = "INFO",
    /// RFC 3515.
    Refer = "REFER",
    /// RFC 3428.
    Message = "MESSAGE",
    /// RFC 3311.
    Update = "UPDATE",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for Method {
    fn from(token: String) -> Self {
        Method::from_token(&token)
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_makes_another_method() {
        assert_eq!(Method::from_token("INVITE"), Method::Invite);
        assert_eq!(Method::from_token("invite"), Method::Other("invite".into()));
        assert_eq!(Method::from_token("A\r\nB").as_str(), "AB");
        assert_eq!(
            [Method::Invite, Method::from_token("invite")].map(|method| method.name()),
            ["INVITE", "other"]
        );
    }
}
