//! The table of transactions: how one comes in, is driven, and goes.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use dialtone_core::{LegId, Mono};

use super::client::Client;
use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::server::Server;
use super::{Action, Errand, Failure, OF_LEG_MAX, Transactions, TxId, TxOutput, Undelivered};
use crate::message::Response;
use crate::wire::{Opens, Path, Ticket, Transmit};

pub(super) enum Machine {
    InviteClient(InviteClient),
    Client(Client),
    InviteServer(InviteServer),
    Server(Server),
}

impl Machine {
    /// Whether its peer owes us something.
    fn waits(&self) -> bool {
        match self {
            Machine::InviteClient(client) => client.waits(),
            Machine::Client(client) => client.waits(),
            Machine::InviteServer(server) => server.waits(),
            Machine::Server(_) => false,
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self {
            Machine::InviteClient(client) => client.deadline(),
            Machine::Client(client) => client.deadline(),
            Machine::InviteServer(server) => server.deadline(),
            Machine::Server(server) => server.deadline(),
        }
    }
}

/// Under which key messages find their transaction, shared with the index.
pub(super) enum Key {
    /// One of ours; `None` when its request has no branch, and no answer finds it.
    Client(Option<Arc<[u8]>>),
    /// One of theirs.
    Server(Arc<[u8]>),
}

pub(super) struct Transaction {
    pub machine: Machine,
    pub path: Path,
    pub opens: Opens,
    pub owner: Option<LegId>,
    /// Whether it begins something.
    pub begins: bool,
    /// What is needed to send it by another way, while that is possible.
    pub errand: Option<Box<Errand>>,
    pub key: Key,
    /// Under which what it sends leaves. It stays with the attempt, while a name goes on to the next one.
    pub ticket: Ticket,
    scheduled: Option<Mono>,
}

impl Transaction {
    pub fn new(machine: Machine, path: Path, opens: Opens, key: Key, ticket: Ticket) -> Self {
        let (owner, begins, errand, scheduled) = (None, false, None, None);
        Transaction { machine, path, opens, owner, begins, errand, key, ticket, scheduled }
    }

    /// Does what its machine asks for; whether it is over.
    fn carry_out(&mut self, tx: TxId, actions: &mut Vec<Action>, out: &mut Vec<TxOutput>) -> bool {
        let owner = self.owner;
        let mut over = false;
        for action in actions.drain(..) {
            match action {
                Action::Send(payload) => {
                    let (path, opens) = (self.path, self.opens.clone());
                    let transmit = Transmit { path, opens, payload, ticket: self.ticket };
                    out.push(TxOutput::Transmit { owner, transmit });
                }
                Action::Respond(response) => self.answered(tx, response, out),
                Action::Timeout => self.ended_unanswered(tx, false, out),
                Action::Failed => self.ended_unanswered(tx, true, out),
                Action::Done => over = true,
            }
        }
        over
    }

    fn answered(&mut self, tx: TxId, response: Response, out: &mut Vec<TxOutput>) {
        let owner = self.owner;
        if matches!(&self.machine, Machine::InviteClient(client) if client.is_late()) {
            return out.push(TxOutput::Late { tx, owner, response });
        }
        match self.errand.take() {
            Some(errand) if response.status == 503 => {
                self.undelivered(tx, *errand, Failure::Refused(response), out);
            }
            // RFC 3263 §4.3: whoever is at work on it keeps it. A 100 says no more than that a proxy is there.
            errand => {
                if errand.is_some() {
                    out.push(TxOutput::Delivered { path: self.path });
                }
                self.errand = errand.filter(|_| response.status == 100);
                out.push(TxOutput::Response { tx, owner, response });
            }
        }
    }

    fn undelivered(&self, tx: TxId, errand: Errand, failure: Failure, out: &mut Vec<TxOutput>) {
        let undelivered = Box::new(Undelivered { tx, errand, path: self.path, failure });
        out.push(TxOutput::Undelivered { owner: self.owner, undelivered });
    }

    /// Only a client's user waits for something; a server's learns from its dialog.
    fn ended_unanswered(&mut self, tx: TxId, unreachable: bool, out: &mut Vec<TxOutput>) {
        if let Some(errand) = self.errand.take() {
            let failure = if unreachable { Failure::Unreachable } else { Failure::Silent };
            return self.undelivered(tx, *errand, failure, out);
        }
        match self.key {
            Key::Client(_) => out.push(TxOutput::Timeout { tx, owner: self.owner, unreachable }),
            Key::Server(_) => {}
        }
    }
}

impl Transactions {
    /// A name that was never used.
    pub(super) fn new_id(&mut self) -> TxId {
        let tx = TxId(self.next);
        self.next += 1;
        tx
    }

