//! What follows from a change of bindings, for calls and for the store.

use dialtone_core::endpoint::ContactChange;
use dialtone_core::{ContactId, Mono};

use super::{Binding, BindingChange, PersistToken};
use crate::wire::Path;

/// See the module.
#[derive(Default)]
pub(crate) struct Changes {
    /// For calls.
    pub contacts: Vec<ContactChange>,
    /// Ways that have been left for others: a phone is back over another connection, or from another port.
    pub moved: Vec<(Path, Path)>,
    /// For the store, all or nothing.
    pub persist: Vec<BindingChange>,
    /// Who waits for that.
    pub notify: Option<PersistToken>,
}

impl Changes {
    /// It can be reached there.
    pub(super) fn added(&mut self, now: Mono, endpoint: &str, binding: &Binding) {
        self.contacts.push(binding.added(endpoint, now));
    }

    /// It said again that it is there.
    pub(super) fn refreshed(&mut self, now: Mono, endpoint: &str, binding: &Binding) {
        let (endpoint, contact) = (endpoint.to_owned(), binding.contact);
        self.contacts.push(ContactChange::Refreshed { endpoint, contact, lasts_s: binding.lasts_s(now) });
    }

    /// It is no longer there.
    pub(super) fn removed(&mut self, endpoint: &str, contact: ContactId, expired: bool) {
        let endpoint = endpoint.to_owned();
        self.contacts.push(ContactChange::Removed { endpoint: endpoint.clone(), contact, expired });
        self.persist.push(BindingChange::Remove { endpoint, contact });
    }

    /// To be kept as it is now.
    pub(super) fn put(&mut self, endpoint: &str, binding: &Binding) {
        self.persist.push(BindingChange::Put { endpoint: endpoint.to_owned(), binding: binding.clone() });
    }

    /// To be forgotten, once more.
    pub(super) fn remove(&mut self, endpoint: &str, contact: ContactId) {
        self.persist.push(BindingChange::Remove { endpoint: endpoint.to_owned(), contact });
    }
}
