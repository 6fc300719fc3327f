//! What becomes of a message that arrived, decided without memory of its sender: to the stack, answered on the
//! spot, or dropped.
//!
//! ```text
//! bytes ─▶ guard ─▶ parse ─▶ stamp Via ─▶ check ─▶ stack behind? ─▶ authenticate ─▶ Deliver
//!            └─ dropped  └─ 400, 505, 513 … ──┘       └─ 503             └─ 401, 503   (stateless, RFC 3261 §8.2.7)
//! ```
//!
//! The To tag of a stateless answer is a keyed hash of the request, so a retransmission gets the same one and
//! the ACK to it is known when it comes.

mod demand;
mod shed;

use std::collections::hash_map::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use dialtone_core::Now;

use demand::Demand;

use super::budget::Budget;
use super::guard::{Glance, Guard, Standing};
use super::limits::Limits;
use super::metrics::Metrics;
use super::sink::Class;
use super::via::stamp_via;
use crate::auth::{Accounts, Claim, Hex, NonceKey, Throttle, Verdict, challenge, network};
use crate::message::{Fault, Message, Method, Name, ParseError, Request, Response, Via};
use crate::wire::{Credentials, Transport, TransportEvent};

/// What is to be done with a message.
#[derive(Debug)]
pub(super) enum Admission {
    /// Hand it to the stack.
    Deliver {
        /// What it is worth when the stack is behind.
        class: Class,
        /// It, with its Via stamped.
        message: Message,
        /// What its credentials are worth.
        credentials: Credentials,
    },
    /// Send this back.
    Answer(Answer),
    /// Nothing.
    Drop,
}

/// A stateless answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// One whole response.
    pub(super) payload: Bytes,
    /// Where it goes.
    pub(super) target: SocketAddr,
}

/// Where a message came from, and when.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) transport: Transport,
    pub(super) source: SocketAddr,
    pub(super) now: Now,
}

impl Arrival {
    fn ip(&self) -> IpAddr {
        self.source.ip().to_canonical()
    }
}

/// Decides for all sockets alike.
pub(super) struct Gate {
    accounts: RwLock<Arc<Accounts>>,
    key: NonceKey,
    pub(super) guard: Guard,
    throttle: Mutex<Throttle>,
    refusals: Budget,
    /// 503s: a phone that is told when to come again does not try on.
    sheds: Budget,
    /// The same of all together.
    refusing: Budget,
    /// New requests of each account and address.
    requests: Budget,
    salt: AtomicU32,
    shed_retry_after: RangeInclusive<u64>,
    spread: RandomState,
    metrics: Arc<Metrics>,
}

/// What the credentials came to.
enum Proof {
    Good(Credentials),
    Missing,
    Stale(String),
    Bad(String),
    Throttled(Duration),
}