    /// Takes one in.
    pub(super) fn add(&mut self, tx: TxId, transaction: Transaction) {
        match &transaction.key {
            Key::Client(key) => self.clients.extend(key.clone().map(|key| (key, tx))),
            Key::Server(key) => {
                self.servers.insert(Arc::clone(key), tx);
            }
        }
        if transaction.ticket != Ticket(tx.0) {
            self.tickets.insert(transaction.ticket, tx);
        }
        self.waiting += usize::from(transaction.machine.waits());
        self.begun += usize::from(transaction.begins);
        self.owned(None, transaction.owner);
        self.all.insert(tx, Box::new(transaction));
    }

    /// A request turned out to serve this leg.
    pub fn set_owner(&mut self, tx: TxId, leg: LegId) {
        let Some(transaction) = self.all.get_mut(&tx) else { return };
        let before = transaction.owner.replace(leg);
        self.owned(before, Some(leg));
    }

    /// Whether one more may serve this leg that its far end asks for.
    pub fn has_room_of(&self, leg: LegId) -> bool {
        self.of_legs.get(&leg).is_none_or(|count| *count < OF_LEG_MAX)
    }

    /// A transaction goes from serving one leg to serving another.
    fn owned(&mut self, before: Option<LegId>, after: Option<LegId>) {
        if let Some(leg) = after {
            *self.of_legs.entry(leg).or_default() += 1;
        }
        if let Some(leg) = before
            && let Entry::Occupied(mut count) = self.of_legs.entry(leg)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// What left under this ticket, if it is not over: never another attempt of the same request.
    pub(super) fn sent_under(&self, ticket: Ticket) -> Option<TxId> {
        let tx = self.tickets.get(&ticket).copied().unwrap_or(TxId(ticket.0));
        self.all.get(&tx).is_some_and(|transaction| transaction.ticket == ticket).then_some(tx)
    }

    /// Gives a transaction another name, if there is one of this.
    pub(super) fn rename(&mut self, from: TxId, to: TxId) {
        let Some(mut transaction) = self.all.remove(&from) else { return };
        if let Key::Client(Some(key)) = &transaction.key {
            self.clients.insert(Arc::clone(key), to);
        }
        self.tickets.insert(transaction.ticket, to);
        transaction.scheduled = transaction.machine.deadline();
        self.deadlines.extend(transaction.scheduled.map(|at| Reverse((at, to))));
        self.all.insert(to, transaction);
    }

    /// Lets a transaction do something, then sees whether it is over or wants to be woken.
    pub(super) fn drive(
        &mut self,
        tx: TxId,
        out: &mut Vec<TxOutput>,
        what: impl FnOnce(&mut Machine, &mut Vec<Action>),
    ) {
        let Some(transaction) = self.all.get_mut(&tx) else { return };
        self.waiting -= usize::from(transaction.machine.waits());
        what(&mut transaction.machine, &mut self.actions);
        self.waiting += usize::from(transaction.machine.waits());
        self.started(tx, out);
    }

    /// Does what a transaction's machine has asked for.
    pub(super) fn started(&mut self, tx: TxId, out: &mut Vec<TxOutput>) {
        let Some(transaction) = self.all.get_mut(&tx) else { return };
        let (before, was_errand) = (out.len(), transaction.errand.is_some());
        let over = transaction.carry_out(tx, &mut self.actions, out);
        let undelivered = |output: &TxOutput| matches!(output, TxOutput::Undelivered { .. });
        if was_errand && out.iter().skip(before).any(undelivered) {
            self.held.insert(tx);
        }
        if over {
            return self.forget(tx);
        }
        if let Some(at) = transaction.machine.deadline()
            && transaction.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            transaction.scheduled = Some(at);
            self.deadlines.push(Reverse((at, tx)));
        }
    }

    /// Takes the next transaction whose timer is due.
    pub(super) fn next_due(&mut self, now: Mono) -> Option<TxId> {
        while let Some(&Reverse((at, tx))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            // One that is over, or was scheduled earlier since, is not meant.
            if let Some(transaction) = self.all.get_mut(&tx)
                && transaction.scheduled == Some(at)
            {
                transaction.scheduled = None;
                return Some(tx);
            }
        }
        None
    }

    fn forget(&mut self, tx: TxId) {
        let Some(transaction) = self.all.remove(&tx) else { return };
        self.tickets.remove(&transaction.ticket);
        self.begun -= usize::from(transaction.begins);
        self.owned(transaction.owner, None);
        match transaction.key {
            Key::Client(Some(key)) => self.clients.remove(&key),
            Key::Server(key) => self.servers.remove(&key),
            Key::Client(None) => None,
        };
    }
}
