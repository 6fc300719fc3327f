//! One binding of an address-of-record: RFC 3261 §10.

use dialtone_core::{ContactId, Mono, Number};
use serde::{Deserialize, Serialize};

use crate::message::{NameAddr, RawUri};
use crate::wire::Path;

/// Where an extension can be reached, until when, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its name for calls.
    pub contact: ContactId,
    /// The contact URI as it was registered.
    pub uri: RawUri,
    /// Preference, thousandths.
    pub q: u16,
    /// `+sip.instance` with its quotes (RFC 5626 §4.1); a phone that comes back with another URI is
    /// known by it.
    pub instance: Option<String>,
    /// The registration that made it (RFC 3261 §10.3 step 7).
    pub call_id: String,
    /// Its CSeq.
    pub cseq: u32,
    /// From where it was registered.
    pub path: Path,
    /// When it ends. On this process's clock: whoever stores it converts.
    pub expires: Mono,
}

impl Binding {
    /// Whether `contact` is about this place: the same URI (RFC 3261 §19.1.4) or the same instance.
    pub(super) fn is(&self, contact: &NameAddr) -> bool {
        let instance = contact.params.get("+sip.instance");
        let same_instance = instance.is_some() && instance == self.instance.as_deref();
        same_instance || self.uri.parse().is_ok_and(|uri| uri.matches(&contact.uri))
    }

    /// As a Contact of the answer to REGISTER.
    pub(super) fn contact_value(&self, now: Mono) -> String {
        // Rounded up, so that a fresh binding shows what was granted.
        let seconds = self.expires.since(now).as_millis().div_ceil(1000);
        let mut value = format!("<{}>;expires={seconds}", self.uri);
        if self.q != 1000 {
            value.push_str(&format!(";q=0.{:03}", self.q));
        }
        if let Some(instance) = &self.instance {
            value.push_str(&format!(";+sip.instance={instance}"));
        }
        value
    }
}

/// A change that must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingChange {
    /// New, or changed.
    Put {
        /// Whose.
        endpoint: Number,
        /// What it is now.
        binding: Binding,
    },
    /// Gone.
    Remove {
        /// Whose.
        endpoint: Number,
        /// Which.
        contact: ContactId,
    },
}

/// Names a change whose safety somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersistToken(pub u64);
