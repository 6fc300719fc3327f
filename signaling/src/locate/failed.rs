//! Targets that did not work a moment ago: RFC 3263 §4.3, RFC 3261 §21.5.4.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dialtone_core::Mono;

use super::hop::Target;

/// Targets that are remembered; the oldest goes.
const FAILED_MAX: usize = 1024;
/// The longest rest that a Retry-After gets.
const REST_MAX: Duration = Duration::from_secs(600);

/// How a target failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// It said nothing, or could not be reached, or was overloaded without saying for how long: tried last.
    Silent,
    /// It asked to be left alone for so long: not tried (RFC 3261 §21.5.4).
    Asked(Duration),
}

/// See the module.
#[derive(Default)]
pub(super) struct Failed {
    until: HashMap<Target, (Mono, bool)>,
    /// The targets of `until`, as they came in.
    order: VecDeque<Target>,
}

impl Failed {
    pub fn len(&self) -> usize {
        self.until.len()
    }

    pub fn remember(&mut self, now: Mono, target: Target, failing: Failing, failed_for: Duration) {
        let (rest, asked) = match failing {
            Failing::Silent => (failed_for, false),
            Failing::Asked(rest) => (rest.min(REST_MAX), true),
        };
        if self.until.insert(target, (now + rest, asked)).is_none() {
            self.order.push_back(target);
        }
        while let Some(oldest) = self.order.front().copied()
            && (self.order.len() > FAILED_MAX || self.until.get(&oldest).is_none_or(|(at, _)| *at <= now))
        {
            self.order.pop_front();
            self.until.remove(&oldest);
        }
    }

    /// It works again.
    pub fn forgive(&mut self, target: Target) {
        if let Some(failed) = self.until.get_mut(&target) {
            // Its place in the order stays until its turn comes.
            *failed = (Mono::ZERO, false);
        }
    }

    /// Takes out those that want to be left alone, and puts those that failed last, each among themselves in their
    /// order.
    pub fn sort(&self, now: Mono, targets: &mut Vec<Target>) {
        let failing = |target: &Target| self.until.get(target).filter(|(until, _)| now < *until);
        targets.retain(|target| failing(target).is_none_or(|(_, asked)| !asked));
        targets.sort_by_key(|target| failing(target).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Transport;

    fn target(last: u8) -> Target {
        Target { transport: Transport::Udp, address: ([192, 0, 2, last], 5060).into() }
    }

    fn order(failed: &Failed, seconds: u64) -> Vec<u8> {
        let mut targets = vec![target(1), target(2), target(3)];
        failed.sort(Mono::ZERO + Duration::from_secs(seconds), &mut targets);
        targets.iter().map(|target| target.address.to_string().as_bytes()[8] - b'0').collect()
    }

    /// RFC 3263 §4.3, RFC 3261 §21.5.4: silent ones come last, those with a Retry-After not at all, for their time.
    #[test]
    fn what_failed_is_tried_last_for_a_while() {
        let (mut failed, seconds) = (Failed::default(), Duration::from_secs);
        failed.remember(Mono::ZERO, target(1), Failing::Silent, seconds(30));
        failed.remember(Mono::ZERO, target(2), Failing::Asked(seconds(10)), seconds(30));
        assert_eq!(order(&failed, 9), [3, 1]);
        assert_eq!(order(&failed, 10), [2, 3, 1]);
        assert_eq!(order(&failed, 30), [1, 2, 3]);
        failed.remember(Mono::ZERO, target(1), Failing::Silent, seconds(30));
        failed.forgive(target(1));
        assert_eq!(order(&failed, 5), [1, 3], "it works again");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut failed = Failed::default();
        for index in 0..3000_u16 {
            let address = ([192, 0, 2, 1], index).into();
            let target = Target { transport: Transport::Udp, address };
            failed.remember(Mono::ZERO, target, Failing::Silent, Duration::from_secs(30));
        }
        assert_eq!((failed.len(), failed.order.len()), (FAILED_MAX, FAILED_MAX));
    }
}
