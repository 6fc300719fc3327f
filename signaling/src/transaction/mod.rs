//! The transaction layer: RFC 3261 §17 and RFC 6026.
//!
//! Matches messages to transactions, absorbs retransmissions, repeats what may be lost. It is told the
//! time and sends nothing itself. What it does not do: dialogs, authentication, routing, and repeating a
//! 2xx or its ACK, which are end to end and belong to the dialog.

mod client;
mod errand;
mod invite_client;
mod invite_server;
mod key;
mod output;
mod refusals;
mod sending;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod timing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::{IdMap, LegId, Mono, TextMap};
use serde::{Deserialize, Serialize};

pub use self::errand::{Course, Errand, Failure, Undelivered};
pub(crate) use self::invite_client::Answerer;
use self::invite_server::InviteServer;
pub(crate) use self::key::Lookup;
pub use self::output::TxOutput;
use self::refusals::Refusals;
use self::server::Server;
use self::table::{Key, Machine, Transaction};
pub use self::timing::Timing;
use crate::message::{Message, Method, Name, Request, Response, Via};
use crate::wire::{Credentials, Opens, Path, Ticket, Transmit};

/// Names a transaction of either side; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(u64);

/// What one transaction asks of its layer.
#[derive(Debug)]
enum Action {
    /// Put these bytes on the wire.
    Send(Bytes),
    /// A client transaction's user should see this.
    Respond(Response),
    /// Nobody answered in time; or a refusal was never acknowledged.
    Timeout,
    /// The transport could not send.
    Failed,
    /// Forget it.
    Done,
}

/// Transactions that tables have room for from the start: growing one moves all of it within some turn.
const RESERVED_MAX: usize = 1 << 16;

/// Transactions of one leg at a time, so that no call takes the place of all others (RFC 3261 §26.3.2.4): as many as four
/// keys a second, each in an INFO, make within the 32 seconds of timer J.
const OF_LEG_MAX: usize = 128;

/// Every transaction of this machine.
pub struct Transactions {
    timing: Timing,
    limit: usize,
    next: u64,
    /// Boxed, so that the table stays small: growing it is part of some turn.
    all: IdMap<TxId, Box<Transaction>>,
    waiting: usize,
    /// Those that begin something, rather than end or change a call that goes on.
    begun: usize,
    /// How many serve each leg.
    of_legs: IdMap<LegId, usize>,
    clients: TextMap<Arc<[u8]>, TxId>,
    servers: TextMap<Arc<[u8]>, TxId>,
    /// Attempts whose ticket is not their name: of requests that went by more than one way.
    tickets: HashMap<Ticket, TxId>,
    deadlines: BinaryHeap<Reverse<(Mono, TxId)>>,
    /// What the machine that is being driven asks for; empty between calls.
    actions: Vec<Action>,
    /// Requests of ours that have no way at the moment, and their names.
    held: HashSet<TxId>,
    /// Requests that were refused because the table was full.
    refusals: Refusals,
}

impl Transactions {
    /// An empty layer that holds at most `limit` transactions.
    pub fn new(timing: Timing, limit: usize) -> Self {
        let room = limit.min(RESERVED_MAX);
        Transactions {
            timing,
            limit,
            next: 1, // ticket 0 means that nobody cares
            all: IdMap::with_capacity_and_hasher(room, Default::default()),
            waiting: 0,
            begun: 0,
            of_legs: IdMap::with_capacity_and_hasher(room, Default::default()),
            clients: TextMap::with_capacity_and_hasher(room, Default::default()),
            servers: TextMap::with_capacity_and_hasher(room, Default::default()),
            tickets: HashMap::new(),
            deadlines: BinaryHeap::with_capacity(room),
            actions: Vec::new(),
            held: HashSet::new(),
            refusals: Refusals::default(),
        }
    }

    /// Transactions that are not over.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Those whose peer owes us an answer, or the ACK to a refusal.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Requests that were answered 503 because the table was full, since the start.
    pub fn refused(&self) -> u64 {
        self.refusals.count()
    }

