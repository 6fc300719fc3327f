//! A scenario's place: a private loopback and a folder.

use std::any::Any;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::poll::eventually;
use super::sys;

/// Of a log that is longer, the end is printed.
const LOG_SHOWN: u64 = 24 * 1024;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// See the module.
pub struct Lab {
    folder: PathBuf,
    files: AtomicU32,
}

/// Runs a scenario in a network of its own. When it fails, every log in its folder is printed, and the
/// folder stays.
pub fn scenario(play: impl FnOnce(&Lab) + Send + 'static) {
    let name = std::thread::current().name().unwrap_or("scenario").to_string();
    // The network is that of a thread, and of the processes that it starts.
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let lab = Lab::enter();
        let played = panic::catch_unwind(AssertUnwindSafe(|| play(&lab)));
        lab.leave(played);
    });
    if let Err(failure) = thread.unwrap().join() {
        panic::resume_unwind(failure);
    }
}

impl Lab {
    fn enter() -> Lab {
        if let Err(error) = sys::leave_the_network() {
            panic!(
                "these tests need private networks, and this user may not make any ({error}): run them as root"
            );
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        match up {
            Ok(status) => assert!(status.success(), "ip link set lo up: {status}"),
            Err(error) => panic!("ip is missing ({error}): install the Debian package iproute2"),
        }
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("dialtone-e2e-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Lab { folder, files: AtomicU32::new(0) }
    }

    /// A path in the folder of the scenario.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A path that nobody else uses; `.log` files are printed when the scenario fails.
    pub fn fresh(&self, stem: &str, extension: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{number:02}-{stem}.{extension}"))
    }

    /// Writes a file; gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn leave(self, played: Result<(), Box<dyn Any + Send>>) {
        match played {
            Ok(()) => {
                let _ = fs::remove_dir_all(&self.folder);
            }
            Err(failure) => {
                self.print_logs();
                eprintln!("what it left is in {}", self.folder.display());
                panic::resume_unwind(failure);
            }
        }
    }

    fn print_logs(&self) {
        let mut logs: Vec<PathBuf> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        for log in logs {
            eprintln!("──── {}\n{}", log.display(), tail(&log).unwrap_or_else(|error| error.to_string()));
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_SHOWN)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until somebody in this network listens on a port.
pub fn bound(table: &str, address: SocketAddr) {
    let port = format!(":{:04X}", address.port());
    let table = format!("/proc/thread-self/net/{table}{}", if address.is_ipv6() { "6" } else { "" });
    eventually(&format!("somebody listens on {address}"), || {
        let sockets = fs::read_to_string(&table).unwrap();
        let local = |line: &str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
        sockets.lines().any(local).then_some(())
    });
}
