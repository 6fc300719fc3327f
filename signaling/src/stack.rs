//! The whole SIP side of the switch as one machine: transactions, dialogs, legs, registrar.
//!
//! ```text
//!  TransportEvent ─▶ Transactions ─▶ Stack ─▶ leg or registrar ─▶ LegEvent, ContactChange
//!  LegCommand ─────────────────────▶ leg ─▶ Transactions ─▶ Transmit
//! ```
//!
//! **Invariant:** nothing here blocks, reads a clock or draws a random number that was not injected.

mod ended;
mod originate;
mod reach;
mod requests;
mod ways;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::endpoint::ContactChange;
use dialtone_core::leg::Target;
use dialtone_core::{IdSource, LegCommand, LegEvent, LegId, Mono, NodeId, Now, Number};

pub(crate) use self::ended::Ended;
pub(crate) use self::ways::Ways;
use crate::auth::{Accounts, NonceKey, NonceWindow};
use crate::message::{Message, Name, Request, Response};
use crate::registrar::{
    Binding, BindingChange, Changes, ContactPolicy, ExpiryPolicy, GruuKey, PersistToken, Probes, ReachPolicy,
    Registrar,
};
use crate::transaction::{Answerer, Timing, Transactions, TxId, TxOutput};
use crate::ua::{CallPolicy, Desk, Identity, Leg, Reliability, State, Tokens, end_unwanted};
use crate::wire::{FlowId, Ticket, Transmit, Transport, TransportEvent};

/// Fixed for the life of the stack.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// How we call ourselves.
    pub identity: Identity,
    /// Base intervals of timers.
    pub timing: Timing,
    /// What holds for every call.
    pub calls: CallPolicy,
    /// How long bindings may last.
    pub expiry: ExpiryPolicy,
    /// Transactions at a time; further requests get 503.
    pub transactions_max: usize,
    /// Legs at a time; further calls get 503.
    pub legs_max: usize,
    /// This machine.
    pub node: NodeId,
    /// The boot counter, for ids.
    pub boot: u32,
    /// Seeds tags, branches and Call-IDs: random in life, fixed in tests.
    pub seed: [u8; 32],
    /// Seals nonces; the same as the transport's.
    pub nonce_key: NonceKey,
    /// Seals temporary GRUUs; the same after a restart.
    pub gruu_key: GruuKey,
}

/// What signaling must know of one extension.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// The name shown to whoever it calls.
    pub name: String,
    /// What it may register.
    pub contacts: ContactPolicy,
    /// Whether provisional answers to and from it are reliable.
    pub reliability: Reliability,
    /// How it is reached.
    pub reach: ReachPolicy,
}

/// The extensions of the site in force.
#[derive(Clone, Debug)]
pub struct Subscribers {
    /// Their secrets, the same snapshot as the transport's.
    pub accounts: Arc<Accounts>,
    /// The rest, by number.
    pub by_number: HashMap<Number, Subscriber>,
}

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

/// See the module.
pub struct Stack {
    config: StackConfig,
    tokens: Tokens,
    tx: Transactions,
    registrar: Registrar,
    probes: Probes,
    nonces: NonceWindow,
    subscribers: Arc<Subscribers>,
    leg_ids: IdSource,
    /// Boxed, so that the table stays small: growing it is part of some turn.
    legs: HashMap<LegId, Box<Leg>>,
    dialogs: HashMap<String, LegId>,
    /// The calls that are offered and not answered.
    offered: HashMap<Merge, LegId>,
    deadlines: BinaryHeap<Reverse<(Mono, LegId)>>,
    ways: Ways,
    ended: Ended,
    /// What transactions said and nobody has dealt with; empty between turns.
    tx_out: Vec<TxOutput>,
    refused: u64,
    replayed: u64,
    info_keys: u64,
}

impl Stack {
    /// A stack that knows nobody.
    pub fn new(config: StackConfig, subscribers: Arc<Subscribers>) -> Self {
        let (node, boot) = (config.node, config.boot);
        Stack {
            tokens: Tokens::new(config.seed, node),
            tx: Transactions::new(config.timing, config.transactions_max),
            registrar: Registrar::new(
                config.expiry,
                config.gruu_key.clone(),
                IdSource::new(node, boot, 1, 1),
            ),
            probes: Probes::default(),
            nonces: NonceWindow::default().with_lifetime(config.nonce_key.lifetime()),
            subscribers,
            // Odd: the PBX names the legs that it originates with even numbers.
            leg_ids: IdSource::new(node, boot, 1, 2),
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            offered: HashMap::new(),
            deadlines: BinaryHeap::new(),
            ways: Ways::default(),
            ended: Ended::default(),
            tx_out: Vec::new(),
            refused: 0,
            replayed: 0,
            info_keys: 0,
            config,
        }
    }

