//! Locating SIP servers: RFC 3263, over DNS that is asked by others.
//!
//! ```text
//!  find ──▶ cache ──all there──▶ Found
//!             │                    ▲
//!             └─▶ Ask ──answered──┘   (by SRV after NAPTR, by addresses after SRV)
//!                  └──no answer──▶ stale records, or nothing: Found
//! ```
//!
//! Whoever waits is told within [`DnsPolicy::patience`], whatever DNS does. It is told the time and what was drawn.

mod cache;
mod dns;
mod failed;
mod hop;
mod order;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use dialtone_core::{Mono, Number};

use self::cache::{Cache, Known};
pub use self::dns::{Answer, Kind, Question, RECORDS_MAX, Record, Reply};
use self::failed::Failed;
pub use self::failed::Failing;
pub use self::hop::{Allowed, Hop, Target};
pub use self::order::Roll;
pub use self::policy::DnsPolicy;
pub use self::rules::{Means, TARGETS_MAX};
use self::rules::{Step, step};

/// When stale records serve although DNS has not failed yet (RFC 8767 §5, client response timer).
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// Questions that one request may need: as many as SRV records lead to addresses, twice.
const QUESTIONS_MAX: usize = 80;
/// Questions that are with DNS at a time, for each request that may wait. Beyond that, one asks while half of the room is
/// free.
const ASKED_PER_SEARCH: usize = 4;
/// The part of those that may wait which one extension may take.
const SHARES: usize = 4;
/// A question without an answer is asked anew after this.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// What it asks for and says.
#[derive(Debug, PartialEq, Eq)]
pub enum LocatorOutput<K> {
    /// DNS is to be asked this.
    Ask(Question),
    /// Whoever asked under this name can send there, in this order; nowhere when there is none.
    Found(K, Vec<Target>),
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocatorCounts {
    /// Questions to DNS, since the start.
    pub asked: u64,
    /// Questions that nobody could answer, since the start.
    pub failed: u64,
    /// Questions answered by what was past its time, since the start.
    pub stale: u64,
    /// Requests for which nothing was found, since the start.
    pub not_found: u64,
    /// Requests that found no room, since the start.
    pub refused: u64,
    /// Answers that are kept.
    pub cached: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Questions without an answer yet.
    pub open: usize,
    /// Targets that failed a moment ago.
    pub resting: usize,
}

/// One request that waits.
struct Search {
    hop: Hop,
    means: Means,
    /// The extension that it is sent to; those of calls that are over count as one's.
    whose: Option<Number>,
    /// What was learned for it: it must not depend on what the cache has room for.
    heard: HashMap<Question, Answer>,
    /// What it waits for.
    missing: Vec<Question>,
    /// Whether stale records will do.
    takes_stale: bool,
    until: Mono,
}

/// See the module. `K` names requests.
pub struct Locator<K> {
    policy: DnsPolicy,
    cache: Cache,
    failed: Failed,
    searches: HashMap<K, Search>,
    /// How many wait for each extension.
    shares: HashMap<Option<Number>, usize>,
    /// Since when DNS is asked, and who waits for it.
    asked: HashMap<Question, (Mono, Vec<K>)>,
    deadlines: BinaryHeap<Reverse<(Mono, K)>>,
    counts: LocatorCounts,
}

impl<K: Copy + Eq + Hash + Ord> Locator<K> {
    /// One that knows nothing.
    pub fn new(policy: DnsPolicy) -> Self {
        Locator {
            policy,
            cache: Cache::default(),
            failed: Failed::default(),
            searches: HashMap::new(),
            shares: HashMap::new(),
            asked: HashMap::new(),
            deadlines: BinaryHeap::new(),
            counts: LocatorCounts::default(),
        }
    }

    /// The bounds in force.
    pub fn policy(&self) -> &DnsPolicy {
        &self.policy
    }

    /// For metrics.
    pub fn counts(&self) -> LocatorCounts {
        LocatorCounts {
            cached: self.cache.len(),
            waiting: self.searches.len(),
            open: self.asked.len(),
            resting: self.failed.len(),
            ..self.counts
        }
    }

    /// Where does this lead? [`LocatorOutput::Found`] says, at once when it is known. False when too many wait already, in
    /// all or for this extension.
    pub fn find(
        &mut self,
        now: Mono,
        key: K,
        (hop, means, whose): (Hop, Means, Option<Number>),
        roll: Roll<'_>,
        out: &mut Vec<LocatorOutput<K>>,
    ) -> bool {
        let (heard, missing, until) = (HashMap::new(), Vec::new(), now + self.policy.patience);
        let mut search = Search { hop, means, whose, heard, missing, takes_stale: false, until };
        let questions = match self.look(now, &search, roll) {
            Step::Targets(targets) => {
                self.found(now, key, targets, out);
                return true;
            }
            Step::Ask(questions) => questions,
        };
        if !self.has_room_for(&search.whose) {
            // RFC 8767 §5: what is past its time is better than nothing.
            search.takes_stale = true;
            let Step::Targets(targets) = self.look(now, &search, roll) else {
                self.counts.refused += 1;
                return false;
            };
            self.counts.stale += 1;
            self.found(now, key, targets, out);
            return true;
        }
        *self.shares.entry(search.whose.clone()).or_default() += 1;
        self.searches.insert(key, search);
        self.deadlines.push(Reverse((until, key)));
        if STALE_AFTER < self.policy.patience {
            self.deadlines.push(Reverse((now + STALE_AFTER, key)));
        }
        if !self.ask(now, key, questions, out) {
            self.go_on(now, key, roll, out);
        }
        true
    }

