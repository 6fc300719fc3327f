//! The thread that appends records.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::Serialize;

use super::file::StreamFile;
use super::{RecordSettings, Stream};
use crate::group::{Counters, Item, Queue};
use crate::{Notice, Refused, WriterCounters};

struct Line {
    stream: Stream,
    bytes: Vec<u8>,
}

/// The sending side of the thread.
pub struct Records {
    queue: Queue<Line>,
    /// Dropped to end the waiting of a thread whose disk fails.
    stop: Option<Sender<()>>,
}

impl Records {
    /// Opens the files, repairs torn ends and starts the thread. `notify` runs on the thread, in the order
    /// in which lines came, and must not block.
    pub fn open(settings: RecordSettings, notify: impl FnMut(Notice) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let queue = settings.queue;
        let mut writer = Writer { files: open_all(&settings)?, settings, stopped, failing: false };
        let write = move |group: &[Item<Line>], counters: &Counters| writer.write(group, counters);
        Ok(Self { queue: Queue::spawn("records", queue, write, notify)?, stop: Some(stop) })
    }

    /// Queues one record, or refuses at once. With `notify`, its fate is reported under that number.
    pub fn append<T: Serialize + ?Sized>(
        &self,
        stream: Stream,
        record: &T,
        notify: Option<u64>,
    ) -> Result<(), Refused> {
        // JSON text has no bare line feed, so one record is one line.
        let mut bytes = serde_json::to_vec(record).map_err(|_| Refused::NotJson)?;
        bytes.push(b'\n');
        self.queue.push(Line { stream, bytes }, notify)
    }

    /// For metrics, and for refusing calls before the queue is full.
    pub fn counters(&self) -> WriterCounters {
        self.queue.counters()
    }

    /// Writes what is queued, notifies, and ends the thread. A disk that fails now is not waited for.
    pub fn close(mut self) {
        self.stop = None;
        self.queue.close();
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.stop = None;
    }
}

struct Writer {
    settings: RecordSettings,
    files: Vec<StreamFile>,
    stopped: Receiver<()>,
    failing: bool,
}

impl Writer {
    /// Writes a group, however long the disk takes; false only when told to stop while it fails.
    fn write(&mut self, group: &[Item<Line>], counters: &Counters) -> bool {
        let mut pending = Stream::ALL.map(|stream| {
            let lines = group.iter().filter(|item| item.what.stream == stream);
            lines.flat_map(|item| &item.what.bytes).copied().collect::<Vec<u8>>()
        });
        loop {
            let Err(error) = self.try_write(&mut pending) else {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("records are written again");
                }
                return true;
            };
            counters.failed();
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, "records cannot be written; they are kept in memory and tried again");
            }
            use std::sync::mpsc::RecvTimeoutError::Disconnected;
            if self.stopped.recv_timeout(self.settings.retry) == Err(Disconnected) {
                tracing::error!(records = group.len(), %error, "records were lost: the disk fails at the end");
                return false;
            }
            // A new handle, because the trouble may have been the old one's: a volume that came back.
            for file in &mut self.files {
                if let Err(error) = file.reopen(&self.settings) {
                    tracing::debug!(%error, "a file of records cannot be opened");
                }
            }
        }
    }

    /// Appends what is pending; what was written is no longer pending.
    fn try_write(&mut self, pending: &mut [Vec<u8>; 2]) -> io::Result<()> {
        for (file, lines) in self.files.iter_mut().zip(pending) {
            if !lines.is_empty() {
                file.append(&self.settings, lines)?;
                lines.clear();
            }
        }
        Ok(())
    }
}

