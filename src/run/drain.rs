//! The end of the server: the signal, the drain, and a last farewell.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dialtone_api::{Control as _, Status, Unavailable};
use dialtone_core::Cause;
use dialtone_core::command::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::control::Commands;
use crate::config::Config;
use crate::switch::SwitchCounts;

/// How long BYEs and their answers may take when everything is to end.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often the drain looks whether the last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Waits for the signal to stop, then until the last call has ended, time is up, or it is said twice.
pub(super) async fn drain(
    config: &Config,
    mut signals: Signals,
    commands: &Commands,
    counts: &Mutex<SwitchCounts>,
    status: &AtomicU8,
) {
    signals.next().await;
    status.store(Status::Draining as u8, Ordering::Release);
    let calls = || counts.lock().unwrap_or_else(PoisonError::into_inner).calls;
    let busy = || {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.calls + counts.stack.legs + counts.stack.waiting > 0
    };
    tracing::info!(calls = calls(), timeout_s = config.calls.drain_timeout.as_secs(), "draining");
    insist(commands, Command::Drain).await;
    tokio::select! {
        () = until(|| calls() == 0) => {}
        () = pause(config.calls.drain_timeout) => {}
        () = signals.next() => {}
    }
    if calls() > 0 {
        tracing::info!(calls = calls(), "ending the calls that are left");
        insist(commands, Command::HangUpAll { cause: Cause::NormalUnspecified }).await;
    }
    // BYEs that nobody answers are not worth waiting for long.
    let _ = tokio::time::timeout(FAREWELL, until(|| !busy())).await;
}

/// A busy control thread must hear this all the same.
async fn insist(commands: &Commands, command: Command) {
    while let Err(Unavailable::Busy) = commands.command(command.clone()).await {
        pause(DRAIN_LOOK).await;
    }
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        pause(DRAIN_LOOK).await;
    }
}

#[allow(clippy::disallowed_methods)] // the shell's own waiting, outside of any machine
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
