//! The clocks, read in one place.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dialtone_core::time::ClockReading;
use dialtone_core::{Mono, Now, Wall};

/// Counts from the moment at which the process started.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock {
    start: Instant,
}

impl ProcessClock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods)] // this is the shell's clock
    pub fn start() -> Self {
        ProcessClock { start: Instant::now() }
    }

    /// Both clocks, once per turn.
    #[allow(clippy::disallowed_methods)] // this is the shell's clock
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now {
            mono: Mono::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)),
        }
    }

    /// Every clock, to turn deadlines into a form that may be stored and back.
    pub fn reading(&self) -> ClockReading {
        ClockReading { now: self.now(), boot: boot_id(), boottime_ns: boottime_ns() }
    }
}

/// The kernel's boot id; 0 where it cannot be read, so that the wall clock decides.
fn boot_id() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

/// Nanoseconds since the kernel booted, suspended time included: the first field of /proc/uptime, which
/// counts like CLOCK_BOOTTIME, to a hundredth of a second.
fn boottime_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    seconds.map_or(0, |seconds| Duration::from_secs_f64(seconds.max(0.0)).as_nanos() as u64)
}
