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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(body: &str) -> String {
        format!("OPTIONS sip:pbx SIP/2.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Everything that a stream gives, when it comes in pieces of these lengths, over and over.
    fn frames(stream: &[u8], pieces: &[usize], limit: usize) -> (Vec<Frame>, Option<FramingError>) {
        let (mut framer, mut found, mut rest) = (Framer::new(limit), Vec::new(), stream);
        for len in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*len).min(rest.len()));
            framer.push(piece);
            loop {
                match framer.next() {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        (found, None)
    }

    fn texts(stream: &str) -> Vec<String> {
        let (frames, error) = frames(stream.as_bytes(), &[usize::MAX], 65_535);
        assert_eq!(error, None);
        let text = |frame: &Frame| match frame {
            Frame::Ping => "ping".to_owned(),
            Frame::Message(message) => String::from_utf8(message.to_vec()).unwrap(),
        };
        frames.iter().map(text).collect()
    }

    #[test]
    fn messages_and_pings() {
        let (one, two, empty) = (message("one"), message("two\r\n\r\n"), message(""));
        let cases = [
            (one.clone(), vec![one.clone()]),
            (format!("{one}{two}{empty}"), vec![one.clone(), two.clone(), empty.clone()]),
            (format!("\r\n{one}"), vec![one.clone()]),
            (format!("\r\n\r\n{one}"), vec!["ping".into(), one.clone()]),
            ("\r\n\r\n\r\n\r\n".into(), vec!["ping".into(), "ping".into()]),
            (format!("{one}\r\n{two}\r\n\r\n\r\n"), vec![one.clone(), two.clone(), "ping".into()]),
            ("\r\n\n\r\n".into(), vec![]),
            ("\r\r\n\r\n".into(), vec!["ping".into()]),
            (one[..one.len() - 1].to_owned(), vec![]),
            ("A sip:b SIP/2.0\nl : 2\n\nxyB".into(), vec!["A sip:b SIP/2.0\nl : 2\n\nxy".into()]),
        ];
        for (stream, expected) in cases {
            assert_eq!(texts(&stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn what_has_no_boundary_is_an_error_with_its_head() {
        let limit = 200;
        let head = |length: &str| format!("OPTIONS sip:pbx SIP/2.0\r\n{length}\r\n");
        let too_large = |head| FramingError::TooLarge { limit, head };
        let cases = [
            (head(""), Some(FramingError::NoLength { head: Some(head("").into()) })),
            (head("l: x\r\n"), Some(FramingError::NoLength { head: Some(head("l: x\r\n").into()) })),
            (head("l: -1\r\n"), Some(FramingError::NoLength { head: Some(head("l: -1\r\n").into()) })),
            (
                head("l: 1\r\nContent-Length: 1\r\n"),
                Some(FramingError::NoLength { head: Some(head("l: 1\r\nContent-Length: 1\r\n").into()) }),
            ),
            (head("l: 200\r\n"), Some(too_large(Some(head("l: 200\r\n").into())))),
            (
                head("l: 99999999999999999999999\r\n"),
                None, // Either error will do, see below.
            ),
            ("x".repeat(201), Some(too_large(None))),
        ];
        for (stream, expected) in cases {
            let (found, error) = frames(stream.as_bytes(), &[7], limit);
            assert!(found.is_empty() && error.is_some(), "{stream:?}");
            if expected.is_some() {
                assert_eq!(error, expected, "{stream:?}");
            }
        }
        assert_eq!(frames("x".repeat(200).as_bytes(), &[1], limit), (vec![], None));
    }

    #[test]
    fn a_message_is_half_read_from_its_first_byte_to_its_last() {
        let (mut framer, text) = (Framer::new(1000), message("body"));
        framer.push(b"\r\n");
        assert_eq!((framer.next(), framer.is_half_read()), (Ok(None), false));
        for byte in &text.as_bytes()[..text.len() - 1] {
            framer.push(&[*byte]);
            assert_eq!((framer.next(), framer.is_half_read()), (Ok(None), true));
        }
        framer.push(b"y");
        assert_eq!(framer.next(), Ok(Some(Frame::Message(text.into()))));
        assert!(!framer.is_half_read());
    }

    proptest! {
        #[test]
        fn how_a_stream_is_split_never_matters(
            bodies in proptest::collection::vec("[a-z\r\n]{0,40}", 0..6),
            gaps in proptest::collection::vec("(\r\n){0,5}", 6),
            pieces in proptest::collection::vec(1usize..60, 1..20),
        ) {
            let stream: String =
                bodies.iter().zip(&gaps).map(|(body, gap)| format!("{gap}{}", message(body))).collect();
            let whole = frames(stream.as_bytes(), &[usize::MAX], 65_535);
            prop_assert_eq!(&whole, &frames(stream.as_bytes(), &pieces, 65_535));
            let messages: Vec<_> =
                whole.0.into_iter().filter(|frame| *frame != Frame::Ping).collect();
            let sent: Vec<_> = bodies.iter().map(|body| Frame::Message(message(body).into())).collect();
            prop_assert_eq!(messages, sent);
        }

        #[test]
        fn junk_ends_alike_however_it_is_split(
            junk in proptest::collection::vec(
                prop_oneof![Just(b"\r\n".to_vec()), Just(b"l: 3\r\n".to_vec()), Just(b"\n".to_vec()),
                    Just(b" ".to_vec()), Just(b"A sip:b SIP/2.0\r\n".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..8)],
                0..40,
            ),
            pieces in proptest::collection::vec(1usize..9, 1..9),
        ) {
            let stream = junk.concat();
            let (found, error) = frames(&stream, &[usize::MAX], 120);
            let (found_split, error_split) = frames(&stream, &pieces, 120);
            // Where there is an end, its kind may depend on how much had come.
            prop_assert_eq!(error.is_some(), error_split.is_some());
            prop_assert_eq!(found, found_split);
        }
    }
}
