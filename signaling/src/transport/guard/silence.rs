//! Addresses that are not answered for a while, because they tried the passwords of many accounts.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dialtone_core::Mono;

use super::{GuardPolicy, slot};
use crate::auth::{PROOF_LIFETIME, Recent};

/// Addresses silenced, and as many watched. When full, the one that was written longest ago is answered again.
pub(crate) const SILENCE_TABLE_LIMIT: usize = 16_384;
/// Addresses that proved an account share slots by a keyed hash; one that falls together with another is spared too.
const PROVED_SLOTS: usize = 16_384;

/// See the module.
pub(super) struct Silence {
    limit: usize,
    window: Duration,
    length: Duration,
    hasher: RandomState,
    /// When somebody at an address last proved an account, nanoseconds; 0 is never.
    proved: Box<[AtomicU64]>,
    /// Entries in `tables.silenced`, so that nobody waits for the lock when there is none.
    silenced: AtomicUsize,
    tables: Mutex<Tables>,
}

struct Tables {
    /// The accounts at which an address failed last, as keyed hashes.
    strikes: Recent<IpAddr, VecDeque<(Mono, u64)>>,
    /// Until when.
    silenced: Recent<IpAddr, Mono>,
}

impl Silence {
    pub(super) fn new(policy: &GuardPolicy) -> Silence {
        Silence {
            limit: policy.accounts_tried.max(1),
            window: policy.window,
            length: policy.silence,
            hasher: RandomState::new(),
            proved: (0..PROVED_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            silenced: AtomicUsize::new(0),
            tables: Mutex::new(Tables {
                strikes: Recent::new(SILENCE_TABLE_LIMIT),
                silenced: Recent::new(SILENCE_TABLE_LIMIT),
            }),
        }
    }

    /// Whether `source` is not answered now.
    pub(super) fn holds(&self, source: IpAddr, now: Mono) -> bool {
        if self.silenced.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut tables = self.tables();
        match tables.silenced.get(&source) {
            Some(until) if now < *until => true,
            Some(_) => {
                tables.silenced.remove(&source);
                self.silenced.store(tables.silenced.len(), Ordering::Relaxed);
                false
            }
            None => false,
        }
    }

    /// Somebody at `source` knows a password: it is a place where phones are.
    pub(super) fn proved(&self, source: IpAddr, now: Mono) {
        if let Some(slot) = self.proved.get(slot(&self.hasher, source, PROVED_SLOTS)) {
            slot.store(now.as_nanos().max(1), Ordering::Relaxed);
        }
    }

    /// Another failure; whether it silences `source` now.
    pub(super) fn strike(&self, source: IpAddr, account: &str, now: Mono) -> bool {
        let account = self.hasher.hash_one(account);
        let mut tables = self.tables();
        let (strikes, _) = tables.strikes.write(&source, VecDeque::new);
        strikes.retain(|(at, other)| now.since(*at) < self.window && *other != account);
        strikes.push_back((now, account));
        let full = strikes.len() >= self.limit;
        if full {
            strikes.pop_front();
        }
        // One wrong phone must not take the others of its house along.
        if !full || self.is_home(source, now) {
            return false;
        }
        let (until, _) = tables.silenced.write(&source, || now);
        *until = now + self.length;
        tables.strikes.remove(&source);
        self.silenced.store(tables.silenced.len(), Ordering::Relaxed);
        true
    }

    /// Addresses that are silenced; those whose time is over count until they say something.
    pub(super) fn len(&self) -> usize {
        self.silenced.load(Ordering::Relaxed)
    }

    fn is_home(&self, source: IpAddr, now: Mono) -> bool {
        let at = self.proved.get(slot(&self.hasher, source, PROVED_SLOTS));
        let at = at.map_or(0, |slot| slot.load(Ordering::Relaxed));
        at != 0 && now.since(Mono::from_nanos(at)) < PROOF_LIFETIME
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence {
        Silence::new(&GuardPolicy { accounts_tried: 3, ..GuardPolicy::default() })
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(1000 * seconds)
    }

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn who_tries_many_accounts_is_not_answered_for_a_while() {
        let silence = silence();
        assert!(
            !silence.strike(A, "1", at(0))
                && !silence.strike(A, "2", at(1))
                && !silence.strike(B, "3", at(2))
        );
        assert!(!silence.holds(A, at(2)));
        assert!(silence.strike(A, "3", at(2)));
        assert!(silence.holds(A, at(3)) && !silence.holds(B, at(3)));
        assert!(silence.holds(A, at(601)) && !silence.holds(A, at(602)));
        assert_eq!(silence.len(), 0);
        assert!(!silence.strike(A, "4", at(603)), "it begins anew");
    }

    #[test]
    fn one_account_slow_mistakes_and_places_with_phones_are_spared() {
        let silence = silence();
        assert!((0..100).all(|_| !silence.strike(A, "1", at(0))), "the throttle sees to that");
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert!((1..100).all(|step| !silence.strike(A, &many[step], at(step as u64 * 31))));
        silence.proved(B, at(0));
        assert!(many.iter().all(|account| !silence.strike(B, account, at(10))));
        assert!(many.iter().any(|account| silence.strike(B, account, at(3601))));
    }

    #[test]
    fn the_list_is_bounded() {
        let silence = silence();
        for number in 0..SILENCE_TABLE_LIMIT as u32 + 10 {
            let source = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(["1", "2", "3"].iter().any(|account| silence.strike(source, account, at(1))));
        }
        assert_eq!(silence.len(), SILENCE_TABLE_LIMIT);
        assert!(!silence.holds(IpAddr::from([10, 0, 0, 0]), at(2)), "the first is answered again");
    }
}
