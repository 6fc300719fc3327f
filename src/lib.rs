//! dialtone

pub mod config;
pub mod site;