    /// For metrics.
    pub fn counts(&self) -> StackCounts {
        StackCounts {
            transactions: self.tx.len(),
            // A drain does not wait for whoever is only asked whether they are there.
            waiting: self.tx.waiting().saturating_sub(self.probes.outstanding()),
            legs: self.legs.len(),
            dialogs: self.dialogs.len(),
            bindings: self.registrar.len(),
            unreachable: self.probes.unreachable(),
            questions: self.probes.outstanding(),
            refused: self.refused + self.tx.refused(),
            replayed: self.replayed,
            info_keys: self.info_keys,
        }
    }

    /// Runs to completion; pushes what must be done.
    pub fn handle(&mut self, now: Now, input: SipInput, out: &mut Vec<SipOutput>) {
        match input {
            SipInput::Transport(event) => self.transport(now, event, out),
            SipInput::Leg { leg, command } => self.command(now, leg, command, out),
            SipInput::Persisted(token) => {
                if let Some((tx, response)) = self.registrar.safe(token) {
                    self.respond(now, tx, response);
                }
            }
            SipInput::NotPersisted(token) => {
                // Promising what a restart would forget is worse than asking the phone to come back.
                if let Some((tx, mut response)) = self.registrar.lost(token) {
                    response.status = 503;
                    response.reason = Bytes::from_static(b"Registration Could Not Be Kept");
                    response.headers.remove(&Name::Contact);
                    response.headers.push(Name::RetryAfter, "10");
                    self.respond(now, tx, response);
                }
            }
            SipInput::Restore { endpoint, mut binding } => {
                // Connections did not outlive the process that numbered them.
                if binding.path.transport.is_reliable() {
                    binding.path.flow = FlowId(0);
                }
                let mut changes = Changes::default();
                self.registrar.restore(now.mono, endpoint, binding, &mut changes);
                self.publish(now, changes, true, out);
            }
            SipInput::Subscribers(subscribers) => self.subscribers = subscribers,
            SipInput::Sockets(sockets) => self.ways.sockets = sockets,
        }
        self.settle(now, out);
    }

