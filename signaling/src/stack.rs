//! The whole SIP side of the switch as one machine: transactions, dialogs, legs, registrar.
//!
//! ```text
//!  TransportEvent ─▶ Transactions ─▶ Stack ─▶ leg or registrar ─▶ LegEvent, ContactChange
//!  LegCommand ─────────────────────▶ leg ─▶ Transactions ─▶ Transmit
//! ```
//!
//! **Invariant:** nothing here blocks, reads a clock or draws a random number that was not injected.

mod ended;
mod identify;
mod io;
mod originate;
mod reach;
mod refer;
mod requests;
mod said;
mod seek;
mod ways;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::leg::Target;
use dialtone_core::{Cause, IdMap, IdSource, LegCommand, LegId, Mono, NodeId, Now, Number, TextMap};

pub(crate) use self::ended::Ended;
pub use self::io::{SipInput, SipOutput, Socket, StackCounts, Wire};
use self::originate::Caller;
pub use self::seek::SeekCounts;
use self::seek::Seeker;
pub(crate) use self::ways::Ways;
use crate::auth::{Accounts, NonceKey, NonceWindow};
use crate::locate::{DnsPolicy, Locator};
use crate::message::{Message, Name, Request, Response};
use crate::registrar::{Changes, ContactPolicy, ExpiryPolicy, GruuKey, Probes, ReachPolicy, Registrar};
use crate::transaction::{Lookup, Timing, Transactions, TxId, TxOutput};
use crate::ua::{CallPolicy, Desk, Identity, IdentityPolicy, Leg, Reliability, State, Tokens};
use crate::wire::{FlowId, TransportEvent};

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
    /// How names are looked up.
    pub dns: DnsPolicy,
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
    /// How far it is believed about who calls, and what it is told.
    pub identity: IdentityPolicy,
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

/// Legs that tables have room for from the start: growing one moves all of it within some turn.
const RESERVED_MAX: usize = 1 << 15;

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
    /// Boxed, so that the table stays small.
    legs: IdMap<LegId, Box<Leg>>,
    /// Local tag to leg: dialogs, and what may become one.
    dialogs: TextMap<String, LegId>,
    /// The calls that are offered and not answered.
    offered: TextMap<Arc<[u8]>, LegId>,
    deadlines: BinaryHeap<Reverse<(Mono, LegId)>>,
    ways: Ways,
    seeker: Seeker,
    ended: Ended,
    /// What transactions said and nobody has dealt with; empty between turns.
    tx_out: Vec<TxOutput>,
    /// The room of what they said before, to be used again.
    said: Vec<TxOutput>,
    refused: u64,
    replayed: u64,
    info_keys: u64,
}

impl Stack {
    /// A stack that knows nobody.
    pub fn new(config: StackConfig, subscribers: Arc<Subscribers>) -> Self {
        let (node, boot) = (config.node, config.boot);
        let room = config.legs_max.min(RESERVED_MAX);
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
            legs: IdMap::with_capacity_and_hasher(room, Default::default()),
            dialogs: TextMap::with_capacity_and_hasher(room, Default::default()),
            offered: TextMap::default(),
            deadlines: BinaryHeap::with_capacity(room),
            ways: Ways::default(),
            seeker: Seeker::new(Locator::new(config.dns.clone())),
            ended: Ended::default(),
            tx_out: Vec::new(),
            said: Vec::new(),
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
            names: self.seeker.counts(),
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
            SipInput::Addresses { external, default } => {
                let net = &mut self.config.identity.net;
                (net.external, net.default) = (external, default);
                self.ways.default = default;
            }
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
        self.expire_seeker(now);
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

    /// Whether another call would be refused because there are as many dialogs or transactions as may be.
    pub fn is_full(&self) -> bool {
        self.tx.is_full() || self.legs.len() >= self.config.legs_max
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        let legs = self.deadlines.peek().map(|Reverse((at, _))| *at);
        let names = self.seeker.locator.deadline();
        [self.tx.deadline(), self.registrar.deadline(), self.probes.deadline(), names, legs]
            .into_iter()
            .flatten()
            .min()
    }

    fn transport(&mut self, now: Now, event: TransportEvent, out: &mut Vec<SipOutput>) {
        match event {
            TransportEvent::Received { path, message: Message::Request(request), credentials } => {
                // Without a Via nobody can be answered.
                let Some(key) = Lookup::server(&request) else { return };
                match self.answer_without_memory(now.mono, &request, &key, path) {
                    Some(response) => {
                        self.tx.answer_and_forget(&request, path, response, &mut self.tx_out);
                    }
                    None => self.tx.request(now.mono, request, &key, path, credentials, &mut self.tx_out),
                }
            }
            TransportEvent::Received { message: Message::Response(response), .. } => {
                self.tx.response(now.mono, response, &mut self.tx_out);
            }
            TransportEvent::FlowUp { path } => {
                self.ways.flows.insert(path.flow);
            }
            TransportEvent::FlowDown { flow } => self.flow_down(now, flow, out),
            TransportEvent::LookedUp { question, reply } => self.looked_up(now, &question, &reply),
            TransportEvent::SendFailed { ticket } => self.tx.send_failed(ticket, &mut self.tx_out),
            TransportEvent::AuthFailed { account, source } => {
                out.push(SipOutput::AuthFailed { account, source })
            }
        }
    }

    fn command(&mut self, now: Now, id: LegId, command: LegCommand, out: &mut Vec<SipOutput>) {
        if let LegCommand::Originate {
            target: Target::Contact { endpoint, contact },
            caller,
            offer,
            referred_by,
            journey,
        } = command
        {
            let from = Caller { party: &caller, referred_by: referred_by.as_ref(), journey: &journey };
            return self.originate(now, id, (endpoint, contact), from, &offer, out);
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
        self.dialog_named(request.call_id().ok()?, to.tag()?, from.tag().unwrap_or_default())
    }

    /// The leg whose dialog has these.
    fn dialog_named(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> Option<LegId> {
        let id = *self.dialogs.get(local_tag)?;
        self.legs.get(&id)?.is_for(call_id, remote_tag).then_some(id)
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
        let mut desk = Desk {
            now,
            identity: &self.config.identity,
            policy: &self.config.calls,
            tokens: &mut self.tokens,
            tx: &mut self.tx,
            ways: &self.ways,
            registrar: &self.registrar,
            ended: &mut self.ended,
            info_keys: &mut self.info_keys,
            tx_out: &mut self.tx_out,
            out,
        };
        what(leg, &mut desk);
        if !leg.wanted {
            // Nobody decides any more about a change that they asked for, and it is owed an answer.
            leg.refuse_change(&mut desk, 487, Cause::NormalClearing);
        }
        if !matches!(leg.state, State::Offered(_))
            && let Some(offered) = leg.offered.take()
        {
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

fn received(out: &mut Vec<SipOutput>, leg: LegId, peer: SocketAddr, message: impl Into<Message>) {
    out.push(SipOutput::Trace { leg, peer, wire: Wire::Received(Box::new(message.into())) });
}
