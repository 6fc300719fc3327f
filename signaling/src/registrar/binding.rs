//! One binding of an address-of-record: RFC 3261 §10, with the path of RFC 3327 and the flow of RFC 5626.

use std::borrow::Cow;

use dialtone_core::endpoint::{Contact, ContactChange, ContactFacts};
use dialtone_core::{ContactId, Mono, Number};
use serde::{Deserialize, Serialize};

use super::policy::Nat;
use crate::message::RawUri;
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
    /// Which of the instance's flows it is (RFC 5626 §4.2); `None` when it is no flow and may be reached
    /// in any way.
    #[serde(default)]
    pub reg_id: Option<u32>,
    /// The proxies between us and the phone, nearest first, as Route values (RFC 3327 §5).
    #[serde(default)]
    pub routes: Vec<String>,
    /// Whether the contact URI can be believed.
    #[serde(default)]
    pub nat: Nat,
    /// What the phone calls itself; may be empty.
    #[serde(default)]
    pub agent: String,
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
    /// The URN of the device without quotes and brackets, when it said which it is.
    pub fn device(&self) -> Option<Cow<'_, str>> {
        self.instance.as_deref().map(device)
    }

    /// Whether the way that its REGISTER came is the only one, whatever its contact says.
    pub fn is_at_source(&self) -> bool {
        self.reg_id.is_some() || self.nat == Nat::Always
    }

    /// Whether both are of one phone: of its instance (RFC 5626 §4.1), or when either does not say which that is, of
    /// one line of REGISTERs (RFC 3261 §10.2). The same contact alone can be two phones' behind two translators.
    pub(super) fn same_phone(&self, other: &Binding) -> bool {
        match (&self.instance, &other.instance) {
            (Some(one), Some(other)) => one == other,
            (Some(_), None) | (None, Some(_)) | (None, None) => self.call_id == other.call_id,
        }
    }

    /// Whether both say the same about where calls go.
    pub(super) fn same_place(&self, other: &Binding) -> bool {
        (&self.path, &self.uri, self.q, self.reg_id, self.nat, &self.routes)
            == (&other.path, &other.uri, other.q, other.reg_id, other.nat, &other.routes)
    }

    /// Seconds that are left of it, rounded up, so that a fresh binding shows what was granted.
    pub(super) fn lasts_s(&self, now: Mono) -> u64 {
        u64::try_from(self.expires.since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// As a Contact of the answer to REGISTER: the URI as it was registered, so that its phone knows it again.
    pub(super) fn contact_value(&self, now: Mono) -> String {
        let mut value = format!("<{}>;expires={}", self.uri, self.lasts_s(now));
        if self.q != 1000 {
            value.push_str(&format!(";q=0.{:03}", self.q));
        }
        if let Some(instance) = &self.instance {
            value.push_str(&format!(";+sip.instance={instance}"));
        }
        if let Some(reg_id) = self.reg_id {
            value.push_str(&format!(";reg-id={reg_id}"));
        }
        value
    }

    /// For calls.
    pub(super) fn added(&self, endpoint: &str, now: Mono) -> ContactChange {
        let contact = Contact {
            id: self.contact,
            q: self.q,
            ipv6: self.path.remote.is_ipv6(),
            device: self.device().map(Cow::into_owned),
            reachable: true,
        };
        let facts = ContactFacts {
            address: self.uri.to_string(),
            transport: self.path.transport.uri().to_owned(),
            agent: self.agent.clone(),
            lasts_s: self.lasts_s(now),
        };
        ContactChange::Added { endpoint: endpoint.to_owned(), contact, source: self.path.remote, facts }
    }
}

/// The URN in a `+sip.instance`.
pub(super) fn device(instance: &str) -> Cow<'_, str> {
    let plain = instance.trim_matches('"');
    let urn = plain.strip_prefix('<').and_then(|urn| urn.strip_suffix('>')).unwrap_or(plain);
    Cow::Borrowed(urn)
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
