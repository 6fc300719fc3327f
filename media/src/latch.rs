//! Where the peer really is: learned once from its first valid packet, then locked.
//!
//! ```text
//!          first valid packet                 Configure, relatch
//!  Open ───────────────────────▶ Locked ◀───────────────────────▶ Relearning
//!  to: as signalled              to: its source   a new source, or    to: as signalled
//!                                from: it alone   the old one after   from: old, or the first new one
//!                                                 RELEARN_WINDOW
//! ```
//!
//! Symmetric RTP (RFC 4961) behind an address translator needs the learning; an attacker who sends to
//! a media port ("RTP bleed") is why it happens once. While the source is relearned, the old one
//! still counts: packets under way must neither be lost nor end the search for the new one.

use std::net::SocketAddr;
use std::time::Duration;

use dialtone_core::Mono;

/// How long after a re-negotiation a new source may take over. A peer that still sends from its old
/// address after that did not move, and the door is shut.
pub const RELEARN_WINDOW: Duration = Duration::from_secs(2);

/// What a source is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the peer.
    Known,
    /// It is the peer as of this packet.
    Latched,
    /// It is somebody else: drop and count.
    Wrong,
}

/// One socket's knowledge of its peer.
#[derive(Clone, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Locked { source: SocketAddr },
    Relearning { old: SocketAddr, since: Mono },
}

impl Latch {
    /// A latch that waits for its first packet and sends to where signaling said.
    pub fn new(signalled: SocketAddr) -> Self {
        Self { signalled, state: State::Open }
    }

    /// Signaling named an address (again). A locked source stays, unless `relatch` allows another.
    pub fn signal(&mut self, now: Mono, signalled: SocketAddr, relatch: bool) {
        self.signalled = signalled;
        self.state = match self.state {
            State::Locked { source: old } | State::Relearning { old, .. } if relatch => {
                State::Relearning { old, since: now }
            }
            kept => kept,
        };
    }

    /// Whether a packet from `source` would be the peer's, without learning from it.
    pub fn admits(&self, source: SocketAddr) -> bool {
        match self.state {
            State::Locked { source: locked } => locked == source,
            State::Open | State::Relearning { .. } => true,
        }
    }

    /// Takes note of a packet that is valid in all other respects.
    pub fn learn(&mut self, now: Mono, source: SocketAddr) -> Verdict {
        match self.state {
            State::Locked { source: locked } if locked == source => Verdict::Known,
            State::Locked { .. } => Verdict::Wrong,
            State::Relearning { old, since } if old == source => {
                if now.since(since) >= RELEARN_WINDOW {
                    self.state = State::Locked { source };
                }
                Verdict::Known
            }
            State::Open | State::Relearning { .. } => {
                self.state = State::Locked { source };
                Verdict::Latched
            }
        }
    }

    /// Where to send: the locked source, else where signaling said. `None` when that is no place:
    /// port 0 (RFC 3264 §5.1) or the unspecified address of an old-style hold (RFC 2543 §B.5).
    pub fn destination(&self) -> Option<SocketAddr> {
        let to = match self.state {
            State::Locked { source } => source,
            State::Open | State::Relearning { .. } => self.signalled,
        };
        // A hold by address is said in signaling; the source that was learned before is no way around it.
        let silenced = self.signalled.port() == 0 || self.signalled.ip().is_unspecified();
        (!silenced).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn ms(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn the_first_source_is_locked() {
        let mut latch = Latch::new(at(1));
        assert_eq!(latch.destination(), Some(at(1)));
        assert_eq!(latch.learn(ms(0), at(2)), Verdict::Latched);
        assert_eq!(latch.destination(), Some(at(2)));
        assert_eq!(latch.learn(ms(1), at(1)), Verdict::Wrong);
        assert_eq!(latch.learn(ms(2), at(2)), Verdict::Known);
        // A re-negotiation without a new address changes nothing.
        latch.signal(ms(3), at(1), false);
        assert_eq!(latch.learn(ms(4), at(3)), Verdict::Wrong);
        assert_eq!(latch.destination(), Some(at(2)));
    }

    #[test]
    fn relearning_keeps_the_old_source_until_the_new_one_speaks() {
        let mut latch = Latch::new(at(1));
        latch.learn(ms(0), at(2));
        latch.signal(ms(10), at(5), true);
        assert_eq!(latch.destination(), Some(at(5)), "the peer said that it listens there now");
        assert_eq!(latch.learn(ms(20), at(2)), Verdict::Known);
        assert_eq!(latch.learn(ms(30), at(6)), Verdict::Latched);
        assert_eq!(latch.learn(ms(40), at(2)), Verdict::Wrong);
        assert_eq!(latch.destination(), Some(at(6)));
    }

    #[test]
    fn the_door_shuts_when_the_peer_did_not_move() {
        let mut latch = Latch::new(at(1));
        latch.learn(ms(0), at(2));
        latch.signal(ms(10), at(5), true);
        assert_eq!(latch.learn(ms(2_010), at(2)), Verdict::Known);
        assert_eq!(latch.learn(ms(2_020), at(6)), Verdict::Wrong);
        assert_eq!(latch.destination(), Some(at(2)));
    }

    #[test]
    fn nothing_is_sent_to_no_place() {
        let mut latch = Latch::new(at(1));
        latch.learn(ms(0), at(2));
        latch.signal(ms(1), SocketAddr::from(([0, 0, 0, 0], 9)), false);
        assert_eq!(latch.destination(), None);
        assert_eq!(Latch::new(at(0)).destination(), None);
    }

    proptest! {
        /// Without a relatch, only the first source is ever the peer.
        #[test]
        fn no_sequence_of_packets_moves_a_lock(ports in proptest::collection::vec(1u16..6, 1..40)) {
            let mut latch = Latch::new(at(9));
            for (step, port) in ports.iter().enumerate() {
                let verdict = latch.learn(ms(step as u64 * 700), at(*port));
                let expected = match step {
                    0 => Verdict::Latched,
                    _ if *port == ports[0] => Verdict::Known,
                    _ => Verdict::Wrong,
                };
                prop_assert_eq!(verdict, expected);
                prop_assert_eq!(latch.destination(), Some(at(ports[0])));
            }
        }
    }
}
