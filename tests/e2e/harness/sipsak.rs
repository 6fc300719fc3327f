//! sipsak: a phone for one request.

use std::fs;
use std::process::Command;

use super::lab::Lab;
use super::poll::PATIENCE;
use super::process::Process;

/// What it said.
pub struct Said {
    pub success: bool,
    pub output: String,
}

/// Registers, looks the registration up, and removes it.
pub fn usrloc(lab: &Lab, number: &str, password: &str) -> Said {
    let mut command = Command::new("sipsak");
    command.args([
        "-U",
        "-C",
        &format!("sip:{number}@127.0.0.1:9"),
        "-s",
        &format!("sip:{number}@127.0.0.1"),
    ]);
    command.args(["-u", number, "-a", password, "-x", "60", "-v"]);
    let log = lab.fresh("sipsak", "log");
    let mut process = Process::start(&mut command, "sipsak", &log);
    let success = process.wait(PATIENCE).success();
    Said { success, output: fs::read_to_string(log).unwrap() }
}
