//! Where a bench runs: the server on one core, its load on another, and what the system says about both.

#![allow(dead_code, reason = "each bench uses its part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// What a bench changes in the shipped configuration.
#[derive(Default)]
pub struct Setup {
    pub variables: Vec<(&'static str, String)>,
}

impl Setup {
    pub fn with(mut self, variable: &'static str, value: impl ToString) -> Setup {
        self.variables.push((variable, value.to_string()));
        self
    }
}

/// A running server. Dropping it ends it and removes its data.
pub struct Server {
    child: Child,
    setup: Setup,
    folder: PathBuf,
    http: SocketAddr,
    pub sip: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn launch(setup: &Setup, folder: &Path, sip: SocketAddr, http: SocketAddr) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dialtone"))
        .args(["serve", "--config"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dialtone.toml"))
        .env("DIALTONE_DATA_DIR", folder)
        .env("DIALTONE_SIP_UDP", sip.to_string())
        .env("DIALTONE_SIP_TCP", "")
        .env("DIALTONE_SIP_TLS", "")
        .env("DIALTONE_HTTP_TLS_BIND", "")
        .env("DIALTONE_HTTP_BIND", http.to_string())
        .env("DIALTONE_RTP_QUARANTINE", "0s")
        .env("DIALTONE_RTP_RESERVE", "1000")
        .env("DIALTONE_RTP_PORT_MAX", "60000")
        .env("DIALTONE_SIP_MAX_TRANSACTIONS", "1000000")
        .env("DIALTONE_LOG_LEVEL", "error")
        .env("DIALTONE_GUARD_DATAGRAMS_PER_SECOND", "1000000")
        .env("DIALTONE_GUARD_CHALLENGES_PER_SECOND", "1000000")
        .env("DIALTONE_GUARD_REQUESTS_PER_ACCOUNT", "1000000")
        .envs(setup.variables.iter().map(|(name, value)| (*name, value)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The core of the server and that of the callers; `None` when there is only one.
pub fn two_cores() -> Option<(usize, usize)> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cores = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false));
    Some((cores.next()?, cores.next()?))
}

/// Keeps this thread, and what it starts from now on, to one core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

impl Server {
    /// Starts the shipped configuration, with limits of one address out of the way: all callers share one. So is that of
    /// transactions, of which each stays for 32 s (timers H and J of RFC 3261 §17.2): rows before would fill it for those
    /// after, and not the time that a call takes would be measured but what is left of it.
    pub fn start(setup: Setup) -> Server {
        let folder = std::env::temp_dir().join(format!("dialtone-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = launch(&setup, &folder, sip, http);
        let mut server = Server { child, setup, folder, http, sip };
        server.wait();
        server
    }

    fn wait(&mut self) {
        while TcpStream::connect(self.http).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended at its start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, and starts it on what is left.
    pub fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = launch(&self.setup, &self.folder, self.sip, self.http);
        self.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The body of a page.
    pub fn page(&self, page: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// Every metric without labels, and those with, by name and labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.page("/metrics");
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
    }

    /// Seconds of a core that all threads have used.
    pub fn used(&self) -> f64 {
        self.cpu().values().sum()
    }

    /// Seconds of a core that each kind of thread has used.
    pub fn cpu(&self) -> BTreeMap<String, f64> {
        let mut used = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten() {
            // A thread may end meanwhile.
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
            let (before, after) = stat.rsplit_once(')').unwrap();
            let name = before.split_once('(').unwrap().1.trim_end_matches(|end: char| end.is_ascii_digit());
            let ticks: f64 =
                after.split(' ').skip(12).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
            *used.entry(name.trim_end_matches('-').to_owned()).or_default() += ticks / 100.0;
        }
        used
    }
}

/// Datagrams that the kernel had no room for, of the socket bound to `port`.
pub fn kernel_drops(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let suffix = format!(":{port:04X}");
    let line =
        table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&suffix)));
    line.and_then(|line| line.split_whitespace().last()).map_or(0, |drops| drops.parse().unwrap())
}
