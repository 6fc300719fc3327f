//! `dialtone serve`.

use std::path::{Path, PathBuf};

use super::{CliError, logging};
use crate::config::{Config, Environment, load_all};
use crate::run;
use crate::site::{Loaded, facts};

/// Reads everything, serves until told to stop, and says where to register once that works.
pub(super) fn serve(file: PathBuf, data: Option<&Path>, environment: &Environment) -> Result<(), CliError> {
    let (mut config, loaded) = load_all(&file, environment).map_err(CliError::Wrong)?;
    if let Some(data) = data {
        config.data.dir = std::path::absolute(data)?;
    }
    logging::start(&config)?;
    let greeting = greeting(&config, &loaded);
    Ok(run::serve(config, loaded, || println!("{greeting}"))?)
}

fn greeting(config: &Config, loaded: &Loaded) -> String {
    let facts = facts(config, loaded);
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = facts.iter().map(|(name, value)| format!("\n  {name:width$}  {value}"));
    let title = format!("Dialtone {}, site {:?}", env!("CARGO_PKG_VERSION"), loaded.site.name);
    format!("{title}{}\n  {:width$}  Ctrl-C", lines.collect::<String>(), "Stop")
}
