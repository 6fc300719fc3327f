//! What each unit of work costs, by the server process's own account of the processor, beside the least that it can cost
//! and, when there is one, beside an Asterisk: one table of one run.
//!
//! ```text
//! cargo bench --profile release -p dialtone --bench load
//! cargo bench --profile release -p dialtone --bench load -- --asterisk target/asterisk-root   # see scripts/asterisk
//! cargo bench --profile release -p dialtone --bench load -- --only memory
//! ```
//!
//! The server has one core and its load another. SIPp registers and calls; sound and INVITEs whose way is timed are our
//! own, counted at both ends. Delays mean something beside those of the idle control alone: what the machine itself is
//! late.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "what is measured is time")]

#[path = "../common/bare.rs"]
mod bare;
mod phones;
#[path = "../common/place.rs"]
mod place;
mod sipp;
mod systems;
mod voice;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use phones::{Phones, Registrar};
use place::{pin, two_cores};
use systems::{EXTENSIONS, Process, System, account};
use voice::{Heard, Voice};

/// Calls whose sound is relayed.
const RELAYED: usize = 100;
const TALK: Duration = Duration::from_secs(10);
/// Calls that are up while memory is looked at, and calls that have been.
/// The first port of those who speak: behind the ports of the servers, and those that the kernel gives out.
const VOICES: u16 = 61_000;
const UP: usize = 1_000;
const GONE: usize = 100_000;
const BINDINGS: usize = 100_000;
/// New calls a second while the way of an INVITE is timed: about half of what one core bears.
const HALF_LOAD: f64 = 400.0;

/// One line of the table.
struct Row {
    what: &'static str,
    goal: &'static str,
    cells: Vec<(&'static str, String)>,
}

struct Table(Vec<Row>);

impl Table {
    fn put(&mut self, what: &'static str, goal: &'static str, whose: &'static str, value: String) {
        println!("  {what}: {whose} {value}");
        match self.0.iter_mut().find(|row| row.what == what) {
            Some(row) => row.cells.push((whose, value)),
            None => self.0.push(Row { what, goal, cells: vec![(whose, value)] }),
        }
    }

