//! Slows down who guesses passwords, and nobody else.
//!
//! A failure counts only when it answers a nonce that we issued to that very source: over UDP anybody can
//! write anybody's address, but cannot read what we send there. [`Throttle::check`] is asked before any
//! hashing. A source that proved an account within the last hour keeps that account whatever others do,
//! so an attacker cannot lock a phone out by failing in its name; its own failures at it have a limit too, a
//! higher one, or whoever shares its address could guess for an hour.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use dialtone_core::Mono;

use super::recent::Recent;

/// [`ThrottlePolicy::per_account`] when nothing is configured.
pub const ACCOUNT_FAILURE_LIMIT: usize = 5;
/// [`ThrottlePolicy::per_source`] when nothing is configured.
pub const SOURCE_FAILURE_LIMIT: usize = 20;
/// How many times as many failures as others an address may have at an account that it proved.
pub const PROVED_FACTOR: usize = 10;
/// [`ThrottlePolicy::window`] when nothing is configured.
pub const THROTTLE_MINUTE: Duration = Duration::from_secs(60);
/// How long a proof shields its (source, account) pair.
pub const PROOF_LIFETIME: Duration = Duration::from_secs(3600);
/// Accounts, and likewise sources, whose failures are remembered.
pub const FAILURE_TABLE_LIMIT: usize = 16_384;
/// (source, account) pairs whose proof is remembered.
pub const PROOF_TABLE_LIMIT: usize = 65_536;

/// When throttling begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Failures of one account, from anywhere, within `window`. At least 1.
    pub per_account: usize,
    /// Failures of one source, at any account, within `window`. At least 1.
    pub per_source: usize,
    /// The span over which failures count.
    pub window: Duration,
}

impl Default for ThrottlePolicy {
    fn default() -> Self {
        ThrottlePolicy {
            per_account: ACCOUNT_FAILURE_LIMIT,
            per_source: SOURCE_FAILURE_LIMIT,
            window: THROTTLE_MINUTE,
        }
    }
}

impl ThrottlePolicy {
    /// Failures of a source at an account that it proved, within `window`.
    fn per_proved(&self) -> usize {
        self.per_account.saturating_mul(PROVED_FACTOR)
    }
}

/// What a [`Throttle`] has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleCounts {
    /// Failures counted.
    pub failures: u64,
    /// Attempts turned away.
    pub throttled: u64,
    /// Entries forgotten because a table was full.
    pub evicted: u64,
}

/// Bounded tables of failures and proofs.
#[derive(Debug)]
pub struct Throttle {
    by_account: Recent<String, Failures>,
    by_source: Recent<IpAddr, Failures>,
    proofs: Recent<(IpAddr, String), Proof>,
    counts: ThrottleCounts,
    policy: ThrottlePolicy,
}

/// What is known of a source that proved an account.
#[derive(Debug)]
struct Proof {
    /// The last time.
    at: Mono,
    /// Of this very pair since it was first proved.
    failures: Failures,
}

/// The instants of the last failures, as many as the limit needs.
type Failures = VecDeque<Mono>;

impl Default for Throttle {
    fn default() -> Self {
        Throttle::new(FAILURE_TABLE_LIMIT, PROOF_TABLE_LIMIT)
    }
}

impl Throttle {
    /// Empty tables of these sizes.
    pub fn new(failure_table_limit: usize, proof_table_limit: usize) -> Throttle {
        Throttle {
            by_account: Recent::new(failure_table_limit),
            by_source: Recent::new(failure_table_limit),
            proofs: Recent::new(proof_table_limit),
            counts: ThrottleCounts::default(),
            policy: ThrottlePolicy::default(),
        }
    }

    /// The same with other limits.
    pub fn with_policy(self, policy: ThrottlePolicy) -> Throttle {
        Throttle { policy, ..self }
    }

