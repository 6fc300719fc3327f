//! A proxy between phones and the server: kamailio, which puts itself into the Path of who registers through it
//! (RFC 3327) and into the route of calls.

use std::fs;
use std::process::Command;

use super::lab::{self, Lab};
use super::poll::PATIENCE;
use super::process::Process;

const CONFIG: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
auto_aliases=no
disable_tcp=yes
listen=udp:127.0.0.50:5060
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "path.so"
modparam("rr", "enable_full_lr", 1)
request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (has_totag()) {
        if (loose_route()) { t_relay(); exit; }
        if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
        sl_send_reply("404", "Not here");
        exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    t_check_trans();
    loose_route();
    if (is_method("REGISTER")) { add_path("", "ob"); } else { record_route(); }
    # What comes from the server goes to its Request-URI, and everything else to the server.
    if (src_port != 5060) { $du = "sip:127.0.0.1:5060"; }
    t_relay();
}
"#;

/// A proxy that runs. Dropped, it is gone.
pub struct Proxy(Process);

impl Proxy {
    /// Where it listens, over UDP.
    pub const HOST: &'static str = "127.0.0.50";

    /// Starts it and waits until it listens.
    pub fn start(lab: &Lab) -> Proxy {
        let folder = lab.path("proxy");
        fs::create_dir_all(&folder).unwrap();
        let config = lab.write("proxy.cfg", CONFIG);
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-f"]).arg(config);
        command.arg("-P").arg(folder.join("pid")).arg("-Y").arg(&folder);
        let process = Process::start(&mut command, "kamailio", &lab.fresh("proxy", "log"));
        lab::bound("udp", ([127, 0, 0, 50], 5060).into());
        Proxy(process)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its first process takes the others with it, if it is let.
        self.0.signal(libc::SIGTERM);
        self.0.wait(PATIENCE);
    }
}