    /// The intervals in force.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// A request arrived; it belongs under this key of [`Lookup::server`].
    pub(crate) fn request(
        &mut self,
        now: Mono,
        request: Request,
        key: &Lookup,
        path: Path,
        credentials: Credentials,
        out: &mut Vec<TxOutput>,
    ) {
        if let Some(&tx) = self.servers.get(&**key) {
            let acks = request.method == Method::Ack;
            if acks && self.is_accepted(tx) {
                // RFC 6026 §7.1: an ACK to a 2xx is the dialog's, also from a peer that repeats the branch.
                return out.push(TxOutput::Ack { request, path });
            }
            self.seen(tx, path.remote, &request, out);
            return self.drive(tx, out, |machine, actions| match machine {
                Machine::InviteServer(server) if acks => server.ack(now, actions),
                Machine::InviteServer(server) => server.retransmitted(actions),
                Machine::Server(server) => server.retransmitted(actions),
                Machine::InviteClient(_) | Machine::Client(_) => {}
            });
        }
        match request.method {
            Method::Ack => out.push(TxOutput::Ack { request, path }),
            // An ACK never gets an answer; everything else may be refused here.
            _ if !self.has_room_for(&request) || self.refusals.has(now, key) => {
                self.refusals.add(now, key, self.timing.patience());
                let mut response = Response::to(&request, 503);
                response.headers.push(Name::RetryAfter, "5");
                self.answer_and_forget(&request, path, response, out);
            }
            Method::Cancel => self.cancel(request, key, path, out),
            _ => {
                let tx = self.add_server(&request, key, path);
                // First, so that whoever draws the ladder knows the leg before its 100 leaves.
                out.push(TxOutput::Request { tx, request, path, credentials });
                self.started(tx, out);
            }
        }
    }

    /// A response arrived. One that no transaction waits for is dropped (RFC 3261 §18.1.2), unless it is
    /// a late 2xx of a fork, which its transaction still takes in its Accepted state.
    pub fn response(&mut self, now: Mono, response: Response, out: &mut Vec<TxOutput>) {
        let Some(tx) = Lookup::response(&response).and_then(|key| self.clients.get(&*key)).copied() else {
            return;
        };
        if let Some(peer) = self.all.get(&tx).map(|transaction| transaction.path.remote) {
            self.seen(tx, peer, &response, out);
        }
        self.drive(tx, out, |machine, actions| match machine {
            Machine::InviteClient(client) => client.response(now, response, actions),
            Machine::Client(client) => client.response(now, response, actions),
            Machine::InviteServer(_) | Machine::Server(_) => {}
        });
    }

    /// Whether a request with this key repeats one that has its transaction.
    pub(crate) fn knows(&self, key: &Lookup) -> bool {
        self.servers.contains_key(&**key)
    }

    /// Whether an INVITE of ours that is not over went out with this Via.
    pub fn has_sent_invite(&self, via: &Via) -> bool {
        Lookup::invite_via(via).is_some_and(|key| self.clients.contains_key(&*key))
    }

    /// Whether there is an INVITE that this CANCEL is about.
    pub fn has_invite_of(&self, cancel: &Request) -> bool {
        Lookup::invite_of(cancel).is_some_and(|key| self.servers.contains_key(&*key))
    }

    /// Answers a request. A transaction that is over takes no answer.
    pub fn respond(&mut self, now: Mono, tx: TxId, response: &Response, out: &mut Vec<TxOutput>) {
        self.drive(tx, out, |machine, actions| match machine {
            Machine::InviteServer(server) => server.respond(now, response, actions),
            Machine::Server(server) => server.respond(now, response, actions),
            Machine::InviteClient(_) | Machine::Client(_) => {}
        });
    }

    /// The leg that a transaction serves.
    pub fn owner(&self, tx: TxId) -> Option<LegId> {
        self.all.get(&tx)?.owner
    }

    /// The leg for which something left under this ticket.
    pub fn sender(&self, ticket: Ticket) -> Option<LegId> {
        self.owner(self.sent_under(ticket)?)
    }

