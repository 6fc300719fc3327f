//! The user agent: legs over dialogs over transactions.
//!
//! Each leg is one SIP dialog. Here stands what legs share; the roles are in [`inbound`] and
//! [`outbound`] until the answer, in [`session`] after it.

pub mod cause;
mod dialog;
mod identity;
mod inbound;
mod leg;
mod outbound;
mod session;
mod tokens;

use std::collections::HashMap;

use bytes::Bytes;
use dialtone_core::{LegId, Now};

pub(crate) use self::dialog::next_hop;
pub use self::identity::Identity;
pub(crate) use self::inbound::Offered;
pub(crate) use self::leg::{Body, Leg, State};
pub(crate) use self::outbound::{Calling, end_unwanted};
pub use self::tokens::Tokens;
use crate::message::Response;
use crate::stack::{SipOutput, Ways};
use crate::transaction::{Transactions, TxId, TxOutput};
use crate::wire::{Path, Ticket, Transmit};

/// What a leg works with while it handles one input.
pub(crate) struct Desk<'a> {
    pub now: Now,
    pub identity: &'a Identity,
    pub tokens: &'a mut Tokens,
    pub tx: &'a mut Transactions,
    pub ways: &'a Ways,
    /// Local tag to leg: dialogs, and early ones with callers.
    pub dialogs: &'a mut HashMap<String, LegId>,
    pub tx_out: &'a mut Vec<TxOutput>,
    pub out: &'a mut Vec<SipOutput>,
}

impl Desk<'_> {
    /// Answers a request.
    pub fn respond(&mut self, tx: TxId, response: &Response) {
        self.tx.respond(self.now.mono, tx, response, self.tx_out);
    }

    /// Sends what belongs to no transaction: the ACK to a 2xx.
    pub fn transmit(&mut self, path: Path, payload: Bytes, owner: Option<LegId>) {
        let transmit = Transmit { path, payload, ticket: Ticket::default() };
        self.tx_out.push(TxOutput::Transmit { owner, transmit });
    }
}
