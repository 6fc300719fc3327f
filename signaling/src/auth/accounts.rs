//! Who may prove what: an immutable snapshot that the transport workers share and the root swaps whole.
//!
//! Passwords enter the constructor and are forgotten there; only HA1 values stay.
//!
//! Looking up an account that does not exist reads as much memory as one that does: the accounts are sorted by a
//! keyed hash of their numbers, and a search always ends at one of them, which is read whether it is the right one
//! or not. A hash map stops early when it finds nothing, and 0.2 µs tell who exists (`benches/unknown_user.rs`).

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::hint::black_box;

use dialtone_core::Number;

use super::digest::{Algorithm, Hash};

/// The accounts that can authenticate, and how they are challenged.
pub struct Accounts {
    realm: String,
    algorithms: Vec<Algorithm>,
    hasher: RandomState,
    /// Keyed hashes of the numbers, rising and of 64 bits, so that among the most accounts two are alike once in 10¹¹
    /// starts; `accounts` has the account of each at the same place.
    hashes: Vec<u64>,
    accounts: Vec<Account>,
}

struct Account {
    number: Number,
    md5: Hash,
    sha256: Hash,
    /// Only where it differs from the site's.
    algorithms: Option<Vec<Algorithm>>,
}

impl Accounts {
    /// Hashes `(number, password)` pairs. The number is the digest username. `algorithms` is the order of
    /// challenge; an empty list means [`Algorithm::DEFAULT`]. A number given twice keeps its last password.
    ///
    /// The realm must not contain control characters; it is what phones are configured with and what
    /// every HA1 depends on.
    pub fn new<N, P>(
        realm: &str,
        algorithms: &[Algorithm],
        passwords: impl IntoIterator<Item = (N, P)>,
    ) -> Accounts
    where
        N: Into<Number>,
        P: AsRef<str>,
    {
        let passwords: BTreeMap<Number, P> =
            passwords.into_iter().map(|(number, password)| (number.into(), password)).collect();
        let hasher = RandomState::new();
        let mut accounts: Vec<(u64, Account)> = passwords
            .into_iter()
            .map(|(number, password)| {
                let md5 = Algorithm::Md5.ha1(&number, realm, password.as_ref());
                let sha256 = Algorithm::Sha256.ha1(&number, realm, password.as_ref());
                (hasher.hash_one(&*number), Account { number, md5, sha256, algorithms: None })
            })
            .collect();
        accounts.sort_by_key(|(hash, _)| *hash);
        let (hashes, accounts) = accounts.into_iter().unzip();
        Accounts { realm: realm.to_owned(), algorithms: or_default(algorithms), hasher, hashes, accounts }
    }

    /// Gives one account an order of challenge of its own; no effect when the account is unknown.
    pub fn set_algorithms(&mut self, number: &str, algorithms: &[Algorithm]) {
        let nearest = self.nearest(number);
        if let Some(account) = self.accounts.get_mut(nearest).filter(|account| *account.number == *number) {
            account.algorithms = Some(or_default(algorithms));
        }
    }

    /// The protection domain (RFC 3261 §22.1).
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether nobody can authenticate.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The algorithms enabled for this account, in order of challenge. An unknown account has the
    /// site's, so that a challenge does not tell who exists.
    pub fn algorithms(&self, number: &str) -> &[Algorithm] {
        let nearest = self.accounts.get(self.nearest(number));
        self.enabled(nearest.filter(|account| *account.number == *number))
    }

    /// The HA1 of an account, unless it is unknown or this algorithm is switched off for it. Does the same
    /// work either way, because the time it takes must not tell which.
    pub(super) fn ha1(&self, number: &str, algorithm: Algorithm) -> Option<Hash> {
        let nearest = self.accounts.get(self.nearest(number))?;
        let hash = match algorithm {
            Algorithm::Md5 => nearest.md5,
            Algorithm::Sha256 => nearest.sha256,
        };
        let enabled = self.enabled(Some(nearest)).contains(&algorithm);
        // Not left out when it turns out that nobody wants it.
        let (hash, enabled) = black_box((hash, enabled));
        (enabled & (*nearest.number == *number)).then_some(hash)
    }

    /// The place of the account of this number, or else of some other; as many steps for each.
    fn nearest(&self, number: &str) -> usize {
        let hash = self.hasher.hash_one(number);
        self.hashes.partition_point(|other| *other < hash).min(self.hashes.len().saturating_sub(1))
    }

    fn enabled<'a>(&'a self, account: Option<&'a Account>) -> &'a [Algorithm] {
        account.and_then(|account| account.algorithms.as_deref()).unwrap_or(&self.algorithms)
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accounts({} in {:?})", self.len(), self.realm)
    }
}

fn or_default(algorithms: &[Algorithm]) -> Vec<Algorithm> {
    if algorithms.is_empty() { Algorithm::DEFAULT.to_vec() } else { algorithms.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_may_have_algorithms_of_its_own() {
        let mut accounts = Accounts::new("pbx", &[], [("1001", "a"), ("1002", "b")]);
        accounts.set_algorithms("1002", &[Algorithm::Sha256]);
        accounts.set_algorithms("nobody", &[Algorithm::Sha256]);
        assert_eq!(accounts.algorithms("1001"), Algorithm::DEFAULT);
        assert_eq!(accounts.algorithms("nobody"), Algorithm::DEFAULT);
        assert_eq!(accounts.algorithms("1002"), [Algorithm::Sha256]);
        assert!(accounts.ha1("1002", Algorithm::Md5).is_none());
        assert!(accounts.ha1("1002", Algorithm::Sha256).is_some());
        assert!(accounts.ha1("nobody", Algorithm::Md5).is_none());
        assert_eq!(accounts.len(), 2);
    }

    #[test]
    fn each_of_many_is_found_and_nobody_else() {
        let number = |number: u32| number.to_string();
        let accounts = Accounts::new("pbx", &[], (0..1000).map(|n| (number(2 * n), "a")));
        for n in 0..1000 {
            let known = accounts.ha1(&number(2 * n), Algorithm::Md5);
            assert!(known.is_some_and(|ha1| ha1.same(&Algorithm::Md5.ha1(&number(2 * n), "pbx", "a"))));
            assert!(accounts.ha1(&number(2 * n + 1), Algorithm::Md5).is_none());
        }
        let twice = Accounts::new("pbx", &[], [("1001", "first"), ("1001", "last")]);
        assert_eq!(twice.len(), 1);
        let ha1 = twice.ha1("1001", Algorithm::Sha256).unwrap();
        assert!(ha1.same(&Algorithm::Sha256.ha1("1001", "pbx", "last")));
        assert!(Accounts::new::<&str, &str>("pbx", &[], []).ha1("1001", Algorithm::Md5).is_none());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let accounts = Accounts::new("pbx", &[], [("1001", "secret")]);
        assert_eq!(format!("{accounts:?}"), "Accounts(1 in \"pbx\")");
    }
}