    /// The CANCEL for an INVITE of ours, when RFC 3261 §9.1 lets us send it: after a provisional answer
    /// and before a final one, and the way of the INVITE.
    pub fn cancel_request(&self, invite: TxId) -> Option<(Request, Course)> {
        let transaction = self.all.get(&invite)?;
        match &transaction.machine {
            Machine::InviteClient(client) if client.can_cancel() => {
                let opens = transaction.opens.clone();
                Some((key::cancel(client.request()), Course { opens, ..transaction.path.into() }))
            }
            Machine::InviteClient(_) | Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_) => {
                None
            }
        }
    }

    /// An INVITE of ours, as it was sent, and where.
    pub fn invite(&self, tx: TxId) -> Option<(Request, Path)> {
        let transaction = self.all.get(&tx)?;
        match &transaction.machine {
            Machine::InviteClient(client) => Some((client.request().clone(), transaction.path)),
            Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_) => None,
        }
    }

    /// Whose a 2xx to an INVITE of ours is, by its To tag.
    pub(crate) fn answerer(&self, invite: TxId, tag: &str) -> Answerer {
        match self.all.get(&invite).map(|transaction| &transaction.machine) {
            Some(Machine::InviteClient(client)) => client.answerer(tag),
            Some(Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_)) | None => {
                Answerer::Surplus
            }
        }
    }

    /// The 2xx with this To tag to an INVITE of ours is acknowledged so.
    pub fn acknowledged(&mut self, invite: TxId, tag: &str, path: Path, ack: Bytes) {
        if let Some(Machine::InviteClient(client)) = self.all.get_mut(&invite).map(|tx| &mut tx.machine) {
            client.acknowledged(tag, path, ack);
        }
    }

    /// What was sent under this ticket never left.
    pub fn send_failed(&mut self, ticket: Ticket, out: &mut Vec<TxOutput>) {
        let Some(tx) = self.sent_under(ticket) else { return };
        self.drive(tx, out, |machine, actions| match machine {
            Machine::InviteClient(client) => client.transport_failed(actions),
            Machine::Client(client) => client.transport_failed(actions),
            Machine::InviteServer(server) => server.transport_failed(actions),
            Machine::Server(server) => server.transport_failed(actions),
        });
    }

    /// Fires every timer that is due.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<TxOutput>) {
        while let Some(tx) = self.next_due(now) {
            self.drive(tx, out, |machine, actions| match machine {
                Machine::InviteClient(client) => client.expire(now, actions),
                Machine::Client(client) => client.expire(now, actions),
                Machine::InviteServer(server) => server.expire(now, actions),
                Machine::Server(server) => server.expire(now, actions),
            });
        }
    }

    /// Whether a request that begins something would be refused, by when it is here: those that are on their way find
    /// room in the last part of the table.
    pub fn is_full(&self) -> bool {
        self.begun >= self.limit - self.limit / 32
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether there is room for this request. What begins and what goes on with a call take none from each other.
    fn has_room_for(&self, request: &Request) -> bool {
        let those = if begins(request) { self.begun } else { self.all.len() - self.begun };
        those < self.limit
    }

    /// Answers a request without a transaction. Each repetition is answered afresh, and alike.
    pub fn answer_and_forget(
        &self,
        request: &Request,
        path: Path,
        mut response: Response,
        out: &mut Vec<TxOutput>,
    ) {
        // RFC 3261 §8.2.7: without memory, and yet the same for each repetition.
        if let Some(branch) = request.via().ok().and_then(|via| via.branch()) {
            response.tag_to(|| branch);
        }
        let transmit = Transmit {
            path: response_path(request, path),
            // Nobody has proved anything to have a connection opened.
            opens: Opens::Nowhere,
            payload: response.to_bytes(),
            ticket: Ticket::default(),
        };
        out.push(TxOutput::Transmit { owner: None, transmit });
    }

    fn cancel(&mut self, request: Request, key: &Lookup, path: Path, out: &mut Vec<TxOutput>) {
        let invite = Lookup::invite_of(&request).and_then(|key| self.servers.get(&*key)).copied();
        let tx = self.add_server(&request, key, path);
        let owner = invite.and_then(|invite| self.owner(invite));
        out.push(TxOutput::Cancel { tx, invite, owner, peer: path.remote, request });
    }

    fn add_server(&mut self, request: &Request, key: &Lookup, path: Path) -> TxId {
        let reliable = path.transport.is_reliable();
        let machine = if request.method == Method::Invite {
            Machine::InviteServer(InviteServer::start(self.timing, reliable, request, &mut self.actions))
        } else {
            Machine::Server(Server::start(self.timing, reliable))
        };
        let tx = self.new_id();
        let (way, opens) = (response_path(request, path), response_opens(request, path));
        let mut transaction = Transaction::new(machine, way, opens, Key::Server(key.share()), Ticket(tx.0));
        transaction.begins = begins(request);
        self.add(tx, transaction);
        tx
    }

    fn is_accepted(&self, tx: TxId) -> bool {
        let machine = self.all.get(&tx).map(|transaction| &transaction.machine);
        matches!(machine, Some(Machine::InviteServer(server)) if server.is_accepted())
    }

    fn seen<M: Clone + Into<Message>>(
        &self,
        tx: TxId,
        peer: SocketAddr,
        message: &M,
        out: &mut Vec<TxOutput>,
    ) {
        if let Some(owner) = self.owner(tx) {
            out.push(TxOutput::Seen { owner, peer, message: message.clone().into() });
        }
    }
}

/// Whether a request begins something, rather than ends or changes a call that goes on.
fn begins(request: &Request) -> bool {
    request.method != Method::Cancel && !request.to().is_ok_and(|to| to.tag().is_some())
}

/// The way of the answers to a request that came this way.
fn response_path(request: &Request, path: Path) -> Path {
    match request.via() {
        Ok(via) => Path { remote: via.response_target(path.transport, path.remote), ..path },
        Err(_) => path,
    }
}

/// Where a connection is opened for the answers to a request whose own is gone: a source port takes none.
fn response_opens(request: &Request, path: Path) -> Opens {
    let listens = request.via().ok().and_then(|via| via.listens_at(path.transport, path.remote));
    listens.map_or(Opens::Nowhere, Opens::At)
}
