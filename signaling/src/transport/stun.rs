//! STUN keep-alives on the SIP port: RFC 5626 §8, with binding requests and answers of RFC 8489.
//!
//! A phone behind a NAT asks from time to time what its address looks like from here: that holds the NAT's binding
//! open, and tells it when it has changed. Nothing is remembered; an answer is at most 44 bytes, takes from the
//! budget of datagrams of its source first, and allocates nothing.

use std::net::{IpAddr, SocketAddr};

pub use super::external::{Answer, TransactionId, read};

pub(super) const HEADER: usize = 20;
pub(super) const COOKIE: u32 = 0x2112_A442;
pub(super) const BINDING_REQUEST: u16 = 0x0001;
pub(super) const BINDING_SUCCESS: u16 = 0x0101;
pub(super) const BINDING_ERROR: u16 = 0x0111;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// Attributes below must be understood (RFC 8489 §14).
pub(super) const OPTIONAL: u16 = 0x8000;
/// Unknown attributes that an answer names.
const UNKNOWN_MAX: usize = 4;

/// Whether a datagram is a binding request.
pub fn is_request(datagram: &[u8]) -> bool {
    let words = (word(datagram, 0), word(datagram, 2), long(datagram, 4));
    matches!(words, (Some(BINDING_REQUEST), Some(length), Some(COOKIE))
        if usize::from(length) + HEADER == datagram.len() && length.is_multiple_of(4))
}

/// Bytes of the longest answer.
pub const ANSWER_MAX: usize = HEADER + 4 + 20;

/// Writes the answer to a binding request from `source`, and tells its length; `None` when its attributes cannot be
/// read.
pub fn answer(request: &[u8], source: SocketAddr, buffer: &mut [u8; ANSWER_MAX]) -> Option<usize> {
    let transaction = request.get(8..HEADER)?;
    let (unknown, count) = unknown(request)?;
    let mut out = Writer { buffer, len: HEADER };
    let kind = if count == 0 {
        mapped(&mut out, transaction, source);
        BINDING_SUCCESS
    } else {
        refusal(&mut out, unknown.get(..count).unwrap_or_default());
        BINDING_ERROR
    };
    let len = out.len;
    out.len = 0;
    out.put(&kind.to_be_bytes());
    out.put(&u16::try_from(len - HEADER).ok()?.to_be_bytes());
    out.put(&COOKIE.to_be_bytes());
    out.put(transaction);
    Some(len)
}

/// Fills a buffer that is long enough.
struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.buffer[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// The head of an attribute whose value has so many bytes, a multiple of four.
    fn attribute(&mut self, kind: u16, len: u8) {
        self.put(&kind.to_be_bytes());
        self.put(&[0, len]);
    }
}

/// The attributes that must be understood and are not, and how many: none has a meaning in a keep-alive.
fn unknown(request: &[u8]) -> Option<([u16; UNKNOWN_MAX], usize)> {
    let (mut at, mut unknown, mut count) = (HEADER, [0; UNKNOWN_MAX], 0);
    while at < request.len() {
        let (kind, length) = (word(request, at)?, usize::from(word(request, at + 2)?));
        if kind < OPTIONAL
            && let Some(place) = unknown.get_mut(count)
        {
            *place = kind;
            count += 1;
        }
        at += 4 + length.next_multiple_of(4);
    }
    (at == request.len()).then_some((unknown, count))
}

/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn mapped(out: &mut Writer<'_>, transaction: &[u8], source: SocketAddr) {
    let mask = COOKIE.to_be_bytes();
    let port = source.port() ^ u16::from_be_bytes([mask[0], mask[1]]);
    let head = |out: &mut Writer<'_>, len, family| {
        out.attribute(XOR_MAPPED_ADDRESS, len);
        out.put(&[0, family]);
        out.put(&port.to_be_bytes());
    };
    let masked = |out: &mut Writer<'_>, address: &[u8]| {
        address.iter().zip(mask.iter().chain(transaction)).for_each(|(byte, mask)| out.put(&[byte ^ mask]));
    };
    match source.ip().to_canonical() {
        IpAddr::V4(address) => {
            head(out, 8, 1);
            masked(out, &address.octets());
        }
        IpAddr::V6(address) => {
            head(out, 20, 2);
            masked(out, &address.octets());
        }
    }
}

/// 420 (RFC 8489 §6.3.1), padded to whole words (§14).
fn refusal(out: &mut Writer<'_>, unknown: &[u16]) {
    out.attribute(ERROR_CODE, 4);
    out.put(&[0, 0, 4, 20]);
    let bytes = 2 * unknown.len();
    out.put(&UNKNOWN_ATTRIBUTES.to_be_bytes());
    out.put(&u16::try_from(bytes).unwrap_or_default().to_be_bytes());
    unknown.iter().for_each(|kind| out.put(&kind.to_be_bytes()));
    out.put([0; 4].get(..bytes.next_multiple_of(4) - bytes).unwrap_or_default());
}

#[cfg(test)]
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = kind.to_be_bytes().to_vec();
    attribute.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut request = vec![0, 1, 0, u8::try_from(attributes.len()).unwrap(), 0x21, 0x12, 0xA4, 0x42];
        request.extend(1..=12);
        request.extend(attributes);
        request
    }

    fn answer(request: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
        let mut buffer = [0xEE; ANSWER_MAX];
        let len = super::answer(request, source, &mut buffer)?;
        Some(buffer[..len].to_vec())
    }

    /// RFC 8489 §14.2: port and address under the cookie, and for IPv6 under the transaction too.
    #[test]
    fn the_answer_says_where_it_came_from() {
        let asked = request(&[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
        assert!(is_request(&asked));
        let v4 = answer(&asked, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(&v4[..20], &[&[1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42][..], &asked[8..20]].concat());
        assert_eq!(v4[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = answer(&asked, "[2001:db8::1]:32853".parse().unwrap()).unwrap();
        assert_eq!((v6.len(), &v6[20..26]), (44, &[0, 0x20, 0, 20, 0, 2][..]));
        assert_eq!(v6[28..44], [1, 0x13, 0xa9, 0xfa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 ^ 1]);
    }

    /// RFC 8489 §6.3.1: what must be understood and is not is refused with 420.
    #[test]
    fn unknown_attributes_are_refused_and_bounded() {
        let many = [0, 0x06, 0, 0].repeat(9);
        let refused = answer(&request(&many), "192.0.2.1:1".parse().unwrap()).unwrap();
        assert_eq!(refused[..2], BINDING_ERROR.to_be_bytes());
        assert_eq!(refused[20..28], [0, 9, 0, 4, 0, 0, 4, 20]);
        assert_eq!(refused[28..], [[0, 10, 0, 8].as_slice(), &[0, 6].repeat(4)].concat());
    }

    #[test]
    fn only_whole_binding_requests_are_answered() {
        let good = request(&[]);
        for (at, value) in [(0, 1), (1, 0x11), (3, 4), (3, 1), (4, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(!is_request(&bad), "{bad:?}");
        }
        assert!(!is_request(&good[..19]) && !is_request(b""));
        assert_eq!(answer(&request(&[0x80, 0x22, 0, 9]), "192.0.2.1:1".parse().unwrap()), None);
    }
}
