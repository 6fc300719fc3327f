//! Our descriptions in one dialog, one after the other.

use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::Description;
use serde::{Deserialize, Serialize};

use super::RemoteSdp;
use super::local::{Layout, Origin, write};

/// Writes the offers and answers of one dialog. The version grows by one exactly when a body differs from
/// the last one (RFC 3264 §8), and m-lines once agreed keep their places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdpWriter {
    origin: Origin,
    layout: Arc<Layout>,
    last: Option<Bytes>,
}

impl SdpWriter {
    /// A dialog's writer; `origin` is that of its first body.
    pub fn new(origin: Origin) -> Self {
        SdpWriter { origin, layout: Arc::default(), last: None }
    }

    /// An offer. Lines that an earlier answer refused stay refused in their places (RFC 3264 §8.2).
    pub fn offer(&mut self, local: &Description) -> Bytes {
        if self.layout.audio.is_none() {
            self.layout = Arc::new(Layout::clone(&self.layout).with_audio());
        }
        self.write(local)
    }

    /// An answer to this offer; all lines but its usable audio line are refused.
    pub fn answer(&mut self, local: &Description, offer: &RemoteSdp) -> Bytes {
        self.layout = Arc::clone(offer.layout());
        self.write(local)
    }

    /// What was sent last: a refresh repeats it (RFC 4028 §7.4).
    pub fn last(&self) -> Option<&Bytes> {
        self.last.as_ref()
    }

    fn write(&mut self, local: &Description) -> Bytes {
        let mut body = write(self.origin, local, &self.layout);
        if self.last.as_ref().is_some_and(|last| *last != body) {
            self.origin.version = self.origin.version.saturating_add(1);
            body = write(self.origin, local, &self.layout);
        }
        self.last = Some(body.clone());
        body
    }
}
