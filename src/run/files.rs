//! File descriptors: shells start programs with room for 1024, which is less than two hundred calls.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Of one call: two legs, each with a socket for RTP and one for RTCP.
const PER_CALL: u64 = 4;
/// Files of records and of state, listeners, threads' own, and requests over HTTP.
const OWN: u64 = 256;

/// Allows the process as many open files as the system lets it have, and says when the configured limits
/// would need more.
pub(super) fn raise_limit(config: &Config) {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return tracing::warn!(%error, "the limit of open files cannot be read"),
    };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        return tracing::warn!(soft, hard, %error, "the limit of open files cannot be raised");
    }
    let wanted = wanted(config);
    if hard < wanted {
        tracing::warn!(
            allowed = hard,
            wanted,
            "too few open files are allowed for calls.max_calls and sip.max_connections; raise the limit \
             (LimitNOFILE of a systemd unit) or lower them"
        );
    }
}

fn wanted(config: &Config) -> u64 {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if config.rtp.workers == 0 { cores } else { config.rtp.workers.into() };
    let reserve = wide(workers) * wide(config.rtp.bind.len()) * u64::from(config.rtp.reserve) * 2;
    u64::from(config.calls.max_calls)
        .saturating_mul(PER_CALL)
        .saturating_add(reserve)
        .saturating_add(wide(config.sip.max_connections))
        .saturating_add(OWN)
}
