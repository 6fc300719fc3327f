//! The only source of chance: a small generator (SplitMix64), so that a seed says everything about a run.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// One of many independent streams of a seed: what one of them draws does not shift another.
    pub fn new(seed: u64, stream: u64) -> Rng {
        let mut rng =
            Rng(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `n` − 1; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    /// `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// True so many times out of a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// One of these by weight.
    pub fn weighted<T: Copy>(&mut self, from: &[(T, u64)]) -> Option<T> {
        let all: u64 = from.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(all);
        from.iter().find_map(|(what, weight)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            (hit && all > 0).then_some(*what)
        })
    }
}
