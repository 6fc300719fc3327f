//! How far the control thread is behind, and what it is spared meanwhile.
//!
//! The measure is how long the input that it works on had to wait: long before phones repeat themselves, which is
//! what makes an overload grow (T1 of RFC 3261 is 500 ms). First registrations are refused at half of the limit, new
//! calls at the limit, renewed registrations at twice as much, and what belongs to calls in progress never. Each is
//! taken again when the wait has halved.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::transport::Class;

/// Inputs that must wait before anything is refused: a thread that merely was not scheduled is not behind.
const WAITING_MIN: usize = 64;
/// Nothing waits.
const IDLE: u64 = u64::MAX;

/// See the module.
pub(super) struct Lag {
    limit: Duration,
    /// When the input that is worked on began to wait, nanoseconds, or `IDLE`.
    since: AtomicU64,
    registrations: Gate,
    calls: Gate,
    renewals: Gate,
}

/// Whether one class is refused.
#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    /// How often it was shut.
    times: AtomicU64,
}

impl Lag {
    /// `limit` is how long an input may wait before new calls are refused.
    pub fn new(limit: Duration) -> Lag {
        Lag {
            limit,
            since: AtomicU64::new(IDLE),
            registrations: Gate::default(),
            calls: Gate::default(),
            renewals: Gate::default(),
        }
    }

    /// The control thread works on what came then.
    pub fn works_on(&self, came: Mono) {
        self.since.store(came.as_nanos(), Ordering::Relaxed);
    }

    /// The control thread has nothing to do.
    pub fn rests(&self) {
        self.since.store(IDLE, Ordering::Relaxed);
    }

    /// How long the input that is worked on had to wait, and is worked on.
    pub fn behind(&self, now: Mono) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since => now.since(Mono::from_nanos(since)),
        }
    }

    /// Whether work of this class is taken on, with so many inputs that wait.
    pub fn is_open(&self, class: Class, waiting: usize, now: Mono) -> bool {
        let (gate, limit) = match class {
            Class::Kept => return true,
            Class::Registration => (&self.registrations, self.limit / 2),
            Class::New => (&self.calls, self.limit),
            Class::Renewal => (&self.renewals, self.limit * 2),
        };
        let (behind, was_shut) = (self.behind(now), gate.shut.load(Ordering::Relaxed));
        let shut = if was_shut { behind > limit / 2 } else { behind > limit && waiting >= WAITING_MIN };
        if shut != was_shut {
            gate.shut.store(shut, Ordering::Relaxed);
            gate.times.fetch_add(u64::from(shut), Ordering::Relaxed);
        }
        !shut
    }

    /// For each class that may be refused: its name, whether it is, and how often that began.
    pub fn states(&self) -> [(&'static str, bool, u64); 3] {
        let state =
            |name, gate: &Gate| (name, gate.shut.load(Ordering::Relaxed), gate.times.load(Ordering::Relaxed));
        [
            state("registrations", &self.registrations),
            state("calls", &self.calls),
            state("renewals", &self.renewals),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; 4] = [Class::Registration, Class::New, Class::Renewal, Class::Kept];

    /// What is open after each wait, one letter per class.
    fn open(lag: &Lag, waited_ms: u64, waiting: usize) -> String {
        lag.works_on(Mono::from_millis(10_000));
        let now = Mono::from_millis(10_000 + waited_ms);
        let letters = CLASSES.map(|class| if lag.is_open(class, waiting, now) { 'o' } else { '-' });
        letters.iter().collect()
    }

    /// RFC 3261 §21.5.4: new work is refused in the order of its worth, and taken again later than it was refused.
    #[test]
    fn what_begins_is_refused_first_and_what_goes_on_never() {
        let lag = Lag::new(Duration::from_millis(100));
        let steps = [
            (0, "oooo"),
            (50, "oooo"),
            (51, "-ooo"),
            (101, "--oo"),
            (201, "---o"),
            (60_000, "---o"),
            (101, "---o"),
            (100, "--oo"),
            (51, "--oo"),
            (50, "-ooo"),
            (26, "-ooo"),
            (25, "oooo"),
            (51, "-ooo"),
        ];
        for (step, (waited_ms, expected)) in steps.into_iter().enumerate() {
            assert_eq!(open(&lag, waited_ms, 1000), expected, "step {step}: {waited_ms} ms");
        }
        assert_eq!(lag.states(), [("registrations", true, 2), ("calls", false, 1), ("renewals", false, 1)]);
    }

    #[test]
    fn a_thread_that_rests_or_has_little_to_do_is_not_behind() {
        let lag = Lag::new(Duration::from_millis(100));
        assert_eq!(open(&lag, 5000, WAITING_MIN - 1), "oooo");
        assert_eq!(open(&lag, 5000, WAITING_MIN), "---o");
        lag.rests();
        let now = Mono::from_millis(60_000);
        assert!(CLASSES.iter().all(|class| lag.is_open(*class, 10_000, now)));
        assert_eq!(lag.behind(now), Duration::ZERO);
    }
}