    /// Whether this attempt may be hashed; otherwise how long to stay away, to the whole second above.
    pub fn check(&mut self, source: IpAddr, account: &str, now: Mono) -> Result<(), Duration> {
        let pair = (network(source), account.to_owned());
        let policy = self.policy;
        let left = |failures, limit| wait(failures, limit, policy.window, now);
        let proof = self.proofs.get(&pair).filter(|proof| now.since(proof.at) < PROOF_LIFETIME);
        let longest = match proof {
            Some(proof) => left(&proof.failures, policy.per_proved()),
            None => {
                let by_account = self.by_account.get(&pair.1);
                let by_account = by_account.and_then(|failures| left(failures, policy.per_account));
                let by_source = self.by_source.get(&pair.0);
                by_account.max(by_source.and_then(|failures| left(failures, policy.per_source)))
            }
        };
        match longest {
            None => Ok(()),
            Some(wait) => {
                self.counts.throttled += 1;
                Err(wait)
            }
        }
    }

    /// A response was wrong; its nonce was ours, issued to this source.
    pub fn failed(&mut self, source: IpAddr, account: &str, now: Mono) {
        self.counts.failures += 1;
        let (failures, forgot_account) = self.by_account.write(&account.to_owned(), VecDeque::new);
        note(failures, self.policy.per_account, now);
        let (failures, forgot_source) = self.by_source.write(&network(source), VecDeque::new);
        note(failures, self.policy.per_source, now);
        if let Some(proof) = self.proofs.get_mut(&(network(source), account.to_owned())) {
            note(&mut proof.failures, self.policy.per_proved(), now);
        }
        self.counts.evicted += u64::from(forgot_account) + u64::from(forgot_source);
    }

    /// This source proved to be this account.
    pub fn proved(&mut self, source: IpAddr, account: &str, now: Mono) {
        let new = || Proof { at: now, failures: VecDeque::new() };
        let (proof, forgot) = self.proofs.write(&(network(source), account.to_owned()), new);
        proof.at = now;
        self.counts.evicted += u64::from(forgot);
    }

    /// What it has counted.
    pub fn counts(&self) -> ThrottleCounts {
        self.counts
    }

