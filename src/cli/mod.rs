//! The command line.
//!
//! `calls`, `contacts`, `trace` and `turns` ask the running server over its admin socket. When none runs, `calls` and
//! `trace` read the records, which needs no lock and changes nothing; live state is never opened from here.

mod contacts;
mod init;
mod logging;
mod remote;
mod serve;
mod table;
mod turns;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use dialtone_api::ClientError;
use dialtone_core::CallId;
use dialtone_store::ReadError;

use crate::clock::ProcessClock;
use crate::config::{self, Config, Environment, Problems};
use crate::run::ServeError;

/// A PBX and call center in one program.
#[derive(Debug, Parser)]
#[command(name = "dialtone", version, disable_version_flag = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the server.
    Serve(Where),
    /// List everything that is wrong with the configuration and the site.
    Check {
        /// The configuration; conf/dialtone.toml when not given.
        #[arg(long, value_name = "FILE", env = "DIALTONE_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Write a configuration and a site of your own, with random passwords.
    Init {
        /// The folder to write into; nothing in it is ever overwritten.
        #[arg(value_name = "DIR", default_value = "conf")]
        folder: PathBuf,
        /// Listen on this machine's address in the local network instead of loopback.
        #[arg(long)]
        lan: bool,
    },
    /// Show the calls that go on; without a server, the last ones from the records.
    Calls {
        #[command(flatten)]
        at: Where,
        /// Most calls to show.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show where phones are registered, and whether they answer.
    Contacts {
        #[command(flatten)]
        at: Where,
        /// Only those of this extension.
        #[arg(value_name = "EXTENSION")]
        endpoint: Option<String>,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print the ladder of a call: every message and event, in order.
    Trace {
        /// The call, as `dialtone calls` shows it.
        call: CallId,
        /// Print its SIP messages whole, below the ladder.
        #[arg(long)]
        messages: bool,
        #[command(flatten)]
        at: Where,
    },
    /// Show what kept the control thread longest since the server started.
    Turns {
        #[command(flatten)]
        at: Where,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Read the TLS certificates again; calls and connections go on.
    ReloadCertificates(Where),
    /// Print the version.
    Version,
}

/// Which installation is meant.
#[derive(Debug, Args)]
struct Where {
    /// The configuration; conf/dialtone.toml when not given.
    #[arg(long, value_name = "FILE", env = "DIALTONE_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory, instead of the one that the configuration names.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration or the site is wrong.
    #[error("{0}\n{count} to put right", count = count(.0.0.len(), "problem"))]
    Wrong(Problems),
    /// There is something where something would be written.
    #[error("{0} exists already; nothing was written")]
    Exists(PathBuf),
    /// The machine has no address in a network.
    #[error("this machine has no address in a local network: {0}")]
    NoNetwork(#[source] io::Error),
    /// The running server could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The records could not be read.
    #[error("the records cannot be read: {0}")]
    Records(#[from] ReadError),
    /// Nobody knows of the call.
    #[error("nothing is known of call {call} in {data}", data = .data.display())]
    NoSuchCall {
        /// The call.
        call: CallId,
        /// Where it was looked for.
        data: PathBuf,
    },
    /// The disk, the terminal or their permissions.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What concerns security would be lost.
    #[error("log.security: {0} cannot be written: {1}; name a file that the server may write, or none")]
    SecurityLog(PathBuf, #[source] io::Error),
    /// The server could not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Does what the command line asks for.
pub fn run(cli: Cli, environment: &Environment) -> Result<ExitCode, CliError> {
    match cli.command {
        Verb::Serve(at) => serve::serve(at.file(), at.data.as_deref(), environment)?,
        Verb::Check { config } => check(&file(config.as_deref()), environment)?,
        Verb::Init { folder, lan } => println!("{}", init::init(&folder, lan)?),
        Verb::Calls { at, limit, json } => remote::calls(&at.data_dir(environment)?, limit, json)?,
        Verb::Contacts { at, endpoint, json } => {
            contacts::contacts(&at.data_dir(environment)?, endpoint.as_deref(), json)?;
        }
        Verb::Trace { call, messages, at } => remote::trace(&at.data_dir(environment)?, call, messages)?,
        Verb::Turns { at, json } => turns::turns(&at.data_dir(environment)?, json)?,
        Verb::ReloadCertificates(at) => remote::reload_certificates(&at.data_dir(environment)?)?,
        Verb::Version => println!("dialtone {}", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}

impl Where {
    fn file(&self) -> PathBuf {
        file(self.config.as_deref())
    }

    fn data_dir(&self, environment: &Environment) -> Result<PathBuf, CliError> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(load(&self.file(), environment)?.data.dir),
        }
    }
}

fn load(file: &Path, environment: &Environment) -> Result<Config, CliError> {
    config::load(file, environment).map_err(CliError::Wrong)
}

/// The configuration that is meant when nobody says: that of the working directory, that beside the
/// program, that of the system.
fn file(named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return named.into();
    }
    let here = PathBuf::from("conf/dialtone.toml");
    let program = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(&here)));
    let system = Some(PathBuf::from("/etc/dialtone/dialtone.toml"));
    let candidates = [Some(here.clone()), program, system];
    candidates.into_iter().flatten().find(|file| file.exists()).unwrap_or(here)
}

fn check(file: &Path, environment: &Environment) -> Result<(), CliError> {
    let config::Checked { config, loaded, warnings } =
        config::check_all(file, environment, ProcessClock::start().now().wall).map_err(CliError::Wrong)?;
    let site = &loaded.site;
    for warning in warnings {
        println!("warning: {warning}");
    }
    println!("{}: good", file.display());
    println!(
        "{}: good: {}, {}, {}",
        config.site.file.display(),
        count(site.extensions.len(), "extension"),
        count(site.ring_groups.len(), "ring group"),
        count(site.flows.len(), "flow")
    );
    Ok(())
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
