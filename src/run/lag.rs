//! How far the control thread and the record keeper are behind, and what they are spared meanwhile.
//!
//! The measure is how long an input has to wait for the control thread: what the one that it works on has waited, or
//! what those in the queue will take it at its present pace, whichever is more. That is long before phones repeat
//! themselves, which is what makes an overload grow (T1 of RFC 3261 is 500 ms). First registrations are refused at half
//! of the limit, new calls at the limit, renewed registrations at twice as much, and what belongs to calls in progress
//! never. Each is taken again when the wait has halved.
//!
//! New calls are refused too while too much waits for the record keeper, or the switch would have to refuse them, which
//! costs it nearly as much as to take them on. Before that, messages are not kept for traces any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_signaling::transport::Class;

use super::waiting::Waiting;

/// Inputs that must wait before anything is refused: a thread that merely was not scheduled is not behind.
const WAITING_MIN: usize = 64;
/// Nothing waits.
const IDLE: u64 = u64::MAX;
/// Inputs between two looks at the pace, and the share of a new one in it: it is that of some hundred inputs.
const PACE_INPUTS: u64 = 64;
const PACE_SHARE: u64 = 4;

/// See the module.
pub(super) struct Lag {
    limit: Duration,
    /// When the input that is worked on began to wait, nanoseconds, or `IDLE`.
    since: AtomicU64,
    /// What an input takes while others wait, nanoseconds.
    pace: AtomicU64,
    keeper: Arc<Waiting>,
    /// The switch refuses new calls.
    congested: AtomicBool,
    registrations: Gate,
    calls: Gate,
    keeping: Gate,
    renewals: Gate,
}

/// Whether one class is refused.
#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    /// How often it was shut.
    times: AtomicU64,
}

impl Gate {
    /// Shut or open from now on; whether it is open.
    fn set(&self, shut: bool) -> bool {
        if shut != self.is_shut() {
            self.shut.store(shut, Ordering::Relaxed);
            self.times.fetch_add(u64::from(shut), Ordering::Relaxed);
        }
        !shut
    }

    fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }
}

/// Measures the pace of the control thread while it has something to do.
#[derive(Default)]
pub(super) struct Pace {
    began: Option<Mono>,
    inputs: u64,
}

impl Lag {
    /// `limit` is how long an input may wait before new calls are refused, `keeper_limit` how much may wait for the
    /// record keeper.
    pub fn new(limit: Duration, keeper_limit: usize) -> Lag {
        Lag {
            limit,
            since: AtomicU64::new(IDLE),
            pace: AtomicU64::new(0),
            keeper: Arc::new(Waiting::new(keeper_limit)),
            congested: AtomicBool::new(false),
            registrations: Gate::default(),
            calls: Gate::default(),
            keeping: Gate::default(),
            renewals: Gate::default(),
        }
    }

    /// What waits for the record keeper.
    pub fn keeper(&self) -> Arc<Waiting> {
        Arc::clone(&self.keeper)
    }

    /// The control thread works on what came then.
    pub fn works_on(&self, came: Mono) {
        self.since.store(came.as_nanos(), Ordering::Relaxed);
    }

    /// The control thread has nothing to do.
    pub fn rests(&self, pace: &mut Pace) {
        self.since.store(IDLE, Ordering::Relaxed);
        *pace = Pace::default();
    }

    /// The control thread has done one more input.
    pub fn has_done_one(&self, pace: &mut Pace, now: Mono) {
        let Some(began) = pace.began else {
            // What it took is not known.
            pace.began = Some(now);
            return;
        };
        pace.inputs += 1;
        if pace.inputs >= PACE_INPUTS {
            let (old, new) =
                (self.pace.load(Ordering::Relaxed), now.since(began).as_nanos() as u64 / PACE_INPUTS);
            let mixed = if old == 0 { new } else { (old * (PACE_SHARE - 1) + new) / PACE_SHARE };
            self.pace.store(mixed, Ordering::Relaxed);
            *pace = Pace { began: Some(now), inputs: 0 };
        }
    }