impl Gate {
    pub(super) fn new(
        accounts: Arc<Accounts>,
        key: NonceKey,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> Gate {
        Gate {
            accounts: RwLock::new(accounts),
            guard: Guard::new(key.clone(), limits, metrics.clone()),
            key,
            throttle: Mutex::new(Throttle::default().with_policy(limits.throttle)),
            refusals: Budget::new(limits.refusals_per_second),
            sheds: Budget::new(limits.challenges_per_second),
            refusing: Budget::with_burst(limits.sheds_per_second, limits.sheds_per_second.div_ceil(10)),
            requests: Budget::new(limits.requests_per_account),
            salt: AtomicU32::new(0),
            shed_retry_after: limits.shed_retry_after.clone(),
            spread: RandomState::new(),
            metrics,
        }
    }

    /// Replaces the accounts for every message from now on.
    pub(super) fn set_accounts(&self, accounts: Arc<Accounts>) {
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = accounts;
    }

    fn accounts(&self) -> Arc<Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a message is worth [`Gate::admit`]; `None` drops it. Allocates nothing.
    pub(super) fn inspect(&self, glance: &Glance<'_>, arrival: Arrival) -> Option<Standing> {
        self.guard.inspect(glance, arrival, self.accounts().realm())
    }

    /// Decides about one message. `open` says what the stack takes on. The event, if any, tells of a failure to
    /// authenticate.
    pub(super) fn admit(
        &self,
        datagram: Bytes,
        arrival: Arrival,
        standing: Standing,
        open: impl Fn(Class) -> bool,
    ) -> (Admission, Option<TransportEvent>) {
        let mut request = match Message::parse(datagram.clone()) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Response(response)) => return (self.heed(response, arrival, standing), None),
            Err(error) => return (self.answer_malformed(&error, &datagram, arrival), None),
        };
        let Ok(via) = stamp_via(&mut request.headers, arrival.source) else {
            // Without a Via there is no way back.
            self.metrics.parse_errors.add();
            return (Admission::Drop, None);
        };
        if let Err(invalid) = request.check() {
            self.metrics.parse_errors.add();
            let refusal = self.refusal(&request, invalid.status).with_reason(&invalid.reason);
            return (self.refuse(&request.method, refusal, &via, arrival), None);
        }
        if request.method == Method::Ack && self.answers_us(&request) {
            self.metrics.acks_absorbed.add();
            return (Admission::Drop, None);
        }
        let demand = Demand::of(&request, standing);
        let is_copy = shed::is_copy(request.method.as_str().as_bytes(), standing);
        if demand.class != Class::Kept && !is_copy && !open(demand.class) {
            let answer = self.shed(&request, demand.class, arrival);
            return (answer.map_or(Admission::Drop, Admission::Answer), None);
        }
        self.authenticate(request, demand, &via, arrival)
    }

    /// The answer to a request whose bytes cannot be told apart on a stream; `head` is all that came.
    pub(super) fn answer_unframed(&self, head: &Bytes, status: u16, arrival: Arrival) -> Option<Answer> {
        // Its length is what is wrong: with the true one the head alone is a message.
        let Ok(Message::Request(mut request)) = Message::parse(without_length(head)) else { return None };
        let via = stamp_via(&mut request.headers, arrival.source).ok()?;
        match self.refuse(&request.method, self.refusal(&request, status), &via, arrival) {
            Admission::Answer(answer) => Some(answer),
            Admission::Deliver { .. } | Admission::Drop => None,
        }
    }

    fn answer_malformed(&self, error: &ParseError, datagram: &Bytes, arrival: Arrival) -> Admission {
        if error.fault == Fault::Empty {
            self.metrics.keepalives.add();
            return Admission::Drop;
        }
        self.metrics.parse_errors.add();
        let Some(mut response) = error.reply(datagram) else { return Admission::Drop };
        let Ok(via) = stamp_via(&mut response.headers, arrival.source) else { return Admission::Drop };
        self.answer(&self.refusals, response, &via, arrival)
    }

    fn authenticate(
        &self,
        request: Request,
        demand: Demand,
        via: &Via,
        arrival: Arrival,
    ) -> (Admission, Option<TransportEvent>) {
        let (class, accounts) = (demand.class, self.accounts());
        if !demand.looked_at {
            return (self.unproved(demand, request, arrival), None);
        }
        let proof = self.prove(&request, &accounts, arrival);
        let failed = match &proof {
            Proof::Bad(account) => {
                let (account, source) = (account.clone(), arrival.source);
                Some(TransportEvent::AuthFailed { account, source })
            }
            Proof::Good(_) | Proof::Missing | Proof::Stale(_) | Proof::Throttled(_) => None,
        };
        let admission = match proof {
            Proof::Good(Credentials::Good { account, .. }) if !self.has_share(class, &account, arrival) => {
                self.metrics.account_limited.add();
                let refusal = self.unavailable(&request, self.later_for(&request));
                self.answer(&self.sheds, refusal, via, arrival)
            }
            Proof::Good(credentials) => deliver(class, request, credentials),
            _ if !demand.required => self.unproved(demand, request, arrival),
            Proof::Throttled(wait) => {
                let refusal = self.unavailable(&request, wait);
                self.refuse(&request.method, refusal, via, arrival)
            }
            Proof::Missing => {
                self.metrics.challenged.add();
                let hint = request.from().ok().and_then(|from| Some(from.uri.user_decoded()?.into_owned()));
                self.challenge(&request, &accounts, &hint.unwrap_or_default(), false, via, arrival)
            }
            Proof::Stale(account) => {
                self.metrics.stale.add();
                self.challenge(&request, &accounts, &account, true, via, arrival)
            }
            Proof::Bad(account) => self.challenge(&request, &accounts, &account, false, via, arrival),
        };
        (admission, failed)
    }

    fn prove(&self, request: &Request, accounts: &Accounts, arrival: Arrival) -> Proof {
        let (source, now) = (arrival.ip(), arrival.now);
        let Some(claim) = Claim::find(request, source, accounts, &self.key, now.wall) else {
            return Proof::Missing;
        };
        let account = claim.account();
        if !claim.is_fresh() {
            return Proof::Stale(account);
        }
        if let Err(wait) = self.throttle().check(source, &account, now.mono) {
            self.metrics.throttled.add();
            self.guard.throttled(arrival, &account);
            return Proof::Throttled(wait);
        }
        match claim.verify(request, accounts, &self.key) {
            Verdict::Good { account, nonce, nonce_count } => {
                self.metrics.auth_succeeded.add();
                self.note(|throttle| throttle.proved(source, &account, now.mono));
                self.guard.proved(arrival);
                Proof::Good(Credentials::Good { account, nonce, nonce_count })
            }
            Verdict::Bad { account } => {
                self.metrics.auth_failures.add();
                self.note(|throttle| throttle.failed(source, &account, now.mono));
                self.guard.failed(arrival, &account);
                Proof::Bad(account)
            }
            Verdict::Stale => Proof::Stale(account),
            Verdict::None => Proof::Missing,
        }
    }

    /// Whether an account may begin something more from this address; whoever forges the address has no password.
    fn has_share(&self, class: Class, account: &str, arrival: Arrival) -> bool {
        class == Class::Kept || self.requests.take(&(account, network(arrival.ip())), arrival.now.mono)
    }

    fn note(&self, write: impl FnOnce(&mut Throttle)) {
        let mut throttle = self.throttle();
        write(&mut throttle);
        self.metrics.throttle_evicted.set(throttle.counts().evicted);
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn challenge(
        &self,
        request: &Request,
        accounts: &Accounts,
        hint: &str,
        stale: bool,
        via: &Via,
        arrival: Arrival,
    ) -> Admission {
        let salt = self.salt.fetch_add(1, Ordering::Relaxed);
        let nonce = self.key.issue(arrival.ip(), accounts.realm(), arrival.now.wall, salt);
        // RFC 3261 §22.2: a UAS challenges with 401, INVITE too.
        let mut response = self.refusal(request, 401);
        let agent = request.headers.text(&Name::UserAgent);
        for one in challenge(accounts, hint, agent, &nonce, stale) {
            response.headers.push(Name::WwwAuthenticate, one);
        }
        self.answer(&self.guard.challenges, response, via, arrival)
    }

    fn unavailable(&self, request: &Request, retry_after: Duration) -> Response {
        let mut response = self.refusal(request, 503);
        response.headers.push(Name::RetryAfter, retry_after.as_secs().max(1));
        response
    }

    fn refusal(&self, request: &Request, status: u16) -> Response {
        let mut response = Response::to(request, status);
        response.tag_to(|| self.tag(request));
        response
    }

    fn refuse(&self, method: &Method, response: Response, via: &Via, arrival: Arrival) -> Admission {
        if *method == Method::Ack {
            // RFC 3261 §17.1.1.3: nothing answers an ACK.
            return Admission::Drop;
        }
        self.answer(&self.refusals, response, via, arrival)
    }

    fn answer(&self, budget: &Budget, response: Response, via: &Via, arrival: Arrival) -> Admission {
        if !self.has_answer(budget, arrival) {
            return Admission::Drop;
        }
        let target = via.response_target(arrival.transport, arrival.source);
        Admission::Answer(Answer { payload: response.to_bytes(), target })
    }

    /// Whether the sender may have one more stateless answer; takes it.
    fn has_answer(&self, budget: &Budget, arrival: Arrival) -> bool {
        let has = budget.take(&network(arrival.source.ip()), arrival.now.mono);
        if !has {
            self.metrics.refusals_suppressed.add();
        }
        has
    }

    /// The To tag of every stateless answer to this request: what an ACK repeats of it, and nothing else.
    fn tag(&self, request: &Request) -> String {
        let call_id = request.headers.get(&Name::CallId).unwrap_or_default();
        let from = request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        self.tag_from(call_id, from.as_bytes(), cseq)
    }

    fn tag_from(&self, call_id: &[u8], from: &[u8], cseq: u32) -> String {
        let mut tag = self.tag_digits(call_id, from, cseq).to_string();
        tag.truncate(shed::TAG_LEN);
        tag
    }

    fn tag_digits(&self, call_id: &[u8], from: &[u8], cseq: u32) -> Hex {
        self.key.derive("tag", &[call_id, from, &cseq.to_be_bytes()]).hex()
    }

    /// Whether an ACK is for one of our stateless answers.
    fn answers_us(&self, ack: &Request) -> bool {
        ack.to().is_ok_and(|to| to.tag().is_some_and(|tag| tag == self.tag(ack)))
    }
}

/// Read here, where there are many threads: the control thread is one.
fn deliver(class: Class, message: impl Into<Message>, credentials: Credentials) -> Admission {
    let message = message.into();
    message.read();
    Admission::Deliver { class, message, credentials }
}

/// A head without its Content-Length lines; folded ones are left to the parser to refuse.
fn without_length(head: &Bytes) -> Bytes {
    let is_length = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        Name::from_bytes(name.trim_ascii()) == Name::ContentLength
    };
    let kept: Vec<&[u8]> =
        head.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_length(line)).collect();
    kept.concat().into()
}
