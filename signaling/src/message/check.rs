//! What a request must have before anybody acts on it (RFC 3261 §8.1.1, §8.2, §16.3).

use super::Request;
use super::name::Name;
use super::typed::HeaderError;

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

/// Headers that two readers could take from different lines; given twice, the request is refused.
const ONCE: [Name; 6] =
    [Name::To, Name::From, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentLength];

impl Request {
    /// Whether the request can be handled at all: the mandatory headers are there, once, and well
    /// formed, and CSeq names the method. A missing Max-Forwards is forgiven.
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
        match self.uri.parse() {
            Ok(_) => Ok(()),
            Err(_) => Err(Invalid::bad_request("Malformed Request-URI")),
        }
    }
}
