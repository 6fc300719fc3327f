//! The body of a message, and the session description that is read from it once.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::sdp::{self, RemoteSdp, SdpError};

/// Bytes that never change, so that what was read of them stays true. Clones share both.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Bytes", into = "Bytes")]
pub struct Body {
    bytes: Bytes,
    sdp: OnceLock<Result<Arc<RemoteSdp>, SdpError>>,
}

impl Body {
    /// The session description that it is, parsed when it is first asked for.
    ///
    /// # Errors
    /// It is none.
    pub fn sdp(&self) -> Result<&Arc<RemoteSdp>, &SdpError> {
        self.sdp.get_or_init(|| sdp::parse(&self.bytes).map(Arc::new)).as_ref()
    }
}

impl Deref for Body {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body { bytes, sdp: OnceLock::new() }
    }
}

impl From<Body> for Bytes {
    fn from(body: Body) -> Self {
        body.bytes
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Body {}
