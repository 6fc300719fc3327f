//! Whether contacts are there: an OPTIONS to each at its interval (RFC 3261 §11), and what connections tell.
//!
//! Questions are spread over the interval, a bounded number is under way, and a contact counts as gone only after
//! [`MISSES`] of them in a row got no answer. Any answer will do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use dialtone_core::{ContactId, Mono, Number};

use crate::transaction::TxId;

/// Questions under way at a time; what is due beyond waits for an answer to one of them.
const ASKED_MAX: usize = 128;
/// Unanswered questions in a row after which a contact is gone.
const MISSES: u8 = 2;
/// From a question without an answer to the next one, at most.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub(crate) struct Probes {
    all: HashMap<ContactId, Probe>,
    due: BinaryHeap<Reverse<(Mono, ContactId)>>,
    asked: HashMap<TxId, (ContactId, Mono)>,
    /// Contacts that cannot be reached.
    gone: usize,
}

struct Probe {
    endpoint: Number,
    /// When it stands in the heap.
    due: Option<Mono>,
    /// The question under way; one that went where the contact was before is none of its.
    asked: Option<TxId>,
    misses: u8,
    reachable: bool,
}

impl Probe {
    /// Gives whether that is news.
    fn set(&mut self, reachable: bool, gone: &mut usize) -> bool {
        let news = self.reachable != reachable;
        self.reachable = reachable;
        match (news, reachable) {
            (false, _) => {}
            (true, true) => *gone -= 1,
            (true, false) => *gone += 1,
        }
        news
    }
}

/// What became of a question.
pub(crate) struct Verdict {
    pub endpoint: Number,
    pub contact: ContactId,
    pub reachable: bool,
    pub round_trip: Option<Duration>,
    /// Whether it has changed.
    pub news: bool,
}

impl Probes {
    /// A contact is there, or has moved. It is asked first after `first`; never without one.
    pub fn watch(&mut self, now: Mono, endpoint: &str, contact: ContactId, first: Option<Duration>) {
        let endpoint = endpoint.to_owned();
        self.forget(contact);
        self.all.insert(contact, Probe { endpoint, due: None, asked: None, misses: 0, reachable: true });
        self.ask_after(now, contact, first);
    }

    /// A contact is gone.
    pub fn forget(&mut self, contact: ContactId) {
        if self.all.remove(&contact).is_some_and(|probe| !probe.reachable) {
            self.gone -= 1;
        }
    }

    /// It said by itself that it is there; gives whether that is news. One that is not asked yet is from now on.
    pub fn heard(&mut self, now: Mono, contact: ContactId, first: Option<Duration>) -> bool {
        let Some(probe) = self.all.get_mut(&contact) else { return false };
        probe.misses = 0;
        let idle = probe.due.is_none() && probe.asked.is_none();
        let news = probe.set(true, &mut self.gone);
        if idle {
            self.ask_after(now, contact, first);
        }
        news
    }

    /// It cannot be reached; gives whether that is news.
    pub fn lost(&mut self, contact: ContactId) -> bool {
        self.all.get_mut(&contact).is_some_and(|probe| probe.set(false, &mut self.gone))
    }

    /// Questions under way.
    pub fn outstanding(&self) -> usize {
        self.asked.len()
    }

    /// Contacts that cannot be reached.
    pub fn unreachable(&self) -> usize {
        self.gone
    }

    /// Who is to be asked now, one at a time.
    pub fn next(&mut self, now: Mono) -> Option<(Number, ContactId)> {
        while self.asked.len() < ASKED_MAX
            && let Some(&Reverse((at, contact))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            match self.all.get_mut(&contact) {
                Some(probe) if probe.due == Some(at) => {
                    probe.due = None;
                    return Some((probe.endpoint.clone(), contact));
                }
                // It is gone, or is asked at another time.
                Some(_) | None => {}
            }
        }
        None
    }

    /// The next instant at which somebody is to be asked.
    pub fn deadline(&self) -> Option<Mono> {
        let room = self.asked.len() < ASKED_MAX;
        self.due.peek().filter(|_| room).map(|Reverse((at, _))| *at)
    }

    /// It was asked.
    pub fn asked(&mut self, now: Mono, contact: ContactId, tx: TxId) {
        self.asked.insert(tx, (contact, now));
        if let Some(probe) = self.all.get_mut(&contact) {
            probe.asked = Some(tx);
        }
    }

    /// What a question came to. The next one follows `every` after it; sooner while there was no answer.
    pub fn done(&mut self, now: Mono, tx: TxId, answered: bool, every: Option<Duration>) -> Option<Verdict> {
        let (contact, at) = self.asked.remove(&tx)?;
        let probe = self.all.get_mut(&contact).filter(|probe| probe.asked == Some(tx))?;
        probe.asked = None;
        probe.misses = if answered { 0 } else { probe.misses.saturating_add(1) };
        let there = answered || (probe.reachable && probe.misses < MISSES);
        let news = probe.set(there, &mut self.gone);
        let verdict = Verdict {
            endpoint: probe.endpoint.clone(),
            contact,
            reachable: probe.reachable,
            round_trip: answered.then(|| now.since(at)),
            news,
        };
        let doubtful = !answered && probe.reachable;
        let pause = every.map(|every| if doubtful { every.min(ASK_AGAIN) } else { every });
        // From question to question, so that they stay spread as they were.
        let next = pause.map(|pause| (at + pause).max(now).since(now));
        self.ask_after(now, contact, next);
        Some(verdict)
    }

    /// It could not be asked: there is no way to it.
    pub fn no_way(&mut self, now: Mono, contact: ContactId, every: Option<Duration>) -> bool {
        self.ask_after(now, contact, every);
        self.lost(contact)
    }

    /// Whose question this is.
    pub fn whose(&self, tx: TxId) -> Option<&Number> {
        let (contact, _) = self.asked.get(&tx)?;
        self.all.get(contact).map(|probe| &probe.endpoint)
    }

    fn ask_after(&mut self, now: Mono, contact: ContactId, pause: Option<Duration>) {
        if let (Some(pause), Some(probe)) = (pause, self.all.get_mut(&contact)) {
            let at = now + pause;
            probe.due = Some(at);
            self.due.push(Reverse((at, contact)));
        }
    }
}
