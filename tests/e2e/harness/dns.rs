//! A DNS server for one zone: dnsmasq, which asks nobody else.

use std::process::Command;

use super::lab::{self, Lab};
use super::process::Process;

/// Where it listens.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 5353);

/// A server that runs. Dropped, it is gone.
pub struct Dns(#[allow(dead_code, reason = "it ends with this value")] Process);

impl Dns {
    /// Serves these records, as dnsmasq's options say them; none may be kept by who asks (TTL 0).
    pub fn start(lab: &Lab, records: &[&str]) -> Dns {
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]);
        command.args(["--pid-file", "--log-facility=-", "--log-queries"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--port=5353", "--local=/test/"]);
        command.args(records);
        let process = Process::start(&mut command, "dnsmasq-base", &lab.fresh("dns", "log"));
        lab::bound("udp", ADDRESS.into());
        Dns(process)
    }

    /// What `dns.servers` must say.
    pub fn server() -> String {
        std::net::SocketAddr::from(ADDRESS).to_string()
    }
}
