//! A process of a scenario: its output goes to a file, and it never outlives the scenario.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::poll::until;
use super::sys;

/// See the module.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program; when it is not there, fails naming the Debian package that has it.
    pub fn start(command: &mut Command, package: &str, log: &Path) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log).unwrap();
        command.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        sys::die_with_us(command);
        match command.spawn() {
            Ok(child) => Process { child, name },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("{name} is missing: install the Debian package {package}")
            }
            Err(error) => panic!("{name} does not start: {error}"),
        }
    }

    /// Where it takes commands.
    pub fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        sys::signal(self.child.id(), signal).unwrap();
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        until(patience, || self.ended())
            .unwrap_or_else(|| panic!("{} still runs after {patience:?}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or there is nothing more to be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
