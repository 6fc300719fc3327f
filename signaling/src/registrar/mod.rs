//! The registrar: RFC 3261 §10.3 over bindings that survive a restart.
//!
//! A REGISTER is applied as a whole or not at all. One that makes, moves or removes a binding is answered
//! only when that is safe on disk; one that only extends is answered at once.

mod binding;
mod reuse;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use dialtone_core::endpoint::{Contact, ContactChange};
use dialtone_core::{ContactId, IdSource, Mono, Number};

pub use self::binding::{Binding, BindingChange, PersistToken};
use crate::message::{ContactList, Name, NameAddr, RawUri, Request, Response};
use crate::transaction::TxId;
use crate::wire::Path;

/// How long bindings may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryPolicy {
    /// Shorter is refused with 423.
    pub min: Duration,
    /// Longer is shortened to this.
    pub max: Duration,
    /// When nothing is asked for.
    pub default: Duration,
}

impl Default for ExpiryPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        ExpiryPolicy { min: seconds(60), max: seconds(86_400), default: seconds(3600) }
    }
}

/// What one extension may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactPolicy {
    /// Contacts at a time.
    pub contacts_max: usize,
    /// Whether one more takes the place of the oldest, rather than being refused.
    pub replaces_oldest: bool,
}

impl Default for ContactPolicy {
    fn default() -> Self {
        ContactPolicy { contacts_max: 5, replaces_oldest: true }
    }
}

/// What follows from a change of bindings.
#[derive(Default)]
pub(crate) struct Changes {
    /// For calls.
    pub contacts: Vec<ContactChange>,
    /// For the store, all or nothing.
    pub persist: Vec<BindingChange>,
    /// Who waits for that.
    pub notify: Option<PersistToken>,
}

/// One REGISTER, as the registrar needs it.
pub(crate) struct Registration<'a> {
    pub tx: TxId,
    pub request: &'a Request,
    pub endpoint: &'a str,
    pub policy: ContactPolicy,
    pub path: Path,
}

/// Every binding of this machine.
pub(crate) struct Registrar {
    expiry: ExpiryPolicy,
    ids: IdSource,
    accounts: HashMap<Number, Account>,
    deadlines: BinaryHeap<Reverse<(Mono, Number)>>,
    /// Answers that wait until a change is safe: as many as there are transactions.
    waiting: HashMap<PersistToken, Waiting>,
    next_token: u64,
    count: usize,
}

/// What is known of one address-of-record.
#[derive(Default)]
struct Account {
    /// Newest last.
    bindings: Vec<Binding>,
    /// When it stands in the heap of deadlines.
    scheduled: Option<Mono>,
    /// Set while what is here may differ from what is on disk.
    doubt: Option<Doubt>,
}

/// Changes that were asked for and are not known to be safe.
struct Doubt {
    /// The write that would make everything safe.
    token: PersistToken,
    /// What was taken back meanwhile; everything else is in the bindings.
    removed: Vec<ContactId>,
}

/// Of an account, for a store that fails for long. One more is forgotten, and runs out on disk by itself.
const REMOVED_MAX: usize = 16;

/// An answer that waits.
struct Waiting {
    endpoint: Number,
    tx: TxId,
    response: Response,
}

/// One contact that a REGISTER asks for.
struct Wish {
    contact: NameAddr,
    /// Zero takes it back.
    lasts: Duration,
}

impl Registrar {
    pub fn new(expiry: ExpiryPolicy, ids: IdSource) -> Self {
        Registrar {
            expiry,
            ids,
            accounts: HashMap::new(),
            deadlines: BinaryHeap::new(),
            waiting: HashMap::new(),
            next_token: 1,
            count: 0,
        }
    }

    /// Bindings that have not expired.
    pub fn len(&self) -> usize {
        self.count
    }

    /// A binding of an endpoint.
    pub fn binding(&self, endpoint: &str, contact: ContactId) -> Option<&Binding> {
        self.current(endpoint).iter().find(|binding| binding.contact == contact)
    }

    fn current(&self, endpoint: &str) -> &[Binding] {
        self.accounts.get(endpoint).map_or(&[], |account| &account.bindings)
    }

    /// Takes back a binding that was kept over a restart.
    pub fn restore(&mut self, now: Mono, endpoint: Number, binding: Binding, changes: &mut Changes) {
        if binding.expires <= now {
            let contact = binding.contact;
            return changes.persist.push(BindingChange::Remove { endpoint, contact });
        }
        changes.contacts.push(added(&endpoint, &binding));
        let account = self.accounts.entry(endpoint.clone()).or_default();
        account.bindings.push(binding);
        account.schedule(&endpoint, &mut self.deadlines);
        self.count += 1;
    }

