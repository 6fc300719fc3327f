//! Who may prove what: an immutable snapshot that the transport workers share and the root swaps whole.
//!
//! Passwords enter the constructor and are forgotten there; only HA1 values stay.

use std::collections::HashMap;
use std::fmt;

use dialtone_core::Number;

use super::digest::{Algorithm, Hash};

/// The accounts that can authenticate, and how they are challenged.
pub struct Accounts {
    realm: String,
    algorithms: Vec<Algorithm>,
    by_number: HashMap<Number, Account>,
}

struct Account {
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
        let by_number = passwords
            .into_iter()
            .map(|(number, password)| {
                let (number, password) = (number.into(), password.as_ref());
                let md5 = Algorithm::Md5.ha1(&number, realm, password);
                let sha256 = Algorithm::Sha256.ha1(&number, realm, password);
                (number, Account { md5, sha256, algorithms: None })
            })
            .collect();
        Accounts { realm: realm.to_owned(), algorithms: or_default(algorithms), by_number }
    }

    /// Gives one account an order of challenge of its own; no effect when the account is unknown.
    pub fn set_algorithms(&mut self, number: &str, algorithms: &[Algorithm]) {
        if let Some(account) = self.by_number.get_mut(number) {
            account.algorithms = Some(or_default(algorithms));
        }
    }

    /// The protection domain (RFC 3261 §22.1).
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether nobody can authenticate.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The algorithms enabled for this account, in order of challenge. An unknown account has the
    /// site's, so that a challenge does not tell who exists.
    pub fn algorithms(&self, number: &str) -> &[Algorithm] {
        self.enabled(self.by_number.get(number))
    }

    /// The HA1 of an account, unless it is unknown or this algorithm is switched off for it. Looks up
    /// once either way, because the time it takes must not tell which.
    pub(super) fn ha1(&self, number: &str, algorithm: Algorithm) -> Option<Hash> {
        let account = self.by_number.get(number);
        let enabled = self.enabled(account).contains(&algorithm);
        account.filter(|_| enabled).map(|account| match algorithm {
            Algorithm::Md5 => account.md5,
            Algorithm::Sha256 => account.sha256,
        })
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
    fn nothing_secret_is_shown() {
        let accounts = Accounts::new("pbx", &[], [("1001", "secret")]);
        assert_eq!(format!("{accounts:?}"), "Accounts(1 in \"pbx\")");
    }
}
