//! What is done to the server, and undone.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Lab, Process, Server, Setup, eventually, sys};

/// How often a scenario is played that hits a different moment each time.
pub fn rounds(usual: u32) -> u32 {
    std::env::var("DIALTONE_FAULT_ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}

/// A file system of its own for the data of the server, of few megabytes. Seen by the thread that makes it and what it
/// starts.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    pub fn new(lab: &Lab, megabytes: u32) -> SmallDisk {
        sys::leave_the_mounts().unwrap();
        let at = lab.path("data");
        std::fs::create_dir_all(&at).unwrap();
        run("mount", &["--make-rprivate", "/"]);
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none", at.to_str().unwrap()]);
        SmallDisk { at }
    }

    /// Nothing more can be written.
    pub fn fill(&self) {
        let mut zeros = std::io::repeat(0);
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        assert!(std::io::copy(&mut zeros, &mut file).is_err(), "the disk takes everything");
    }

    /// There is room again.
    pub fn relieve(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Still in use when the scenario has failed; it goes with the last who sees it.
        let _ = Command::new("umount").args(["-l".as_ref(), self.at.as_path()]).status();
    }
}

/// While it lives every wait for the disk takes so long.
pub struct SlowDisk(Process);

impl SlowDisk {
    pub fn new(lab: &Lab, server: &Server<'_>, delay: Duration) -> SlowDisk {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &server.pid().to_string(), "-e", "trace=fsync,fdatasync", "-e"]);
        strace.arg(format!("inject=fsync,fdatasync:delay_enter={}", delay.as_micros()));
        let log = lab.fresh("strace", "log");
        let process = Process::start(&mut strace, "strace", &log);
        // It says so when it has attached to every thread.
        let attached = || std::fs::read_to_string(&log).unwrap().contains("attached").then_some(());
        crate::harness::eventually("strace has attached", attached);
        SlowDisk(process)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.0.signal(libc::SIGINT);
        self.0.wait(crate::harness::PATIENCE);
    }
}

/// A wall clock that leaps, of the server alone: libfaketime adds to it what a file says.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    pub fn new(lab: &Lab) -> Clock {
        Clock { file: lab.write("clock", "+0") }
    }

    /// The same server by this clock.
    pub fn of(&self, setup: Setup) -> Setup {
        let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let library =
            folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        let library = library.expect("libfaketime is missing: install the Debian package faketime");
        setup
            .with("LD_PRELOAD", library.display())
            .with("FAKETIME_TIMESTAMP_FILE", self.file.display())
            .with("FAKETIME_NO_CACHE", 1)
            .with("FAKETIME_DONT_FAKE_MONOTONIC", 1)
    }

    /// From now on it is so far from the right time: `+1d`.
    pub fn set(&self, shift: &str) {
        // As one step: the server may read it this moment.
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, shift).unwrap();
        std::fs::rename(fresh, &self.file).unwrap();
    }
}

/// Stops the server for a while, and lets it go on.
pub fn freeze(server: &Server<'_>, meanwhile: impl FnOnce()) {
    server.signal(libc::SIGSTOP);
    meanwhile();
    server.signal(libc::SIGCONT);
}

/// Gives the server a tenth of the time for a while.
pub fn starve(server: &Server<'_>, lasts: Duration) {
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        freeze(server, || std::thread::sleep(Duration::from_millis(45)));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Allows the server to open no more files than it has open; gives how many it was allowed before.
pub fn limit_files(server: &Server<'_>) -> u64 {
    let files = || -> BTreeSet<u64> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    };
    // The connection over which a metric was read may still have to close.
    let mut open = files();
    eventually("no file comes or goes", || {
        std::thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut open, files());
        (before == open).then_some(())
    });
    // The limit is about numbers, and the lowest that is free is taken first.
    let free = (0..).find(|number| !open.contains(number)).unwrap();
    sys::limit_files(server.pid(), free).unwrap()
}

/// Allows it so many again.
pub fn allow_files(server: &Server<'_>, files: u64) {
    sys::limit_files(server.pid(), files).unwrap();
}

/// Drops what these conditions of nft match, as if it had never arrived; `None` drops nothing any more.
pub fn firewall(drops: &[&str]) {
    let rules: String = drops.iter().map(|condition| format!("{condition} drop;\n")).collect();
    crate::harness::nft(&format!(
        "add table inet fault\nflush table inet fault\ntable inet fault {{\nchain arrives {{\n\
         type filter hook input priority 0;\n{rules}}}\n}}\n"
    ));
}

/// Stands between a client and the server at `address`: it delays, repeats and shuffles datagrams both ways.
pub fn impair(address: &'static str) -> String {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    back.connect(address).unwrap();
    let at = front.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut impaired = Impaired::default();
        let wait = Some(Duration::from_millis(1));
        front.set_read_timeout(wait).unwrap();
        back.set_read_timeout(wait).unwrap();
        let (mut client, mut buffer) = (None, [0; 4096]);
        loop {
            if let Ok((len, from)) = front.recv_from(&mut buffer) {
                client = Some(from);
                impaired.take(&buffer[..len], true);
            }
            if let Ok(len) = back.recv(&mut buffer) {
                impaired.take(&buffer[..len], false);
            }
            for (bytes, to_server) in impaired.due() {
                // Whoever is gone gets nothing.
                let _ = match (to_server, client) {
                    (true, _) => back.send(&bytes),
                    (false, Some(client)) => front.send_to(&bytes, client),
                    (false, None) => Ok(0),
                };
            }
        }
    });
    at
}

/// Datagrams under way.
#[derive(Default)]
struct Impaired {
    under_way: Vec<(Instant, Vec<u8>, bool)>,
    seen: u64,
}

impl Impaired {
    /// 200 ms, give or take up to 50; one of four comes twice.
    fn take(&mut self, bytes: &[u8], to_server: bool) {
        self.seen += 1;
        let copies = if self.seen.is_multiple_of(4) { 2 } else { 1 };
        for copy in 0..copies {
            // Any sequence that is not in order will do.
            let jitter = (self.seen * 7919 + copy * 104_729) % 100;
            let at = Instant::now() + Duration::from_millis(150 + jitter);
            self.under_way.push((at, bytes.to_vec(), to_server));
        }
    }

    fn due(&mut self) -> Vec<(Vec<u8>, bool)> {
        let now = Instant::now();
        let mut due: Vec<_> = self.under_way.extract_if(.., |(at, ..)| *at <= now).collect();
        due.sort_by_key(|(at, ..)| *at);
        due.into_iter().map(|(_, bytes, to_server)| (bytes, to_server)).collect()
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Turns one bit in the middle of a file.
pub fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}
