//! Requests to somebody who is known by name: where they are sent, and where next when that leads nowhere
//! (RFC 3263 §4.3, RFC 3261 §8.1.3.1, §18.4).
//!
//! ```text
//!  Undelivered ──▶ locate ──targets──▶ send ──answered──▶ (over)
//!                     │                 ▲ │
//!                     │                 └─┴─ silence, transport error, 503: next target, new branch
//!                     └──none──▶ told as what went wrong first: no way, silence, 503
//! ```

use std::collections::{HashMap, VecDeque};

use dialtone_core::{LegId, Now, Number};

use super::{SipOutput, Stack};
use crate::locate::{
    Allowed, Failing, Hop, Locator, LocatorCounts, LocatorOutput, Means, Question, Reply, Target,
};
use crate::message::{Method, Name, Uri};
use crate::net::same_host;
use crate::registrar::Nat;
use crate::transaction::{Failure, TxId, TxOutput, Undelivered};
use crate::ua::State;
use crate::wire::{Opens, Path, Transport};

/// A request whose targets are looked for.
struct Waiting {
    owner: Option<LegId>,
    undelivered: Box<Undelivered>,
}

/// See the module.
pub(super) struct Seeker {
    pub locator: Locator<TxId>,
    waiting: HashMap<TxId, Waiting>,
    /// What the locator said and nobody has dealt with; empty between turns.
    said: Vec<LocatorOutput<TxId>>,
    /// Requests that went on to another target.
    failovers: u64,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeekCounts {
    /// What was asked and found.
    pub names: LocatorCounts,
    /// Requests sent on to another target, since the start.
    pub failovers: u64,
}

impl Seeker {
    pub fn new(locator: Locator<TxId>) -> Seeker {
        Seeker { locator, waiting: HashMap::new(), said: Vec::new(), failovers: 0 }
    }

    pub fn counts(&self) -> SeekCounts {
        SeekCounts { names: self.locator.counts(), failovers: self.failovers }
    }

    pub fn is_silent(&self) -> bool {
        self.said.is_empty()
    }
}

impl Stack {
    /// DNS says something.
    pub(super) fn looked_up(&mut self, now: Now, question: &Question, reply: &Reply) {
        let (seeker, tokens) = (&mut self.seeker, &mut self.tokens);
        let mut roll = |below| tokens.below(below);
        seeker.locator.answered(now.mono, question, reply, &mut roll, &mut seeker.said);
    }

    /// Ends what has waited for DNS long enough.
    pub(super) fn expire_seeker(&mut self, now: Now) {
        let (seeker, tokens) = (&mut self.seeker, &mut self.tokens);
        seeker.locator.expire(now.mono, &mut |below| tokens.below(below), &mut seeker.said);
    }

    /// Deals with what the locator said.
    pub(super) fn sought(&mut self, now: Now, out: &mut Vec<SipOutput>) {
        for output in std::mem::take(&mut self.seeker.said) {
            match output {
                LocatorOutput::Ask(question) => out.push(SipOutput::LookUp(question)),
                LocatorOutput::Found(tx, targets) => {
                    let Some(Waiting { owner, mut undelivered }) = self.seeker.waiting.remove(&tx) else {
                        continue;
                    };
                    let failed = target_of(undelivered.path);
                    let was_sent = !matches!(undelivered.failure, Failure::Unsent);
                    let within = undelivered.errand.hop.within;
                    let left = targets.into_iter().filter(|target| {
                        let there = within.is_none_or(|ip| same_host(target.address.ip(), ip));
                        there && (!was_sent || *target != failed)
                    });
                    undelivered.errand.targets = Some(left.collect());
                    self.next_target(now, owner, undelivered);
                }
            }
        }
    }

    /// A request to a name came to nothing by one way, or has none yet.
    pub(super) fn undelivered(&mut self, now: Now, owner: Option<LegId>, undelivered: Box<Undelivered>) {
        let target = target_of(undelivered.path);
        match &undelivered.failure {
            Failure::Unsent => {}
            Failure::Silent | Failure::Unreachable => {
                self.seeker.locator.failed(now.mono, target, Failing::Silent);
            }
            Failure::Refused(response) => {
                let failing = response.headers.retry_after().map_or(Failing::Silent, Failing::Asked);
                self.seeker.locator.failed(now.mono, target, failing);
            }
        }
        if !self.is_wanted(owner, &undelivered) {
            return self.give_up(owner, *undelivered);
        }
        if undelivered.errand.targets.is_some() {
            return self.next_target(now, owner, undelivered);
        }
        let tx = undelivered.tx;
        let whose = self.whose(owner, tx).cloned();
        let sought = (undelivered.errand.hop.clone(), self.means(owner, &undelivered), whose);
        let (seeker, tokens) = (&mut self.seeker, &mut self.tokens);
        let mut roll = |below| tokens.below(below);
        if seeker.locator.find(now.mono, tx, sought, &mut roll, &mut seeker.said) {
            seeker.waiting.insert(tx, Waiting { owner, undelivered });
        } else {
            self.give_up(owner, *undelivered);
        }
    }

    /// Whoever did not work a moment ago does now.
    pub(super) fn delivered(&mut self, path: Path) {
        self.seeker.locator.works(target_of(path));
    }

