//! What a leg hears when no other leg feeds it, as samples.

use std::sync::Arc;

use crate::g711::Law;
use crate::tone::{Ringback, Tone};

/// A source of samples.
#[derive(Clone, Debug)]
pub enum Generator {
    /// A sine.
    Tone(Tone),
    /// The ringing tone.
    Ringback(Ringback),
    /// A prompt, and how many of its samples were played.
    Prompt {
        /// Its samples.
        samples: Arc<[i16]>,
        /// The next one.
        position: usize,
    },
}

impl Generator {
    /// The next samples, filled up with silence after the end. Returns whether it has come to its end.
    pub fn fill(&mut self, law: Law, out: &mut [i16]) -> bool {
        match self {
            Generator::Tone(tone) => tone.fill(law, out),
            Generator::Ringback(ringback) => ringback.fill(law, out),
            Generator::Prompt { samples, position } => {
                let rest = samples.get(*position..).unwrap_or_default();
                let length = rest.len().min(out.len());
                out[..length].copy_from_slice(&rest[..length]);
                out[length..].fill(0);
                *position += length;
                return *position >= samples.len();
            }
        }
        false
    }

    /// Whether it comes to an end, which somebody waits for.
    pub fn ends(&self) -> bool {
        matches!(self, Generator::Prompt { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_ends_with_its_last_sample() {
        let mut prompt = Generator::Prompt { samples: [1, 2, 3, 4, 5].into(), position: 0 };
        let mut frame = [9; 2];
        assert!(!prompt.fill(Law::A, &mut frame));
        assert!(!prompt.fill(Law::A, &mut frame));
        assert!(prompt.fill(Law::A, &mut frame));
        assert_eq!(frame, [5, 0]);
        let mut exact = Generator::Prompt { samples: [1, 2].into(), position: 0 };
        assert!(exact.fill(Law::A, &mut frame), "the end is known at once");
    }
}
