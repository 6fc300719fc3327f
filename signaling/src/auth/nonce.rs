//! Nonces that need no memory (RFC 7616 §5.4): the time of issue and a salt, sealed with an HMAC over
//! both, the source's address and the realm.
//!
//! ```text
//! nonce = hex( issued: 8 bytes, microseconds since 1970 | salt: 4 bytes | HMAC-SHA-256, first 16 bytes )
//! ```
//!
//! The salt keeps two phones behind one NAT apart, which otherwise would share a nonce and fail each
//! other's count. What a nonce does not do is count its uses: `window` does.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use dialtone_core::Wall;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::digest::{Hash, decode_hex};

/// How long a nonce may be used after its issue when nothing is configured. Longer saves round trips, shorter
/// saves replay memory.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// How far a nonce may lie in the future: the wall clock was set back meanwhile.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

const ID_BYTES: usize = 12;
const SEAL_BYTES: usize = 16;
/// Characters of a nonce.
pub const NONCE_LEN: usize = 2 * (ID_BYTES + SEAL_BYTES);

/// What seals nonces and the answers that must look alike. Random, 32 bytes, and fresh at each start: the
/// counts of an earlier process's nonces are forgotten, so those nonces must not be valid either.
#[derive(Clone)]
pub struct NonceKey {
    seal: Hmac<Sha256>,
    lifetime: Duration,
}

impl NonceKey {
    /// From random bytes.
    pub fn new(secret: [u8; 32]) -> NonceKey {
        // HMAC pads a key shorter than its block with zeros (RFC 2104 §2).
        let mut block = [0; 64];
        block[..32].copy_from_slice(&secret);
        NonceKey { seal: Hmac::new(&block.into()), lifetime: NONCE_LIFETIME }
    }

    /// The same key for nonces that live for so long.
    pub fn with_lifetime(self, lifetime: Duration) -> NonceKey {
        NonceKey { lifetime, ..self }
    }

    /// How long a nonce may be used after its issue.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A nonce for `source`. Equal `salt`s at the same microsecond give the same nonce, so callers count or
    /// draw them.
    pub fn issue(&self, source: IpAddr, realm: &str, now: Wall, salt: u32) -> String {
        let id = NonceId { issued: now, salt };
        let seal = self.seal(id, source, realm);
        format!("{}{}", Hash::take(&id.to_bytes(), ID_BYTES).hex(), seal.hex())
    }

    /// Whether we issued `nonce` to `source` for `realm`, and not longer ago than it lives.
    pub fn is_fresh(&self, nonce: &str, source: IpAddr, realm: &str, now: Wall) -> bool {
        let mut bytes = [0; ID_BYTES + SEAL_BYTES];
        if !decode_hex(nonce, &mut bytes) {
            return false;
        }
        let (id, seal) = bytes.split_at(ID_BYTES);
        let id = NonceId::from_bytes(id);
        let age_us = now.as_micros().saturating_sub(id.issued.as_micros());
        let sealed = self.seal(id, source, realm).same(&Hash::take(seal, SEAL_BYTES));
        sealed && age_us <= micros(self.lifetime) && age_us >= -micros(CLOCK_SLACK)
    }

    /// A keyed hash of `parts` for anything that must be stable, unguessable and cost no memory: To tags of
    /// stateless answers, the HA1 of accounts that do not exist. `label` keeps the uses apart.
    pub fn derive(&self, label: &str, parts: &[&[u8]]) -> Hash {
        let mut mac = self.seal.clone();
        mac.update(label.as_bytes());
        for part in parts {
            // Lengths keep ("ab", "c") and ("a", "bc") apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Hash::take(&mac.finalize().into_bytes(), 32)
    }

    fn seal(&self, id: NonceId, source: IpAddr, realm: &str) -> Hash {
        // A phone's IPv4 address and its form in IPv6 are one source.
        let source = match source.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let whole = self.derive("nonce", &[&id.to_bytes(), &source, realm.as_bytes()]);
        Hash::take(whole.as_bytes(), SEAL_BYTES)
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey")
    }
}

/// What tells one nonce from another, in order of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NonceId {
    issued: Wall,
    salt: u32,
}