    /// Whether anybody still wants a request to be delivered. What ends a dialog always is.
    fn is_wanted(&self, owner: Option<LegId>, undelivered: &Undelivered) -> bool {
        let Some(owner) = owner else { return true };
        let request = &undelivered.errand.request;
        match self.legs.get(&owner).map(|leg| (leg, &leg.state)) {
            Some((_, State::Calling(calling))) if calling.tx == undelivered.tx => calling.goes_on(),
            Some((leg, _)) if matches!(request.method, Method::Invite | Method::Update) => {
                leg.exchange.is_about(undelivered.tx)
            }
            None if request.method == Method::Invite => false,
            Some(_) | None => true,
        }
    }

    /// The extension that a request is for, while that is known.
    fn whose(&self, owner: Option<LegId>, tx: TxId) -> Option<&Number> {
        match owner {
            Some(leg) => self.legs.get(&leg).map(|leg| &leg.endpoint),
            None => self.probes.whose(tx),
        }
    }

    /// How a request may be sent: over what its extension may use, and never in the clear when TLS was the way.
    fn means(&self, owner: Option<LegId>, undelivered: &Undelivered) -> Means {
        let endpoint = self.whose(owner, undelivered.tx);
        let policy = endpoint.and_then(|endpoint| self.policy(endpoint));
        let came = undelivered.path.transport;
        let sockets = &self.ways.sockets;
        let has = |ipv4: bool| sockets.iter().any(|socket| socket.local.is_ipv4() == ipv4);
        let allowed = Allowed::where_(|transport| {
            (transport == Transport::Tls || came != Transport::Tls)
                // Of a leg that is over nobody knows any more what it may use.
                && if endpoint.is_some() { policy.is_none_or(|policy| policy.allows(transport)) } else { transport == came }
                && sockets.iter().any(|socket| socket.transport == transport)
        });
        Means { allowed, ipv4: has(true), ipv6: has(false), ipv6_first: undelivered.path.local.is_ipv6() }
    }

    fn next_target(&mut self, now: Now, owner: Option<LegId>, mut undelivered: Box<Undelivered>) {
        if !self.is_wanted(owner, &undelivered) {
            return self.give_up(owner, *undelivered);
        }
        let local = undelivered.path.local;
        let errand = &mut undelivered.errand;
        let mut targets = errand.targets.take().unwrap_or_default();
        while let Some(Target { transport, address }) = targets.pop_front() {
            if let Some(path) = self.ways.to(transport, address, local) {
                errand.targets = Some(targets);
                let opens = errand.hop.domain().map_or(Opens::Peer, Opens::Named);
                return self.send_to_target(now, owner, *undelivered, (path, opens));
            }
        }
        errand.targets = Some(VecDeque::new());
        match errand.fallback.take() {
            Some(path) if self.ways.stands(path) && path != undelivered.path => {
                self.send_to_target(now, owner, *undelivered, (path, Opens::Peer));
            }
            Some(_) | None => self.give_up(owner, *undelivered),
        }
    }

    /// RFC 3263 §4.3: the same request with another branch, and what in it says where we are.
    fn send_to_target(
        &mut self,
        now: Now,
        owner: Option<LegId>,
        undelivered: Undelivered,
        (path, opens): (Path, Opens),
    ) {
        let Undelivered { tx, mut errand, failure, .. } = undelivered;
        self.seeker.failovers += u64::from(!matches!(failure, Failure::Unsent));
        let identity = &self.config.identity;
        let request = &mut errand.request;
        let via = identity.via(path, &self.tokens.branch());
        request.headers.set_top(&Name::Via, via);
        if request.headers.has(&Name::Contact) {
            request.headers.set(Name::Contact, identity.contact(path, owner, &request.uri));
        }
        if let Some(leg) = owner.and_then(|owner| self.legs.get_mut(&owner)) {
            leg.goes_by(tx, request, (path, opens.clone()), failure, identity);
        }
        let is_last = errand.targets.as_ref().is_none_or(VecDeque::is_empty) && errand.fallback.is_none();
        let patience = (!is_last).then(|| self.seeker.locator.policy().failover_after);
        self.tx.send_again(now.mono, tx, errand, (path, opens, patience), owner, &mut self.tx_out);
    }

    /// No way is left: told as what went wrong (RFC 3261 §8.1.3.1).
    fn give_up(&mut self, owner: Option<LegId>, undelivered: Undelivered) {
        let Undelivered { tx, failure, .. } = undelivered;
        self.tx.let_go(tx);
        self.tx_out.push(match failure {
            Failure::Refused(response) => TxOutput::Response { tx, owner, response },
            Failure::Silent => TxOutput::Timeout { tx, owner, unreachable: false },
            Failure::Unsent | Failure::Unreachable => TxOutput::Timeout { tx, owner, unreachable: true },
        });
    }

    /// Where a URI leads that a peer named, whose host is a name and not ours.
    pub(super) fn hop(&self, peer: Path, uri: &Uri, nat: Nat) -> Option<Hop> {
        self.ways.hop(&self.config.identity, peer, uri, nat)
    }
}

fn target_of(path: Path) -> Target {
    Target { transport: path.transport, address: path.remote }
}
