//! linphone: a phone that people use, without its window.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::Lab;
use super::poll::eventually;
use super::process::Process;
use super::server::Server;

/// A registered phone that answers by itself.
pub struct Linphone {
    process: Process,
    screen: PathBuf,
    /// How much of what it printed was looked at.
    seen: usize,
}

impl Linphone {
    /// Starts it and waits until it is registered.
    pub fn start(lab: &Lab, server: &Server<'_>, number: &str, port: u16) -> Linphone {
        Linphone::start_at(lab, server, number, port, "sip:127.0.0.1:5060")
    }

    /// The same over TLS; it believes the server's certificate and no other, and asks for a name because its
    /// library does not find addresses in certificates.
    pub fn start_over_tls(lab: &Lab, server: &Server<'_>, number: &str, port: u16) -> Linphone {
        Linphone::start_at(lab, server, number, port, "sip:localhost:5061;transport=tls")
    }

    fn start_at(lab: &Lab, server: &Server<'_>, number: &str, port: u16, proxy: &str) -> Linphone {
        let home = lab.path(&format!("linphone-{number}"));
        fs::create_dir_all(home.join(".local/share/linphone")).unwrap();
        let voice = port + 20_000;
        let trusted = server.certificate();
        let trusted = trusted.display();
        let settings = format!(
            "[sip]\nroot_ca={trusted}\nverify_server_certs=1\nverify_server_cn=1\nsip_port={port}\nsip_tcp_port=-2\nsip_tls_port=-2\nuse_ipv6=0\n\
             register_only_when_network_is_up=0\n[rtp]\naudio_rtp_port={voice}\n"
        );
        fs::write(home.join("settings"), settings).unwrap();
        let mut command = Command::new("linphonec");
        command.arg("-a").arg("-c").arg(home.join("settings"));
        command.args(["-d", "6", "-l"]).arg(home.join("details"));
        command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("XDG_DATA_HOME", &home);
        let screen = lab.fresh(&format!("linphone-{number}"), "log");
        let process = Process::start(&mut command, "linphone-cli", &screen);
        let mut phone = Linphone { process, screen, seen: 0 };

        let registered = server.metric("dialtone_sip_bindings") + 1.0;
        phone.expect("linphonec>");
        phone.command("soundcard use files");
        phone.expect("Using wav files");
        phone.command(&format!("register sip:{number}@127.0.0.1 {proxy} dialtone-{number}"));
        server.wait_for_metric("dialtone_sip_bindings", registered);
        phone
    }

    /// Calls a number.
    pub fn dial(&mut self, number: &str) {
        self.command(&format!("call {number}"));
    }

    /// Waits until it is in a call, and lets it say the welcome prompt once.
    pub fn speaks(&mut self) {
        self.expect("Media streams established");
        let welcome = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prompts/welcome.wav");
        self.command(&format!("play {}", welcome.display()));
    }

    /// Holds the call.
    pub fn hold(&mut self) {
        self.command("pause");
        self.expect("is now paused");
    }

    /// Hands whoever it talks with over to a number.
    pub fn transfer(&mut self, number: &str) {
        self.command(&format!("transfer sip:{number}@127.0.0.1"));
    }

    /// Hands whoever it talks with in one call over to the far end of another.
    pub fn transfer_to_call(&mut self, call: u32, to: u32) {
        self.command(&format!("transfer {call} --to-call {to}"));
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.command("terminate");
    }

    /// Waits until it prints something; what it printed before is forgotten.
    pub fn expect(&mut self, text: &str) {
        let (screen, seen) = (&self.screen, self.seen);
        self.seen = eventually(&format!("linphone prints {text:?}"), || {
            let printed = fs::read(screen).unwrap();
            let fresh = String::from_utf8_lossy(printed.get(seen..)?).into_owned();
            Some(seen + fresh.find(text)? + text.len())
        });
        assert_eq!(self.process.ended(), None, "linphone has ended");
    }

    fn command(&mut self, command: &str) {
        writeln!(self.process.input(), "{command}").unwrap();
    }
}
