//! Goodput under overload: calls to a flow of a running server that are answered, at the rate it can just bear and at
//! ten times that, in one run. `cargo bench --bench overload`
//!
//! Goal: at ten times as many, nine tenths of the goodput. The callers share the machine with the server; what sending
//! costs is missing there, so on two cores the figure is a lower bound. Only the ratio means something.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a program that measures")]
#![allow(clippy::disallowed_methods, reason = "what is measured is time")]
#![allow(dead_code, reason = "the end-to-end tests use the rest of the callers")]

#[path = "../tests/e2e/harness/load.rs"]
mod load;

use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use load::{Load, Stage};

/// For how long each load lasts.
const SPAN: Duration = Duration::from_secs(8);
/// Calls at once while the capacity is looked for: enough that the server always has something to do, too few for it to
/// refuse any.
const TOGETHER: usize = 40;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> (Server, std::net::SocketAddr) {
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dialtone.toml");
    let child = Command::new(env!("CARGO_BIN_EXE_dialtone"))
        .args(["serve", "--config"])
        .arg(conf)
        .env("DIALTONE_DATA_DIR", folder)
        .env("DIALTONE_SIP_UDP", sip.to_string())
        .env("DIALTONE_SIP_TCP", "")
        .env("DIALTONE_SIP_TLS", "")
        .env("DIALTONE_HTTP_TLS_BIND", "")
        .env("DIALTONE_HTTP_BIND", http.to_string())
        .env("DIALTONE_RTP_QUARANTINE", "0s")
        .env("DIALTONE_RTP_RESERVE", "1000")
        .env("DIALTONE_RTP_PORT_MAX", "60000")
        .env("DIALTONE_LOG_LEVEL", "warn")
        .env("DIALTONE_GUARD_DATAGRAMS_PER_SECOND", "1000000")
        .env("DIALTONE_GUARD_CHALLENGES_PER_SECOND", "1000000")
        .env("DIALTONE_GUARD_REQUESTS_PER_ACCOUNT", "1000000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    while TcpStream::connect(http).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, sip)
}

/// Calls that ended well in a second, with always so many at once.
fn capacity(load: &mut Load) -> f64 {
    let (begin, mut next) = (Instant::now(), 1_u32);
    load.call(0..1);
    load.settle();
    while begin.elapsed() < SPAN {
        let busy = load.count(|stage| matches!(stage, Stage::Inviting | Stage::HangingUp));
        let more = u32::try_from(TOGETHER.saturating_sub(busy)).unwrap();
        load.call(next..next + more);
        next += more;
        load.take(Duration::from_millis(500));
        load.forget_done();
    }
    let elapsed = begin.elapsed();
    load.settle();
    load.forget_done();
    load.done as f64 / elapsed.as_secs_f64()
}

/// The same, with so many new calls a second whatever becomes of them.
fn goodput(load: &mut Load, rate: f64) -> (f64, f64, f64) {
    let (begin, first) = (Instant::now(), 1_000_000_u32);
    let mut next = first;
    (load.done, load.refused) = (0, 0);
    while begin.elapsed() < SPAN {
        let due = first + (begin.elapsed().as_secs_f64() * rate) as u32;
        // In small steps, so that answers are read in between.
        let until = due.min(next + 50);
        load.call(next..until);
        next = until;
        load.take(Duration::ZERO);
        load.forget_done();
    }
    let elapsed = begin.elapsed().as_secs_f64();
    (load.done as f64 / elapsed, f64::from(next - first) / elapsed, load.refused as f64 / elapsed)
}

fn main() {
    let folder = std::env::temp_dir().join(format!("dialtone-overload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (server, sip) = start(&folder);
    let mut load = Load::new(sip);
    let one = capacity(&mut load);
    println!("capacity        {one:8.0} calls/s");
    let (good, offered, refused) = goodput(&mut load, one * 10.0);
    println!("offered         {offered:8.0} calls/s ({:.1} x)", offered / one);
    println!("goodput         {good:8.0} calls/s, refused {refused:.0}/s");
    println!("goodput/capacity    {:.2}", good / one);
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}
