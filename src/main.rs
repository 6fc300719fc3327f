//! The program `dialtone`: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use dialtone::cli::{Cli, run};

/// Messages are allocated on the transport's threads and freed on the control thread, a dozen pieces a turn.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A variable that is not Unicode cannot be one of ours.
    let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(unicode).collect();
    run(Cli::parse(), &environment).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
