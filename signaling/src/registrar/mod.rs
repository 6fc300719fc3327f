//! The registrar: RFC 3261 §10.3 over bindings that survive a restart, with the paths of RFC 3327, the flows of
//! RFC 5626 and the GRUUs of RFC 5627.
//!
//! A REGISTER is applied as a whole or not at all. One that makes, moves or removes a binding is answered
//! only when that is safe on disk; one that only extends is answered at once.

mod asked;
mod binding;
mod changes;
mod gruu;
mod policy;
mod probes;
mod reuse;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use dialtone_core::{ContactId, IdSource, Mono, Number, TextMap};

pub(crate) use self::asked::Registration;
use self::asked::{Asked, Wish};
pub use self::binding::{Binding, BindingChange, PersistToken};
pub(crate) use self::changes::Changes;
pub use self::gruu::GruuKey;
pub use self::policy::{ContactPolicy, ExpiryPolicy, Nat, ReachPolicy};
pub(crate) use self::probes::Probes;
use crate::message::{Host, Name, NameAddr, RawUri, Response, Uri};
use crate::transaction::TxId;
use crate::wire::FlowId;

/// What a phone that keeps a flow must send something after, seconds (RFC 5626 §5.4).
const FLOW_TIMER_S: u32 = 120;

/// Every binding of this machine.
pub(crate) struct Registrar {
    expiry: ExpiryPolicy,
    gruus: GruuKey,
    ids: IdSource,
    accounts: TextMap<Number, Account>,
    /// Who was registered over which connection; as many as there are bindings.
    by_flow: HashMap<FlowId, Vec<(Number, ContactId)>>,
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

impl Registrar {
    pub fn new(expiry: ExpiryPolicy, gruus: GruuKey, ids: IdSource) -> Self {
        Registrar {
            expiry,
            gruus,
            ids,
            accounts: TextMap::default(),
            by_flow: HashMap::new(),
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

    /// The ways to the device that this contact is of: it first, then its other flows, newest first
    /// (RFC 5626 §7).
    pub fn ways(&self, endpoint: &str, contact: ContactId) -> Vec<ContactId> {
        let Some(first) = self.binding(endpoint, contact) else { return Vec::new() };
        let others = self.current(endpoint).iter().rev().filter(|other| {
            other.contact != contact && other.instance.is_some() && other.instance == first.instance
        });
        std::iter::once(contact).chain(others.map(|other| other.contact)).collect()
    }

    /// Who was registered over a connection.
    pub fn over(&self, flow: FlowId) -> &[(Number, ContactId)] {
        self.by_flow.get(&flow).map_or(&[], Vec::as_slice)
    }

    /// The extension and the device that a GRUU of ours leads to (RFC 5627 §3.2); `None` when it leads nowhere.
    pub fn gruu(&self, uri: &Uri) -> Option<(Number, String)> {
        self.gruus.resolve(uri, |endpoint| self.current(endpoint))
    }

    /// Where a device is registered of which this is a GRUU of ours: its newest contact behind this proxy, or its
    /// newest.
    pub(crate) fn behind(&self, gruu: &Uri, nearest: &Host) -> Option<RawUri> {
        let (endpoint, device) = self.gruu(gruu)?;
        let is_behind = |binding: &Binding| {
            let first = binding.routes.first().and_then(|first| NameAddr::parse(first).ok());
            first.is_some_and(|first| first.uri.host == *nearest)
        };
        let is_it = |binding: &&Binding| binding.device().is_some_and(|found| found == device);
        let of_it = || self.current(&endpoint).iter().rev().filter(is_it);
        let found = of_it().find(|binding| is_behind(binding)).or_else(|| of_it().next())?;
        found.uri.parse().ok().map(|uri| RawUri::from(&*uri.as_target()))
    }

    /// The bindings of an account.
    pub fn current(&self, endpoint: &str) -> &[Binding] {
        self.accounts.get(endpoint).map_or(&[], |account| &account.bindings)
    }

    /// Takes back a binding that was kept over a restart.
    pub fn restore(&mut self, now: Mono, endpoint: Number, binding: Binding, changes: &mut Changes) {
        if binding.expires <= now {
            return changes.remove(&endpoint, binding.contact);
        }
        changes.added(now, &endpoint, &binding);
        let account = self.accounts.entry(endpoint.clone()).or_default();
        enter(&mut self.by_flow, &endpoint, &binding);
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
        let read = match asked.read(self.current(asked.endpoint), &self.expiry) {
            Ok(read) => read,
            Err(refusal) => return Some(*refusal),
        };
        let flow = read.wishes.iter().any(|wish| wish.reg_id.is_some());
        let waits = self.apply(now, asked, read, changes);
        let response = self.answer(now, asked, flow);
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
                leave(&mut self.by_flow, &binding);
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

    /// Applies what was found good. Gives whether the answer must wait for the store.
    fn apply(&mut self, now: Mono, asked: &Registration<'_>, read: Asked, changes: &mut Changes) -> bool {
        let endpoint = asked.endpoint;
        let account = self.accounts.entry(endpoint.to_owned()).or_default();
        let bindings = &mut account.bindings;
        let mut waits = account.doubt.is_some();
        let Asked { wishes, lost, routes, agent, nat, call_id, cseq } = read;
        for wish in wishes {
            // One place may stand here twice: by its URI, and by its instance under another URI.
            let mut same = bindings.extract_if(.., |binding| wish.is_for(binding)).collect::<Vec<_>>();
            self.count -= same.len();
            same.iter().for_each(|gone| leave(&mut self.by_flow, gone));
            let old = (!wish.lasts.is_zero() && !same.is_empty()).then(|| same.remove(0));
            for gone in same {
                changes.removed(endpoint, gone.contact, false);
                waits = true;
            }
            let Wish { contact, instance, reg_id, lasts } = wish;
            if lasts.is_zero() {
                continue;
            }
            let binding = Binding {
                contact: old.as_ref().map_or_else(|| self.ids.contact(), |old| old.contact),
                q: contact.q().unwrap_or(1000),
                instance,
                reg_id,
                routes: routes.clone(),
                nat,
                agent: agent.clone(),
                uri: RawUri::from(contact.uri),
                call_id: call_id.clone(),
                cseq,
                path: asked.path,
                expires: now + lasts,
            };
            let moved = |old: &&Binding| old.same_phone(&binding) && !old.path.is_same_peer(binding.path);
            changes.moved.extend(old.iter().filter(moved).map(|old| (old.path, binding.path)));
            if old.is_some_and(|old| old.same_place(&binding)) {
                changes.refreshed(now, endpoint, &binding);
            } else {
                changes.added(now, endpoint, &binding);
                waits = true;
            }
            changes.put(endpoint, &binding);
            enter(&mut self.by_flow, endpoint, &binding);
            bindings.push(binding);
            self.count += 1;
        }
        // Newest last: what is over the limit now is what cannot be reached, and then the oldest.
        for _ in asked.policy.contacts_max..bindings.len() {
            let at = bindings.iter().position(|binding| lost.contains(&binding.contact)).unwrap_or(0);
            let gone = bindings.remove(at);
            self.count -= 1;
            leave(&mut self.by_flow, &gone);
            changes.removed(endpoint, gone.contact, false);
        }
        if let Some(doubt) = &account.doubt {
            // Once more, and all of it: the write before may have been lost.
            doubt.removed.iter().for_each(|contact| changes.remove(endpoint, *contact));
            changes.persist.retain(|change| matches!(change, BindingChange::Remove { .. }));
            bindings.iter().for_each(|binding| changes.put(endpoint, binding));
        }
        account.schedule(endpoint, &mut self.deadlines);
        if account.bindings.is_empty() && account.doubt.is_none() {
            self.accounts.remove(endpoint);
        }
        waits
    }

    /// RFC 3261 §10.3 step 8: every current binding with what is left of its time, and what the extensions that
    /// were used add to it.
    fn answer(&self, now: Mono, asked: &Registration<'_>, flow: bool) -> Response {
        let mut response = Response::to(asked.request, 200);
        let gruus = asked.supports("gruu").then_some(&self.gruus);
        for binding in self.current(asked.endpoint) {
            let mut value = binding.contact_value(now);
            if let Some(gruus) = gruus {
                value.push_str(&gruus.params(asked.endpoint, binding, asked.identity));
            }
            response.headers.push(Name::Contact, value);
        }
        // RFC 3327 §5.3: so that the phone sees who stands between us.
        response.headers.copy(&Name::Path, &asked.request.headers);
        if flow {
            response.headers.push(Name::Require, "outbound"); // RFC 5626 §6
        }
        if flow && !asked.through_proxy() {
            response.headers.push(Name::FlowTimer, FLOW_TIMER_S);
        }
        response.headers.push(Name::Supported, "path, outbound, gruu");
        response
    }
}

/// Connections alone are told when they end.
fn enter(by_flow: &mut HashMap<FlowId, Vec<(Number, ContactId)>>, endpoint: &str, binding: &Binding) {
    if binding.path.transport.is_reliable() && binding.path.flow != FlowId(0) {
        by_flow.entry(binding.path.flow).or_default().push((endpoint.to_owned(), binding.contact));
    }
}

fn leave(by_flow: &mut HashMap<FlowId, Vec<(Number, ContactId)>>, binding: &Binding) {
    if let Some(over) = by_flow.get_mut(&binding.path.flow) {
        over.retain(|(_, contact)| *contact != binding.contact);
        if over.is_empty() {
            by_flow.remove(&binding.path.flow);
        }
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
