//! The program as it is used: the binary and a folder `conf/`, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share are tests too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use dialtone_api::LongestTurns;
use dialtone_core::cdr::{Cdr, Disposition, EndedBy};
use dialtone_core::{Cause, Party};
use dialtone_store::{RecordSettings, Records, Stream, TraceRecord};

/// A folder with the repository's `conf/` in it, to run the program in.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("dialtone-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("conf")).unwrap();
        for file in ["dialtone.toml", "site.toml"] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(file);
            fs::copy(source, folder.join("conf").join(file)).unwrap();
        }
        Self(folder.canonicalize().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dialtone"));
        command.args(arguments);
        self.here(command)
    }

    /// As a shell starts it that allows fewer open files.
    fn command_with_files(&self, files: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let limited = format!("ulimit -Sn {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_dialtone")]).args(arguments);
        self.here(command)
    }

    fn here(&self, mut command: Command) -> Command {
        command.current_dir(&self.0);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DIALTONE_"))
        {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A server on ports of its own; ended with the test.
struct Server {
    child: Child,
    http: u16,
    sip: SocketAddr,
}

impl Server {
    fn start(place: &Place) -> Self {
        Self::of(place.command(&["serve"]))
    }

    fn of(mut command: Command) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = command
            .env("DIALTONE_SIP_UDP", sip.to_string())
            .env("DIALTONE_SIP_TCP", "")
            .env("DIALTONE_SIP_TLS", "127.0.0.1:0")
            .env("DIALTONE_HTTP_TLS_BIND", "127.0.0.1:0")
            .env("DIALTONE_HTTP_BIND", http.to_string())
            .env("DIALTONE_RTP_PORT_MIN", "42000")
            .env("DIALTONE_RTP_PORT_MAX", "43000")
            .env("DIALTONE_RTP_WORKERS", "1")
            .env("DIALTONE_RTP_RESERVE", "4")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self { child, http: http.port(), sip };
        // The log says when the sockets are open; a server that cannot start closes it.
        let log = BufReader::new(server.child.stderr.take().unwrap());
        let mut lines = log.lines().map(|line| line.unwrap());
        let mut said = Vec::new();
        let ready =
            lines.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("dialtone runs"));
        assert!(ready, "{said:#?}");
        // Somebody must go on reading, or the server would wait for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop; what it had printed.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_sample_configuration_and_site_are_good() {
    let place = Place::new();
    let (success, said, _) = place.run(&["check"]);
    assert!(success);
    assert!(said.contains("conf/dialtone.toml: good\n"), "{said}");
    assert!(said.contains("conf/site.toml: good: 10 extensions, 1 ring group, 3 flows\n"), "{said}");
    assert_eq!(place.run(&["version"]).1, format!("dialtone {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_names_file_line_key_and_fix_of_every_problem_and_fails() {
    let place = Place::new();
    place.write("conf/dialtone.toml", "[sip]\nudpp = []\n\n[rtp]\nworkers = 1000\n");
    place.write("conf/site.toml", "[[ring_group]]\nnumber = \"500\"\nmembers = [\"1001\"]\n");
    let (success, _, said) = place.run(&["check"]);
    assert!(!success);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    let site = place.0.join("conf/site.toml");
    assert!(lines[0].starts_with(&format!(
        "{}:3: ring_group 500.members: there is no extension 1001; name",
        site.display()
    )));
    assert!(lines[1].starts_with("conf/dialtone.toml:2: sip.udpp: unknown field `udpp`"), "{said}");
    assert_eq!(lines[2], "conf/dialtone.toml:5: rtp.workers: 1000 is out of range; choose 0 to 256");
    assert_eq!(lines[3], "3 problems to put right");
}

#[test]
fn serve_keeps_sample_passwords_on_loopback() {
    let place = Place::new();
    let output = place.command(&["serve"]).env("DIALTONE_SIP_UDP", "192.0.2.1:5060").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.starts_with("environment DIALTONE_SIP_UDP: sip.udp: 192.0.2.1 can be reached by others"),
        "{said}"
    );
    assert!(
        said.contains("or bind 127.0.0.1, or begin a site of your own with `dialtone init --lan`"),
        "{said}"
    );
    assert!(!place.0.join("data").exists());
}

#[test]
fn init_makes_a_site_that_passes_check_and_never_overwrites() {
    let place = Place::new();
    let (success, said, error) = place.run(&["init", "mine"]);
    assert!(success, "{error}");
    assert!(said.contains("dialtone serve --config mine/dialtone.toml"), "{said}");
    assert!(place.run(&["check", "--config", "mine/dialtone.toml"]).0);
    let (success, _, error) = place.run(&["init"]);
    assert!(!success && error.contains("conf/dialtone.toml exists already; nothing was written"), "{error}");
}

#[test]
fn a_server_answers_and_stops_when_asked() {
    let place = Place::new();
    let server = Server::start(&place);
    let health = server.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"ok\""), "{health}");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("\ncontent-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\ndialtone_calls 0\n"), "{metrics}");
    for queue in ["control", "keeper", "records", "state", "media_backlog", "sip_stream", "sip_reports"] {
        assert!(
            metrics.contains(&format!("\ndialtone_queue_depth{{queue=\"{queue}\"}} ")),
            "{queue}: {metrics}"
        );
    }
    assert!(metrics.contains("\ndialtone_queue_bound{queue=\"control\"} 16384\n"), "{metrics}");
    assert!(
        metrics.contains("\ndialtone_queue_bound{queue=\"media_commands\",worker=\"0\"} 4096\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\ndialtone_turn_seconds_bucket{le=\"+Inf\"} "), "{metrics}");
    let turns = || {
        let answer = server.get("/debug/longest-turns");
        serde_json::from_str::<LongestTurns>(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    // The media threads tell of their ports a moment after the start.
    let media = |turns: LongestTurns| turns.longest.iter().any(|turn| turn.kind == "media");
    assert!((0..10_000).any(|_| media(turns())), "{:?}", turns());
    let (success, said, error) = place.run(&["turns"]);
    assert!(success && said.starts_with("TOOK ") && error.starts_with("the longest of "), "{said}{error}");
    assert!(server.get("/").contains("Sample site"));
    let (success, calls, error) = place.run(&["calls"]);
    assert!(success && calls.starts_with("CALL") && error.is_empty(), "{error}");
    let (success, _, error) = place.run(&["trace", "c1-00000001-99"]);
    assert!(!success && error.starts_with("nothing is known of call c1-00000001-99"), "{error}");
    let (success, greeting, error) = place.run(&["serve"]);
    assert!(!success && error.contains("is in use by another dialtone"), "{error}");
    assert_eq!(greeting, "", "nobody is told to register where nothing listens");
    let (success, said, error) = place.run(&["reload-certificates"]);
    assert!(success && said.starts_with("certificate for dialtone, "), "{said}{error}");
    let said = server.stop();
    assert!(said.contains("Accounts       1001 to 1010"), "{said}");
    assert!(!place.0.join("data/admin.sock").exists());
}

/// Sends a REGISTER, and gives the answer.
fn register(phone: &UdpSocket, authorization: &str) -> String {
    let local = phone.local_addr().unwrap();
    let text = format!(
        "REGISTER sip:dialtone SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK1;rport\r\n\
         From: <sip:1001@dialtone>;tag=1\r\nTo: <sip:1001@dialtone>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:1001@{local}>\r\n{authorization}Content-Length: 0\r\n\r\n"
    );
    phone.send(text.as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    let len = phone.recv(&mut answer).unwrap();
    String::from_utf8(answer[..len].to_vec()).unwrap()
}

#[test]
fn fail2ban_reads_the_security_log() {
    let place = Place::new();
    let mut command = place.command(&["serve"]);
    let log = place.0.join("security.log");
    command.env("DIALTONE_LOG_SECURITY", &log).env("DIALTONE_GUARD_TRUSTED", "192.0.2.0/24");
    let server = Server::of(command);
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.connect(server.sip).unwrap();
    phone.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let challenged = register(&phone, "");
    let nonce = challenged.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    // The name tries to forge a line about somebody else.
    let name = "1001' source=198.51.100.1 verified=true";
    let wrong = "0".repeat(32);
    let refused = register(
        &phone,
        &format!(
            "Authorization: Digest username=\"{name}\", realm=\"dialtone\", nonce=\"{nonce}\", uri=\"sip:dialtone\", \
             response=\"{wrong}\", algorithm=MD5, cnonce=\"a\", qop=auth, nc=00000001\r\n"
        ),
    );
    assert!(refused.starts_with("SIP/2.0 401 "), "{refused}");
    // A scanner over UDP may write any address, so its line must not count.
    let silent = register(&phone, "");
    assert!(silent.starts_with("SIP/2.0 401 "), "{silent}");
    phone.send(b"OPTIONS sip:dialtone SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nUser-Agent: sipcli\r\n\r\n").unwrap();
    register(&phone, "");
    let lines = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let port = phone.local_addr().unwrap().port();
    let start = format!(
        " event=auth_failed source=127.0.0.1 port={port} transport=UDP verified=true repeated=0 account="
    );
    assert!(lines.len() == 2 && lines[0].contains(&start), "{lines:#?}");
    assert!(lines[0].ends_with("account=\"1001??source?198.51.100.1?verified?true\""), "{lines:#?}");
    assert!(
        lines[1].contains(" event=scanner source=127.0.0.1 ") && lines[1].contains(" verified=false "),
        "{lines:#?}"
    );
    let metrics = server.get("/metrics");
    assert!(metrics.contains("dialtone_sip_transport_total{kind=\"scanners\"} 1\n"), "{metrics}");
    server.stop();
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/fail2ban/filter.d/dialtone.conf");
    let output = Command::new("fail2ban-regex").arg(&log).arg(&filter).output();
    let output = output.expect("fail2ban-regex runs: scripts/need test installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Lines: 2 lines, 0 ignored, 1 matched, 1 missed"), "{said}");
}

#[test]
fn a_server_takes_as_many_open_files_as_it_may() {
    let place = Place::new();
    let server = Server::of(place.command_with_files(512, &["serve"]));
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{files}");
    assert_ne!(numbers[1], "512", "{files}");
    server.stop();
}

#[test]
fn without_a_server_the_records_are_read_and_nothing_is_written() {
    let place = Place::new();
    let data = place.0.join("elsewhere");
    let records = Records::open(RecordSettings::in_folder(data.join("records")), |_| {}).unwrap();
    let call = "c1-00000001-7".parse().unwrap();
    let cdr = Cdr {
        call,
        conversation: call.into(),
        from: Party { number: "1001".into(), name: "Alma \u{7}".into(), private: false },
        dialed: "1002".into(),
        answered_by: Some("1002".into()),
        started: "2026-11-22T15:29:48.724Z".into(),
        answered: Some("2026-11-22T15:29:50.000Z".into()),
        ended: "2026-11-22T15:30:00.000Z".into(),
        duration_ms: 11_276,
        talk_ms: 10_000,
        disposition: Disposition::Answered,
        cause: Cause::NormalClearing,
        ended_by: EndedBy::Caller,
        legs: Vec::new(),
        transfers: Vec::new(),
        merged_into: None,
    };
    records.append(Stream::Cdr, &cdr, None).unwrap();
    let trace = TraceRecord {
        call: call.to_string(),
        ladder: "1001 ──INVITE──▶ dialtone\n".into(),
        messages: "INVITE sip:1002@dialtone SIP/2.0\n".into(),
    };
    records.append(Stream::Trace, &trace, None).unwrap();
    records.close();

    let (success, said, error) = place.run(&["calls", "--data", "elsewhere"]);
    assert!(success && error.starts_with("no server is running on elsewhere"), "{error}");
    let row = said.lines().nth(1).unwrap();
    assert!(row.starts_with("c1-00000001-7  2026-11-22T15:29:48.724Z  1001 Alma ?  1002"), "{said}");
    assert!(row.ends_with("10.0s  answered  Normal call clearing (16)"), "{said}");
    let (_, json, _) = place.run(&["calls", "--data", "elsewhere", "--json"]);
    assert_eq!(serde_json::from_str::<Cdr>(&json).unwrap(), cdr);
    let (success, ladder, _) = place.run(&["trace", "c1-00000001-7", "--data", "elsewhere"]);
    assert!(success && ladder == trace.ladder, "{ladder}");
    let (success, all, _) = place.run(&["trace", "c1-00000001-7", "--messages", "--data", "elsewhere"]);
    assert!(success && all == format!("{}\n{}", trace.ladder, trace.messages), "{all}");
    let left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["records"]);
}
