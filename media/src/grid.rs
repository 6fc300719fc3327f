//! An absolute grid of instants, for the 20 ms tick and the slow round.
//!
//! A round that comes too late is skipped and counted: played after each other in a burst, late
//! frames would only be late ones.

use std::time::Duration;

use dialtone_core::Mono;

/// When the next round is due, and how far the present one has come.
#[derive(Clone, Debug)]
pub struct Grid {
    period: Duration,
    next: Option<Mono>,
    /// Nominal time of the present round.
    at: Mono,
    /// Members that the present round has not visited.
    left: usize,
    /// Rounds that were skipped before the present one.
    skipped: u64,
    /// How long after it was due the present round began.
    late: Duration,
}

impl Grid {
    /// A grid of this period through the process's start, disarmed.
    pub fn new(period: Duration) -> Self {
        Self { period, next: None, at: Mono::ZERO, left: 0, skipped: 0, late: Duration::ZERO }
    }

    /// Rounds are wanted from the grid's next instant on.
    pub fn arm(&mut self, now: Mono) {
        if self.next.is_none() {
            let period = self.period.as_nanos() as u64;
            self.next = Some(Mono::from_nanos((now.as_nanos() / period + 1) * period));
        }
    }

    /// No more rounds are wanted.
    pub fn disarm(&mut self) {
        (self.next, self.left) = (None, 0);
    }

    /// Starts a round over `members` when one is due and none is under way. Returns whether it did.
    pub fn begin(&mut self, now: Mono, members: usize) -> bool {
        let Some(next) = self.next.filter(|next| *next <= now && self.left == 0) else { return false };
        self.late = now.since(next);
        self.skipped = (self.late.as_nanos() / self.period.as_nanos()) as u64;
        self.at = next + Duration::from_nanos(self.skipped * self.period.as_nanos() as u64);
        self.next = Some(self.at + self.period);
        self.left = members;
        true
    }

    /// The next member to visit, from the last to the first, so that a member may be removed by
    /// putting the last one in its place. `len` is how many there are now.
    pub fn step(&mut self, len: usize) -> Option<usize> {
        self.left = self.left.min(len).checked_sub(1)?;
        Some(self.left)
    }

    /// Takes back the last step: there was no room for its output.
    pub fn step_back(&mut self) {
        self.left += 1;
    }

    /// The instant for which the present round stands.
    pub fn at(&self) -> Mono {
        self.at
    }

    /// How many rounds were skipped before the present one.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How long after it was due the present round began.
    pub fn late(&self) -> Duration {
        self.late
    }

    /// When there is something to do: at once while a round is under way.
    pub fn deadline(&self) -> Option<Mono> {
        if self.left > 0 { Some(self.at) } else { self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn rounds_lie_on_the_grid() {
        let mut grid = Grid::new(Duration::from_millis(20));
        assert_eq!(grid.deadline(), None);
        grid.arm(ms(41));
        grid.arm(ms(59));
        assert_eq!(grid.deadline(), Some(ms(60)));
        assert!(!grid.begin(ms(59), 3));
        assert!(grid.begin(ms(61), 3));
        assert_eq!((grid.at(), grid.skipped(), grid.deadline()), (ms(60), 0, Some(ms(60))));
        assert_eq!(
            [grid.step(3), grid.step(3), grid.step(3), grid.step(3)],
            [Some(2), Some(1), Some(0), None]
        );
        assert_eq!(grid.deadline(), Some(ms(80)));
    }

    #[test]
    fn a_late_round_is_skipped_and_counted() {
        let mut grid = Grid::new(Duration::from_millis(20));
        grid.arm(ms(0));
        assert!(grid.begin(ms(20), 0));
        assert!(grid.begin(ms(105), 0));
        assert_eq!((grid.at(), grid.skipped(), grid.late()), (ms(100), 3, Duration::from_millis(65)));
        assert!(!grid.begin(ms(105), 0), "what was skipped is not replayed");
        assert_eq!(grid.deadline(), Some(ms(120)));
        grid.disarm();
        assert_eq!(grid.deadline(), None);
    }

    #[test]
    fn members_may_leave_during_a_round() {
        let mut grid = Grid::new(Duration::from_millis(20));
        grid.arm(ms(0));
        assert!(grid.begin(ms(20), 5));
        assert_eq!(grid.step(5), Some(4));
        grid.step_back();
        assert_eq!(grid.step(2), Some(1), "three left meanwhile");
        assert_eq!(grid.step(0), None);
    }
}