    fn print(&self) {
        println!("\n| work | goal | floor | Dialtone | Asterisk |\n|---|---|---|---|---|");
        for row in &self.0 {
            let cell =
                |whose| row.cells.iter().find(|(name, _)| *name == whose).map_or("", |(_, value)| value);
            println!(
                "| {} | {} | {} | {} | {} |",
                row.what,
                row.goal,
                cell("floor"),
                cell("Dialtone"),
                cell("Asterisk")
            );
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it runs.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned();
    let (root, only) = (after("--asterisk").map(PathBuf::from), after("--only"));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let cores = two_cores();
    let mut table = Table(Vec::new());
    if wanted("relay") {
        floor(&mut table, cores);
    }
    let mut systems: Vec<Box<dyn Fn() -> System>> = vec![Box::new(|| System::dialtone(EXTENSIONS))];
    if let Some(root) = root {
        systems.push(Box::new(move || System::asterisk(&root)));
    }
    for start in systems {
        for (part, run) in [
            ("register", register as fn(&System, &mut Table)),
            ("calls", calls),
            ("latency", latency),
            ("relay", relay),
            ("memory", memory),
        ] {
            if wanted(part) {
                let system = on_core(cores.map(|cores| cores.0), &*start);
                on_core(cores.map(|cores| cores.1), || run(&system, &mut table));
            }
        }
    }
    if wanted("bindings") {
        bindings(&mut table, cores);
    }
    table.print();
}

/// What each kind of thread used for a unit, while `work` did so many.
fn by_thread(system: &System, work: impl FnOnce() -> u64) {
    let System::Dialtone(server) = system else {
        work();
        return;
    };
    let before = server.cpu();
    let units = work();
    for (thread, used) in server.cpu() {
        let spent = used - before.get(&thread).copied().unwrap_or(0.0);
        if spent > 0.0 {
            println!("    {thread:16} {:7.1} µs", spent * 1e6 / units.max(1) as f64);
        }
    }
}

fn on_core<T>(core: Option<usize>, work: impl FnOnce() -> T) -> T {
    if let Some(core) = core {
        pin(core);
    }
    work()
}

fn micros(span: Duration) -> String {
    format!("{:.1} µs", span.as_secs_f64() * 1e6)
}

fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

fn per(spent: Duration, units: u64) -> Duration {
    spent.div_f64(units.max(1) as f64)
}

/// REGISTER with digest: a challenge, and a binding that is on disk before its 200.
fn register(system: &System, table: &mut Table) {
    const COUNT: usize = 20_000;
    let accounts: Vec<_> = (0..EXTENSIONS).map(account).collect();
    let process = system.process();
    sipp::register(system.sip(), &accounts, 1_000, 500);
    let (cpu, disk) = (process.cpu(), process.thread("keeper"));
    let mut outcome = None;
    by_thread(system, || {
        let all = sipp::register(system.sip(), &accounts, COUNT, 500);
        outcome.insert(all).good
    });
    let outcome = outcome.unwrap();
    let (cpu, disk) = (process.cpu() - cpu, process.thread("keeper") - disk);
    if let System::Dialtone(_) = system {
        let memory = per(cpu.saturating_sub(disk), outcome.good);
        table.put("REGISTER with digest, without its disk", "≤ 66 µs", system.name(), micros(memory));
    }
    let all = per(cpu, outcome.good);
    table.put(
        "REGISTER with digest, durable",
        "≤ 200 µs",
        system.name(),
        format!("{}{outcome}", micros(all)),
    );
}

/// INVITE to BYE between two phones that say nothing.
fn calls(system: &System, table: &mut Table) {
    const COUNT: usize = 4_000;
    let callee = account(EXTENSIONS - 1);
    let accounts: Vec<_> = (0..EXTENSIONS - 1).map(account).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap().port();
    let mut registrar = Registrar::new(system.sip(), socket);
    registrar.begin(callee.clone());
    registrar.finish(Duration::from_secs(10));
    drop(registrar);
    sipp::call(system.sip(), &accounts, &callee, at, 400, 100);
    let process = system.process();
    let cpu = process.cpu();
    let mut outcome = None;
    by_thread(system, || {
        let all = sipp::call(system.sip(), &accounts, &callee, at, COUNT, 200);
        outcome.insert(all).good
    });
    let outcome = outcome.unwrap();
    let spent = per(process.cpu() - cpu, outcome.good);
    table.put("call without sound", "≤ 0.5 ms", system.name(), format!("{}{outcome}", millis(spent)));
}

/// How long an INVITE is on its way to the callee.
fn latency(system: &System, table: &mut Table) {
    let mut phones = Phones::new(system.sip(), account(0), account(1));
    let mut crossing = |calls, rate| {
        phones.run(200, rate, Some(Duration::from_millis(300)));
        phones.count_anew();
        phones.run(calls, rate, Some(Duration::from_millis(300)));
        let mut seen = std::mem::take(&mut phones.seen);
        seen.crossed.sort_unstable();
        seen
    };
    let (idle, busy) = (crossing(200, 20.0), crossing(6_000, HALF_LOAD));
    let at = |crossed: &[Duration], share: f64| {
        crossed[((crossed.len() as f64 * share) as usize).min(crossed.len() - 1)]
    };
    let both =
        |share| format!("{} (idle {})", millis(at(&busy.crossed, share)), millis(at(&idle.crossed, share)));
    table.put("INVITE in to INVITE out, half load, p50", "< 0.5 ms", system.name(), both(0.5));
    table.put("INVITE in to INVITE out, half load, p99", "< 5 ms", system.name(), both(0.99));
    let lost = 6_000 - busy.answered.min(6_000);
    if lost > 0 {
        println!("  {lost} of 6000 calls were not answered");
    }
}

/// Sound of a hundred calls.
fn relay(system: &System, table: &mut Table) {
    let mut phones = Phones::new(system.sip(), account(0), account(1));
    let rss = system.process().rss();
    phones.voice_port = Some(VOICES);
    phones.run(RELAYED, 50.0, None);
    assert_eq!(phones.up(), RELAYED, "calls are missing");
    let mut voices = Vec::new();
    for (number, said) in &phones.voices {
        let port = VOICES + *number as u16 * 4;
        voices.push(Voice { socket: voice::at(port), to: said.of_caller });
        voices.push(Voice { socket: voice::at(port + 2), to: said.of_callee });
    }
    voice::speak(&voices, Duration::from_secs(2));
    let process = system.process();
    let cpu = process.cpu();
    let heard = voice::speak(&voices, TALK);
    report(&heard, process.cpu() - cpu, system.name(), table);
    let each = (process.rss().saturating_sub(rss)) / RELAYED as u64;
    table.put("memory of a relayed call", "≤ 64 kB", system.name(), format!("{} kB", each / 1024));
    phones.hang_up_all(100.0);
}

fn report(heard: &Heard, cpu: Duration, whose: &'static str, table: &mut Table) {
    table.put("relay of a packet", "≤ 1.3 × floor", whose, micros(per(cpu, heard.received)));
    table.put("packets lost", "", whose, format!("{} of {}", heard.lost, heard.sent));
    let delays = format!("{} / {}", millis(heard.quantile(0.5)), millis(heard.quantile(0.99)));
    table.put("delay of a packet, p50 / p99", "", whose, delays);
}

/// The bare relay over as many sockets, at the same rate.
fn floor(table: &mut Table, cores: Option<(usize, usize)>) {
    let (mut legs, mut voices) = (Vec::new(), Vec::new());
    for _ in 0..RELAYED * 2 {
        let (ours, theirs) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        voices.push(Voice { to: ours.local_addr().unwrap(), socket: Arc::new(theirs) });
        legs.push((ours, voices.last().unwrap().socket.local_addr().unwrap()));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let relay = std::thread::Builder::new().name("floor".into());
        let handle = relay
            .spawn_scoped(scope, || on_core(cores.map(|cores| cores.0), || bare::run(&legs, &stop)))
            .unwrap();
        on_core(cores.map(|cores| cores.1), || {
            let process = Process::own();
            voice::speak(&voices, Duration::from_secs(2));
            let cpu = process.thread("floor");
            let heard = voice::speak(&voices, TALK);
            report(&heard, process.thread("floor") - cpu, "floor", table);
        });
        stop.store(true, Ordering::Relaxed);
        handle.join().unwrap();
    });
}

/// What stays of calls that are up, and of those that have been.
fn memory(system: &System, table: &mut Table) {
    let process = system.process();
    let mut phones = Phones::new(system.sip(), account(0), account(1));
    phones.run(100, 50.0, Some(Duration::from_millis(100)));
    let idle = process.rss();
    table.put("memory, no call", "", system.name(), format!("{} MB", idle >> 20));
    phones.run(UP, 200.0, None);
    table.put("memory, 1,000 calls up", "", system.name(), format!("{} MB", process.rss() >> 20));
    phones.hang_up_all(200.0);
    // An Asterisk does not bear so many in a reasonable time.
    let (gone, rate) = match system {
        System::Dialtone(_) => (GONE, 500.0),
        System::Asterisk(_) => (GONE / 10, 100.0),
    };
    phones.count_anew();
    phones.run(gone, rate, Some(Duration::from_millis(200)));
    let (rss, ended) = (process.rss(), phones.seen.ended);
    table.put("memory after calls", "no growth", system.name(), format!("{} MB after {ended}", rss >> 20));
}

/// A hundred thousand bindings, a power cut, and everybody back at once; ten thousand calls beside them.
fn bindings(table: &mut Table, cores: Option<(usize, usize)>) {
    let mut system = on_core(cores.map(|cores| cores.0), || System::dialtone(BINDINGS));
    on_core(cores.map(|cores| cores.1), || {
        let process = system.process();
        let empty = process.rss();
        let mut registrar = Registrar::alone(system.sip());
        let took = everybody(&mut registrar, 2_000.0);
        let each = (process.rss() - empty) as f64 / BINDINGS as f64 / 1024.0;
        println!("  {BINDINGS} registered in {:.0} s", took.as_secs_f64());
        table.put("memory of a UDP binding", "≤ 1.5 kB", "Dialtone", format!("{each:.2} kB"));

        let mut phones = Phones::new(system.sip(), account(0), account(1));
        phones.run(10_000, 200.0, None);
        let (up, System::Dialtone(server)) = (phones.up(), &system) else { unreachable!() };
        println!("  {up} calls up");
        table.put(
            "longest turn, 100,000 bindings and 10,000 calls",
            "< 1 ms",
            "Dialtone",
            longest(&server.page("/debug/longest-turns")),
        );
        phones.hang_up_all(500.0);
    });
    on_core(cores.map(|cores| cores.0), || match &mut system {
        System::Dialtone(server) => server.crash(),
        System::Asterisk(_) => unreachable!("only this server is asked"),
    });
    on_core(cores.map(|cores| cores.1), || {
        let mut registrar = Registrar::alone(system.sip());
        let took = everybody(&mut registrar, 1e9);
        let text = format!("{:.1} s, {} sent again", took.as_secs_f64(), registrar.repeated);
        table.put("100,000 registrations after a crash", "60 s", "Dialtone", text);
        assert_eq!(registrar.done, BINDINGS, "phones are not back");
    });
}

/// Registers every account at this rate, as far as answers keep up; how long it took.
fn everybody(registrar: &mut Registrar, rate: f64) -> Duration {
    let (begin, mut begun, mut looked) = (Instant::now(), 0, Instant::now());
    while begun < BINDINGS {
        let due = ((begin.elapsed().as_secs_f64() * rate) as usize).min(BINDINGS);
        while begun < due.min(begun + 64) {
            registrar.begin(account(begun));
            begun += 1;
        }
        registrar.take();
        if looked.elapsed() >= Duration::from_millis(200) {
            registrar.repeat(Duration::from_secs(2));
            looked = Instant::now();
        }
    }
    registrar.finish(Duration::from_secs(300));
    begin.elapsed()
}

/// The first of the turns that the server lists, and what it was.
fn longest(page: &str) -> String {
    let turns: dialtone_api::LongestTurns = serde_json::from_str(page).unwrap();
    let first = turns.longest.first();
    first.map_or("none".into(), |turn| {
        format!(
            "{:.2} ms, of it {:.2} deciding ({} {})",
            turn.took_us as f64 / 1e3,
            turn.decided_us as f64 / 1e3,
            turn.kind,
            turn.what
        )
    })
}
