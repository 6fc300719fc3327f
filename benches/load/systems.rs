//! What is measured: this server, and an Asterisk in a folder of its own.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::phones::Account;
use super::place::{Server, Setup};

/// Extensions of either system: 1001 and up.
pub const EXTENSIONS: usize = 100;

/// A system that runs.
pub enum System {
    Dialtone(Box<Server>),
    Asterisk(Asterisk),
}

/// See the module.
pub struct Asterisk {
    child: Child,
    sip: SocketAddr,
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn account(index: usize) -> Account {
    let number = (1001 + index).to_string();
    Account { password: format!("dialtone-{number}"), number }
}

impl System {
    /// This server, with so many extensions.
    pub fn dialtone(extensions: usize) -> System {
        let site = std::env::temp_dir().join(format!("dialtone-load-site-{}.toml", std::process::id()));
        let mut text = String::from("name = \"Load\"\nqualify = \"0s\"\ncodecs = [\"pcma\"]\n");
        for account in (0..extensions).map(account) {
            text.push_str(&format!(
                "[[extension]]\nnumber = \"{0}\"\nname = \"Load {0}\"\npassword = \"{1}\"\n",
                account.number, account.password
            ));
        }
        fs::write(&site, text).unwrap();
        let setup = Setup::default()
            .with("DIALTONE_SITE_FILE", site.display())
            .with("DIALTONE_CALLS_MAX_CALLS", 20_000)
            .with("DIALTONE_SIP_MAX_DIALOGS", 50_000)
            .with("DIALTONE_RTP_TIMEOUT", "10m");
        System::Dialtone(Box::new(Server::start(setup)))
    }

    /// The Asterisk that is installed below `root`.
    pub fn asterisk(root: &Path) -> System {
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let etc = root.join("etc/asterisk");
        let mut pjsip = format!("[transport-udp]\ntype=transport\nprotocol=udp\nbind={sip}\n");
        for account in (0..EXTENSIONS).map(account) {
            let (number, password) = (account.number, account.password);
            pjsip.push_str(&format!(
                "[{number}]\ntype=endpoint\ncontext=load\ndisallow=all\nallow=alaw\nauth={number}\naors={number}\n\
                 direct_media=no\n[{number}]\ntype=auth\nauth_type=userpass\nusername={number}\npassword={password}\n\
                 [{number}]\ntype=aor\nmax_contacts=1\nremove_existing=yes\n"
            ));
        }
        fs::write(etc.join("pjsip.conf"), pjsip).unwrap();
        let dialplan = "[load]\nexten => _1XXX,1,Dial(PJSIP/${EXTEN})\n same => n,Hangup()\n";
        fs::write(etc.join("extensions.conf"), dialplan).unwrap();
        fs::write(etc.join("rtp.conf"), "[general]\nrtpstart=20000\nrtpend=40000\n").unwrap();
        let child = Command::new("chroot")
            .arg(root)
            .args(["/usr/sbin/asterisk", "-f", "-n", "-C", "/etc/asterisk/asterisk.conf"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let system = Asterisk { child, sip };
        system.wait();
        System::Asterisk(system)
    }

    pub fn name(&self) -> &'static str {
        match self {
            System::Dialtone(_) => "Dialtone",
            System::Asterisk(_) => "Asterisk",
        }
    }

    pub fn sip(&self) -> SocketAddr {
        match self {
            System::Dialtone(server) => server.sip,
            System::Asterisk(asterisk) => asterisk.sip,
        }
    }

    pub fn process(&self) -> Process {
        Process(match self {
            System::Dialtone(server) => server.pid(),
            System::Asterisk(asterisk) => asterisk.child.id(),
        })
    }
}

impl Asterisk {
    /// Until it answers an OPTIONS with anything.
    fn wait(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (local, begin) = (socket.local_addr().unwrap(), Instant::now());
        let options = format!(
            "OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKup;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:load@{local}>;tag=up\r\nTo: <sip:{0}>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n",
            self.sip
        );
        let mut buffer = [0; 4096];
        loop {
            let _ = socket.send_to(options.as_bytes(), self.sip);
            if socket.recv(&mut buffer).is_ok() {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "Asterisk does not answer");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A process, by the kernel's account of it.
#[derive(Clone, Copy)]
pub struct Process(u32);

impl Process {
    /// This one.
    pub fn own() -> Process {
        Process(std::process::id())
    }

    /// What it has used of the processor, threads that have ended included.
    pub fn cpu(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split(' ').skip(12).take(2);
        // In ticks of USER_HZ, which is 100.
        Duration::from_millis(fields.map(|field| field.parse::<u64>().unwrap() * 10).sum())
    }

    /// What its threads of this name have used.
    pub fn thread(self, name: &str) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().flatten();
        let of_name = tasks.filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
        });
        let nanos = of_name.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Bytes that are in memory.
    pub fn rss(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// A folder that goes when it is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dialtone-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
