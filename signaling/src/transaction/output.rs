//! What the transaction layer tells its user.

use std::net::SocketAddr;

use dialtone_core::LegId;

use super::{TxId, Undelivered};
use crate::message::{Message, Request, Response};
use crate::wire::{Credentials, Path, Transmit};

/// What the layer tells its user.
#[derive(Debug)]
pub enum TxOutput {
    /// Put this on the wire.
    Transmit {
        /// The leg that it serves.
        owner: Option<LegId>,
        /// What and where to.
        transmit: Transmit,
    },
    /// A new request, which `tx` will answer.
    Request {
        /// Its server transaction.
        tx: TxId,
        /// The request.
        request: Request,
        /// From where.
        path: Path,
        /// What its credentials are worth.
        credentials: Credentials,
    },
    /// An ACK that belongs to no transaction: the one to a 2xx.
    Ack {
        /// The ACK.
        request: Request,
        /// From where.
        path: Path,
    },
    /// A CANCEL, which `tx` will answer: 200 when there is such an INVITE, whatever becomes of it, and
    /// 481 otherwise (RFC 3261 §9.2).
    Cancel {
        /// Its server transaction.
        tx: TxId,
        /// The INVITE that is to be cancelled.
        invite: Option<TxId>,
        /// The leg that the INVITE serves.
        owner: Option<LegId>,
        /// Who sent it.
        peer: SocketAddr,
        /// The CANCEL.
        request: Request,
    },
    /// A message of a leg that a transaction took, whether or not anybody else hears of it: a repetition,
    /// an ACK to a refusal, an answer. For traces.
    Seen {
        /// The leg that it serves.
        owner: LegId,
        /// Who sent it.
        peer: SocketAddr,
        /// The message.
        message: Message,
    },
    /// A client transaction was answered.
    Response {
        /// The transaction.
        tx: TxId,
        /// The leg that it serves.
        owner: Option<LegId>,
        /// The answer.
        response: Response,
    },
    /// A request to somebody who is known by name came to nothing by one way, or has none yet. Its transaction goes on
    /// by another, or is over.
    Undelivered {
        /// The leg that it serves.
        owner: Option<LegId>,
        /// It.
        undelivered: Box<Undelivered>,
    },
    /// Whoever is known by name and was reached this way has answered.
    Delivered {
        /// The way.
        path: Path,
    },
    /// An INVITE that has gone on to another target, or by another way, was answered by this one all the same: the
    /// first provisional answer, a refusal, each 2xx.
    Late {
        /// The transaction of the target that was given up.
        tx: TxId,
        /// The leg that it served.
        owner: Option<LegId>,
        /// The answer.
        response: Response,
    },
    /// A client transaction ended without a final answer.
    Timeout {
        /// The transaction.
        tx: TxId,
        /// The leg that it serves.
        owner: Option<LegId>,
        /// Whether the transport failed, rather than time ran out.
        unreachable: bool,
    },
}
