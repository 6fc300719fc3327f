//! A process that writes is killed in the middle of it; what it was told is kept is there afterwards.
//!
//! Each test runs itself again as the process to be killed, which prints a line for every notice.

// Lints allow this in `#[test]` functions; here the helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dialtone_core::Wall;
use dialtone_store::{
    Batch, Change, DataDir, Notice, RecordReader, RecordSettings, Records, Refused, SledStore, StateStore,
    StateWriter, Stream,
};

const CHILD: &str = "DIALTONE_STORE_TEST_CHILD";
const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);
/// Numbers of one round are this far from those of the next.
const ROUND: u64 = 1 << 32;

fn say(notice: Notice) {
    let Notice::Persisted { seq } = notice else { panic!("the disk failed: {notice:?}") };
    // One write per line, straight to the pipe: a killed process flushes nothing.
    std::io::stdout().lock().write_all(format!("\nkept {seq}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// Runs `test` again in a process that is killed after `enough` notices; the numbers that it was told.
fn killed(test: &str, folder: &Path, enough: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut kept = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The last line may be cut anywhere; then nobody has read its number.
        kept.extend(line.strip_prefix("kept ").and_then(|seq| seq.parse::<u64>().ok()));
        if kept.len() == enough {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(kept.len() >= enough, "{} notices", kept.len());
    kept
}

/// Submits numbers without end, at the pace of the writer.
fn flood(boot: u32, mut submit: impl FnMut(u64) -> Result<(), Refused>) {
    let mut seq = u64::from(boot) * ROUND;
    loop {
        match submit(seq) {
            Ok(()) => seq += 1,
            Err(Refused::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dialtone-kill-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn state_that_was_reported_survives_a_kill() {
    if let Some(folder) = child() {
        let data = DataDir::claim(&folder, NOW).unwrap();
        let store = SledStore::open(&data.state(), NOW).unwrap().store;
        let writer = StateWriter::spawn(store, 64, say).unwrap();
        flood(data.boot(), |seq| {
            let change = Change::Put {
                tree: "t",
                key: seq.to_be_bytes().into(),
                value: vec![seq.to_le_bytes()[0]; 300],
            };
            writer.submit(Batch { changes: vec![change], notify: Some(seq) })
        });
    }
    let folder = Folder::new("state");
    let mut told = BTreeSet::new();
    for enough in [1, 50, 700, 1500] {
        told.extend(killed("state_that_was_reported_survives_a_kill", &folder.0, enough));
        let opened = SledStore::open(&folder.0.join("state"), NOW).unwrap();
        assert_eq!(opened.moved_aside, None);
        let found = opened.store.scan("t", b"").unwrap();
        let keys: BTreeSet<u64> =
            found.iter().map(|(key, _)| u64::from_be_bytes(key.as_slice().try_into().unwrap())).collect();
        assert_eq!(told.difference(&keys).count(), 0);
        assert!(found.iter().all(|(_, value)| value.len() == 300));
    }
}

#[test]
fn records_that_were_reported_survive_a_kill() {
    if let Some(folder) = child() {
        let data = DataDir::claim(&folder, NOW).unwrap();
        let settings = RecordSettings {
            queue: 64,
            cdr_file_bytes: 100_000,
            ..RecordSettings::in_folder(data.records())
        };
        let records = Records::open(settings, say).unwrap();
        flood(data.boot(), |seq| {
            let record =
                serde_json::json!({ "seq": seq, "filling": "x".repeat(usize::from(seq.to_le_bytes()[0])) });
            records.append(Stream::Cdr, &record, Some(seq))
        });
    }
    let folder = Folder::new("records");
    let mut told = BTreeSet::new();
    for enough in [1, 50, 700, 1500] {
        told.extend(killed("records_that_were_reported_survive_a_kill", &folder.0, enough));
        let page = RecordReader::in_data_dir(&folder.0)
            .page::<serde_json::Value>(Stream::Cdr, usize::MAX, None)
            .unwrap();
        assert_eq!(page.skipped, 0, "a torn line must not be in the middle");
        let found: Vec<u64> = page.records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert!(found.is_sorted_by(|a, b| a > b), "each once, newest first");
        let found: BTreeSet<u64> = found.into_iter().collect();
        assert_eq!(told.difference(&found).count(), 0);
    }
}
