//! STUN keep-alives on the SIP port: RFC 5626 §8, with binding requests and answers of RFC 5389.
//!
//! A phone behind a NAT asks from time to time what its address looks like from here: that holds the NAT's binding
//! open, and tells it when it has changed. Nothing is remembered; an answer is at most 56 bytes, and shares the
//! budget of datagrams of its source.

use std::net::{IpAddr, SocketAddr};

pub(super) const HEADER: usize = 20;
pub(super) const COOKIE: u32 = 0x2112_A442;
pub(super) const BINDING_REQUEST: u16 = 0x0001;
pub(super) const BINDING_SUCCESS: u16 = 0x0101;
pub(super) const BINDING_ERROR: u16 = 0x0111;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// Attributes below must be understood (RFC 5389 §15).
pub(super) const OPTIONAL: u16 = 0x8000;
/// Unknown attributes that an answer names.
const UNKNOWN_MAX: usize = 4;

/// Whether a datagram is a binding request.
pub(super) fn is_request(datagram: &[u8]) -> bool {
    let words = (word(datagram, 0), word(datagram, 2), long(datagram, 4));
    matches!(words, (Some(BINDING_REQUEST), Some(length), Some(COOKIE))
        if usize::from(length) + HEADER == datagram.len() && length.is_multiple_of(4))
}

/// The answer to a binding request from `source`; `None` when its attributes cannot be read.
pub(super) fn answer(request: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let transaction = request.get(8..HEADER)?;
    let unknown = unknown(request)?;
    let (kind, body) = if unknown.is_empty() {
        (BINDING_SUCCESS, mapped(transaction, source))
    } else {
        (BINDING_ERROR, refusal(&unknown))
    };
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(kind.to_be_bytes());
    message.extend(u16::try_from(body.len()).ok()?.to_be_bytes());
    message.extend(COOKIE.to_be_bytes());
    message.extend(transaction);
    message.extend(body);
    Some(message)
}

/// The attributes that must be understood and are not: none has a meaning in a keep-alive.
fn unknown(request: &[u8]) -> Option<Vec<u16>> {
    let (mut at, mut unknown) = (HEADER, Vec::new());
    while at < request.len() {
        let (kind, length) = (word(request, at)?, usize::from(word(request, at + 2)?));
        if kind < OPTIONAL && unknown.len() < UNKNOWN_MAX {
            unknown.push(kind);
        }
        at += 4 + length.next_multiple_of(4);
    }
    (at == request.len()).then_some(unknown)
}

/// XOR-MAPPED-ADDRESS (RFC 5389 §15.2).
fn mapped(transaction: &[u8], source: SocketAddr) -> Vec<u8> {
    let address = match source.ip().to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mask = COOKIE.to_be_bytes();
    let family = if address.len() == 4 { 1 } else { 2 };
    let port = source.port() ^ u16::from_be_bytes([mask[0], mask[1]]);
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(address.iter().zip(mask.iter().chain(transaction)).map(|(byte, mask)| byte ^ mask));
    attribute(XOR_MAPPED_ADDRESS, &value)
}

/// 420 (RFC 5389 §7.3.1).
fn refusal(unknown: &[u16]) -> Vec<u8> {
    let mut body = attribute(ERROR_CODE, &[0, 0, 4, 20]);
    let kinds: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    body.extend(attribute(UNKNOWN_ATTRIBUTES, &kinds));
    body
}

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

    /// RFC 5389 §15.2: port and address under the cookie, and for IPv6 under the transaction too.
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

    /// RFC 5389 §7.3.1: what must be understood and is not is refused with 420.
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
