//! Messages out of a stream.

use dialtone_signaling::transport::{Frame, Framer};

/// Smaller than in service, so that short inputs reach it.
const LIMIT: usize = 512;
const STREAM_MAX: usize = 8192;

/// How a stream is split never matters, no message exceeds the limit, and nothing is made up. The first two bytes
/// say how long the pieces are.
pub fn framer(data: &[u8]) {
    let [first, second, stream @ ..] = data else { return };
    if stream.len() > STREAM_MAX {
        return;
    }
    let whole = frames(stream, [usize::MAX, usize::MAX]);
    let split = frames(stream, [first, second].map(|length| usize::from(*length).max(1)));
    // Which error ends a stream may depend on how much of it had come.
    assert_eq!(whole, split);
    let mut rest = stream;
    for frame in &whole.0 {
        let bytes = match frame {
            Frame::Message(message) => &message[..],
            Frame::Ping => b"\r\n\r\n",
        };
        assert!(!bytes.is_empty() && bytes.len() <= LIMIT);
        let at = rest.windows(bytes.len()).position(|window| window == bytes);
        rest = &rest[at.expect("a frame is a part of the stream, after the one before it") + bytes.len()..];
    }
}

/// The frames, and whether an error ended them.
fn frames(stream: &[u8], pieces: [usize; 2]) -> (Vec<Frame>, bool) {
    let (mut framer, mut found, mut rest) = (Framer::new(LIMIT), Vec::new(), stream);
    for length in pieces.iter().cycle() {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (found, false)
}