fn open_all(settings: &RecordSettings) -> io::Result<Vec<StreamFile>> {
    Stream::ALL.into_iter().map(|stream| StreamFile::open(settings, stream)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::Receiver;
    use std::time::Duration;

    use super::*;
    use crate::records::{RecordReader, file_name, file_numbers};
    use crate::state::testing::Folder;

    fn open(settings: &RecordSettings) -> (Records, Receiver<Notice>) {
        let (sender, notices) = channel();
        let records =
            Records::open(settings.clone(), move |notice| sender.send(notice).unwrap_or(())).unwrap();
        (records, notices)
    }

    #[test]
    fn a_record_is_a_line_that_is_there_when_it_is_reported() {
        let folder = Folder::new();
        let settings = RecordSettings::in_folder(folder.path().join("records"));
        let (records, notices) = open(&settings);
        records.append(Stream::Cdr, &serde_json::json!({"call": "c1", "name": "a\nb"}), Some(3)).unwrap();
        assert_eq!(notices.recv().unwrap(), Notice::Persisted { seq: 3 });
        let text = fs::read_to_string(file_name(&settings.folder, Stream::Cdr, 1)).unwrap();
        assert_eq!(text, "{\"call\":\"c1\",\"name\":\"a\\nb\"}\n");
        let trace = "alice ──INVITE──▶\n";
        records.append(Stream::Trace, trace, None).unwrap();
        records.close();
        let reader = RecordReader::new(&settings.folder);
        assert_eq!(reader.page::<String>(Stream::Trace, 9, None).unwrap().records, [trace]);
    }

    #[test]
    fn a_torn_line_is_cut_off_and_the_complete_ones_stay() {
        let folder = Folder::new();
        let settings = RecordSettings::in_folder(folder.path());
        fs::write(file_name(folder.path(), Stream::Cdr, 1), "1\n2\n{\"call\":\"c").unwrap();
        let (records, _notices) = open(&settings);
        records.append(Stream::Cdr, &3, None).unwrap();
        records.close();
        assert_eq!(fs::read_to_string(file_name(folder.path(), Stream::Cdr, 1)).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn files_are_closed_at_their_size_and_old_traces_make_room() {
        let folder = Folder::new();
        let settings = RecordSettings {
            cdr_file_bytes: 10,
            trace_file_bytes: 10,
            trace_files: 2,
            ..RecordSettings::in_folder(folder.path())
        };
        let (records, notices) = open(&settings);
        for number in 0..12 {
            for stream in Stream::ALL {
                records.append(stream, &format!("record {number}"), Some(number)).unwrap();
                notices.recv().unwrap();
            }
        }
        records.close();
        assert_eq!(file_numbers(folder.path(), Stream::Cdr).unwrap(), (1..=12).collect::<Vec<_>>());
        assert_eq!(file_numbers(folder.path(), Stream::Trace).unwrap(), [10, 11, 12]);
        let page = RecordReader::new(folder.path()).page::<String>(Stream::Cdr, 100, None).unwrap();
        assert_eq!(page.records.len(), 12);
        assert_eq!((page.records[0].as_str(), page.records[11].as_str()), ("record 11", "record 0"));
    }

    #[test]
    fn a_full_disk_loses_nothing_and_refuses_what_no_longer_fits() {
        let folder = Folder::new();
        let settings = RecordSettings {
            queue: 2,
            retry: Duration::from_millis(1),
            ..RecordSettings::in_folder(folder.path())
        };
        let file = file_name(folder.path(), Stream::Cdr, 1);
        symlink("/dev/full", &file).unwrap();
        let (records, notices) = open(&settings);
        let mut taken = 0;
        while records.append(Stream::Cdr, &taken, Some(taken)).is_ok() {
            taken += 1;
            assert!(taken < 10_000, "the queue must fill");
        }
        assert_eq!(records.append(Stream::Cdr, &taken, None), Err(Refused::Full));
        assert!(notices.try_recv().is_err());
        fs::remove_file(&file).unwrap();
        for seq in 0..taken {
            assert_eq!(notices.recv().unwrap(), Notice::Persisted { seq });
        }
        assert!(records.counters().failures > 0);
        let page = RecordReader::new(folder.path()).page::<u64>(Stream::Cdr, 100_000, None).unwrap();
        assert_eq!(page.records, (0..taken).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_disk_that_fails_at_the_end_is_reported_and_not_waited_for() {
        let folder = Folder::new();
        let settings =
            RecordSettings { retry: Duration::from_secs(3600), ..RecordSettings::in_folder(folder.path()) };
        symlink("/dev/full", file_name(folder.path(), Stream::Cdr, 1)).unwrap();
        let (records, notices) = open(&settings);
        records.append(Stream::Cdr, &1, Some(1)).unwrap();
        records.close();
        assert_eq!(notices.recv().unwrap(), Notice::Lost { seq: 1 });
    }
}
