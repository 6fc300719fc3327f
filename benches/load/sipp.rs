//! SIPp, which registers and calls: an independent client, and how many of its calls came to a good end.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::phones::Account;
use super::systems::Scratch;

const REGISTER: &str = r#"<?xml version="1.0"?>
<scenario name="register">
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
From: <sip:[field0]@[remote_ip]>;tag=[call_number]
To: <sip:[field0]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>
Max-Forwards: 70
Expires: 3600
Content-Length: 0

]]></send>
  <recv response="100" optional="true"/>
  <recv response="401" auth="true"/>
  <send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
From: <sip:[field0]@[remote_ip]>;tag=[call_number]
To: <sip:[field0]@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>
Max-Forwards: 70
Expires: 3600
[field1]
Content-Length: 0

]]></send>
  <recv response="100" optional="true"/>
  <recv response="200"/>
</scenario>
"#;

const CALLER: &str = r#"<?xml version="1.0"?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
From: <sip:[field0]@[remote_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:[field0]@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

@SDP@
]]></send>
  <recv response="100" optional="true"/>
  <recv response="401" auth="true"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
From: <sip:[field0]@[remote_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 INVITE
Contact: <sip:[field0]@[local_ip]:[local_port]>
Max-Forwards: 70
[field1]
Content-Type: application/sdp
Content-Length: [len]

@SDP@
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 2 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <pause milliseconds="200"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch];rport
[last_From:]
[last_To:]
Call-ID: [call_id]
CSeq: 3 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"#;

const CALLEE: &str = r#"<?xml version="1.0"?>
<scenario name="callee">
  <recv request="INVITE"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:callee@[local_ip]:[local_port]>
Content-Length: 0

]]></send>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:callee@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

@SDP@
]]></send>
  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"#;

const SDP: &str = "v=0
o=- 1 1 IN IP4 [media_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio 40000 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000";

/// What became of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub good: u64,
    pub failed: u64,
    pub repeated: u64,
}

/// What a figure must not be read without.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.failed, self.repeated) {
            (0, 0) => Ok(()),
            (failed, repeated) => {
                write!(f, ", {failed} of {} failed, {repeated} repeated", self.good + failed)
            }
        }
    }
}

/// Registers `count` times at this rate, as these accounts in turn.
pub fn register(server: SocketAddr, accounts: &[Account], count: usize, rate: usize) -> Outcome {
    let scratch = Scratch::new("register");
    run(&scratch.0, REGISTER, "register", server, Some(accounts), count, rate, &[])
}

/// Calls `callee`, who is this very SIPp's other half, `count` times at this rate, as these accounts in turn, without
/// sound. Each call lasts 0.2 s.
pub fn call(
    server: SocketAddr,
    accounts: &[Account],
    callee: &Account,
    at: u16,
    count: usize,
    rate: usize,
) -> Outcome {
    let scratch = Scratch::new("call");
    // The callee's SIPp answers as many as come, and ends when it is stopped.
    let file = scratch.0.join("callee.xml");
    fs::write(&file, scenario(CALLEE)).unwrap();
    let mut answering = Command::new("sipp")
        .arg("-sf")
        .arg(&file)
        .args(["-i", "127.0.0.1", "-p", &at.to_string(), "-nostdin", "-buff_size", "4194304"])
        .arg(server.to_string())
        .current_dir(&scratch.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let outcome =
        run(&scratch.0, CALLER, "caller", server, Some(accounts), count, rate, &["-s", &callee.number]);
    let _ = answering.kill();
    let _ = answering.wait();
    outcome
}

fn scenario(text: &str) -> String {
    text.replace("@SDP@", SDP)
}

#[allow(clippy::too_many_arguments, reason = "what SIPp is told")]
fn run(
    folder: &Path,
    text: &str,
    name: &str,
    server: SocketAddr,
    accounts: Option<&[Account]>,
    count: usize,
    rate: usize,
    more: &[&str],
) -> Outcome {
    let (file, table, numbers) =
        (folder.join(format!("{name}.xml")), folder.join("accounts.csv"), folder.join(format!("{name}.csv")));
    fs::write(&file, scenario(text)).unwrap();
    let mut lines = String::from("SEQUENTIAL\n");
    for account in accounts.into_iter().flatten() {
        let (number, password) = (&account.number, &account.password);
        lines.push_str(&format!("{number};[authentication username={number} password={password}]\n"));
    }
    fs::write(&table, lines).unwrap();
    let status = Command::new("sipp")
        .arg("-sf")
        .arg(&file)
        .arg("-inf")
        .arg(&table)
        .args(["-i", "127.0.0.1", "-m", &count.to_string(), "-r", &rate.to_string(), "-l", "20000"])
        .args(["-nostdin", "-buff_size", "4194304", "-timeout", "300", "-trace_stat", "-fd", "1", "-stf"])
        .arg(&numbers)
        .args(more)
        .arg(server.to_string())
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let text = fs::read_to_string(&numbers)
        .unwrap_or_else(|error| panic!("sipp {name} ended with {status}: {error}"));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(';').collect();
    let last: Vec<&str> = lines.next_back().unwrap().split(';').collect();
    let of = |name: &str| {
        let at = names.iter().position(|known| *known == name);
        at.and_then(|at| last[at].parse().ok()).unwrap_or_else(|| panic!("no {name} of sipp"))
    };
    Outcome { good: of("SuccessfulCall(C)"), failed: of("FailedCall(C)"), repeated: of("Retransmissions(C)") }
}
