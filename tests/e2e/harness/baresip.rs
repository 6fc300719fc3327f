//! baresip: a phone with ears. It plays a file into the call and records what it hears.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::Lab;
use super::place::Place;
use super::poll::{PATIENCE, eventually};
use super::process::Process;
use super::server::Server;
use super::sipp::Transport;
use super::sound::Sound;

/// Whether it picks up by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    AtOnce,
    WhenTold,
}

/// The codec that a phone speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Pcmu,
    G722,
    Opus,
    /// Each of them, as most phones do.
    Any,
}

impl Voice {
    const fn rate(self) -> u32 {
        match self {
            Voice::Pcmu => 8000,
            Voice::G722 => 16_000,
            Voice::Opus | Voice::Any => 48_000,
        }
    }

    const fn channels(self) -> u16 {
        if matches!(self, Voice::Opus | Voice::Any) { 2 } else { 1 }
    }

    const fn name(self) -> &'static str {
        match self {
            Voice::Pcmu => "pcmu/8000/1",
            Voice::G722 => "g722/16000/1",
            Voice::Opus => "opus/48000/2",
            Voice::Any => "opus/48000/2,g722/16000/1,pcmu/8000/1",
        }
    }
}

/// A phone before it starts.
pub struct Phone {
    pub number: &'static str,
    /// Its SIP port; phones must be ten apart.
    pub port: u16,
    pub transport: Transport,
    pub voice: Voice,
    pub answers: Answers,
    /// What it says; at the rate of its codec.
    pub says: Sound,
    /// The certificate that it believes over TLS; the server's own when there is none.
    pub trusts: Option<PathBuf>,
    /// Its address, and where it finds the server.
    pub host: &'static str,
    pub registrar: &'static str,
    pub password: String,
    /// The proxy that it sends everything to; the server itself when there is none.
    pub proxy: Option<&'static str>,
    /// A second connection to the server (RFC 5626).
    pub second: Option<Transport>,
}

/// A phone that runs and is registered.
pub struct Baresip {
    _process: Process,
    registrar: &'static str,
    control: TcpStream,
    events: Receiver<Value>,
    recordings: PathBuf,
}

impl Phone {
    /// Over UDP, with PCMU, saying a sine of so many hertz for longer than any call.
    pub fn new(number: &'static str, port: u16, hz: f64) -> Phone {
        let (transport, voice, answers) = (Transport::Udp, Voice::Pcmu, Answers::WhenTold);
        let (host, registrar) = ("127.0.0.1", "127.0.0.1");
        let (says, password) = (tone(voice, hz), format!("dialtone-{number}"));
        let (trusts, proxy, second) = (None, None, None);
        Phone {
            number,
            port,
            transport,
            voice,
            answers,
            says,
            trusts,
            host,
            registrar,
            password,
            proxy,
            second,
        }
    }

    /// Believes this certificate and no other.
    pub fn trusting(self, certificate: &Path) -> Phone {
        Phone { trusts: Some(certificate.into()), ..self }
    }

    /// With an address of its own, and the server at another; with a password that is no sample.
    pub fn at(self, host: &'static str, registrar: &'static str, password: &str) -> Phone {
        Phone { host, registrar, password: password.into(), ..self }
    }

    /// On `[::1]`, where it finds the server too.
    pub fn ipv6(self) -> Phone {
        Phone { host: "::1", registrar: "[::1]", ..self }
    }

    /// Behind a proxy.
    pub fn behind(self, proxy: &'static str) -> Phone {
        Phone { proxy: Some(proxy), ..self }
    }

    /// With a second connection, over another transport.
    pub fn and_over(self, transport: Transport) -> Phone {
        Phone { second: Some(transport), ..self }
    }

    /// Picks up by itself.
    pub fn answering(self) -> Phone {
        Phone { answers: Answers::AtOnce, ..self }
    }

    /// Over another transport, with another codec.
    pub fn with(self, transport: Transport, voice: Voice, hz: f64) -> Phone {
        Phone { transport, voice, says: tone(voice, hz), ..self }
    }

    /// Saying something else.
    pub fn saying(self, says: Sound) -> Phone {
        Phone { says, ..self }
    }

    /// Starts it and waits until it is registered.
    pub fn start(self, lab: &Lab, server: &Server<'_>) -> Baresip {
        self.start_by(lab, server, |start| start())
    }

    /// The same in another network.
    pub fn start_in(self, place: &Place, lab: &Lab, server: &Server<'_>) -> Baresip {
        self.start_by(lab, server, |start| place.enter(start))
    }

    fn start_by(
        self,
        lab: &Lab,
        server: &Server<'_>,
        there: impl FnOnce(&dyn Fn() -> (Process, TcpStream)) -> (Process, TcpStream),
    ) -> Baresip {
        let folder = lab.path(&format!("baresip-{}", self.number));
        let recordings = folder.join("recordings");
        fs::create_dir_all(&recordings).unwrap();
        self.says.write(&folder.join("says.wav"), self.voice.channels());
        let mut config = self.config(&folder.to_string_lossy());
        if [Some(self.transport), self.second].contains(&Some(Transport::Tls)) {
            // Whom to believe; this version may or may not look.
            let trusted = self.trusts.clone().unwrap_or_else(|| server.certificate());
            config.push_str(&format!("sip_cafile {}\n", trusted.display()));
        }
        fs::write(folder.join("config"), config).unwrap();
        fs::write(folder.join("accounts"), self.account()).unwrap();

        let connections = if self.second.is_some() { 2.0 } else { 1.0 };
        let registered = server.metric("dialtone_sip_bindings") + connections;
        let log = lab.fresh(&format!("baresip-{}", self.number), "log");
        let address = SocketAddr::from(([127, 0, 0, 1], self.port + 1000));
        let (process, control) = there(&|| {
            let mut command = Command::new("baresip");
            command.arg("-f").arg(&folder);
            let process = Process::start(&mut command, "baresip-core", &log);
            (process, eventually("baresip takes commands", || TcpStream::connect(address).ok()))
        });
        let (sender, events) = channel();
        let reader = control.try_clone().unwrap();
        std::thread::spawn(move || read_messages(reader, &sender));
        server.wait_for_metric("dialtone_sip_bindings", registered);
        Baresip { _process: process, registrar: self.registrar, control, events, recordings }
    }

