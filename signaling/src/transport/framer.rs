//! Messages out of a stream (RFC 3261 §18.3): a head up to its empty line, then as many bytes as
//! Content-Length says. Between messages, line ends are skipped; two of them in a row are a keep-alive
//! ping (RFC 5626 §3.5.1).
//!
//! Pure: bytes in with [`Framer::push`], frames out with [`Framer::next`]. How the bytes were split never
//! matters. After an error the stream has no boundaries left and must be closed.

use bytes::{Buf, Bytes, BytesMut};

use crate::message::{content_length, head_end};

const PING: &[u8] = b"\r\n\r\n";

/// What a stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Bytes),
    /// CRLF CRLF between messages; wants one CRLF back (RFC 5626 §4.4.1).
    Ping,
}

/// Why a stream cannot be read any further. `head` is there when it was complete, so that a request can be
/// answered before the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Peer: more bytes than a message may have.
    #[error("message of more than {limit} bytes")]
    TooLarge {
        /// The bound, bytes.
        limit: usize,
        /// The message's head.
        head: Option<Bytes>,
    },
    /// Peer: no Content-Length, or none that can be believed. A stream needs one (RFC 3261 §20.14); guessing
    /// would let a body pass as the next message.
    #[error("no usable Content-Length")]
    NoLength {
        /// The message's head.
        head: Option<Bytes>,
    },
}

/// A stream's bytes that are not yet a message.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limit: usize,
    /// Line ends at the end of what was skipped, as far as they match [`PING`].
    ping_seen: usize,
    /// Up to here the buffer holds no empty line.
    scanned: usize,
    /// Bytes of the message whose head is complete.
    whole: Option<usize>,
}

impl Framer {
    /// For messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Framer {
        Framer { buffer: BytesMut::new(), limit, ping_seen: 0, scanned: 0, whole: None }
    }

    /// Takes more of the stream. Call [`Framer::next`] until it has no more before pushing again; so the buffer
    /// holds at most one message and one push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// See [`FramingError`]; every later call fails too.
    #[allow(clippy::should_implement_trait)] // An iterator that ends, and later goes on, would surprise.
    pub fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.whole.is_none() {
            if self.skip_line_ends() {
                return Ok(Some(Frame::Ping));
            }
            self.whole = self.measure()?;
        }
        let Some(whole) = self.whole.filter(|whole| *whole <= self.buffer.len()) else { return Ok(None) };
        self.whole = None;
        self.scanned = 0;
        // A copy, so that a header kept for the length of a call does not keep the whole buffer.
        let message = Bytes::copy_from_slice(self.buffer.get(..whole).unwrap_or_default());
        self.buffer.advance(whole);
        Ok(Some(Frame::Message(message)))
    }

    /// Whether a message has begun and is not complete.
    pub fn is_half_read(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Drops line ends before a message; true when they completed a ping.
    fn skip_line_ends(&mut self) -> bool {
        if self.scanned > 0 {
            return false;
        }
        while let Some(byte @ (b'\r' | b'\n')) = self.buffer.first().copied() {
            self.buffer.advance(1);
            self.ping_seen = match PING.get(self.ping_seen) {
                Some(expected) if *expected == byte => self.ping_seen + 1,
                _ => usize::from(byte == b'\r'),
            };
            if self.ping_seen == PING.len() {
                self.ping_seen = 0;
                return true;
            }
        }
        if !self.buffer.is_empty() {
            self.ping_seen = 0;
        }
        false
    }

    /// Bytes of the message that begins the buffer, once its head is complete.
    fn measure(&mut self) -> Result<Option<usize>, FramingError> {
        if !self.find_empty_line() {
            // Nothing that long can still become a message.
            return match self.buffer.len() > self.limit {
                true => Err(FramingError::TooLarge { limit: self.limit, head: None }),
                false => Ok(None),
            };
        }
        let Some(head_len) = head_end(&self.buffer) else { return Ok(None) };
        let head = self.buffer.get(..head_len).unwrap_or_default();
        let copy = || Some(Bytes::copy_from_slice(head));
        match content_length(head) {
            Ok(Some(body_len)) => match head_len.checked_add(body_len).filter(|whole| *whole <= self.limit) {
                Some(whole) => Ok(Some(whole)),
                None => Err(FramingError::TooLarge { limit: self.limit, head: copy() }),
            },
            Ok(None) | Err(_) => Err(FramingError::NoLength { head: copy() }),
        }
    }

    /// Looks for an empty line, at each byte once however slowly they come.
    fn find_empty_line(&mut self) -> bool {
        let from = self.scanned.saturating_sub(2);
        let fresh = self.buffer.get(from..).unwrap_or_default();
        let found =
            fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n");
        if !found {
            self.scanned = self.buffer.len();
        }
        found
    }
}
