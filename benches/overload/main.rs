//! Goodput under overload: calls to a flow of a running server that are answered and hung up, at the rate that it can
//! just bear and at ten times that, in one run. `cargo bench --profile release -p dialtone --bench overload`
//!
//! A call is good when its INVITE was answered, acknowledged, and its BYE answered, first copies or repeated ones; the
//! figure is how many end so in a second, and it is taken in the same way at every rate. The capacity is the highest of
//! a row of rising rates, which goes on until the goodput has stopped following. Goal: at ten times the capacity, nine
//! tenths of it.
//!
//! The server has one core and the callers another, so that the callers take nothing from the server, however many
//! they are; on a machine with one core they share it and the figure is a lower bound. Only the ratio means something,
//! and only while nothing else runs.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "what is measured is time")]

mod callers;
#[path = "../common/place.rs"]
mod place;

use std::time::{Duration, Instant};

use callers::{Callers, Tally};
use place::{Server, Setup, kernel_drops, pin, two_cores};

/// The first rate, calls per second, and by how much the next is higher.
const FIRST: f64 = 300.0;
const STEP: f64 = 1.25;
/// A rate that the goodput follows to less than this is more than the server bears.
const FOLLOWS: f64 = 0.8;
/// How long each rate lasts before it is counted, and is counted.
const WARM: Duration = Duration::from_secs(1);
const ROW: Duration = Duration::from_secs(4);
const OVERLOAD: Duration = Duration::from_secs(10);

struct Figures {
    offered: f64,
    good: f64,
    tally: Tally,
}

fn measure(callers: &mut Callers, rate: f64, span: Duration) -> Figures {
    callers.run(rate, WARM);
    callers.count_anew();
    let begin = Instant::now();
    callers.run(rate, span);
    let (elapsed, tally) = (begin.elapsed().as_secs_f64(), callers.tally);
    Figures { offered: tally.begun as f64 / elapsed, good: tally.good as f64 / elapsed, tally }
}

/// The highest goodput of a row of rates.
fn capacity(server: &Server, callers: &mut Callers) -> f64 {
    let (mut rate, mut best) = (FIRST, 0.0_f64);
    loop {
        let (used, began) = (server.used(), Instant::now());
        let found = measure(callers, rate, ROW);
        let busy = (server.used() - used) / began.elapsed().as_secs_f64();
        callers.settle();
        println!("  {:6.0} calls/s offered: {:6.0} good, {busy:.2} of a core", found.offered, found.good);
        best = best.max(found.good);
        if found.good < FOLLOWS * found.offered {
            return best;
        }
        rate *= STEP;
    }
}

fn overload(server: &Server, callers: &mut Callers, capacity: f64) {
    let (cpu, metrics, began) = (server.cpu(), server.metrics(), Instant::now());
    let found = measure(callers, 10.0 * capacity, OVERLOAD);
    let span = began.elapsed().as_secs_f64();
    let (tally, lost_before) = (found.tally, callers.tally.lost);
    println!("offered         {:8.0} calls/s ({:.1} x)", found.offered, found.offered / capacity);
    println!("goodput         {:8.0} calls/s", found.good);
    println!("  {tally:?}");
    for (thread, used) in server.cpu() {
        let share = (used - cpu.get(&thread).copied().unwrap_or(0.0)) / span;
        if share >= 0.01 {
            println!("  {thread:16} {share:5.2} of a core");
        }
    }
    for (name, value) in server.metrics() {
        let more = value - metrics.get(&name).copied().unwrap_or(0.0);
        if more > 0.0 && !name.contains("bucket") {
            println!("  {name} {:.0}/s", more / span);
        }
    }
    let drops = (kernel_drops(server.sip.port()), kernel_drops(callers.port()));
    println!("  dropped by the kernel: {} towards the server, {} towards the callers", drops.0, drops.1);
    callers.settle();
    println!("  lost in the end: {}", callers.tally.lost - lost_before);
    println!("goodput/capacity    {:.2}", found.good / capacity);
}

fn main() {
    let cores = two_cores();
    if let Some((of_server, _)) = cores {
        pin(of_server);
    }
    let server = Server::start(Setup::default());
    match cores {
        Some((_, of_callers)) => pin(of_callers),
        None => println!("one core for the server and the callers: the figure is a lower bound"),
    }
    let mut callers = Callers::new(server.sip);
    let capacity = capacity(&server, &mut callers);
    println!("capacity        {capacity:8.0} calls/s");
    overload(&server, &mut callers, capacity);
}