    fn config(&self, folder: &str) -> String {
        let (rate, channels, port, host) = (self.voice.rate(), self.voice.channels(), self.port, self.host);
        let (control, rtp) = (port + 1000, port + 20_000);
        let rtp_end = rtp + 9;
        let listen = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        format!(
            "sip_listen {listen}\n\
             call_local_timeout 120\n\
             call_max_calls 4\n\
             audio_player aufile,{folder}/plays.wav\n\
             audio_source aufile,{folder}/says.wav\n\
             audio_alert aufile,/dev/null\n\
             ausrc_srate {rate}\n\
             auplay_srate {rate}\n\
             ausrc_channels {channels}\n\
             auplay_channels {channels}\n\
             rtp_ports {rtp}-{rtp_end}\n\
             rtcp_mux no\n\
             jitter_buffer_delay 5-10\n\
             net_interface {host}\n\
             module_path /usr/lib/baresip/modules\n\
             module g711.so\n\
             module g722.so\n\
             module opus.so\n\
             module aufile.so\n\
             module sndfile.so\n\
             module_tmp uuid.so\n\
             module_tmp account.so\n\
             module_app menu.so\n\
             module_app ctrl_tcp.so\n\
             ctrl_tcp_listen 127.0.0.1:{control}\n\
             snd_path {folder}/recordings\n"
        )
    }

    fn account(&self) -> String {
        let Phone { number, registrar, password, .. } = self;
        let first = outbound(self.proxy.unwrap_or(registrar), self.transport);
        // Of SIP outbound it takes the word "path" too.
        let more = match (self.second, self.proxy) {
            (Some(second), _) => format!("outbound2=\"{}\";sipnat=outbound;", outbound(registrar, second)),
            (None, Some(_)) => "sipnat=outbound;".into(),
            (None, None) => String::new(),
        };
        let answers = if self.answers == Answers::AtOnce { "auto" } else { "manual" };
        let codec = self.voice.name();
        format!(
            "<sip:{number}@{registrar}>;auth_user={number};auth_pass={password};\
             outbound=\"{first}\";{more}regint=300;\
             answermode={answers};audio_codecs={codec}\n"
        )
    }
}

/// Where requests go.
fn outbound(host: &str, transport: Transport) -> String {
    let transport = match transport {
        Transport::Udp => "5060;transport=udp",
        Transport::Tcp => "5060;transport=tcp",
        Transport::Tls => "5061;transport=tls",
    };
    format!("sip:{host}:{transport}")
}

fn tone(voice: Voice, hz: f64) -> Sound {
    Sound::tone(voice.rate(), hz, Duration::from_secs(60))
}

impl Baresip {
    /// Calls a number.
    pub fn dial(&mut self, number: &str) {
        self.command("dial", &format!("sip:{number}@{}", self.registrar));
    }

    /// Picks up.
    pub fn answer(&mut self) {
        self.command("accept", "");
    }

    /// Holds the call.
    pub fn hold(&mut self) {
        self.command("hold", "");
    }

    /// Takes the call back.
    pub fn resume(&mut self) {
        self.command("resume", "");
    }

    /// Hands whoever it talks with over to a number.
    pub fn transfer(&mut self, number: &str) {
        self.command("transfer", &format!("sip:{number}@{}", self.registrar));
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    fn command(&mut self, command: &str, params: &str) {
        let text = json!({ "command": command, "params": params, "token": command }).to_string();
        write!(self.control, "{}:{text},", text.len()).unwrap();
    }

    /// Waits for an event; those before it are forgotten.
    pub fn expect(&mut self, wanted: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) if event["type"] == wanted => return event,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("baresip says no {wanted} within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("baresip ended before it said {wanted}"),
            }
        }
    }

    /// All that it has heard in its last call so far.
    pub fn heard(&self) -> Option<Sound> {
        let files = fs::read_dir(&self.recordings).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let newest = files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).max()?;
        Sound::read(&newest)
    }

    /// What it has heard, once that is at least so long.
    pub fn hears(&self, length: Duration) -> Sound {
        eventually(&format!("{length:?} of sound is heard"), || {
            self.heard().filter(|sound| sound.length() >= length)
        })
    }

    /// Waits until it has heard so much more, and gives that.
    pub fn hears_more(&self, length: Duration) -> Sound {
        let before = self.heard().map_or(Duration::ZERO, |sound| sound.length());
        self.hears(before + length).part(before, length)
    }
}

/// Reads netstrings of JSON until the phone ends.
fn read_messages(mut stream: TcpStream, events: &Sender<Value>) {
    let mut byte = [0];
    loop {
        let mut size = 0;
        loop {
            match stream.read_exact(&mut byte) {
                Ok(()) if byte[0].is_ascii_digit() => size = size * 10 + usize::from(byte[0] - b'0'),
                Ok(()) => break,
                Err(_) => return,
            }
        }
        let mut text = vec![0; size + 1];
        if stream.read_exact(&mut text).is_err() {
            return;
        }
        let Ok(message) = serde_json::from_slice(&text[..size]) else { return };
        if events.send(message).is_err() {
            return;
        }
    }
}