    /// Entries in all tables now.
    pub fn len(&self) -> usize {
        self.by_account.len() + self.by_source.len() + self.proofs.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The unit in which sources are counted: an IPv4 address, or the /64 that one IPv6 host commands.
pub(crate) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn note(failures: &mut Failures, limit: usize, now: Mono) {
    failures.push_back(now);
    if failures.len() > limit {
        failures.pop_front();
    }
}

/// Until the `limit`th last failure has left the window; `None` when it already is, or there is none.
fn wait(failures: &Failures, limit: usize, window: Duration, now: Mono) -> Option<Duration> {
    let first = failures.len().checked_sub(limit).and_then(|index| failures.get(index))?;
    let left = window.checked_sub(now.since(*first)).filter(|left| !left.is_zero())?;
    Some(Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Fail(&'static str, &'static str),
        Prove(&'static str, &'static str),
        Passes(&'static str, &'static str),
        /// Turned away for so many seconds.
        Waits(&'static str, &'static str, u64),
    }
    use Step::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Runs steps, each at its second of virtual time.
    fn check(steps: &[(f64, Step)]) {
        let mut throttle = Throttle::default();
        for (index, (at_s, step)) in steps.iter().enumerate() {
            let now = Mono::ZERO + Duration::from_secs_f64(*at_s);
            match *step {
                Fail(source, account) => throttle.failed(ip(source), account, now),
                Prove(source, account) => throttle.proved(ip(source), account, now),
                Passes(source, account) => {
                    assert_eq!(throttle.check(ip(source), account, now), Ok(()), "step {index}");
                }
                Waits(source, account, wait_s) => {
                    let expected = Err(Duration::from_secs(wait_s));
                    assert_eq!(throttle.check(ip(source), account, now), expected, "step {index}");
                }
            }
        }
    }

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";

    #[test]
    fn five_failures_of_an_account_wherever_from() {
        check(&[
            (0.0, Fail(A, "1001")),
            (1.0, Fail(A, "1001")),
            (2.0, Fail(A, "1001")),
            (3.0, Fail(B, "1001")),
            (3.5, Passes(A, "1001")),
            (4.0, Fail(B, "1001")),
            (4.0, Waits(A, "1001", 56)),
            (4.1, Waits("198.51.100.9", "1001", 56)),
            (4.1, Passes(A, "1002")),
            (59.5, Waits(A, "1001", 1)),
            (60.0, Passes(A, "1001")),
            (60.0, Fail(A, "1001")),
            (60.0, Waits(A, "1001", 1)),
            (61.0, Passes(A, "1001")),
        ]);
    }

    #[test]
    fn twenty_failures_of_a_source_at_any_account() {
        let accounts: Vec<&'static str> =
            (0..20).map(|n| &*Box::leak(format!("10{n:02}").into_boxed_str())).collect();
        let mut steps: Vec<_> = accounts[..19].iter().map(|account| (0.0, Fail(A, account))).collect();
        steps.push((0.0, Passes(A, "2000")));
        steps.push((1.0, Fail(A, accounts[19])));
        steps.push((1.0, Waits(A, "2000", 59)));
        steps.push((1.0, Passes(B, "2000")));
        steps.push((60.0, Passes(A, "2000")));
        check(&steps);
    }

    #[test]
    fn slow_mistakes_are_forgiven() {
        let steps: Vec<_> = (0..40).map(|n| (f64::from(n) * 16.0, Fail(A, "1001"))).collect();
        check(&steps);
        let mut all = steps;
        all.push((40.0 * 16.0, Passes(A, "1001")));
        check(&all);
    }

    #[test]
    fn a_proof_shields_its_pair_for_an_hour() {
        let mut steps = vec![(0.0, Prove(A, "1001"))];
        steps.extend((0..25).map(|_| (10.0, Fail(B, "1001"))));
        steps.push((10.0, Passes(A, "1001")));
        steps.push((10.0, Waits(B, "1001", 60)));
        // Even its own source's failures at other accounts do not reach it.
        steps.extend((0..25).map(|_| (3590.0, Fail(A, "1002"))));
        steps.push((3599.0, Passes(A, "1001")));
        steps.push((3600.0, Waits(A, "1001", 50)));
        check(&steps);
    }

    /// A proof is no licence to guess: who shares the phone's address is slowed down too, and the phone's
    /// other accounts are not.
    #[test]
    fn a_pair_that_was_proved_has_a_higher_limit_and_not_none() {
        let mut steps = vec![(0.0, Prove(A, "1001")), (0.0, Prove(A, "1003"))];
        steps.extend((0..49).map(|_| (10.0, Fail(A, "1001"))));
        steps.push((10.0, Passes(A, "1001")));
        // The right password does not wipe out the guesses.
        steps.push((10.0, Prove(A, "1001")));
        steps.push((11.0, Fail(A, "1001")));
        steps.push((11.0, Waits(A, "1001", 59)));
        steps.push((11.0, Passes(A, "1003")));
        steps.push((70.0, Passes(A, "1001")));
        check(&steps);
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let mut steps: Vec<_> = (0..5).map(|_| (0.0, Prove("2001:db8::1", "1001"))).collect();
        steps.extend((0..5).map(|_| (0.0, Fail("2001:db8:0:1::1", "1001"))));
        steps.push((0.0, Passes("2001:db8::ffff", "1001")));
        steps.push((0.0, Waits("2001:db8:0:2::1", "1001", 60)));
        steps.push((0.0, Prove(A, "1001")));
        steps.push((0.0, Passes("::ffff:192.0.2.1", "1001")));
        check(&steps);
    }

    #[test]
    fn tables_stay_within_their_limits() {
        let mut throttle = Throttle::new(4, 4);
        for n in 0..100u32 {
            let source = IpAddr::from(n.to_be_bytes());
            throttle.failed(source, &n.to_string(), Mono::ZERO);
            throttle.proved(source, &n.to_string(), Mono::ZERO);
        }
        assert_eq!(throttle.len(), 12);
        assert_eq!(throttle.counts().evicted, 3 * 96);
        assert_eq!(throttle.counts().failures, 100);
    }
}
