//! What the stack is told, and what it asks for.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::endpoint::ContactChange;
use dialtone_core::{LegCommand, LegEvent, LegId, Number};

use super::{SeekCounts, Subscribers};
use crate::locate::Question;
use crate::message::Message;
use crate::net::Addresses;
use crate::registrar::{Binding, BindingChange, PersistToken};
use crate::wire::{FlowId, Transmit, Transport, TransportEvent};

/// What can happen to the stack.
#[derive(Clone, Debug)]
pub enum SipInput {
    /// The network says something.
    Transport(TransportEvent),
    /// Calls tell a leg something.
    Leg {
        /// Which.
        leg: LegId,
        /// What.
        command: LegCommand,
    },
    /// A change of bindings is safe on disk.
    Persisted(PersistToken),
    /// A change of bindings could not be kept.
    NotPersisted(PersistToken),
    /// A binding that was kept over a restart.
    Restore {
        /// Whose.
        endpoint: Number,
        /// The binding.
        binding: Binding,
    },
    /// A new site is in force.
    Subscribers(Arc<Subscribers>),
    /// The sockets that are bound, to reach peers from whom nothing came yet.
    Sockets(Vec<Socket>),
    /// What peers outside our networks are told, and what the kernel would use towards them; from now on.
    Addresses {
        /// See [`Net::external`](crate::net::Net::external).
        external: Addresses,
        /// See [`Net::default`](field@crate::net::Net::default).
        default: Addresses,
    },
}

/// A bound socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its transport.
    pub transport: Transport,
    /// Its flow; 0 for a listener.
    pub flow: FlowId,
    /// Its address.
    pub local: SocketAddr,
}

/// What the stack asks for.
#[derive(Clone, Debug)]
pub enum SipOutput {
    /// Put this on the wire.
    Transmit(Transmit),
    /// Tell calls.
    Leg {
        /// The leg.
        leg: LegId,
        /// What it says.
        event: LegEvent,
    },
    /// Tell calls where an endpoint can be reached.
    Contact(ContactChange),
    /// Keep these, all or none; tell when they are safe, if somebody waits.
    Persist {
        /// What.
        changes: Vec<BindingChange>,
        /// Who waits.
        notify: Option<PersistToken>,
    },
    /// Close a connection: nobody answers on it.
    Close {
        /// Which.
        flow: FlowId,
    },
    /// Ask DNS this; [`TransportEvent::LookedUp`] tells.
    LookUp(Question),
    /// Somebody failed to prove who they are.
    AuthFailed {
        /// The account that they named.
        account: String,
        /// From where.
        source: SocketAddr,
    },
    /// For the flight recorder: a message of a leg, either way.
    Trace {
        /// The leg.
        leg: LegId,
        /// The peer.
        peer: SocketAddr,
        /// The message.
        wire: Wire,
    },
}

/// A message on its way; printed, and its secrets hidden, by whoever shows it.
#[derive(Clone, Debug)]
pub enum Wire {
    /// What we sent.
    Sent(Bytes),
    /// What we received.
    Received(Box<Message>),
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackCounts {
    /// Transactions that are not over.
    pub transactions: usize,
    /// Transactions whose peer owes us an answer, or an ACK to a refusal: what is still under way of calls that are
    /// over.
    pub waiting: usize,
    /// Legs that signaling knows; more than calls know while CANCELs are under way.
    pub legs: usize,
    /// Dialogs: of legs that are answered, and early ones with callers.
    pub dialogs: usize,
    /// Names that are looked up, and where they lead.
    pub names: SeekCounts,
    /// Bindings.
    pub bindings: usize,
    /// Of those, the ones that cannot be reached.
    pub unreachable: usize,
    /// Contacts that have been asked whether they are there, and have not answered yet.
    pub questions: usize,
    /// Requests refused because a table was full, since the start.
    pub refused: u64,
    /// Requests with a nonce count that had been used, since the start.
    pub replayed: u64,
    /// Keys that came in INFO requests, since the start.
    pub info_keys: u64,
}
