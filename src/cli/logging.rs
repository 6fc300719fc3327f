//! Starts logging, to standard error, and what concerns security to a file of its own when that is wanted.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use dialtone_signaling::transport::SECURITY_TARGET;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::CliError;
use crate::config::{Config, LogFormat, Profile};

/// Logs from now on as the configuration says. A second call changes nothing.
pub(super) fn start(config: &Config) -> Result<(), CliError> {
    let json = match (config.log.format, config.profile) {
        (LogFormat::Json, _) | (LogFormat::Auto, Profile::Prod) => true,
        (LogFormat::Text, _) | (LogFormat::Auto, Profile::Dev) => false,
    };
    let file = &config.log.security;
    let apart = !file.as_os_str().is_empty();
    let security = if apart {
        Some(security(file).map_err(|error| CliError::SecurityLog(file.clone(), error))?)
    } else {
        None
    };
    // The level was checked with the rest of the configuration.
    let filter = EnvFilter::try_new(&config.log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.and(filter_fn(move |event| !(apart && event.target() == SECURITY_TARGET)));
    let logs = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let logs = if json { logs.json().boxed() } else { logs.boxed() };
    // The one error is that logging has begun already.
    let _ = tracing_subscriber::registry().with(logs.with_filter(filter)).with(security).try_init();
    Ok(())
}

/// A line of text per event, whatever the level and the form of the log: programs read it. Whoever turns the file over
/// copies and truncates it.
fn security<S>(file: &Path) -> io::Result<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(file)?;
    let layer =
        fmt::layer().with_writer(Arc::new(file)).with_ansi(false).with_target(false).with_level(false);
    Ok(layer.with_filter(filter_fn(|event| event.target() == SECURITY_TARGET)))
}
