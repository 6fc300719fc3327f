//! SIPp: phones that say exactly what a scenario file says.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::lab::{self, Lab};
use super::poll::eventually;
use super::process::Process;

/// How a SIPp speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    /// Not of SIPp: Debian's cannot.
    Tls,
}

/// A SIPp before it starts.
pub struct Sipp<'l> {
    lab: &'l Lab,
    file: &'static str,
    replaced: Vec<(&'static str, String)>,
    local: SocketAddr,
    transport: Transport,
    arguments: Vec<String>,
    seconds: u64,
}

/// A SIPp that runs.
pub struct Run {
    process: Process,
    file: &'static str,
    patience: Duration,
    messages: PathBuf,
}

impl<'l> Sipp<'l> {
    /// A phone of `number` at `port`, that plays a file of `tests/e2e/sipp`. Its voice ports follow from
    /// `port`: phones must be four ports apart.
    pub fn new(lab: &'l Lab, file: &'static str, number: &str, port: u16) -> Sipp<'l> {
        Sipp {
            lab,
            file,
            replaced: vec![("ME", number.to_string()), ("PASSWORD", format!("dialtone-{number}"))],
            local: SocketAddr::from(([127, 0, 0, 1], port)),
            transport: Transport::Udp,
            arguments: vec!["-m".into(), "1".into()],
            seconds: 30,
        }
    }

    /// Fills in `@KEY@` in the file.
    pub fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.replaced.retain(|(known, _)| *known != key);
        self.replaced.push((key, value.to_string()));
        self
    }

    /// The number to dial.
    pub fn dial(mut self, number: &str) -> Self {
        self.arguments.extend(["-s".into(), number.into()]);
        self
    }

    /// Over UDP or TCP.
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// On `[::1]`.
    pub fn ipv6(mut self) -> Self {
        self.local = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], self.local.port()));
        // By default it hashes the address without its brackets.
        self.arguments(&["-auth_uri", "[::1]:5060"])
    }

    /// Echoes voice that comes to the port of its `-mp`.
    pub fn rtp_echo(self) -> Self {
        self.arguments(&["-rtp_echo"])
    }

    /// More of the command line.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// For a scenario that takes longer than most.
    pub fn seconds(self, seconds: u64) -> Self {
        Sipp { seconds, ..self }
    }

    /// So many calls, so many of them per second.
    pub fn calls(self, calls: u32, per_second: u32) -> Self {
        let (calls, rate) = (calls.to_string(), per_second.to_string());
        self.arguments(&["-m", &calls, "-r", &rate])
    }

    /// Runs it to its end, which must be a success.
    pub fn run(self) {
        self.start().finish();
    }

    /// Starts it as a phone that waits for calls; returns when it listens.
    pub fn listen(self) -> Run {
        let (table, local) = (if self.transport == Transport::Tcp { "tcp" } else { "udp" }, self.local);
        let run = self.start();
        lab::bound(table, local);
        run
    }

    /// Starts it.
    pub fn start(self) -> Run {
        let stem = self.file.trim_end_matches(".xml");
        let file = self.lab.fresh(stem, "xml");
        fs::write(&file, self.scenario()).unwrap();
        let (ip, port) = (self.local.ip().to_string(), self.local.port());
        let server = if self.local.is_ipv6() { "[::1]:5060" } else { "127.0.0.1:5060" };
        let mut command = Command::new("sipp");
        command.arg(server).arg("-sf").arg(&file).args(["-i", &ip, "-p", &port.to_string()]);
        command.args(["-mi", &ip, "-mp", &(port + 20_000).to_string()]);
        command.args(["-t", if self.transport == Transport::Tcp { "t1" } else { "u1" }]);
        command.args(["-nostdin", "-timeout_error", "-timeout", &self.seconds.to_string()]);
        command.args(["-recv_timeout", "15000"]);
        command.args(["-trace_err", "-error_file"]).arg(self.lab.fresh(stem, "errors.log"));
        let messages = self.lab.fresh(stem, "messages.log");
        command.args(["-trace_msg", "-message_file"]).arg(&messages);
        command.args(&self.arguments);
        let process = Process::start(&mut command, "sip-tester", &self.lab.fresh(stem, "screen"));
        Run { process, file: self.file, patience: Duration::from_secs(self.seconds + 5), messages }
    }

    fn scenario(&self) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/sipp").join(self.file);
        let mut scenario = fs::read_to_string(file).unwrap();
        for (key, value) in &self.replaced {
            scenario = scenario.replace(&format!("@{key}@"), value);
        }
        let key = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase());
        let unset = scenario.split('@').find(key);
        assert_eq!(unset, None, "a key of {} is not set", self.file);
        scenario
    }
}

impl Run {
    /// The dialog of its call as it is once answered, as a Replaces of a Refer-To names it (RFC 3891 §6.1).
    pub fn replaces(&self) -> String {
        let answered = eventually("its call is answered", || {
            let said = fs::read_to_string(&self.messages).ok()?;
            let answer = said.rfind("SIP/2.0 200 OK")?;
            said[answer..].contains("\r\n\r\n").then(|| said[answer..].to_owned())
        });
        let header =
            |name: &str| answered.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let tag = |name: &str| header(name).rsplit_once(";tag=").unwrap().1.to_owned();
        format!("{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}", header("Call-ID:"), tag("To:"), tag("From:"))
    }

    /// Waits for its end, which must be a success.
    pub fn finish(mut self) {
        let status = self.process.wait(self.patience);
        assert_eq!(status.code(), Some(0), "sipp {} ended with {status}", self.file);
    }
}
