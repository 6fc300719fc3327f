//! The digest hash itself (RFC 7616 §3.4, RFC 8760): algorithms, HA1, and the expected response.
//!
//! Everything works on buffers on the stack: a flood of wrong credentials costs hashing, never memory.

use std::fmt;
use std::hint::black_box;

use md5::Md5;
use sha2::{Digest, Sha256};

/// A digest algorithm (RFC 8760 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// The one that every phone knows.
    Md5,
    /// The one to prefer where the phones know it.
    Sha256,
}

impl Algorithm {
    /// Every algorithm that we know.
    pub const ALL: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];

    /// Challenge order where nothing else is configured. MD5 leads because many phones read only the
    /// first challenge.
    pub const DEFAULT: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];

    /// As in a challenge: `SHA-256`.
    pub const fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Bytes of its hash.
    pub const fn hash_len(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 => 32,
        }
    }

    /// From a header or a configuration; tokens compare case-insensitively (RFC 3261 §7.3.1).
    pub fn from_token(token: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.token().eq_ignore_ascii_case(token))
    }

    /// The hash of `parts` joined by colons, as every step of RFC 7616 §3.4 wants it.
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        match self {
            Algorithm::Md5 => Hash::of::<Md5>(parts),
            Algorithm::Sha256 => Hash::of::<Sha256>(parts),
        }
    }

    /// HA1: the hash of `username:realm:password` (RFC 7616 §3.4.2).
    pub fn ha1(self, username: &str, realm: &str, password: &str) -> Hash {
        self.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
    }
}

/// What a request's credentials hash over, besides HA1; all of it as sent.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The `uri` parameter.
    pub uri: &'a str,
    /// The `nonce` parameter.
    pub nonce: &'a str,
    /// The `nc` parameter.
    pub nonce_count: &'a str,
    /// The `cnonce` parameter.
    pub cnonce: &'a str,
}

impl Exchange<'_> {
    /// The response that whoever knows the password sends, for qop=auth (RFC 7616 §3.4.1).
    pub fn response(&self, algorithm: Algorithm, ha1: &Hash) -> Hash {
        let ha2 = algorithm.hash(&[self.method.as_bytes(), self.uri.as_bytes()]);
        algorithm.hash(&[
            ha1.hex().as_bytes(),
            self.nonce.as_bytes(),
            self.nonce_count.as_bytes(),
            self.cnonce.as_bytes(),
            b"auth",
            ha2.hex().as_bytes(),
        ])
    }
}

/// A hash of 16 or 32 bytes. `Debug` shows its length only, because an HA1 is as good as a password.
#[derive(Clone, Copy)]
pub struct Hash {
    bytes: [u8; 32],
    len: usize,
}

impl Hash {
    fn of<D: Digest>(parts: &[&[u8]]) -> Hash {
        let mut hasher = D::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                hasher.update(b":");
            }
            hasher.update(part);
        }
        Hash::take(&hasher.finalize(), 32)
    }

    /// The first `len` bytes of `bytes`, 32 at most.
    pub(super) fn take(bytes: &[u8], len: usize) -> Hash {
        let len = len.min(bytes.len()).min(32);
        let mut hash = Hash { bytes: [0; 32], len };
        hash.bytes[..len].copy_from_slice(&bytes[..len]);
        hash
    }

    /// From hexadecimal digits of either case; `None` unless there are exactly 32 or 64.
    pub fn from_hex(text: &str) -> Option<Hash> {
        if !matches!(text.len(), 32 | 64) {
            return None;
        }
        let mut hash = Hash { bytes: [0; 32], len: text.len() / 2 };
        decode_hex(text, &mut hash.bytes[..text.len() / 2]).then_some(hash)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// In lower-case hexadecimal.
    pub fn hex(&self) -> Hex {
        let mut hex = Hex { digits: [0; 64], len: self.len * 2 };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn same(&self, other: &Hash) -> bool {
        let difference = self.bytes.iter().zip(other.bytes).fold(0, |seen, (a, b)| seen | (a ^ b));
        black_box(difference) == 0 && self.len == other.len
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({} bytes)", self.len)
    }
}

/// The hexadecimal form of a [`struct@Hash`].
#[derive(Clone, Copy)]
pub struct Hex {
    digits: [u8; 64],
    len: usize,
}

impl Hex {
    /// The digits as ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.len]
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Fills `bytes` from hexadecimal digits of either case; false when `text` is not exactly that.
pub(super) fn decode_hex(text: &str, bytes: &mut [u8]) -> bool {
    fn digit(byte: u8) -> Option<u8> {
        char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
    }
    text.len() == bytes.len() * 2
        && text.as_bytes().chunks_exact(2).zip(bytes).all(|(pair, byte)| {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, both algorithms.
    #[test]
    fn rfc_7616_examples() {
        let exchange = Exchange {
            method: "GET",
            uri: "/dir/index.html",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            nonce_count: "00000001",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        };
        let cases = [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ];
        for (algorithm, response) in cases {
            let ha1 = algorithm.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
            assert_eq!(exchange.response(algorithm, &ha1).hex().to_string(), response);
        }
    }

    /// RFC 2617 §3.5.
    #[test]
    fn rfc_2617_example() {
        let ha1 = Algorithm::Md5.ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(ha1.hex().to_string(), "939e7578ed9e3c518a452acee763bce9");
        let exchange = Exchange {
            method: "GET",
            uri: "/dir/index.html",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            nonce_count: "00000001",
            cnonce: "0a4f113b",
        };
        let response = exchange.response(Algorithm::Md5, &ha1);
        assert_eq!(response.hex().to_string(), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        let hash = Algorithm::Sha256.hash(&[b"a", b"b"]);
        let text = hash.hex().to_string();
        assert!(Hash::from_hex(&text).unwrap().same(&hash));
        assert!(Hash::from_hex(&text.to_uppercase()).unwrap().same(&hash));
        for wrong in ["", "00", "zz", &text[..62], &text[..63], &format!("{}é", &text[..62])] {
            assert!(Hash::from_hex(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn hashes_of_other_length_or_content_differ() {
        let md5 = Algorithm::Md5.hash(&[b"a"]);
        let sha = Algorithm::Sha256.hash(&[b"a"]);
        assert!(!md5.same(&sha) && !md5.same(&Algorithm::Md5.hash(&[b"b"])) && md5.same(&md5));
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", Algorithm::Md5.ha1("1001", "pbx", "secret")), "Hash(16 bytes)");
    }
}
