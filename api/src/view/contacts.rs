//! Where phones are registered, and whether they answer.

use std::net::SocketAddr;

use dashmap::DashMap;
use dialtone_core::event::{Event, Fact};
use dialtone_core::{ContactId, Number, Wall};
use serde::{Deserialize, Serialize};

/// One registered contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactView {
    /// The contact.
    pub contact: ContactId,
    /// Whose it is.
    pub endpoint: Number,
    /// Its address, as its phone gave it.
    pub address: String,
    /// Over what it is reached: `udp`.
    pub transport: String,
    /// From where it registered.
    pub source: SocketAddr,
    /// What its phone calls itself; may be empty.
    pub agent: String,
    /// When it ends if its phone does not come back, RFC 3339 UTC.
    pub expires: String,
    /// Whether it can be reached, as far as is known.
    pub reachable: bool,
    /// From the last question to its answer, microseconds; `None` while there was none.
    pub round_trip_us: Option<u64>,
}

/// Some contacts, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPage {
    /// The contacts.
    pub contacts: Vec<ContactView>,
    /// Hand this in for what follows; `None` at the end.
    pub next: Option<ContactId>,
    /// Contacts at this moment.
    pub total: usize,
}

/// Contacts that are shown; more are not.
const CONTACTS_MAX: usize = 200_000;

/// A fold over the facts about contacts.
#[derive(Default)]
pub(super) struct Contacts(DashMap<ContactId, ContactView>);

impl Contacts {
    /// Takes the next event.
    pub fn apply(&self, event: &Event) {
        let ends = |lasts_s: u64| {
            let lasts_us = i64::try_from(lasts_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            Wall::from_micros(event.at.wall.as_micros().saturating_add(lasts_us)).to_string()
        };
        match &event.fact {
            Fact::ContactAdded { endpoint, contact, source, about } => {
                if self.0.len() >= CONTACTS_MAX && !self.0.contains_key(contact) {
                    return;
                }
                let view = ContactView {
                    contact: *contact,
                    endpoint: endpoint.clone(),
                    address: about.address.clone(),
                    transport: about.transport.clone(),
                    source: *source,
                    agent: about.agent.clone(),
                    expires: ends(about.lasts_s),
                    reachable: true,
                    round_trip_us: None,
                };
                self.0.insert(*contact, view);
            }
            Fact::ContactRefreshed { contact, lasts_s, .. } => {
                self.change(*contact, |view| view.expires = ends(*lasts_s));
            }
            Fact::ContactReached { contact, reachable, round_trip_us, .. } => {
                self.change(*contact, |view| {
                    view.reachable = *reachable;
                    view.round_trip_us = round_trip_us.or(view.round_trip_us);
                });
            }
            Fact::ContactRemoved { contact, .. } => {
                self.0.remove(contact);
            }
            _ => {}
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// At most `limit` that were registered after `after`.
    pub fn page(&self, limit: usize, after: Option<ContactId>) -> ContactPage {
        let mut ids: Vec<ContactId> = self
            .0
            .iter()
            .map(|view| *view.key())
            .filter(|id| after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_unstable();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().copied().filter(|_| more);
        let contacts = ids.into_iter().filter_map(|id| self.0.get(&id).map(|view| view.clone())).collect();
        ContactPage { contacts, next, total: self.0.len() }
    }

    fn change(&self, contact: ContactId, change: impl FnOnce(&mut ContactView)) {
        if let Some(mut view) = self.0.get_mut(&contact) {
            change(&mut view);
        }
    }
}
