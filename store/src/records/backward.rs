//! The lines of a file from its end to its beginning, without reading it whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CHUNK_BYTES: usize = 64 * 1024;
/// A longer line is skipped: no record of ours comes near.
const LINE_MAX_BYTES: u64 = 16 << 20;

/// Complete lines, last one first. What follows the last line feed is not a line.
pub(super) struct Backward {
    file: File,
    /// Everything from here on has been given out, or is no line.
    end: u64,
    /// Bytes of the file that end at `chunk_end`.
    chunk: Vec<u8>,
    chunk_end: u64,
}

impl Backward {
    /// Begins with the last line that ends at or before `end`; `None` for the end of the file.
    pub fn new(file: File, end: Option<u64>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let end = end.unwrap_or(length).min(length);
        let mut backward = Self { file, end, chunk: Vec::new(), chunk_end: 0 };
        backward.end = backward.feed_before(end)?.map_or(0, |feed| feed + 1);
        Ok(backward)
    }

    /// Everything from here on has been given out: where to go on later.
    pub fn position(&self) -> u64 {
        self.end
    }

    /// The next line, without its line feed.
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.end > 0 {
            let feed = self.end - 1;
            let start = self.feed_before(feed)?.map_or(0, |feed| feed + 1);
            self.end = start;
            if feed - start > LINE_MAX_BYTES {
                continue;
            }
            let mut line = vec![0; usize::try_from(feed - start).unwrap_or(0)];
            self.file.read_exact_at(&mut line, start)?;
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// The place of the last line feed before `end`.
    fn feed_before(&mut self, mut end: u64) -> io::Result<Option<u64>> {
        while end > 0 {
            let chunk_start = self.chunk_end - self.chunk.len() as u64;
            if end <= chunk_start || end > self.chunk_end {
                self.fill(end)?;
                continue;
            }
            let inside = usize::try_from(end - chunk_start).unwrap_or(self.chunk.len());
            match self.chunk[..inside].iter().rposition(|byte| *byte == b'\n') {
                Some(place) => return Ok(Some(chunk_start + place as u64)),
                None => end = chunk_start,
            }
        }
        Ok(None)
    }

    fn fill(&mut self, end: u64) -> io::Result<()> {
        let length = end.min(CHUNK_BYTES as u64);
        self.chunk.resize(usize::try_from(length).unwrap_or(CHUNK_BYTES), 0);
        self.chunk_end = end;
        self.file.read_exact_at(&mut self.chunk, end - length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Folder;

    fn lines(content: &[u8], end: Option<u64>) -> Vec<String> {
        let folder = Folder::new();
        let path = folder.path().join("f");
        std::fs::write(&path, content).unwrap();
        let mut backward = Backward::new(File::open(path).unwrap(), end).unwrap();
        let mut found = Vec::new();
        while let Some(line) = backward.line().unwrap() {
            found.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(backward.position(), 0);
        found
    }

    #[test]
    fn lines_come_last_first_and_a_torn_one_not_at_all() {
        assert_eq!(lines(b"", None), [""; 0]);
        assert_eq!(lines(b"torn", None), [""; 0]);
        assert_eq!(lines(b"a\n", None), ["a"]);
        assert_eq!(lines(b"a\n\nbc\ntorn", None), ["bc", "", "a"]);
        assert_eq!(lines(b"a\nbc\nd\n", Some(5)), ["bc", "a"]);
        assert_eq!(lines(b"a\nbc\nd\n", Some(4)), ["a"]);
    }

    #[test]
    fn lines_may_be_longer_than_a_chunk() {
        let long = "x".repeat(CHUNK_BYTES * 2 + 17);
        let exact = "y".repeat(CHUNK_BYTES - 1);
        let content = format!("{long}\n{exact}\n{long}\nz\n");
        assert_eq!(lines(content.as_bytes(), None), ["z", &long, &exact, &long]);
    }
}