    /// A REGISTER of an account that has proved who it is. Gives the answer, unless it must wait until
    /// the changes are safe.
    pub fn register(
        &mut self,
        now: Mono,
        asked: &Registration<'_>,
        changes: &mut Changes,
    ) -> Option<Response> {
        let wishes = match self.wishes(asked) {
            Ok(wishes) => wishes,
            Err(refusal) => return Some(*refusal),
        };
        let waits = self.apply(now, asked, wishes, changes);
        let response = self.answer(now, asked);
        if !waits || changes.persist.is_empty() {
            return Some(response);
        }
        let token = PersistToken(self.next_token);
        self.next_token += 1;
        changes.notify = Some(token);
        let endpoint = asked.endpoint.to_owned();
        let account = self.accounts.entry(endpoint.clone()).or_default();
        account.doubt(token, &changes.persist);
        self.waiting.insert(token, Waiting { endpoint, tx: asked.tx, response });
        None
    }

    /// A change is safe: who may be answered now, and with what.
    pub fn safe(&mut self, token: PersistToken) -> Option<(TxId, Response)> {
        let Waiting { endpoint, tx, response } = self.waiting.remove(&token)?;
        if let Some(account) = self.accounts.get_mut(&endpoint) {
            account.doubt.take_if(|doubt| doubt.token == token);
            if account.bindings.is_empty() && account.doubt.is_none() {
                self.accounts.remove(&endpoint);
            }
        }
        Some((tx, response))
    }

    /// A change could not be kept: who is to be told, and what they would have been told otherwise. Until a
    /// later write of the account succeeds, nobody is told that what is here will last.
    pub fn lost(&mut self, token: PersistToken) -> Option<(TxId, Response)> {
        let Waiting { tx, response, .. } = self.waiting.remove(&token)?;
        Some((tx, response))
    }

    /// Ends what has run out.
    pub fn expire(&mut self, now: Mono, changes: &mut Changes) {
        while let Some(Reverse((due, _))) = self.deadlines.peek()
            && *due <= now
        {
            let Some(Reverse((at, endpoint))) = self.deadlines.pop() else { break };
            let Some(account) = self.accounts.get_mut(&endpoint) else { continue };
            if account.scheduled != Some(at) {
                continue; // It has been scheduled earlier since.
            }
            account.scheduled = None;
            for binding in account.bindings.extract_if(.., |binding| binding.expires <= now) {
                self.count -= 1;
                changes.removed(&endpoint, binding.contact, true);
            }
            account.schedule(&endpoint, &mut self.deadlines);
            if account.bindings.is_empty() && account.doubt.is_none() {
                self.accounts.remove(&endpoint);
            }
        }
    }

    /// The next instant at which `expire` may have work.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// What a REGISTER asks for, or the refusal that it is owed (RFC 3261 §10.3 steps 6 and 7).
    fn wishes(&self, asked: &Registration<'_>) -> Result<Vec<Wish>, Box<Response>> {
        let refuse = |status, why: &str| Err(Box::new(Response::to(asked.request, status).with_reason(why)));
        let headers = &asked.request.headers;
        let existing = self.current(asked.endpoint);
        let (Ok(call_id), Ok(cseq)) = (asked.request.call_id(), asked.request.cseq()) else {
            return refuse(400, "Malformed Call-ID or CSeq");
        };
        let late = |binding: &Binding| binding.call_id == call_id && binding.cseq >= cseq.number;
        let wishes = match headers.contacts() {
            Err(_) => return refuse(400, "Malformed Contact"),
            Ok(ContactList::Star) if headers.expires() != Some(0) => {
                return refuse(400, "Contact * needs Expires 0");
            }
            Ok(ContactList::Star) => {
                if existing.iter().any(late) {
                    return refuse(400, "CSeq Out Of Order");
                }
                existing.iter().filter_map(Wish::away).collect()
            }
            Ok(ContactList::List(contacts)) => {
                let mut wishes = Vec::with_capacity(contacts.len());
                for contact in contacts {
                    if existing.iter().any(|binding| binding.is(&contact) && late(binding)) {
                        return refuse(400, "CSeq Out Of Order");
                    }
                    let asks = contact.expires().or(headers.expires());
                    let lasts =
                        asks.map_or(self.expiry.default, |seconds| Duration::from_secs(seconds.into()));
                    if !lasts.is_zero() && lasts < self.expiry.min {
                        let mut response = Response::to(asked.request, 423);
                        response.headers.push(Name::MinExpires, self.expiry.min.as_secs().to_string());
                        return Err(Box::new(response));
                    }
                    wishes.push(Wish { contact, lasts: lasts.min(self.expiry.max) });
                }
                wishes
            }
        };
        let fresh = |wish: &&Wish| !wish.lasts.is_zero() && !existing.iter().any(|b| b.is(&wish.contact));
        let taken_back =
            |binding: &&Binding| wishes.iter().any(|w| w.lasts.is_zero() && binding.is(&w.contact));
        let (more, fewer) = (wishes.iter().filter(fresh).count(), existing.iter().filter(taken_back).count());
        let too_many = existing.len() + more - fewer > asked.policy.contacts_max;
        if too_many && (!asked.policy.replaces_oldest || more > asked.policy.contacts_max) {
            return refuse(403, "Too Many Contacts");
        }
        Ok(wishes)
    }