    /// DNS says something, or that it cannot.
    pub fn answered(
        &mut self,
        now: Mono,
        question: &Question,
        reply: &Reply,
        roll: Roll<'_>,
        out: &mut Vec<LocatorOutput<K>>,
    ) {
        let Some((_, waiting)) = self.asked.remove(question) else { return };
        self.counts.failed += u64::from(reply.answer == Answer::Failed);
        self.cache.learn(now, &self.policy, question, reply);
        let stale = match self.cache.look(now, question) {
            Known::Resting(answer) | Known::Stale(answer) => Some(answer),
            Known::Fresh(_) | Known::No => None,
        };
        for key in waiting {
            let Some(search) = self.searches.get_mut(&key) else { continue };
            let answer = match (&reply.answer, &stale) {
                (Answer::Failed, Some(stale)) => {
                    self.counts.stale += 1;
                    stale.clone()
                }
                (answer, _) => answer.clone(),
            };
            search.missing.retain(|missing| missing != question);
            search.heard.insert(question.clone(), answer);
            if search.missing.is_empty() {
                self.go_on(now, key, roll, out);
            }
        }
    }

    /// A target did not work.
    pub fn failed(&mut self, now: Mono, target: Target, failing: Failing) {
        self.failed.remember(now, target, failing, self.policy.failed_for);
    }

    /// A target works.
    pub fn works(&mut self, target: Target) {
        self.failed.forgive(target);
    }

    /// Ends what has waited long enough.
    pub fn expire(&mut self, now: Mono, roll: Roll<'_>, out: &mut Vec<LocatorOutput<K>>) {
        while let Some(&Reverse((at, key))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            let Some(search) = self.searches.get_mut(&key) else { continue };
            let over = search.until <= now;
            search.takes_stale = true;
            for question in std::mem::take(&mut search.missing) {
                match self.cache.look(now, &question) {
                    Known::Stale(answer) | Known::Resting(answer) => {
                        self.counts.stale += 1;
                        search.heard.insert(question, answer);
                    }
                    Known::Fresh(answer) => {
                        search.heard.insert(question, answer);
                    }
                    Known::No if over => {
                        search.heard.insert(question, Answer::Failed);
                    }
                    Known::No => search.missing.push(question),
                }
            }
            if search.missing.is_empty() {
                self.go_on(now, key, roll, out);
            }
        }
    }

    /// The next instant at which `expire` has work.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// As far as it goes by what is known.
    fn go_on(&mut self, now: Mono, key: K, roll: Roll<'_>, out: &mut Vec<LocatorOutput<K>>) {
        loop {
            let Some(search) = self.searches.get(&key) else { return };
            match self.look(now, search, roll) {
                Step::Targets(targets) => {
                    self.ended(key);
                    return self.found(now, key, targets, out);
                }
                Step::Ask(questions) => {
                    if self.ask(now, key, questions, out) {
                        return;
                    }
                }
            }
        }
    }

    /// What is to be done next for one that waits, or that need not.
    fn look(&self, now: Mono, search: &Search, roll: Roll<'_>) -> Step {
        let known = |question: &Question| {
            search.heard.get(question).cloned().or_else(|| match self.cache.look(now, question) {
                Known::Fresh(answer) | Known::Resting(answer) => Some(answer),
                Known::Stale(answer) if search.takes_stale => Some(answer),
                Known::Stale(_) | Known::No => None,
            })
        };
        step(&search.hop, search.means, &known, roll)
    }

    fn found(&mut self, now: Mono, key: K, mut targets: Vec<Target>, out: &mut Vec<LocatorOutput<K>>) {
        self.failed.sort(now, &mut targets);
        self.counts.not_found += u64::from(targets.is_empty());
        out.push(LocatorOutput::Found(key, targets));
    }

    /// Whether one more of theirs may wait.
    fn has_room_for(&self, whose: &Option<Number>) -> bool {
        let share = (self.policy.waiting / SHARES).max(1);
        self.searches.len() < self.policy.waiting && self.shares.get(whose).is_none_or(|waits| *waits < share)
    }

    /// One does not wait any more.
    fn ended(&mut self, key: K) {
        if let Some(search) = self.searches.remove(&key)
            && let Entry::Occupied(mut share) = self.shares.entry(search.whose)
        {
            *share.get_mut() -= 1;
            if *share.get() == 0 {
                share.remove();
            }
        }
    }

    /// Asks what is missing; false when none of it can be asked, and all of it is taken to have failed.
    fn ask(&mut self, now: Mono, key: K, questions: Vec<Question>, out: &mut Vec<LocatorOutput<K>>) -> bool {
        let most = self.policy.waiting * ASKED_PER_SEARCH;
        if self.asked.len() >= most {
            self.asked.retain(|_, (since, _)| now < *since + ASKED_AGAIN);
        }
        let Some(search) = self.searches.get_mut(&key) else { return true };
        let over = search.until <= now;
        for question in questions {
            let most = if search.missing.len() < ASKED_PER_SEARCH { most } else { most / 2 };
            let room =
                self.asked.len() < most && search.heard.len() + search.missing.len() < QUESTIONS_MAX && !over;
            match self.asked.get_mut(&question) {
                Some((_, waiting)) if !over => waiting.push(key),
                None if room => {
                    self.counts.asked += 1;
                    self.asked.insert(question.clone(), (now, vec![key]));
                    out.push(LocatorOutput::Ask(question.clone()));
                }
                Some(_) | None => {
                    search.heard.insert(question, Answer::Failed);
                    continue;
                }
            }
            search.missing.push(question);
        }
        !search.missing.is_empty()
    }
}