    /// Fires every timer that is due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<SipOutput>) {
        self.tx.expire(now.mono, &mut self.tx_out);
        let mut changes = Changes::default();
        self.registrar.expire(now.mono, &mut changes);
        self.publish(now, changes, false, out);
        self.qualify(now, out);
        while let Some(&Reverse((at, leg))) = self.deadlines.peek()
            && at <= now.mono
        {
            self.deadlines.pop();
            match self.legs.get_mut(&leg) {
                Some(leg) if leg.scheduled == Some(at) => leg.scheduled = None,
                // It has been over or scheduled earlier since.
                Some(_) | None => continue,
            }
            self.with_leg(now, leg, out, |leg, desk| leg.expire(desk));
        }
        self.settle(now, out);
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        let legs = self.deadlines.peek().map(|Reverse((at, _))| *at);
        [self.tx.deadline(), self.registrar.deadline(), self.probes.deadline(), legs]
            .into_iter()
            .flatten()
            .min()
    }

    fn transport(&mut self, now: Now, event: TransportEvent, out: &mut Vec<SipOutput>) {
        match event {
            TransportEvent::Received { path, message: Message::Request(request), credentials } => {
                match self.answer_without_memory(now.mono, &request, path) {
                    Some(response) => {
                        self.tx.answer_and_forget(&request, path, response, &mut self.tx_out);
                    }
                    None => self.tx.request(now.mono, request, path, credentials, &mut self.tx_out),
                }
            }
            TransportEvent::Received { message: Message::Response(response), .. } => {
                self.tx.response(now.mono, response, &mut self.tx_out);
            }
            TransportEvent::FlowUp { path } => {
                self.ways.flows.insert(path.flow);
            }
            TransportEvent::FlowDown { flow } => self.flow_down(now, flow, out),
            TransportEvent::SendFailed { ticket } => self.tx.send_failed(ticket, &mut self.tx_out),
            TransportEvent::AuthFailed { account, source } => {
                out.push(SipOutput::AuthFailed { account, source })
            }
        }
    }

    /// Deals with what transactions said, which may make them say more, until they are silent.
    fn settle(&mut self, now: Now, out: &mut Vec<SipOutput>) {
        while !self.tx_out.is_empty() {
            for output in std::mem::take(&mut self.tx_out) {
                self.transaction(now, output, out);
            }
        }
    }

    fn transaction(&mut self, now: Now, output: TxOutput, out: &mut Vec<SipOutput>) {
        match output {
            TxOutput::Transmit { owner, transmit } => {
                if let Some(leg) = owner.or_else(|| self.tx.sender(transmit.ticket)) {
                    let wire = Wire::Sent(transmit.payload.clone());
                    out.push(SipOutput::Trace { leg, peer: transmit.path.remote, wire });
                }
                out.push(SipOutput::Transmit(transmit));
            }
            TxOutput::Request { tx, request, path, credentials } => {
                self.request(now, tx, request, path, credentials, out)
            }
            TxOutput::Ack { request, path } => {
                if let Some(leg) = self.dialog_of(&request) {
                    received(out, leg, path.remote, request.clone());
                    self.with_leg(now, leg, out, |leg, desk| leg.their_ack(desk, &request));
                }
            }
            TxOutput::Cancel { tx, invite, owner, peer, request } => {
                self.cancel(now, tx, invite, owner, peer, request, out);
            }
            TxOutput::Seen { owner, peer, message } => received(out, owner, peer, message),
            TxOutput::Response { tx, owner, response } => {
                let status = Some(response.status);
                let Some(leg) = owner else { return self.questioned(now, tx, status, out) };
                if response.status == 430 && self.is_calling(leg, tx) && self.next_way(now, leg, status, out)
                {
                    return;
                }
                if !self.legs.contains_key(&leg) {
                    return self.answered_late(now, leg, tx, &response);
                }
                self.with_leg(now, leg, out, |leg, desk| leg.answered(desk, tx, response));
            }
            TxOutput::Timeout { tx, owner, unreachable } => {
                let Some(leg) = owner else { return self.questioned(now, tx, None, out) };
                if self.is_calling(leg, tx) && self.next_way(now, leg, None, out) {
                    return;
                }
                self.with_leg(now, leg, out, |leg, desk| leg.unanswered(desk, tx, unreachable));
            }
        }
    }

    /// RFC 3261 §9.2: the CANCEL is answered for itself, with the tag of the INVITE's own answers; what
    /// becomes of the INVITE is its leg's affair.
    #[allow(clippy::too_many_arguments)] // what a transaction knows of a CANCEL
    fn cancel(
        &mut self,
        now: Now,
        tx: TxId,
        invite: Option<TxId>,
        owner: Option<LegId>,
        peer: SocketAddr,
        request: Request,
        out: &mut Vec<SipOutput>,
    ) {
        let mut response = Response::to(&request, if invite.is_some() { 200 } else { 481 });
        if let Some(leg) = owner {
            self.tx.set_owner(tx, leg);
            received(out, leg, peer, request.clone());
        }
        if let Some(leg) = owner.and_then(|leg| self.legs.get(&leg)) {
            response.tag_to(|| &leg.tag);
        }
        self.respond(now, tx, response);
        if let Some(leg) = owner {
            self.with_leg(now, leg, out, |leg, desk| leg.cancelled(desk, &request.headers));
        }
    }

    /// An INVITE of a leg that is over was answered all the same, by another fork or once more: whoever
    /// did must not believe in a call (RFC 3261 §13.2.2.4).
    fn answered_late(&mut self, now: Now, leg: LegId, tx: TxId, response: &Response) {
        let Some((invite, path)) = self.tx.invite(tx).filter(|_| response.is_success()) else { return };
        let tag = response.to_tag();
        let (path, payload, bye) = match self.tx.answerer(tx, &tag) {
            Answerer::Known(path, ack) => (path, ack, None),
            Answerer::New => {
                let (identity, tokens) = (&self.config.identity, &mut self.tokens);
                let ended = end_unwanted(&invite, response, path, &self.ways, identity, tokens);
                let Some((path, ack, bye)) = ended else { return };
                self.tx.acknowledged(tx, &tag, path, ack.to_bytes());
                (path, ack.to_bytes(), Some(bye))
            }
            Answerer::Surplus => return,
        };
        let transmit = Transmit { path, payload, ticket: Ticket::default() };
        self.tx_out.push(TxOutput::Transmit { owner: Some(leg), transmit });
        if let Some(bye) = bye {
            self.tx.send(now.mono, bye, path, Some(leg), &mut self.tx_out);
        }
    }

    fn command(&mut self, now: Now, id: LegId, command: LegCommand, out: &mut Vec<SipOutput>) {
        if let LegCommand::Originate {
            target: Target::Contact { endpoint, contact },
            caller,
            dialed: _,
            offer,
        } = command
        {
            return self.originate(now, id, endpoint, contact, &caller, &offer, out);
        }
        self.with_leg(now, id, out, |leg, desk| leg.command(desk, command));
    }

    /// Whether this is the INVITE of a leg that has not been answered.
    fn is_calling(&self, leg: LegId, tx: TxId) -> bool {
        let leg = self.legs.get(&leg);
        leg.is_some_and(|leg| matches!(&leg.state, State::Calling(calling) if calling.tx == tx))
    }

    /// Tells calls and the store what the registrar has changed.
    fn publish(&mut self, now: Now, mut changes: Changes, restored: bool, out: &mut Vec<SipOutput>) {
        let contacts = std::mem::take(&mut changes.contacts);
        out.extend(contacts.iter().cloned().map(SipOutput::Contact));
        self.watch(now, &contacts, restored, out);
        let Changes { persist: changes, notify, .. } = changes;
        if !changes.is_empty() {
            out.push(SipOutput::Persist { changes, notify });
        }
    }

    /// Answers a request outside of legs: with a tag of ours and what every answer carries.
    fn respond(&mut self, now: Now, tx: TxId, mut response: Response) {
        response.tag_to(|| self.tokens.tag());
        self.config.identity.sign(&mut response);
        self.tx.respond(now.mono, tx, &response, &mut self.tx_out);
    }

    /// The leg whose dialog a request belongs to (RFC 3261 §12.2.2).
    fn dialog_of(&self, request: &Request) -> Option<LegId> {
        let (to, from) = (request.to().ok()?, request.from().ok()?);
        let id = *self.dialogs.get(to.tag()?)?;
        let tag = from.tag().unwrap_or_default();
        self.legs.get(&id)?.is_for(request.call_id().ok()?, tag).then_some(id)
    }

    /// Lets a leg do something, then sees whether it is over or wants to be woken.
    fn with_leg(
        &mut self,
        now: Now,
        id: LegId,
        out: &mut Vec<SipOutput>,
        what: impl FnOnce(&mut Leg, &mut Desk<'_>),
    ) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let offered = match &leg.state {
            State::Offered(offered) => Some(Merge::of(&offered.invite)),
            State::Calling(_) | State::Up(_) | State::Gone => None,
        };
        let mut desk = Desk {
            now,
            identity: &self.config.identity,
            policy: &self.config.calls,
            tokens: &mut self.tokens,
            tx: &mut self.tx,
            ways: &self.ways,
            dialogs: &mut self.dialogs,
            ended: &mut self.ended,
            info_keys: &mut self.info_keys,
            tx_out: &mut self.tx_out,
            out,
        };
        what(leg, &mut desk);
        if let Some(offered) = offered.filter(|_| !matches!(leg.state, State::Offered(_))) {
            self.offered.remove(&offered);
        }
        if leg.is_gone() {
            self.dialogs.remove(&leg.tag);
            self.legs.remove(&id);
        } else if let Some(at) = leg.deadline()
            && leg.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            leg.scheduled = Some(at);
            self.deadlines.push(Reverse((at, id)));
        }
    }
}

/// What is the same in a request that came twice over different ways (RFC 3261 §8.2.2.2).
#[derive(PartialEq, Eq, Hash)]
struct Merge {
    call_id: String,
    from_tag: String,
    cseq: u32,
}

impl Merge {
    fn of(request: &Request) -> Merge {
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned));
        Merge {
            call_id: request.call_id().unwrap_or_default().to_owned(),
            from_tag: tag.unwrap_or_default(),
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
        }
    }
}

fn received(out: &mut Vec<SipOutput>, leg: LegId, peer: SocketAddr, message: impl Into<Message>) {
    out.push(SipOutput::Trace { leg, peer, wire: Wire::Received(Box::new(message.into())) });
}
