//! What a request must have before anybody acts on it (RFC 3261 §8.1.1, §8.2, §16.3).

use super::Request;
use super::name::Name;
use super::status::reason;
use super::typed::HeaderError;
use super::uri::Scheme;

/// A request that is refused, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Invalid {
    /// The status owed.
    pub status: u16,
    /// What is wrong, as a reason phrase.
    pub reason: String,
}

impl Invalid {
    fn bad_request(reason: impl Into<String>) -> Self {
        Invalid { status: 400, reason: reason.into() }
    }
}

impl From<HeaderError> for Invalid {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Missing(name) => Invalid::bad_request(format!("Missing {name}")),
            HeaderError::Malformed(name) => Invalid::bad_request(format!("Malformed {name}")),
        }
    }
}

/// Headers that two readers could take from different lines; given twice, the request is refused
/// (RFC 4475 §3.3.8).
const ONCE: [Name; 7] = [
    Name::To,
    Name::From,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::ContentLength,
    Name::ContentType,
];

impl Request {
    /// Whether the request can be handled at all: the mandatory headers are there, once, and well
    /// formed, CSeq names the method, and the Request-URI is one that we can be asked for. A missing
    /// Max-Forwards is forgiven.
    pub fn check(&self) -> Result<(), Invalid> {
        for name in &ONCE {
            if self.headers.all(name).count() > 1 {
                return Err(Invalid::bad_request(format!("Repeated {name}")));
            }
        }
        self.headers.vias()?.first().ok_or(HeaderError::Missing(Name::Via))?;
        self.to()?;
        self.from()?;
        self.call_id()?;
        // RFC 3261 §8.1.1.5: the method of CSeq matches that of the request.
        if self.cseq()?.method != self.method {
            return Err(Invalid::bad_request("CSeq Method Mismatch"));
        }
        self.max_forwards()?;
        self.check_uri()
    }

    fn check_uri(&self) -> Result<(), Invalid> {
        let uri = self.uri.parse().map_err(|_| Invalid::bad_request("Malformed Request-URI"))?;
        if matches!(uri.scheme, Scheme::Other(_)) {
            // RFC 3261 §8.2.2.1.
            return Err(Invalid { status: 416, reason: reason(416).to_owned() });
        }
        // RFC 3261 §19.1.1: a Request-URI has none; whoever obeyed them could be made to say anything.
        match uri.headers {
            Some(_) => Err(Invalid::bad_request("Headers In Request-URI")),
            None => Ok(()),
        }
    }
}
