//! The server under test: the release binary with the shipped configuration, and what a scenario changes
//! in it by environment variables.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dialtone_core::cdr::Cdr;
use dialtone_store::{RecordReader, Stream};

use super::lab::Lab;
use super::poll::{eventually, until};
use super::process::Process;

/// What must be nothing when every call is over.
const LIVE: [&str; 6] = [
    "dialtone_calls",
    "dialtone_legs",
    "dialtone_flows",
    "dialtone_sip_legs",
    "dialtone_sip_dialogs",
    "dialtone_media_ports_used",
];

/// How the server is set up.
#[derive(Clone, Default)]
pub struct Setup {
    variables: Vec<(&'static str, String)>,
    site: Option<String>,
}

impl Setup {
    /// The shipped configuration and the sample site.
    pub fn shipped() -> Setup {
        Setup::default()
    }

    /// With a key of the configuration changed, named as its environment variable.
    pub fn with(mut self, variable: &'static str, value: impl ToString) -> Setup {
        self.variables.push((variable, value.to_string()));
        self
    }

    /// With `from` in the sample site replaced.
    pub fn site(mut self, from: &str, to: &str) -> Setup {
        let site = self.site.unwrap_or_else(|| fs::read_to_string(conf("site.toml")).unwrap());
        assert!(site.contains(from), "the sample site has no {from:?}");
        self.site = Some(site.replace(from, to));
        self
    }
}

/// See the module.
pub struct Server<'l> {
    lab: &'l Lab,
    setup: Setup,
    process: Process,
    log: PathBuf,
    data: PathBuf,
}

