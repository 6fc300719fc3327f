//! Time as pure code sees it.
//!
//! [`Mono`] runs machines, [`Wall`] stamps records, [`Kept`] survives a restart. Nothing here reads a
//! clock: `src/clock.rs` of the server samples once per turn and hands a [`Now`] down.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the process started. Never compared across processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(u64);

impl Mono {
    /// The instant at which the process started.
    pub const ZERO: Mono = Mono(0);

    /// From nanoseconds since the process started.
    pub const fn from_nanos(nanos: u64) -> Self {
        Mono(nanos)
    }

    /// From milliseconds since the process started.
    pub const fn from_millis(millis: u64) -> Self {
        Mono(millis * 1_000_000)
    }

    /// Nanoseconds since the process started.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` lies ahead.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01 UTC, from the wall clock: may jump, so it stamps and never times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(i64);

impl Wall {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Wall(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl std::fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T15:29:48.724Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, in_day) = (self.as_secs().div_euclid(86_400), self.as_secs().rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        let millis = self.0.rem_euclid(1_000_000) / 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Gregorian date of a day number counted from 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Years are counted from March so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Both clocks, sampled once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// For timers and durations.
    pub mono: Mono,
    /// For stamps in records.
    pub wall: Wall,
}

/// An instant in a form that outlives the process: after a restart on the same boot the boot clock
/// decides, after a reboot the wall clock does. So a restart never extends a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Kernel boot id.
    pub boot: u128,
    /// CLOCK_BOOTTIME at the instant, nanoseconds.
    pub boottime_ns: u64,
    /// Wall clock at the instant.
    pub wall: Wall,
}

/// What the clocks of this process read at one moment; turns [`Mono`] into [`Kept`] and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// This process's clock and the wall clock.
    pub now: Now,
    /// Kernel boot id.
    pub boot: u128,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boottime_ns: u64,
}

impl ClockReading {
    /// The form of `instant` that may be stored.
    pub fn keep(&self, instant: Mono) -> Kept {
        let ahead_ns = i128::from(instant.as_nanos()) - i128::from(self.now.mono.as_nanos());
        let boottime_ns = (i128::from(self.boottime_ns) + ahead_ns).clamp(0, i128::from(u64::MAX));
        Kept {
            boot: self.boot,
            boottime_ns: u64::try_from(boottime_ns).unwrap_or(u64::MAX),
            wall: Wall(self.now.wall.0.saturating_add((ahead_ns / 1000) as i64)),
        }
    }

    /// The instant on this process's clock; [`Mono::ZERO`] when it lies before the process began.
    pub fn restore(&self, kept: Kept) -> Mono {
        let ahead_ns = if kept.boot == self.boot {
            i128::from(kept.boottime_ns) - i128::from(self.boottime_ns)
        } else {
            (i128::from(kept.wall.0) - i128::from(self.now.wall.0)) * 1000
        };
        let mono = i128::from(self.now.mono.as_nanos()) + ahead_ns;
        Mono(u64::try_from(mono.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_361_388_724_000, "2026-11-22T15:29:48.724Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (-1_000, "1969-12-31T23:59:59.999Z"),
        ];
        for (micros, text) in cases {
            assert_eq!(Wall::from_micros(micros).to_string(), text);
        }
    }

    fn reading(boot: u128, mono_s: u64, boottime_s: u64, wall_s: i64) -> ClockReading {
        ClockReading {
            now: Now { mono: Mono::from_millis(mono_s * 1000), wall: Wall(wall_s * 1_000_000) },
            boot,
            boottime_ns: boottime_s * 1_000_000_000,
        }
    }

    #[test]
    fn a_restart_never_extends_a_deadline() {
        let kept = reading(7, 100, 5_000, 1_000_000).keep(Mono::from_millis(160_000));
        // Same boot, 20 s later, a wall clock that jumped an hour back: 40 s remain.
        let same_boot = reading(7, 1, 5_020, 996_420).restore(kept);
        assert_eq!(same_boot, Mono::from_millis(41_000));
        // After a reboot only the wall clock is left.
        let rebooted = reading(8, 1, 10, 1_000_020).restore(kept);
        assert_eq!(rebooted, Mono::from_millis(41_000));
        // Long past: due at once.
        assert_eq!(reading(8, 1, 10, 2_000_000).restore(kept), Mono::ZERO);
    }
}
