//! Requests of ours: how they leave, wait for a way, and leave by another.

use std::time::Duration;

use dialtone_core::{LegId, Mono};

use super::client::Client;
use super::invite_client::InviteClient;
use super::table::{Key, Machine, Transaction};
use super::{Course, Errand, Failure, Lookup, Transactions, TxId, TxOutput, Undelivered, begins};
use crate::message::{Method, Name, Request};
use crate::wire::{Opens, Path, Ticket};

impl Transactions {
    /// Sends a request. Its topmost Via must carry a branch of ours that was never used before. When its way is not
    /// known it waits, and [`TxOutput::Undelivered`] asks for one.
    pub fn send(
        &mut self,
        now: Mono,
        request: Request,
        course: impl Into<Course>,
        owner: Option<LegId>,
        out: &mut Vec<TxOutput>,
    ) -> TxId {
        let Course { path, known, hop, fallback, opens } = course.into();
        let tx = self.new_id();
        let errand = hop.map(|hop| Errand { request: request.clone(), hop, targets: None, fallback });
        match errand {
            Some(errand) if !known => {
                self.held.insert(tx);
                let undelivered = Undelivered { tx, errand, path, failure: Failure::Unsent };
                out.push(TxOutput::Undelivered { owner, undelivered: Box::new(undelivered) });
            }
            errand => self.start(now, (tx, Ticket(tx.0)), request, (path, opens), errand, owner, None, out),
        }
        tx
    }

    /// Sends a request that was held by this way, under the name that it has. Another way is wanted when nobody answers
    /// for so long.
    pub(crate) fn send_again(
        &mut self,
        now: Mono,
        tx: TxId,
        errand: Errand,
        (path, opens, patience): (Path, Opens, Option<Duration>),
        owner: Option<LegId>,
        out: &mut Vec<TxOutput>,
    ) {
        self.held.remove(&tx);
        // What refused it may say so again, and is owed an ACK each time.
        let absorber = self.new_id();
        self.rename(tx, absorber);
        let request = errand.request.clone();
        // What could not be sent to a target says nothing of the next one.
        let ticket = Ticket(self.new_id().0);
        self.start(now, (tx, ticket), request, (path, opens), Some(errand), owner, patience, out);
    }

    /// An INVITE of ours is sent anew, as another one and by another way: what this one still hears is
    /// [`TxOutput::Late`].
    pub fn give_way(&mut self, now: Mono, invite: TxId, out: &mut Vec<TxOutput>) {
        self.drive(invite, out, |machine, _| match machine {
            Machine::InviteClient(client) => client.give_way(now),
            Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_) => {}
        });
    }

    /// Whoever sent this INVITE is gone: it is not repeated any more, and its answer is acknowledged until the peer can
    /// have none left (RFC 3261 §17.1.1.3).
    pub fn dismiss(&mut self, now: Mono, invite: TxId, out: &mut Vec<TxOutput>) {
        self.drive(invite, out, |machine, _| match machine {
            Machine::InviteClient(client) => client.dismiss(now),
            Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_) => {}
        });
    }

    /// Gives up an INVITE of ours; late answers are dropped.
    pub fn abandon(&mut self, invite: TxId, out: &mut Vec<TxOutput>) {
        self.drive(invite, out, |machine, actions| match machine {
            Machine::InviteClient(client) => client.abandon(actions),
            Machine::Client(_) | Machine::InviteServer(_) | Machine::Server(_) => {}
        });
    }

    /// Cancels an INVITE of ours for this Reason, when that may be. Gives until when its final answer must come
    /// (RFC 3261 §9.1: within 64*T1).
    pub fn send_cancel(
        &mut self,
        now: Mono,
        invite: TxId,
        reason: &str,
        owner: Option<LegId>,
        out: &mut Vec<TxOutput>,
    ) -> Option<Mono> {
        let (mut cancel, course) = self.cancel_request(invite)?;
        cancel.headers.push(Name::Reason, reason);
        self.send(now, cancel, course, owner, out);
        Some(now + self.timing.patience() + Duration::from_millis(1))
    }

    /// Where a connection is opened for what goes this way: as for this request of ours, if that is its way too.
    pub fn opens(&self, tx: TxId, path: Path) -> Opens {
        let transaction = self.all.get(&tx).filter(|transaction| transaction.path.is_same_peer(path));
        transaction.map_or(Opens::Peer, |transaction| transaction.opens.clone())
    }

    /// Whether a request of ours has no way at the moment.
    pub fn is_held(&self, tx: TxId) -> bool {
        self.held.contains(&tx)
    }

    /// A request that was held is given up.
    pub fn let_go(&mut self, tx: TxId) {
        self.held.remove(&tx);
    }

    #[allow(clippy::too_many_arguments, reason = "a request, and all that is known of its way")]
    fn start(
        &mut self,
        now: Mono,
        (tx, ticket): (TxId, Ticket),
        request: Request,
        (path, opens): (Path, Opens),
        errand: Option<Errand>,
        owner: Option<LegId>,
        patience: Option<Duration>,
        out: &mut Vec<TxOutput>,
    ) {
        let key = Key::Client(Lookup::client(&request).map(|key| key.share()));
        let reliable = path.transport.is_reliable();
        let begins = begins(&request);
        let actions = &mut self.actions;
        let machine = if request.method == Method::Invite {
            let mut client = InviteClient::start(now, self.timing, reliable, request, actions);
            patience.into_iter().for_each(|patience| client.hurry(now, patience));
            Machine::InviteClient(client)
        } else {
            let mut client = Client::start(now, self.timing, reliable, &request, actions);
            patience.into_iter().for_each(|patience| client.hurry(now, patience));
            Machine::Client(client)
        };
        let mut transaction = Transaction::new(machine, path, opens, key, ticket);
        (transaction.owner, transaction.begins) = (owner, begins);
        transaction.errand = errand.map(Box::new);
        self.add(tx, transaction);
        self.started(tx, out);
    }
}
