//! Cuts a message into logical lines (RFC 3261 §7.3.1): CRLF or LF, continuation lines joined to theirs.

/// One logical line of a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// From its first byte to its last, without the line end; line ends inside when `folded`.
    pub(crate) text: &'a [u8],
    /// Where it starts in the message.
    pub(crate) start: usize,
    /// Whether continuation lines belong to it.
    pub(crate) folded: bool,
}

/// The logical lines of a head, up to the empty line.
pub(crate) struct Lines<'a> {
    message: &'a [u8],
    at: usize,
    /// Where the body starts, once the empty line was met.
    pub(crate) body: Option<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of `message`, which may be preceded by empty ones (RFC 3261 §7.5).
    pub(crate) fn new(message: &'a [u8]) -> Self {
        let at = message.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        Lines { message, at, body: None }
    }

    /// The physical line at `from`: its text's end, and where the next line starts.
    fn physical(&self, from: usize) -> (usize, usize) {
        let rest = self.message.get(from..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        #[cfg(test)]
        super::work::look(end.map_or(rest.len(), |end| end + 1));
        match end {
            Some(0) => (from, from + 1),
            Some(at) if rest.get(at - 1) == Some(&b'\r') => (from + at - 1, from + at + 1),
            Some(at) => (from + at, from + at + 1),
            None => (self.message.len(), self.message.len()),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.body.is_some() || self.at >= self.message.len() {
            return None;
        }
        let start = self.at;
        let (mut end, mut next) = self.physical(start);
        self.at = next;
        if end == start {
            self.body = Some(next);
            return None;
        }
        let mut folded = false;
        while matches!(self.message.get(next), Some(b' ' | b'\t')) {
            folded = true;
            (end, next) = self.physical(next);
            self.at = next;
        }
        Some(Line { text: self.message.get(start..end)?, start, folded })
    }
}

/// Where the head of the first message in `stream` ends and its body starts; `None` while the empty
/// line has not arrived. Empty lines before the message are part of its head.
pub fn head_end(stream: &[u8]) -> Option<usize> {
    let mut lines = Lines::new(stream);
    while lines.next().is_some() {}
    lines.body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(message: &[u8]) -> Vec<&str> {
        Lines::new(message).map(|line| std::str::from_utf8(line.text).unwrap()).collect()
    }

    #[test]
    fn line_ends_may_be_mixed_and_lines_folded() {
        assert_eq!(texts(b"\r\n\nA\r\nB: 1\n C\r\n\t\r\nD\n\r\nbody"), ["A", "B: 1\n C\r\n\t", "D"]);
        assert!(Lines::new(b"A\r\n b").all(|line| line.folded));
    }

    #[test]
    fn the_head_ends_at_the_empty_line() {
        let table: &[(&[u8], Option<usize>)] = &[
            (b"", None),
            (b"\r\n\r\n", None),
            (b"A\r\nB\r\n", None),
            (b"A\r\nB\r\n\r", None),
            (b"A\r\nB\r\n\r\nx", Some(8)),
            (b"A\nB\n\nx", Some(5)),
            (b"\r\nA\n\r\n", Some(6)),
            (b"A\r\n \r\n\r\n", Some(8)),
        ];
        for (stream, end) in table {
            assert_eq!(head_end(stream), *end, "{stream:?}");
        }
    }
}
