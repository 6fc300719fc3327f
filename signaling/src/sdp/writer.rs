//! Our descriptions in one dialog, one after the other.

use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::Description;
use serde::{Deserialize, Serialize};

use super::RemoteSdp;
use super::local::{Layout, Origin, write};

/// Writes the offers and answers of one dialog. The version grows by one exactly when a body differs from
/// the last one (RFC 3264 §8), and m-lines once agreed keep their places. What was last written need not
/// stand: an offer that is refused changes nothing (RFC 3261 §14.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdpWriter {
    origin: Origin,
    layout: Arc<Layout>,
    last: Option<Bytes>,
    /// Our last offer, until it is answered.
    offered: Option<Description>,
    /// What stands.
    agreed: Option<Description>,
}

impl SdpWriter {
    /// A dialog's writer; `origin` is that of its first body.
    pub fn new(origin: Origin) -> Self {
        SdpWriter { origin, layout: Arc::default(), last: None, offered: None, agreed: None }
    }

    /// An offer, which stands once it is [`answered`](Self::answered). Lines that an earlier answer refused
    /// stay refused in their places (RFC 3264 §8.2).
    pub fn offer(&mut self, local: &Description) -> Bytes {
        if self.layout.audio.is_none() {
            self.layout = Arc::new(Layout::clone(&self.layout).with_audio());
        }
        self.offered = Some(local.clone());
        self.write(local)
    }

    /// Our offer has its answer.
    pub fn answered(&mut self) {
        if let Some(offered) = self.offered.take() {
            self.agreed = Some(offered);
        }
    }

    /// An answer to this offer, which stands at once; all lines but its usable audio line are refused.
    pub fn answer(&mut self, local: &Description, offer: &RemoteSdp) -> Bytes {
        self.layout = Arc::clone(offer.layout());
        (self.offered, self.agreed) = (None, Some(local.clone()));
        self.write(local)
    }

    /// What stands, once more as an offer: a refresh changes nothing (RFC 4028 §7.4). `None` while nothing does.
    pub fn refresh(&mut self) -> Option<Bytes> {
        let agreed = self.agreed.clone()?;
        Some(self.offer(&agreed))
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
