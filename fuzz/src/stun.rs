//! STUN, asked and answered.

use std::net::SocketAddr;

use dialtone_signaling::transport::stun::{ANSWER_MAX, Answer, TransactionId, answer, is_request, read};

/// A datagram over UDP.
const DATAGRAM_MAX: usize = 1500;

/// What we answer is understood as what we meant, and an answer of a server is read without believing its lengths.
pub fn stun(data: &[u8]) {
    if data.len() > DATAGRAM_MAX {
        return;
    }
    let transaction = data.get(8..20).and_then(|id| TransactionId::try_from(id).ok());
    let Some(id) = transaction else {
        assert!(!is_request(data));
        assert_eq!(read(data, TransactionId::default()), Answer::Stranger);
        return;
    };
    if is_request(data) {
        for source in ["192.0.2.7:5060", "[2001:db8::7]:1", "[::ffff:192.0.2.7]:65535"] {
            answered(data, source.parse().expect("an address"), id);
        }
        return;
    }
    match read(data, id) {
        Answer::Mapped(_) => assert_eq!(data[..2], [1, 1]),
        Answer::Refused(code) => assert!(data[..2] == [1, 0x11] && code < 1000),
        Answer::Stranger | Answer::Unusable => {}
    }
    let mut other = id;
    other[0] ^= 1;
    assert_eq!(read(data, other), Answer::Stranger, "the answer to somebody else's question");
}

fn answered(request: &[u8], source: SocketAddr, id: TransactionId) {
    let mut buffer = [0xEE; ANSWER_MAX];
    let Some(length) = answer(request, source, &mut buffer) else { return };
    let (said, rest) = buffer.split_at(length);
    assert!(rest.iter().all(|byte| *byte == 0xEE), "what is sent is what was counted");
    let seen = SocketAddr::new(source.ip().to_canonical(), source.port());
    assert!([Answer::Mapped(seen), Answer::Refused(420)].contains(&read(said, id)), "{said:?}");
}
