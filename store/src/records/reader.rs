//! Reads records without the server: newest first, a page at a time.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::backward::Backward;
use super::{Stream, file_name, file_numbers};
use crate::data_dir::records_in;

/// Where a page ended: `<file>-<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    file: u32,
    end: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.file, self.end)
    }
}

impl FromStr for Cursor {
    type Err = ReadError;
    fn from_str(text: &str) -> Result<Self, ReadError> {
        let bad = || ReadError::BadCursor(text.chars().take(64).collect());
        let (file, end) = text.split_once('-').ok_or_else(bad)?;
        Ok(Self { file: file.parse().map_err(|_| bad())?, end: end.parse().map_err(|_| bad())? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is not a cursor.
    #[error("{0:?} is not a cursor that a page gave")]
    BadCursor(String),
    /// The disk or its permissions.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Some records, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The records.
    pub records: Vec<T>,
    /// Where the next page begins; `None` when there is nothing older.
    pub next: Option<Cursor>,
    /// Lines that are not such a record: written by another version, or damaged.
    pub skipped: u64,
}

/// Reads the records of a folder, whether or not a server writes to it.
#[derive(Clone, Debug)]
pub struct RecordReader {
    folder: PathBuf,
}

impl RecordReader {
    /// Reads the records in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// Reads the records of a data directory.
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self { folder: records_in(data_dir) }
    }

    /// At most `limit` records, newest first, from where the page before ended.
    pub fn page<T: DeserializeOwned>(
        &self,
        stream: Stream,
        limit: usize,
        from: Option<Cursor>,
    ) -> Result<Page<T>, ReadError> {
        let mut page = Page { records: Vec::new(), next: None, skipped: 0 };
        self.walk(stream, from, |cursor, line| {
            if page.records.len() == limit {
                return false;
            }
            match serde_json::from_slice(line) {
                Ok(record) => page.records.push(record),
                Err(_) => page.skipped += 1,
            }
            page.next = Some(cursor);
            true
        })
        .map(|complete| {
            if complete {
                page.next = None;
            }
            page
        })
    }

    /// The newest record for which `wanted` holds.
    pub fn find<T: DeserializeOwned>(
        &self,
        stream: Stream,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ReadError> {
        let mut found = None;
        self.walk(stream, None, |_, line| {
            found = serde_json::from_slice(line).ok().filter(|record| wanted(record));
            found.is_none()
        })?;
        Ok(found)
    }

    /// Shows lines newest first, each with the cursor of what is older, until `visit` says no. Whether
    /// it saw them all.
    fn walk(
        &self,
        stream: Stream,
        from: Option<Cursor>,
        mut visit: impl FnMut(Cursor, &[u8]) -> bool,
    ) -> Result<bool, ReadError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| ReadError::Io(path, error)
        };
        let numbers = match file_numbers(&self.folder, stream) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            numbers => numbers.map_err(failed(&self.folder))?,
        };
        for number in numbers.into_iter().rev().filter(|number| from.is_none_or(|from| *number <= from.file))
        {
            let path = file_name(&self.folder, stream, number);
            let file = match File::open(&path) {
                // It made room while we were reading newer ones.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(failed(&path))?,
            };
            let end = from.filter(|from| from.file == number).map(|from| from.end);
            let mut lines = Backward::new(file, end).map_err(failed(&path))?;
            while let Some(line) = lines.line().map_err(failed(&path))? {
                if !visit(Cursor { file: number, end: lines.position() }, &line) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Folder;

    #[test]
    fn pages_meet_without_gap_or_overlap_while_lines_are_added() {
        let folder = Folder::new();
        let write =
            |number, text: &str| std::fs::write(file_name(folder.path(), Stream::Cdr, number), text).unwrap();
        write(1, "1\n2\n3\n");
        write(2, "");
        write(3, "4\nnot a record\n5\n6\ntor");
        let reader = RecordReader::new(folder.path());
        let mut seen = Vec::new();
        let mut cursor = None;
        let mut skipped = 0;
        loop {
            let page: Page<u32> = reader.page(Stream::Cdr, 2, cursor).unwrap();
            seen.extend(page.records);
            skipped += page.skipped;
            write(3, "4\nnot a record\n5\n6\ntorn no more\n7\n");
            match page.next {
                Some(next) => cursor = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!((seen, skipped), (vec![6, 5, 4, 3, 2, 1], 1));
        assert_eq!(reader.find(Stream::Cdr, |number: &u32| number.is_multiple_of(2)).unwrap(), Some(6));
        assert_eq!(reader.find(Stream::Cdr, |number: &u32| *number > 7).unwrap(), None);
    }

    #[test]
    fn nothing_written_yet_is_an_empty_page() {
        let reader = RecordReader::new(Path::new("/nowhere"));
        let page: Page<u32> = reader.page(Stream::Cdr, 2, None).unwrap();
        assert_eq!(page, Page { records: vec![], next: None, skipped: 0 });
        for bad in ["", "1", "x-1", "1-", "-"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
