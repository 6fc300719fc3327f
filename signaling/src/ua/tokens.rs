//! Tags, branches and Call-IDs: unguessable, and repeatable from a seed.

use dialtone_core::NodeId;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::message::{MAGIC_COOKIE, push_hex, push_number};

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
        let mut tag = self.of_node();
        push_hex(&mut tag, self.random.next_u64());
        tag
    }

    /// A branch (RFC 3261 §8.1.1.7).
    pub fn branch(&mut self) -> String {
        let mut branch = String::with_capacity(24);
        branch.push_str(MAGIC_COOKIE);
        push_hex(&mut branch, self.random.next_u64());
        branch
    }

    /// A Call-ID (RFC 3261 §8.1.1.4).
    pub fn call_id(&mut self) -> String {
        let mut call_id = self.of_node();
        push_hex(&mut call_id, self.random.next_u64());
        push_hex(&mut call_id, self.random.next_u64());
        call_id
    }

    /// What begins with the node.
    fn of_node(&self) -> String {
        let mut text = String::with_capacity(40);
        push_number(&mut text, self.node.0);
        text.push('.');
        text
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
