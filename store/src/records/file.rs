//! The newest file of a stream, open for appending.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::backward::Backward;
use super::{RecordSettings, Stream, file_name, file_numbers};
use crate::data_dir::sync_folder;

/// The end of one stream.
pub(super) struct StreamFile {
    stream: Stream,
    number: u32,
    file: File,
    /// Bytes of complete lines: what a failed write leaves beyond is cut off.
    length: u64,
}

impl StreamFile {
    /// Opens the newest file, or makes the first, and cuts off a torn last line.
    pub fn open(settings: &RecordSettings, stream: Stream) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&settings.folder)?;
        let newest = file_numbers(&settings.folder, stream)?.pop();
        let number = newest.unwrap_or(1);
        let file = append(&file_name(&settings.folder, stream, number))?;
        if newest.is_none() {
            sync_folder(&settings.folder)?;
        }
        let length =
            Backward::new(File::open(file_name(&settings.folder, stream, number))?, None)?.position();
        let torn = file.metadata()?.len().saturating_sub(length);
        if torn > 0 {
            tracing::warn!(%stream, number, bytes = torn, "the last line was torn by a crash; it is cut off");
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(Self { stream, number, file, length })
    }

    /// Opens the file anew after a failure. Lines beyond those that were reported are cut off: they are
    /// still pending, and must not be there twice.
    pub fn reopen(&mut self, settings: &RecordSettings) -> io::Result<()> {
        let fresh = Self::open(settings, self.stream)?;
        let (number, length) = (self.number, self.length);
        *self = fresh;
        if self.number == number && self.length > length {
            self.file.set_len(length)?;
            self.length = length;
        }
        Ok(())
    }

    /// Appends complete lines and waits for the disk. After an error nothing of them is there, or the
    /// error comes again.
    pub fn append(&mut self, settings: &RecordSettings, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length >= settings.file_bytes(self.stream) {
            self.next(settings)?;
        }
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    fn next(&mut self, settings: &RecordSettings) -> io::Result<()> {
        let number = self.number + 1;
        let file = append(&file_name(&settings.folder, self.stream, number))?;
        sync_folder(&settings.folder)?;
        let length = file.metadata()?.len();
        (self.number, self.file, self.length) = (number, file, length);
        if let Some(keep) = settings.closed_files(self.stream) {
            let mut closed = file_numbers(&settings.folder, self.stream)?;
            closed.retain(|other| *other < number);
            let surplus = closed.len().saturating_sub(keep);
            for old in closed.into_iter().take(surplus) {
                fs::remove_file(file_name(&settings.folder, self.stream, old))?;
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
