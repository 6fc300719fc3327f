//! What DNS has said: believed for its time, and after that only when nobody says better (RFC 8767).

use dialtone_core::Mono;
use std::collections::{HashMap, VecDeque};

use super::dns::{Answer, Question, Reply};
use super::policy::DnsPolicy;

/// An answer and its times.
struct Entry {
    answer: Answer,
    /// Until when it is believed.
    fresh: Mono,
    /// Until when it is better than nothing.
    usable: Mono,
}

/// What the cache knows of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// This.
    Fresh(Answer),
    /// This, which is past its time.
    Stale(Answer),
    /// This, which is past its time; nobody could say better a moment ago.
    Resting(Answer),
    /// Nothing.
    No,
}

/// See the module. Bounded: the question that came in first goes first.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Question, Entry>,
    /// The questions of `entries`, as they came in.
    order: VecDeque<Question>,
    /// Whom nobody could answer, and until when they are not asked again.
    resting: HashMap<Question, Mono>,
}

impl Cache {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn look(&self, now: Mono, question: &Question) -> Known {
        let rests = self.resting.get(question).is_some_and(|until| now < *until);
        match self.entries.get(question) {
            Some(entry) if now < entry.fresh => Known::Fresh(entry.answer.clone()),
            Some(entry) if now < entry.usable && rests => Known::Resting(entry.answer.clone()),
            Some(entry) if now < entry.usable => Known::Stale(entry.answer.clone()),
            _ if rests => Known::Fresh(Answer::Failed),
            Some(_) | None => Known::No,
        }
    }

    /// Learns an answer.
    pub fn learn(&mut self, now: Mono, policy: &DnsPolicy, question: &Question, reply: &Reply) {
        let (ttl, kept) = match reply.answer {
            Answer::Records(_) => {
                let ttl = reply.ttl.unwrap_or_default().clamp(policy.ttl_min, policy.ttl_max);
                (ttl, policy.stale_max)
            }
            // RFC 2308 §5: a denial has the lifetime of its SOA record.
            Answer::Nothing => {
                let ttl = reply.ttl.unwrap_or(policy.ttl_min);
                (ttl.clamp(policy.ttl_min, policy.negative_ttl_max), policy.stale_max)
            }
            Answer::Failed => {
                if self.resting.len() >= policy.cache {
                    self.resting.retain(|_, until| now < *until);
                }
                if self.resting.len() < policy.cache {
                    self.resting.insert(question.clone(), now + policy.failure_rest);
                }
                return;
            }
        };
        self.resting.remove(question);
        let entry = Entry { answer: reply.answer.clone(), fresh: now + ttl, usable: now + ttl + kept };
        if self.entries.insert(question.clone(), entry).is_none() {
            self.order.push_back(question.clone());
        }
        while self.entries.len() > policy.cache
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::dns::{Kind, Record};
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    fn question(name: &str) -> Question {
        Question::new(Kind::A, name)
    }

    fn records(last: u8, ttl: u64) -> Reply {
        let records: Arc<[Record]> = vec![Record::Address([192, 0, 2, last].into())].into();
        Reply { answer: Answer::Records(records), ttl: Some(Duration::from_secs(ttl)) }
    }

    /// RFC 1035 §3.2.1, RFC 8767 §4: an answer is fresh for its TTL, within bounds, and usable for longer.
    #[test]
    fn an_answer_ages() {
        let (mut cache, policy) = (Cache::default(), DnsPolicy::default());
        let (asked, reply) = (question("a.example"), records(1, 60));
        cache.learn(at(0), &policy, &asked, &reply);
        assert_eq!(cache.look(at(59), &asked), Known::Fresh(reply.answer.clone()));
        assert_eq!(cache.look(at(60), &asked), Known::Stale(reply.answer.clone()));
        assert_eq!(cache.look(at(60 + 86_400), &asked), Known::No);
        // A TTL of 0, or of years, is no way to make us ask all the time, or never again.
        for (ttl, fresh) in [(0, 5), (u64::from(u32::MAX), 86_400)] {
            cache.learn(at(0), &policy, &asked, &records(2, ttl));
            assert!(matches!(cache.look(at(fresh - 1), &asked), Known::Fresh(_)), "{ttl}");
            assert!(matches!(cache.look(at(fresh), &asked), Known::Stale(_)), "{ttl}");
        }
    }

    /// RFC 2308 §5, §7.1: denials and failures are remembered, for a short while.
    #[test]
    fn what_is_not_there_is_remembered_too() {
        let (mut cache, policy) = (Cache::default(), DnsPolicy::default());
        let asked = question("none.example");
        let denied = Reply { answer: Answer::Nothing, ttl: Some(Duration::from_secs(86_400)) };
        cache.learn(at(0), &policy, &asked, &denied);
        assert_eq!(cache.look(at(299), &asked), Known::Fresh(Answer::Nothing));
        assert_eq!(cache.look(at(300), &asked), Known::Stale(Answer::Nothing));
        let asked = question("broken.example");
        cache.learn(at(300), &policy, &asked, &Reply::FAILED);
        assert_eq!(cache.look(at(309), &asked), Known::Fresh(Answer::Failed));
        assert_eq!(cache.look(at(310), &asked), Known::No);
    }

    /// RFC 8767 §5: after a failure the old answer serves, and nobody is asked for a while.
    #[test]
    fn a_failure_leaves_the_old_answer() {
        let (mut cache, policy) = (Cache::default(), DnsPolicy::default());
        let (asked, reply) = (question("a.example"), records(1, 60));
        cache.learn(at(0), &policy, &asked, &reply);
        cache.learn(at(61), &policy, &asked, &Reply::FAILED);
        assert_eq!(cache.look(at(62), &asked), Known::Resting(reply.answer.clone()));
        assert_eq!(cache.look(at(71), &asked), Known::Stale(reply.answer.clone()));
        cache.learn(at(72), &policy, &asked, &records(2, 60));
        assert_eq!(cache.look(at(73), &asked), Known::Fresh(records(2, 60).answer));
    }

    #[test]
    fn a_full_cache_forgets_what_came_first() {
        let policy = DnsPolicy { cache: 3, ..DnsPolicy::default() };
        let mut cache = Cache::default();
        for index in 0..100_u8 {
            cache.learn(at(0), &policy, &question(&format!("{index}.example")), &records(index, 60));
            cache.learn(at(0), &policy, &question(&format!("x{index}.example")), &Reply::FAILED);
        }
        assert_eq!((cache.len(), cache.order.len(), cache.resting.len()), (3, 3, 3));
        assert_eq!(cache.look(at(0), &question("96.example")), Known::No);
        assert!(matches!(cache.look(at(0), &question("97.example")), Known::Fresh(_)));
    }
}
