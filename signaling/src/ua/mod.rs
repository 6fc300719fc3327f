//! The user agent: legs over dialogs over transactions.
//!
//! Each leg is one SIP dialog. Here stands what legs share; the roles are in [`inbound`] and
//! [`outbound`] until the answer, in [`session`] after it. [`reliable`] has both ends of reliable provisional
//! answers, [`timers`] the session timer, [`exchange`] the changes of a stream, [`within`] what else can be
//! asked in a dialog.

mod asserted;
pub mod cause;
mod dialog;
pub(crate) mod diversion;
mod exchange;
mod forks;
mod identity;
mod inbound;
mod leg;
mod outbound;
mod policy;
mod redirected;
mod refer;
mod reliable;
mod session;
mod timers;
mod tokens;
mod within;

use bytes::Bytes;
use dialtone_core::{LegId, Now};

pub(crate) use self::asserted::caller;
pub(crate) use self::cause::reason_value;
pub(crate) use self::dialog::{Dialog, addressed, next_hop};
pub(crate) use self::forks::end_unwanted;
pub use self::identity::Identity;
pub(crate) use self::inbound::{Offered, admit};
pub(crate) use self::leg::{Body, Leg, State};
pub(crate) use self::outbound::Calling;
pub use self::policy::{CallPolicy, IdentityPolicy, Reliability, SendIdentity};
pub(crate) use self::refer::ReferTo;
pub(crate) use self::timers::Ask;
pub use self::tokens::Tokens;
pub(crate) use self::within::{bad_event, is_bad_event};
use crate::message::Response;
use crate::registrar::Registrar;
use crate::stack::{Ended, SipOutput, Ways};
use crate::transaction::{Transactions, TxId, TxOutput};
use crate::wire::{Path, Ticket, Transmit};

/// What a leg works with while it handles one input.
pub(crate) struct Desk<'a> {
    pub now: Now,
    pub identity: &'a Identity,
    pub policy: &'a CallPolicy,
    pub tokens: &'a mut Tokens,
    pub tx: &'a mut Transactions,
    pub ways: &'a Ways,
    pub registrar: &'a Registrar,
    pub ended: &'a mut Ended,
    /// Keys that came in INFO requests.
    pub info_keys: &'a mut u64,
    pub tx_out: &'a mut Vec<TxOutput>,
    pub out: &'a mut Vec<SipOutput>,
}

impl Desk<'_> {
    /// Answers a request.
    pub fn respond(&mut self, tx: TxId, response: &Response) {
        self.tx.respond(self.now.mono, tx, response, self.tx_out);
    }

    /// Looks whether the way of a dialog still stands; before each request of ours.
    pub fn look_for(&self, dialog: &mut Dialog) {
        dialog.look_for(self.ways, self.identity, self.registrar);
    }

    /// A dialog has ended; what still comes of it for a while is no mistake.
    pub fn remember(&mut self, dialog: &Dialog) {
        let (now, peer) = (self.now.mono, dialog.path.remote.ip());
        let until = now + self.tx.timing().patience();
        self.ended.remember(now, until, &dialog.local_tag, (&dialog.call_id, &dialog.remote_tag, peer));
    }

    /// Sends what belongs to no transaction: the ACK to a 2xx of this INVITE.
    pub fn transmit(&mut self, invite: TxId, path: Path, payload: Bytes, owner: Option<LegId>) {
        let opens = self.tx.opens(invite, path);
        let transmit = Transmit { path, opens, payload, ticket: Ticket::default() };
        self.tx_out.push(TxOutput::Transmit { owner, transmit });
    }
}