impl<'l> Server<'l> {
    /// Starts it and waits until it is healthy.
    pub fn start(lab: &'l Lab, setup: Setup) -> Server<'l> {
        let data = lab.path("data");
        let (process, log) = launch(lab, &setup, &data);
        let mut server = Server { lab, setup, process, log, data };
        server.wait_until_healthy();
        server
    }

    fn wait_until_healthy(&mut self) {
        // A first start may take ten seconds.
        let healthy = until(Duration::from_secs(10), || {
            if let Some(status) = self.process.ended() {
                panic!("the server ended at its start: {status}");
            }
            http_get("/healthz").filter(|(status, _)| *status == 200)
        });
        assert!(healthy.is_some(), "/healthz does not say 200 within 10 s of the start");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end by SIGKILL, and starts it on what is left.
    pub fn restart_after_crash(&mut self) {
        let status = self.process.wait(super::poll::PATIENCE);
        assert_eq!(status.signal(), Some(libc::SIGKILL), "the server was not killed: {status}");
        (self.process, self.log) = launch(self.lab, &self.setup, &self.data);
        self.wait_until_healthy();
    }

    /// Kills it.
    pub fn kill(&self) {
        self.process.signal(libc::SIGKILL);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        self.process.signal(signal);
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How many lines it has logged since it started.
    pub fn log_lines(&self) -> usize {
        fs::read(&self.log).unwrap().iter().filter(|byte| **byte == b'\n').count()
    }

    /// The file of the self-signed certificate that it made.
    pub fn certificate(&self) -> PathBuf {
        self.data.join("tls/certificate.pem")
    }

    /// Runs the program's command line against it; whether it succeeded, and what it printed.
    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dialtone"));
        let output = command.args(arguments).arg("--data").arg(&self.data).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Asks it to read its certificates again.
    pub fn hang_up(&self) {
        self.process.signal(libc::SIGHUP);
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.process.signal(libc::SIGTERM);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// The status that `/healthz` names.
    pub fn health(&self) -> String {
        let (_, body) = http_get("/healthz").unwrap();
        let health: serde_json::Value = serde_json::from_str(&body).unwrap();
        health["status"].as_str().unwrap().to_string()
    }

    /// Every metric without labels, and the sum over labels of the others.
    pub fn metrics(&self) -> HashMap<String, f64> {
        let (status, body) = http_get("/metrics").unwrap();
        assert_eq!(status, 200, "/metrics: {body}");
        let mut metrics = HashMap::new();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            *metrics.entry(name.to_string()).or_insert(0.0) += value.parse::<f64>().unwrap();
        }
        metrics
    }

    /// One metric.
    pub fn metric(&self, name: &str) -> f64 {
        *self.metrics().get(name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// How often the SIP transport met this kind of thing.
    pub fn transport_count(&self, kind: &str) -> f64 {
        let (_, body) = http_get("/metrics").unwrap();
        let start = format!("dialtone_sip_transport_total{{kind=\"{kind}\"}} ");
        let value = body.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap_or_else(|| panic!("nothing counts {kind}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    pub fn wait_for_metric(&self, name: &str, value: f64) {
        eventually(&format!("{name} is {value}"), || (self.metric(name) == value).then_some(()));
    }

    /// What `dialtone contacts` prints.
    pub fn contacts(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dialtone"));
        command.arg("contacts").arg("--config").arg(conf("dialtone.toml")).arg("--data").arg(&self.data);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The call records that are written, oldest first.
    pub fn records(&self) -> Vec<Cdr> {
        let page = RecordReader::in_data_dir(&self.data).page(Stream::Cdr, 100_000, None).unwrap();
        assert_eq!(page.skipped, 0, "lines that are no call records");
        page.records.into_iter().rev().collect()
    }

    /// Waits for the records of so many calls.
    pub fn wait_for_records(&self, calls: usize) -> Vec<Cdr> {
        eventually(&format!("the records of {calls} calls"), || {
            let records = self.records();
            (records.len() >= calls).then_some(records)
        })
    }

    /// The end of a scenario: nothing is left of its calls but their records, exactly one each, and the
    /// server stops when it is told to. Gives the records, oldest first.
    pub fn finish(mut self, calls: usize) -> Vec<Cdr> {
        self.settle();
        self.wait_for_records(calls);
        self.terminate();
        self.expect_exit();
        self.exact_records(calls)
    }

    /// The same when it is not known how many calls have a record. Gives the records, oldest first.
    pub fn end(mut self) -> Vec<Cdr> {
        self.settle();
        self.terminate();
        self.expect_exit();
        self.records()
    }

    /// Waits until nothing is left of any call.
    fn settle(&self) {
        let alive = |server: &Server<'_>| {
            let metrics = server.metrics();
            LIVE.map(|name| (name, metrics[name])).into_iter().filter(|(_, value)| *value != 0.0).collect()
        };
        let settled = until(super::poll::PATIENCE, || {
            let alive: Vec<_> = alive(self);
            alive.is_empty().then_some(())
        });
        assert!(settled.is_some(), "left when all is over: {:?}", alive(self));
    }

    /// Waits for the end of the process, which must be a clean one.
    pub fn expect_exit(&mut self) {
        let status = self.process.wait(super::poll::PATIENCE);
        assert_eq!(status.code(), Some(0), "the server ended with {status}");
    }

    /// The records, one for each call and no more.
    pub fn exact_records(&self, calls: usize) -> Vec<Cdr> {
        let records = self.records();
        assert_eq!(records.len(), calls, "records: {records:#?}");
        let mut ids: Vec<_> = records.iter().map(|cdr| cdr.call.to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), calls, "a call has two records");
        records
    }
}

fn launch(lab: &Lab, setup: &Setup, data: &Path) -> (Process, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dialtone"));
    command.arg("serve").arg("--config").arg(conf("dialtone.toml")).arg("--data").arg(data);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DIALTONE_")) {
        command.env_remove(name);
    }
    command.envs(setup.variables.iter().map(|(name, value)| (name, value)));
    if let Some(site) = &setup.site {
        command.env("DIALTONE_SITE_FILE", lab.write("site.toml", site));
        command.env("DIALTONE_SITE_PROMPTS", conf("prompts"));
    }
    let log = lab.fresh("server", "log");
    (Process::start(&mut command, "", &log), log)
}

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

/// Status and body; `None` when nobody answers.
fn http_get(path: &str) -> Option<(u16, String)> {
    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
}
