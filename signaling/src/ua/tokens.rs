//! Tags, branches and Call-IDs: unguessable, and repeatable from a seed.

use dialtone_core::NodeId;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::message::MAGIC_COOKIE;

/// A seeded source of tokens. Tags carry the node, so that any machine of a cluster can see from a
/// request to whom its dialog belongs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    random: ChaCha12Rng,
    node: NodeId,
}

impl Tokens {
    /// The same seed gives the same tokens.
    pub fn new(seed: [u8; 32], node: NodeId) -> Self {
        Tokens { random: ChaCha12Rng::from_seed(seed), node }
    }

    /// A From or To tag: 64 random bits (RFC 3261 §19.3 asks for 32).
    pub fn tag(&mut self) -> String {
        format!("{}.{:016x}", self.node.0, self.random.next_u64())
    }

    /// A branch (RFC 3261 §8.1.1.7).
    pub fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{:016x}", self.random.next_u64())
    }

    /// A Call-ID (RFC 3261 §8.1.1.4).
    pub fn call_id(&mut self) -> String {
        format!("{}.{:016x}{:016x}", self.node.0, self.random.next_u64(), self.random.next_u64())
    }

    /// An SDP session id: fits in 63 bits, as some peers read it signed (RFC 3264 §5).
    pub fn session_id(&mut self) -> u64 {
        self.random.next_u64() >> 2
    }

    /// The salt of a nonce.
    pub fn salt(&mut self) -> u32 {
        self.random.next_u32()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { self.random.next_u32() % bound }
    }
}
