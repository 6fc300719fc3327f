//! Networks beside the one of the scenario, wires between them, and routers that translate addresses.

use std::fs::{self, File};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, Stdio};

use super::lab::Lab;
use super::process::Process;
use super::sys;

/// Another network. It lasts as long as this value, and as what runs in it.
pub struct Place {
    network: File,
    /// Sleeps in it, so that interfaces can be moved there by its number.
    holder: Process,
}

/// The network that this thread is in.
fn here() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

impl Place {
    /// A network with a loopback and nothing else.
    pub fn new(lab: &Lab) -> Place {
        let home = here();
        sys::leave_the_network().unwrap();
        let mut sleep = Command::new("sleep");
        let holder = Process::start(sleep.arg("infinity"), "coreutils", &lab.fresh("place", "log"));
        let place = Place { network: here(), holder };
        run("ip", &["link", "set", "lo", "up"]);
        sys::enter_network(&home).unwrap();
        place
    }

    /// Does something in it. What is started there stays there, and so does every socket.
    pub fn enter<T>(&self, play: impl FnOnce() -> T) -> T {
        let home = here();
        sys::enter_network(&self.network).unwrap();
        let played = panic::catch_unwind(AssertUnwindSafe(play));
        sys::enter_network(&home).unwrap();
        played.unwrap_or_else(|failure| panic::resume_unwind(failure))
    }

    /// Draws a wire from an interface here, of the network that this thread is in, to one of the place. Addresses
    /// come with the lengths of their networks.
    pub fn wire(&self, (near, near_address): (&str, &str), (far, far_address): (&str, &str)) {
        let place = self.holder.pid().to_string();
        run("ip", &["link", "add", near, "type", "veth", "peer", "name", far, "netns", &place]);
        let up = |interface, address: &str| {
            // Of an IPv6 address the kernel would first ask for a second whether somebody else has it.
            let at_once: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            run("ip", &[&["address", "add", address, "dev", interface], at_once].concat());
            run("ip", &["link", "set", interface, "up"]);
        };
        up(near, near_address);
        self.enter(|| up(far, far_address));
    }

    /// Makes it a router, with these rules for address translation.
    pub fn route(&self, rules: &str) {
        self.enter(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
            nft(rules);
        });
    }
}

/// Puts rules of nftables in force, in the network that this thread is in; gives what the script asked to list.
pub fn nft(rules: &str) -> String {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut nft = nft
        .spawn()
        .unwrap_or_else(|error| panic!("nft does not start ({error}): install the Debian package nftables"));
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    let output = nft.wait_with_output().unwrap();
    assert!(output.status.success(), "nft: {}: {rules}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Sends what has no other way to a router, from the network that this thread is in.
pub fn default_route(router: &str) {
    run("ip", &["route", "add", "default", "via", router]);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}
