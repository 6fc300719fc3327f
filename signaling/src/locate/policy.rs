//! How names are looked up: bounds and times.

use std::time::Duration;

/// See the module. Every time is positive but `stale_max` and `failed_for`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPolicy {
    /// How long a request waits for its targets.
    pub patience: Duration,
    /// Records are believed for so long at least.
    pub ttl_min: Duration,
    /// And for so long at most.
    pub ttl_max: Duration,
    /// What is not there is believed for so long at most.
    pub negative_ttl_max: Duration,
    /// How long records serve after their time when nobody says better (RFC 8767).
    pub stale_max: Duration,
    /// How long a question that nobody could answer is not asked again.
    pub failure_rest: Duration,
    /// Answers that are kept, and failures.
    pub cache: usize,
    /// Requests that wait for their targets at a time; a quarter of them, but one at least, to one extension.
    pub waiting: usize,
    /// How long a target may say nothing while there is another (RFC 3263 §4.3).
    pub failover_after: Duration,
    /// How long a target that failed is tried last.
    pub failed_for: Duration,
}

impl Default for DnsPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        DnsPolicy {
            patience: seconds(5),
            ttl_min: seconds(5),
            ttl_max: seconds(86_400),
            negative_ttl_max: seconds(300),
            stale_max: seconds(86_400),
            failure_rest: seconds(10),
            cache: 4096,
            waiting: 1024,
            failover_after: seconds(4),
            failed_for: seconds(30),
        }
    }
}
