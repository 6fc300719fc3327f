//! The simulator: the real switch and the real media workers on virtual time, phones that follow RFC 3261 by
//! themselves, a network that delays, loses, repeats and reorders, and people, routers and operators who do what they
//! do. A seed draws everything. When the faults are off everybody must hear whoever they talk with, and when
//! everybody has hung up nothing may be left.
//!
//! `DIALTONE_SIM_SEED=17 DIALTONE_SIM_RUNS=1 cargo test --release --test sim seeds` repeats one run;
//! `DIALTONE_SIM_MESSAGES=5000` shows more of its messages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checks;
mod exchange;
mod faults;
mod media;
mod net;
mod phone;
mod picture;
mod plant;
mod rng;
mod run;
mod site;
mod sound;
mod swarm;
mod wire;
mod world;

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use plant::Plant;
use run::{Options, Ran, play};
use swarm::Swarm;

/// Seeds that `make test` plays.
const RUNS: u64 = 1000;
/// Seeds beyond those that found something once: they are played as well.
const FOUND: [u64; 6] = [1171, 1504, 1818, 2299, 6833, 9158];
/// Runs between two lines about how far a long test is.
const PROGRESS: u64 = 1000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// All that somebody needs to see what went wrong, and to see it again.
fn explain(seed: u64, ran: &Ran) -> String {
    let swarm = Swarm::draw(seed);
    let violation = ran.violation.as_ref().map(|violation| format!("{}: {}", violation.name, violation.what));
    let picture = play(&swarm, Options { draw: true, ..Options::default() }).picture;
    format!(
        "seed {seed}: {}\n{swarm:?}\n{picture}\nrepeat: DIALTONE_SIM_SEED={seed} DIALTONE_SIM_RUNS=1 cargo test \
         --release --test sim seeds\n",
        violation.unwrap_or_default()
    )
}

/// Whatever a network does to messages, and phones and people to each other, calls end, and leave a
/// record each and nothing else.
#[test]
fn seeds() {
    let first = from_environment("DIALTONE_SIM_SEED").unwrap_or(0);
    let runs = from_environment("DIALTONE_SIM_RUNS").unwrap_or(RUNS);
    let found = FOUND.into_iter().filter(|_| first == 0 && runs >= RUNS);
    let seeds: Vec<u64> = (first..first + runs).chain(found).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let counted = [const { AtomicU64::new(0) }; 3];
    let work = || {
        loop {
            let done = next.fetch_add(1, Ordering::Relaxed);
            if done >= seeds.len() || failed.lock().unwrap().len() >= 5 {
                break;
            }
            let seed = seeds[done];
            let ran = play(&Swarm::draw(seed), Options::default());
            for (count, more) in counted.iter().zip([ran.calls, ran.answered, ran.transfers]) {
                count.fetch_add(more as u64, Ordering::Relaxed);
            }
            if ran.violation.is_some() {
                failed.lock().unwrap().push((seed, explain(seed, &ran)));
            }
            if runs > RUNS && done > 0 && (done as u64).is_multiple_of(PROGRESS) {
                // Written past the test's own capture.
                let failures = failed.lock().unwrap().len();
                let _ = writeln!(std::io::stderr(), "{done} of {runs} seeds, {failures} failed");
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let texts: Vec<String> = failed.iter().map(|(_, text)| text.clone()).collect();
    let names: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "{}\nseeds that failed: {names:?}", texts.join("\n"));
    let [calls, answered, transfers] = counted.map(AtomicU64::into_inner);
    if runs >= RUNS {
        // A simulator in which nothing happens proves nothing.
        let enough = calls > 10 * runs && answered > 3 * runs && transfers > runs / 4;
        assert!(enough, "{calls} calls, {answered} answered, {transfers} transfers");
    }
}

#[test]
fn a_seed_says_everything_about_its_run() {
    for seed in [1, 2, 3, 5, 8, 13, 21, 34] {
        let options = Options { hash: true, ..Options::default() };
        let (once, again) = (play(&Swarm::draw(seed), options), play(&Swarm::draw(seed), options));
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert_ne!(once.hash, 0);
    }
}

/// Each check finds the fault that it is for, in some of the first seeds, and says its name.
#[test]
fn each_check_finds_its_planted_fault() {
    let faults = [
        (Plant::LosesRecord, "a record is open as long as its call"),
        (Plant::EndsEarly, "each leg of a record has a cause"),
        (Plant::SkipsSeq, "seq has no gaps"),
        (Plant::TalksLonger, "talk is no longer than the call"),
        (Plant::CountsTwice, "records say what counters say"),
        (Plant::RepeatsCseq, "CSeq goes up"),
        (Plant::ChangesTag, "one tag for all answers to an INVITE"),
        (Plant::AnswersTwice, "one final answer for each request"),
        (Plant::SkipsRseq, "RSeq goes up by one"),
        (Plant::AsksStrangers, "nobody is asked who is not registered"),
        (Plant::OutsideDialog, "a request within a dialog names one"),
        (Plant::ChangesRepetition, "a request is repeated as it was"),
        (Plant::AcknowledgesNothing, "an ACK follows a final answer"),
        (Plant::CancelsNothing, "a CANCEL follows a provisional answer"),
        (Plant::AnswersNothing, "an answer belongs to a request"),
        (Plant::LeaksPort, "no port is left"),
        (Plant::UsesPortAgain, "a port that was given back is left alone"),
        (Plant::Deaf, "who is in a call hears the other"),
        (Plant::KeepsLeg, "no leg is left"),
        (Plant::KeepsDialog, "no dialog is left"),
        (Plant::KeepsTransaction, "no transaction is left"),
        (Plant::KeepsCall, "a record is open as long as its call"),
        (Plant::KeepsFlow, "no flow is left"),
        (Plant::KeepsBinding, "no binding is left"),
    ];
    for (plant, name) in faults {
        let mut seen = Vec::new();
        let found = (0..40).any(|seed| {
            let ran = play(&Swarm::draw(seed), Options { plant, ..Options::default() });
            seen.extend(ran.violation.map(|violation| violation.name));
            seen.last() == Some(&name)
        });
        assert!(found, "{plant:?} was found as {seen:?}");
    }
}