    /// Applies wishes that were found good. Gives whether the answer must wait for the store.
    fn apply(
        &mut self,
        now: Mono,
        asked: &Registration<'_>,
        wishes: Vec<Wish>,
        changes: &mut Changes,
    ) -> bool {
        let endpoint = asked.endpoint.to_owned();
        let call_id = asked.request.call_id().unwrap_or_default().to_owned();
        let cseq = asked.request.cseq().map_or(0, |cseq| cseq.number);
        let account = self.accounts.entry(endpoint.clone()).or_default();
        let bindings = &mut account.bindings;
        let mut waits = account.doubt.is_some();
        for Wish { contact, lasts } in wishes {
            // One place may stand here twice: by its URI, and by its instance under another URI.
            let mut same = bindings.extract_if(.., |binding| binding.is(&contact)).collect::<Vec<_>>();
            self.count -= same.len();
            let old = (!lasts.is_zero() && !same.is_empty()).then(|| same.remove(0));
            for gone in same {
                changes.removed(&endpoint, gone.contact, false);
                waits = true;
            }
            if lasts.is_zero() {
                continue;
            }
            let binding = Binding {
                contact: old.as_ref().map_or_else(|| self.ids.contact(), |old| old.contact),
                q: contact.q().unwrap_or(1000),
                instance: contact.params.get("+sip.instance").map(str::to_owned),
                uri: RawUri::from(contact.uri),
                call_id: call_id.clone(),
                cseq,
                path: asked.path,
                expires: now + lasts,
            };
            let same_place = old
                .is_some_and(|old| old.path == binding.path && old.uri == binding.uri && old.q == binding.q);
            if !same_place {
                changes.contacts.push(added(&endpoint, &binding));
                waits = true;
            }
            changes.put(&endpoint, &binding);
            bindings.push(binding);
            self.count += 1;
        }
        // Newest last: what is over the limit now is the oldest.
        let surplus = bindings.len().saturating_sub(asked.policy.contacts_max);
        for oldest in bindings.drain(..surplus) {
            self.count -= 1;
            changes.removed(&endpoint, oldest.contact, false);
        }
        if let Some(doubt) = &account.doubt {
            // Once more, and all of it: the write before may have been lost.
            let gone = doubt.removed.iter().map(|contact| remove(&endpoint, *contact));
            changes.persist.extend(gone);
            changes.persist.retain(|change| matches!(change, BindingChange::Remove { .. }));
            bindings.iter().for_each(|binding| changes.put(&endpoint, binding));
        }
        account.schedule(&endpoint, &mut self.deadlines);
        if account.bindings.is_empty() && account.doubt.is_none() {
            self.accounts.remove(&endpoint);
        }
        waits
    }

    /// RFC 3261 §10.3 step 8: every current binding with what is left of its time.
    fn answer(&self, now: Mono, asked: &Registration<'_>) -> Response {
        let mut response = Response::to(asked.request, 200);
        for binding in self.current(asked.endpoint) {
            response.headers.push(Name::Contact, binding.contact_value(now));
        }
        response
    }
}

impl Account {
    /// Stands in the heap once, unless a deadline came to be earlier than the one that stands there.
    fn schedule(&mut self, endpoint: &str, deadlines: &mut BinaryHeap<Reverse<(Mono, Number)>>) {
        if let Some(at) = self.bindings.iter().map(|binding| binding.expires).min()
            && self.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            self.scheduled = Some(at);
            deadlines.push(Reverse((at, endpoint.to_owned())));
        }
    }

    /// These are to be written under this token, with everything that was in doubt before.
    fn doubt(&mut self, token: PersistToken, changes: &[BindingChange]) {
        let mut removed: Vec<ContactId> = changes
            .iter()
            .filter_map(|change| match change {
                BindingChange::Remove { contact, .. } => Some(*contact),
                BindingChange::Put { .. } => None,
            })
            .collect();
        removed.truncate(REMOVED_MAX);
        self.doubt = Some(Doubt { token, removed });
    }
}

impl Wish {
    /// Takes a binding back, whoever made it.
    fn away(binding: &Binding) -> Option<Wish> {
        let uri = binding.uri.parse().ok()?;
        Some(Wish { contact: NameAddr::new(uri), lasts: Duration::ZERO })
    }
}

impl Changes {
    fn removed(&mut self, endpoint: &str, contact: ContactId, expired: bool) {
        let endpoint = endpoint.to_owned();
        self.contacts.push(ContactChange::Removed { endpoint: endpoint.clone(), contact, expired });
        self.persist.push(BindingChange::Remove { endpoint, contact });
    }

    fn put(&mut self, endpoint: &str, binding: &Binding) {
        self.persist.push(BindingChange::Put { endpoint: endpoint.to_owned(), binding: binding.clone() });
    }
}

fn remove(endpoint: &str, contact: ContactId) -> BindingChange {
    BindingChange::Remove { endpoint: endpoint.to_owned(), contact }
}

fn added(endpoint: &str, binding: &Binding) -> ContactChange {
    let contact = Contact { id: binding.contact, q: binding.q, ipv6: binding.path.remote.is_ipv6() };
    ContactChange::Added { endpoint: endpoint.to_owned(), contact, source: binding.path.remote }
}
