//! Header names (RFC 3261 §7.3.1, §7.3.3, §20): an open set, compared without case, with compact forms.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::grammar::is_token;

/// Longer names than this are not looked up: none that we know is.
const KNOWN_MAX: usize = 32;

macro_rules! names {
    ($($variant:ident = $text:literal, $lower:literal $(, $compact:literal)?;)*) => {
        /// The name of a header.
        ///
        /// Build unknown names with [`Name::from_bytes`], so that a known one never hides in `Other`.
        #[derive(Clone, Debug, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[allow(missing_docs)] // Each is the header of its name.
        pub enum Name {
            $($variant,)*
            /// Any other, as it was spelled.
            Other(Box<str>),
        }

        impl Name {
            /// From a name in any case, or from a compact form (RFC 3261 §7.3.3). Bytes that could
            /// not stand in a header name are left out.
            pub fn from_bytes(name: &[u8]) -> Name {
                let mut buffer = [0; KNOWN_MAX];
                let Some(lower) = buffer.get_mut(..name.len()) else { return Name::other(name) };
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                let known: &[u8] = lower;
                $(if known == $lower $(|| known == $compact)? { return Name::$variant; })*
                Name::other(name)
            }

            /// The spelling that we print.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other(name) => name,
                }
            }
        }

        #[cfg(test)]
        pub(super) const KNOWN: &[(&str, &[u8], &[&[u8]], Name)] =
            &[$(($text, $lower, &[$($compact)?], Name::$variant),)*];
    };
}

names! {
    Via = "Via", b"via", b"v";
    From = "From", b"from", b"f";
    To = "To", b"to", b"t";
    CallId = "Call-ID", b"call-id", b"i";
    CSeq = "CSeq", b"cseq";
    MaxForwards = "Max-Forwards", b"max-forwards";
    Contact = "Contact", b"contact", b"m";
    ContentLength = "Content-Length", b"content-length", b"l";
    ContentType = "Content-Type", b"content-type", b"c";
    ContentDisposition = "Content-Disposition", b"content-disposition";
    ContentEncoding = "Content-Encoding", b"content-encoding", b"e";
    Route = "Route", b"route";
    RecordRoute = "Record-Route", b"record-route";
    Allow = "Allow", b"allow";
    Supported = "Supported", b"supported", b"k";
    Require = "Require", b"require";
    UserAgent = "User-Agent", b"user-agent";
    Server = "Server", b"server";
    Expires = "Expires", b"expires";
    MinExpires = "Min-Expires", b"min-expires";
    Authorization = "Authorization", b"authorization";
    WwwAuthenticate = "WWW-Authenticate", b"www-authenticate";
    ProxyAuthenticate = "Proxy-Authenticate", b"proxy-authenticate";
    ProxyAuthorization = "Proxy-Authorization", b"proxy-authorization";
    AuthenticationInfo = "Authentication-Info", b"authentication-info";
    ProxyRequire = "Proxy-Require", b"proxy-require";
    Unsupported = "Unsupported", b"unsupported";
    Reason = "Reason", b"reason";
    RetryAfter = "Retry-After", b"retry-after";
    Warning = "Warning", b"warning";
    Accept = "Accept", b"accept";
    AcceptEncoding = "Accept-Encoding", b"accept-encoding";
    AcceptLanguage = "Accept-Language", b"accept-language";
    AlertInfo = "Alert-Info", b"alert-info";
    AllowEvents = "Allow-Events", b"allow-events", b"u";
    CallInfo = "Call-Info", b"call-info";
    Date = "Date", b"date";
    Event = "Event", b"event", b"o";
    Subject = "Subject", b"subject", b"s";
    SubscriptionState = "Subscription-State", b"subscription-state";
    Path = "Path", b"path";
    ServiceRoute = "Service-Route", b"service-route";
    Timestamp = "Timestamp", b"timestamp";
    Organization = "Organization", b"organization";
    Priority = "Priority", b"priority";
    ReplyTo = "Reply-To", b"reply-to";
    MimeVersion = "MIME-Version", b"mime-version";
    ReferTo = "Refer-To", b"refer-to", b"r";
    ReferSub = "Refer-Sub", b"refer-sub";
    ReferredBy = "Referred-By", b"referred-by", b"b";
    Replaces = "Replaces", b"replaces";
    SessionExpires = "Session-Expires", b"session-expires", b"x";
    MinSe = "Min-SE", b"min-se";
    RAck = "RAck", b"rack";
    RSeq = "RSeq", b"rseq";
    PAssertedIdentity = "P-Asserted-Identity", b"p-asserted-identity";
    PPreferredIdentity = "P-Preferred-Identity", b"p-preferred-identity";
    RemotePartyId = "Remote-Party-ID", b"remote-party-id";
    Privacy = "Privacy", b"privacy";
    Diversion = "Diversion", b"diversion";
    HistoryInfo = "History-Info", b"history-info";
    Identity = "Identity", b"identity", b"y";
    SipEtag = "SIP-ETag", b"sip-etag";
    SipIfMatch = "SIP-If-Match", b"sip-if-match";
    FlowTimer = "Flow-Timer", b"flow-timer";
    RequestDisposition = "Request-Disposition", b"request-disposition", b"d";
    AcceptContact = "Accept-Contact", b"accept-contact", b"a";
    RejectContact = "Reject-Contact", b"reject-contact", b"j";
    AnswerMode = "Answer-Mode", b"answer-mode";
    InfoPackage = "Info-Package", b"info-package";
    RecvInfo = "Recv-Info", b"recv-info";
    Join = "Join", b"join";
}

impl Name {
    fn other(name: &[u8]) -> Name {
        Name::Other(name.iter().map(|byte| char::from(*byte)).filter(|c| is_token(*c)).collect())
    }
}

/// Names are compared without case (RFC 3261 §7.3.1).
impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        match (self, other) {
            (Name::Other(a), Name::Other(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        if let Name::Other(name) = self {
            name.bytes().for_each(|byte| byte.to_ascii_lowercase().hash(state));
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Name::from_bytes(name.as_bytes())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_by_each_spelling() {
        for (text, lower, compact, name) in KNOWN {
            assert_eq!(text.to_ascii_lowercase().as_bytes(), *lower);
            assert!(text.len() <= KNOWN_MAX);
            assert_eq!(&Name::from_bytes(text.as_bytes()), name);
            assert_eq!(&Name::from_bytes(text.to_ascii_uppercase().as_bytes()), name);
            for short in *compact {
                assert_eq!(&Name::from_bytes(short), name);
                assert_eq!(&Name::from_bytes(&short.to_ascii_uppercase()), name);
            }
            assert_eq!(name.as_str(), *text);
        }
    }

    #[test]
    fn no_spelling_is_given_twice() {
        let mut seen = std::collections::HashSet::new();
        for (_, lower, compact, _) in KNOWN {
            assert!(seen.insert(*lower));
            assert!(compact.iter().all(|short| seen.insert(short)));
        }
    }

    #[test]
    fn unknown_names_keep_their_spelling_and_compare_without_it() {
        let name = Name::from_bytes(b"X-Custom");
        assert_eq!(name.as_str(), "X-Custom");
        assert_eq!(name, Name::from_bytes(b"x-cUSTOM"));
        assert_ne!(name, Name::from_bytes(b"X-Other"));
        assert_eq!(Name::from_bytes(&[b'a'; 300]).as_str().len(), 300);
    }
}
