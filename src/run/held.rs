//! What is sent only after a call was noted that it tells of: the keeper sends it, when it has noted the call.
//!
//! What goes to the same peer afterwards follows it on that way, so that nothing overtakes.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of those that were held the keeper has sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Released(Arc<AtomicU64>);

impl Released {
    /// One more is sent.
    pub fn one(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What is on its way through the keeper.
#[derive(Debug, Default)]
pub(super) struct Held {
    under_way: VecDeque<SocketAddr>,
    to: HashMap<SocketAddr, u32>,
    /// How many are known to be sent.
    gone: u64,
    released: Released,
}

impl Held {
    /// For the keeper.
    pub fn released(&self) -> Released {
        self.released.clone()
    }

    /// Something to this peer goes through the keeper.
    pub fn hold(&mut self, remote: SocketAddr) {
        self.under_way.push_back(remote);
        *self.to.entry(remote).or_default() += 1;
    }

    /// Whether something to this peer is still on its way through the keeper.
    pub fn holds(&mut self, remote: SocketAddr) -> bool {
        if self.under_way.is_empty() {
            return false;
        }
        let released = self.released.0.load(Ordering::Acquire);
        while self.gone < released {
            let Some(remote) = self.under_way.pop_front() else { break };
            self.gone += 1;
            if let Some(count) = self.to.get_mut(&remote) {
                *count -= 1;
                if *count == 0 {
                    self.to.remove(&remote);
                }
            }
        }
        self.to.contains_key(&remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_held_until_the_last_of_it_is_sent() {
        let (mut held, a, b) =
            (Held::default(), "192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
        let keeper = held.released();
        assert!(!held.holds(a));
        [a, b, a].into_iter().for_each(|remote| held.hold(remote));
        keeper.one();
        assert_eq!((held.holds(a), held.holds(b)), (true, true));
        keeper.one();
        assert_eq!((held.holds(a), held.holds(b)), (true, false));
        keeper.one();
        assert!(!held.holds(a));
        held.hold(b);
        assert!(held.holds(b));
        keeper.one();
        assert!(!held.holds(b));
        assert!(held.to.is_empty());
    }
}
