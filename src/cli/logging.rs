//! Starts logging, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat, Profile};

/// Logs from now on as the configuration says. A second call changes nothing.
pub(super) fn start(config: &Config) {
    let json = match (config.log.format, config.profile) {
        (LogFormat::Json, _) | (LogFormat::Auto, Profile::Prod) => true,
        (LogFormat::Text, _) | (LogFormat::Auto, Profile::Dev) => false,
    };
    // The level was checked with the rest of the configuration.
    let filter = EnvFilter::try_new(&config.log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The one error is that logging has begun already.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}