    /// Whether the switch refuses new calls, so that they need not come that far.
    pub fn congested(&self, congested: bool) {
        self.congested.store(congested, Ordering::Relaxed);
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
        let ahead = Duration::from_nanos(self.pace.load(Ordering::Relaxed).saturating_mul(waiting as u64));
        let wait = self.behind(now).max(ahead);
        let shut = if gate.is_shut() { wait > limit / 2 } else { wait > limit && waiting >= WAITING_MIN };
        let open = gate.set(shut);
        open && (class != Class::New || self.keeps_up())
    }

    /// Whether the record keeper can take more calls.
    fn keeps_up(&self) -> bool {
        let limit = self.keeper.limit();
        let limit = if self.keeping.is_shut() { limit / 2 } else { limit };
        self.keeping.set(self.keeper.depth() > limit || self.congested.load(Ordering::Relaxed))
    }

    /// For each class that may be refused, and for calls because of their records: its name, whether it is, and how
    /// often that began.
    pub fn states(&self) -> [(&'static str, bool, u64); 4] {
        let state = |name, gate: &Gate| (name, gate.is_shut(), gate.times.load(Ordering::Relaxed));
        [
            state("registrations", &self.registrations),
            state("calls", &self.calls),
            state("calls_to_record", &self.keeping),
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
        let lag = Lag::new(Duration::from_millis(100), 1000);
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
        assert_eq!(
            lag.states(),
            [
                ("registrations", true, 2),
                ("calls", false, 1),
                ("calls_to_record", false, 0),
                ("renewals", false, 1)
            ]
        );
    }

    #[test]
    fn a_thread_that_rests_or_has_little_to_do_is_not_behind() {
        let lag = Lag::new(Duration::from_millis(100), 1000);
        assert_eq!(open(&lag, 5000, WAITING_MIN - 1), "oooo");
        assert_eq!(open(&lag, 5000, WAITING_MIN), "---o");
        lag.rests(&mut Pace::default());
        let now = Mono::from_millis(60_000);
        assert!(CLASSES.iter().all(|class| lag.is_open(*class, 10_000, now)));
        assert_eq!(lag.behind(now), Duration::ZERO);
    }

    /// What waits counts at the pace of the thread: a burst is refused before the first of it is late.
    #[test]
    fn a_queue_counts_at_the_pace_of_the_thread() {
        let (lag, mut pace) = (Lag::new(Duration::from_millis(100), 1000), Pace::default());
        let now = Mono::from_millis(10_000);
        assert_eq!(open(&lag, 0, 10_000), "oooo", "the pace is not known");
        // Two inputs a millisecond.
        (0..=2 * PACE_INPUTS)
            .for_each(|step| lag.has_done_one(&mut pace, now + Duration::from_micros(500 * step)));
        let steps = [
            (99, "oooo"),
            (101, "-ooo"),
            (200, "-ooo"),
            (204, "--oo"),
            (408, "---o"),
            (99, "-ooo"),
            (48, "oooo"),
        ];
        for (waiting, expected) in steps {
            assert_eq!(open(&lag, 0, waiting), expected, "{waiting} wait");
        }
    }

    #[test]
    fn a_keeper_that_is_behind_is_spared_new_calls() {
        let lag = Lag::new(Duration::from_millis(100), 1000);
        let keeper = lag.keeper();
        for (waits, expected) in
            [(1000, "oooo"), (1001, "o-oo"), (501, "o-oo"), (500, "oooo"), (1000, "oooo")]
        {
            while keeper.depth() < waits {
                keeper.put();
            }
            while keeper.depth() > waits {
                keeper.taken();
            }
            assert_eq!(open(&lag, 0, 0), expected, "{waits} wait");
        }
        lag.congested(true);
        assert_eq!(open(&lag, 0, 0), "o-oo");
        lag.congested(false);
        (0..1000).for_each(|_| keeper.taken());
        assert_eq!(open(&lag, 0, 0), "oooo");
    }
}
