//! The registrar: RFC 3261 §10.3 over bindings that survive a restart.
//!
//! A REGISTER is applied as a whole or not at all. One that makes, moves or removes a binding is answered
//! only when that is safe on disk; one that only extends is answered at once.

mod binding;

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

/// A change, and who waits for it.
pub(crate) type Persist = (BindingChange, Option<PersistToken>);

/// What follows from a change of bindings.
#[derive(Default)]
pub(crate) struct Changes {
    /// For calls.
    pub contacts: Vec<ContactChange>,
    /// For the store.
    pub persist: Vec<Persist>,
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
    bindings: HashMap<Number, Vec<Binding>>,
    deadlines: BinaryHeap<Reverse<(Mono, Number)>>,
    /// Answers that wait until a change is safe: as many as there are transactions.
    waiting: HashMap<PersistToken, (TxId, Response)>,
    next_token: u64,
    count: usize,
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
            bindings: HashMap::new(),
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
        self.bindings.get(endpoint)?.iter().find(|binding| binding.contact == contact)
    }

    /// Takes back a binding that was kept over a restart.
    pub fn restore(&mut self, now: Mono, endpoint: Number, binding: Binding, changes: &mut Changes) {
        if binding.expires <= now {
            let contact = binding.contact;
            return changes.persist.push((BindingChange::Remove { endpoint, contact }, None));
        }
        changes.contacts.push(added(&endpoint, &binding));
        self.deadlines.push(Reverse((binding.expires, endpoint.clone())));
        self.bindings.entry(endpoint).or_default().push(binding);
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
        match changes.persist.last_mut() {
            Some((_, notify)) if waits => {
                let token = PersistToken(self.next_token);
                self.next_token += 1;
                *notify = Some(token);
                self.waiting.insert(token, (asked.tx, response));
                None
            }
            Some(_) | None => Some(response),
        }
    }

    /// A change is safe: who may be answered now, and with what.
    pub fn safe(&mut self, token: PersistToken) -> Option<(TxId, Response)> {
        self.waiting.remove(&token)
    }

    /// Ends what has run out.
    pub fn expire(&mut self, now: Mono, changes: &mut Changes) {
        while let Some(Reverse((at, _))) = self.deadlines.peek()
            && *at <= now
        {
            let Some(Reverse((_, endpoint))) = self.deadlines.pop() else { break };
            let Some(bindings) = self.bindings.get_mut(&endpoint) else { continue };
            for binding in bindings.extract_if(.., |binding| binding.expires <= now) {
                self.count -= 1;
                changes.removed(&endpoint, binding.contact, true);
            }
            if bindings.is_empty() {
                self.bindings.remove(&endpoint);
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
        let existing = self.bindings.get(asked.endpoint).map_or(&[][..], Vec::as_slice);
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
        let bindings = self.bindings.entry(endpoint.clone()).or_default();
        let mut waits = false;
        for Wish { contact, lasts } in wishes {
            let old =
                bindings.iter().position(|binding| binding.is(&contact)).map(|place| bindings.remove(place));
            self.count -= usize::from(old.is_some());
            if lasts.is_zero() {
                if let Some(old) = old {
                    changes.removed(&endpoint, old.contact, false);
                    waits = true;
                }
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
            self.deadlines.push(Reverse((binding.expires, endpoint.clone())));
            changes
                .persist
                .push((BindingChange::Put { endpoint: endpoint.clone(), binding: binding.clone() }, None));
            bindings.push(binding);
            self.count += 1;
        }
        // Newest last: what is over the limit now is the oldest.
        let surplus = bindings.len().saturating_sub(asked.policy.contacts_max);
        for oldest in bindings.drain(..surplus) {
            self.count -= 1;
            changes.removed(&endpoint, oldest.contact, false);
        }
        if bindings.is_empty() {
            self.bindings.remove(&endpoint);
        }
        waits
    }

    /// RFC 3261 §10.3 step 8: every current binding with what is left of its time.
    fn answer(&self, now: Mono, asked: &Registration<'_>) -> Response {
        let mut response = Response::to(asked.request, 200);
        for binding in self.bindings.get(asked.endpoint).into_iter().flatten() {
            response.headers.push(Name::Contact, binding.contact_value(now));
        }
        response
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
        self.persist.push((BindingChange::Remove { endpoint, contact }, None));
    }
}

fn added(endpoint: &str, binding: &Binding) -> ContactChange {
    let contact = Contact { id: binding.contact, q: binding.q, ipv6: binding.path.remote.is_ipv6() };
    ContactChange::Added { endpoint: endpoint.to_owned(), contact, source: binding.path.remote }
}
