//! Calls that were answered a moment ago, in a file of lines that nobody waits for the disk for: what the kernel has
//! taken is there after a `kill -9`, milliseconds before the live state is, and it takes no longer than a copy.
//!
//! ```text
//!  answered ─▶ line in `answered` ─▶ 200 to the caller        after KEEP: renamed to `answered.before`, then gone
//! ```
//!
//! By then the live state has the call. A power cut may take the last of these lines with it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dialtone_core::Mono;
use dialtone_core::cdr::OpenCall;

/// How long a line stays at least.
const KEEP: Duration = Duration::from_secs(30);
const NOW: &str = "answered";
const BEFORE: &str = "answered.before";

/// See the module.
pub(super) struct Notes {
    folder: PathBuf,
    /// The file, and when it was begun.
    file: Option<(File, Mono)>,
    /// Whether there is an older file, and since when it is that.
    before: Option<Mono>,
    failing: bool,
}

impl Notes {
    /// Into files of `folder`.
    pub fn new(folder: &Path) -> Notes {
        Notes { folder: folder.into(), file: None, before: None, failing: false }
    }

    /// What the last run has noted, oldest first. A line that the end of the process has torn is nobody's: its call
    /// was not answered yet.
    pub fn left(folder: &Path) -> Vec<OpenCall> {
        let read = |name: &str| match fs::read(folder.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, name, "notes of answered calls cannot be read");
                Vec::new()
            }
        };
        let (before, now) = (read(BEFORE), read(NOW));
        let lines = before.split(|byte| *byte == b'\n').chain(now.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// They are not needed any more.
    pub fn forget(folder: &Path) {
        for name in [NOW, BEFORE] {
            remove(&folder.join(name));
        }
    }

    /// Adds a call, as JSON.
    pub fn note(&mut self, now: Mono, call: &[u8]) {
        let line = [call, b"\n"].concat();
        let written = self.open(now).and_then(|file| file.write_all(&line));
        let failing = written.is_err();
        if let Err(error) = written {
            // Half a line may stand there: the next one is not to continue it.
            self.file = None;
            if !self.failing {
                tracing::warn!(%error, "calls that are answered cannot be noted; a crash may lose their records");
            }
        }
        self.failing = failing;
    }

    fn open(&mut self, now: Mono) -> std::io::Result<&mut File> {
        let (file, _) = match self.file.take() {
            Some(open) => self.file.insert(open),
            None => {
                let path = self.folder.join(NOW);
                let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
                file.write_all(b"\n")?;
                self.file.insert((file, now))
            }
        };
        Ok(file)
    }

    /// Puts away what is old.
    pub fn look(&mut self, now: Mono) {
        let old = |since: Mono| now.since(since) >= KEEP;
        if self.file.as_ref().is_some_and(|(_, begun)| old(*begun)) {
            self.file = None;
            // When it fails it is appended to, and tried again.
            if fs::rename(self.folder.join(NOW), self.folder.join(BEFORE)).is_ok() {
                self.before = Some(now);
            }
        } else if self.before.is_some_and(old) {
            remove(&self.folder.join(BEFORE));
            self.before = None;
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::debug!(%error, file = %path.display(), "notes of answered calls were not removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use dialtone_core::{IdSource, NodeId, Party, Wall};

    use super::*;

    fn call(ids: &mut IdSource) -> OpenCall {
        let call = ids.call();
        OpenCall {
            call,
            conversation: call.into(),
            from: Party { number: "1001".into(), name: String::new(), private: false },
            dialed: "1002".into(),
            answered_by: None,
            started: Wall::from_micros(10_000_000),
            answered: Some(Wall::from_micros(11_000_000)),
            legs: Vec::new(),
            transfers: Vec::new(),
        }
    }

    #[test]
    fn a_call_is_noted_for_a_while_and_a_torn_line_is_nobodys() {
        let folder = std::env::temp_dir().join(format!("dialtone-notes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let calls: Vec<OpenCall> = (0..3).map(|_| call(&mut ids)).collect();
        let mut notes = Notes::new(&folder);
        let at = |seconds: u64| Mono::from_millis(1000 * seconds);
        let note = |notes: &mut Notes, index: usize, seconds| {
            notes.note(at(seconds), &serde_json::to_vec(&calls[index]).unwrap());
        };
        note(&mut notes, 0, 1);
        notes.look(at(30));
        note(&mut notes, 1, 30);
        notes.look(at(31));
        note(&mut notes, 2, 32);
        assert_eq!(Notes::left(&folder), calls);
        // As a process leaves it that ends in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(folder.join(NOW)).unwrap();
        file.write_all(b"{\"call\":\"c1-").unwrap();
        let mut after = Notes::new(&folder);
        note(&mut after, 0, 1);
        let left = Notes::left(&folder);
        assert_eq!(left[..3], calls);
        assert_eq!(left[3..], calls[..1]);
        after.look(at(31));
        assert_eq!(Notes::left(&folder).len(), 2);
        after.look(at(61));
        assert_eq!(Notes::left(&folder), []);
        note(&mut after, 2, 62);
        Notes::forget(&folder);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }
}