impl NonceId {
    /// Of a nonce that [`NonceKey::is_fresh`] has accepted; `None` when it cannot be one of ours.
    pub(super) fn of(nonce: &str) -> Option<NonceId> {
        let mut bytes = [0; ID_BYTES + SEAL_BYTES];
        decode_hex(nonce, &mut bytes).then(|| NonceId::from_bytes(&bytes[..ID_BYTES]))
    }

    fn to_bytes(self) -> [u8; ID_BYTES] {
        let mut bytes = [0; ID_BYTES];
        bytes[..8].copy_from_slice(&self.issued.as_micros().to_be_bytes());
        bytes[8..].copy_from_slice(&self.salt.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> NonceId {
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        NonceId { issued: Wall::from_micros(number(&bytes[..8]) as i64), salt: number(&bytes[8..]) as u32 }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_361_388_000_000;

    fn at(seconds: i64) -> Wall {
        Wall::from_micros(START + seconds * 1_000_000)
    }

    #[test]
    fn a_nonce_is_fresh_for_its_source_realm_and_lifetime() {
        let key = NonceKey::new([7; 32]);
        let source: IpAddr = "192.0.2.7".parse().unwrap();
        let nonce = key.issue(source, "pbx", at(0), 1);
        assert_eq!(nonce.len(), NONCE_LEN);
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let other: IpAddr = "192.0.2.8".parse().unwrap();
        let cases = [
            (source, "pbx", 0, true),
            (source, "pbx", 300, true),
            (source, "pbx", 301, false),
            (source, "pbx", -2, true),
            (source, "pbx", -3, false),
            (mapped, "pbx", 0, true),
            (other, "pbx", 0, false),
            (source, "other", 0, false),
        ];
        for (from, realm, seconds, fresh) in cases {
            assert_eq!(key.is_fresh(&nonce, from, realm, at(seconds)), fresh, "{from} {realm} {seconds}");
        }
        assert!(!NonceKey::new([8; 32]).is_fresh(&nonce, source, "pbx", at(0)), "another key");
    }

    #[test]
    fn any_change_to_a_nonce_makes_it_strange() {
        let key = NonceKey::new([7; 32]);
        let source: IpAddr = "2001:db8::1".parse().unwrap();
        let nonce = key.issue(source, "pbx", at(0), 77);
        for index in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!key.is_fresh(&changed, source, "pbx", at(0)), "{index}");
        }
        for strange in ["", "0", &nonce[1..], &format!("{nonce}00"), "é"] {
            assert!(!key.is_fresh(strange, source, "pbx", at(0)), "{strange}");
        }
    }

    #[test]
    fn salts_keep_nonces_of_one_instant_apart() {
        let key = NonceKey::new([7; 32]);
        let source: IpAddr = "192.0.2.7".parse().unwrap();
        let nonces = [1, 2].map(|salt| key.issue(source, "pbx", at(0), salt));
        assert_ne!(nonces[0], nonces[1]);
        assert!(NonceId::of(&nonces[0]).unwrap() < NonceId::of(&nonces[1]).unwrap());
        assert_eq!(NonceId::of("nonsense"), None);
    }

    #[test]
    fn derived_hashes_depend_on_label_and_boundaries() {
        let key = NonceKey::new([7; 32]);
        let base = key.derive("tag", &[b"ab", b"c"]);
        assert!(base.same(&key.derive("tag", &[b"ab", b"c"])));
        assert!(!base.same(&key.derive("tag", &[b"a", b"bc"])));
        assert!(!base.same(&key.derive("ha1", &[b"ab", b"c"])));
    }
}
