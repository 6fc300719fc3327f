//! Routers that translate addresses: in front of a phone, and in front of the server.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use crate::harness::{
    Baresip, Lab, Phone, Place, Server, Setup, Transport, Voice, answered, default_route, eventually,
    heard_both_ways, only, scenario,
};

const SECOND: Duration = Duration::from_secs(1);

/// A network outside is one of documentation (RFC 5737), so that it is no local one.
const ROUTER_OUTSIDE: &str = "198.51.100.1";
const PHONE_OUTSIDE: &str = "198.51.100.20";
const SERVER_INSIDE: &str = "10.8.0.2";

fn password(number: &str) -> String {
    format!("no sample {number}").replace(' ', "-")
}

/// The sample site with other passwords, on every address: sample ones would keep it to loopback.
fn on_every_address() -> Setup {
    let numbers: Vec<String> = (1001..=1010).map(|number| number.to_string()).collect();
    numbers
        .iter()
        .fold(Setup::shipped(), |setup, number| {
            setup.site(&format!("\"dialtone-{number}\""), &format!("\"{}\"", password(number)))
        })
        .with("DIALTONE_SIP_UDP", "0.0.0.0:5060")
        .with("DIALTONE_SIP_TCP", "0.0.0.0:5060")
        .with("DIALTONE_RTP_BIND", "0.0.0.0")
        .with("DIALTONE_RTP_PORT_MIN", 30_000)
        .with("DIALTONE_RTP_PORT_MAX", 30_199)
}

fn phone(number: &'static str, port: u16, hz: f64, host: &'static str, registrar: &'static str) -> Phone {
    Phone::new(number, port, hz).at(host, registrar, &password(number))
}

fn hears(phone: &Baresip, hz: f64) {
    let peak = phone.hears(3 * SECOND).part(SECOND, 2 * SECOND).peak();
    assert!((peak.hz - hz).abs() < 2.0 && peak.purity > 0.95, "{peak:?} instead of {hz} Hz");
}

/// Alma calls Ben, both hear the other's tone, and Alma hangs up.
fn they_talk(alma: &mut Baresip, ben: &mut Baresip) {
    alma.dial("1002");
    alma.expect("CALL_ESTABLISHED");
    ben.expect("CALL_ESTABLISHED");
    hears(alma, 1000.0);
    hears(ben, 440.0);
    alma.hang_up();
    ben.expect("CALL_CLOSED");
}

/// RFC 3581 §4, RFC 4961 §3: a phone whose Contact and description nobody outside its network reaches is called,
/// heard and hung up over the way that its own packets came.
#[test]
fn a_phone_behind_a_router_is_called_and_heard() {
    behind_a_router(Transport::Udp);
}

/// RFC 5626 §5.3: over TLS that way is its connection.
#[test]
fn a_phone_behind_a_router_is_called_and_heard_over_tls() {
    behind_a_router(Transport::Tls);
}

fn behind_a_router(transport: Transport) {
    scenario(move |lab| {
        let (router, home) = (Place::new(lab), Place::new(lab));
        router.wire(("server0", "198.51.100.10/24"), ("outside0", "198.51.100.1/24"));
        router.enter(|| home.wire(("inside0", "10.9.0.1/24"), ("phone0", "10.9.0.2/24")));
        home.enter(|| default_route("10.9.0.1"));
        router.route(
            "table ip nat { chain post { type nat hook postrouting priority 100;
             oifname \"outside0\" masquerade random; }\n}",
        );
        let server = Server::start(lab, on_every_address().with("DIALTONE_SIP_TLS", "0.0.0.0:5061"));
        let mut alma = phone("1001", 5070, 440.0, "198.51.100.10", "198.51.100.10").start(lab, &server);
        let ben = phone("1002", 5080, 0.0, "10.9.0.2", "198.51.100.10").answering();
        let ben = ben.with(transport, Voice::Pcmu, 1000.0);
        let mut ben = ben.start_in(&home, lab, &server);
        they_talk(&mut alma, &mut ben);
        // And the other way round, hung up by the one who is called.
        ben.dial("1001");
        alma.expect("CALL_INCOMING");
        alma.answer();
        ben.expect("CALL_ESTABLISHED");
        ben.hears_more(2 * SECOND);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let records = server.finish(2);
        answered(&records[0], Some("1002"), EndedBy::Caller);
        heard_both_ways(&records[0], 140);
        answered(&records[1], Some("1001"), EndedBy::Callee);
    });
}

/// The addresses of one family, as a URI has them; a network is the first part of its addresses.
struct Family {
    inside: &'static str,
    outside: &'static str,
    /// Bits of a network.
    bits: u8,
    /// Of nftables, and what stands before an address in a session description.
    table: &'static str,
    described: &'static str,
}

const IPV4: Family =
    Family { inside: "10.8.0.", outside: "198.51.100.", bits: 24, table: "ip", described: "c=IN IP4 " };
/// RFC 4193 and RFC 3849: networks of homes, and of documentation.
const IPV6: Family =
    Family { inside: "fd00:8::", outside: "2001:db8::", bits: 64, table: "ip6", described: "c=IN IP6 " };

/// The server at home behind a router that forwards its ports; the world outside.
fn forwarded(lab: &Lab, family: &Family) -> (Place, Place) {
    let Family { inside, outside: world, bits, table, .. } = family;
    let (router, outside) = (Place::new(lab), Place::new(lab));
    router.wire(("server0", &format!("{inside}2/{bits}")), ("inside0", &format!("{inside}1/{bits}")));
    default_route(&format!("{inside}1"));
    router.enter(|| {
        outside.wire(("outside0", &format!("{world}1/{bits}")), ("phone0", &format!("{world}20/{bits}")));
    });
    router.route(&format!(
        "table {table} nat {{
         chain pre {{ type nat hook prerouting priority -100;
         iifname \"outside0\" udp dport {{ 5060, 30000-30199 }} dnat to {inside}2; }}
         chain post {{ type nat hook postrouting priority 100; oifname \"outside0\" masquerade; }}\n}}"
    ));
    (router, outside)
}

/// What the traces of all calls say, every message whole.
fn messages(server: &Server<'_>) -> String {
    let records = server.wait_for_records(1);
    let call = records.last().unwrap().call.to_string();
    let (good, said) = server.command(&["trace", &call, "--messages"]);
    assert!(good, "{said}");
    said
}

fn talk_across(lab: &Lab, server: Server<'_>, outside: &Place, alma: Phone, ben: Phone, family: &Family) {
    let mut alma = alma.start_in(outside, lab, &server);
    let mut ben = ben.answering().start(lab, &server);
    they_talk(&mut alma, &mut ben);
    let said = messages(&server);
    let Family { inside, outside, described, .. } = family;
    assert!(said.contains(&format!("{described}{outside}1\n")), "{said}");
    assert!(said.contains(&format!("{described}{inside}2\n")), "{said}");
    assert!(!said.contains("0.0.0.0") && !said.contains("IP6 ::"), "{said}");
    let cdr = only(server.finish(1));
    answered(&cdr, Some("1002"), EndedBy::Caller);
    heard_both_ways(&cdr, 140);
}

fn talk_across_ipv4(lab: &Lab, server: Server<'_>, outside: &Place) {
    let alma = phone("1001", 5070, 440.0, PHONE_OUTSIDE, ROUTER_OUTSIDE);
    let ben = phone("1002", 5080, 1000.0, SERVER_INSIDE, SERVER_INSIDE);
    talk_across(lab, server, outside, alma, ben, &IPV4);
}

/// RFC 3261 §8.1.1.8, RFC 4566 §5.7: behind a router that forwards ports, a phone outside is told the address of
/// the router, and one inside that of the server.
#[test]
fn a_server_behind_a_router_is_called_from_outside() {
    scenario(|lab| {
        let (_router, outside) = forwarded(lab, &IPV4);
        let server =
            Server::start(lab, on_every_address().with("DIALTONE_NET_EXTERNAL_ADDRESS", ROUTER_OUTSIDE));
        talk_across_ipv4(lab, server, &outside);
    });
}

/// The same over IPv6, where homes may translate as well (RFC 5118 has its addresses in messages).
#[test]
fn a_server_behind_a_router_is_called_from_outside_over_ipv6() {
    scenario(|lab| {
        let (_router, outside) = forwarded(lab, &IPV6);
        let setup = on_every_address()
            .with("DIALTONE_SIP_UDP", "[::]:5060")
            .with("DIALTONE_RTP_BIND", "::")
            .with("DIALTONE_NET_EXTERNAL_ADDRESS", "2001:db8::1");
        let server = Server::start(lab, setup);
        let alma = phone("1001", 5070, 440.0, "2001:db8::20", "[2001:db8::1]");
        let ben = phone("1002", 5080, 1000.0, "fd00:8::2", "[fd00:8::2]");
        talk_across(lab, server, &outside, alma, ben, &IPV6);
    });
}

/// A STUN server: tells everybody where the question came from, and for a while something else.
struct Stun {
    lies: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stun {
    fn start(place: &Place) -> Stun {
        let socket = place.enter(|| UdpSocket::bind((PHONE_OUTSIDE, 3478)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (lies, stop) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (lying, stopping) = (Arc::clone(&lies), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut question = [0; 100];
            while !stopping.load(Ordering::Relaxed) {
                let Ok((20, source)) = socket.recv_from(&mut question) else { continue };
                let seen = match lying.load(Ordering::Relaxed) {
                    true => SocketAddr::new([203, 0, 113, 99].into(), 9),
                    false => source,
                };
                socket.send_to(&success(&question[..20], seen), source).unwrap();
            }
        });
        Stun { lies, stop, thread: Some(thread) }
    }
}

impl Drop for Stun {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// RFC 8489 §5, §14.2: a Binding success response with XOR-MAPPED-ADDRESS.
fn success(question: &[u8], seen: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(ip) = seen.ip() else { panic!("IPv4 was asked for") };
    let mut answer = vec![0x01, 0x01, 0, 12];
    answer.extend(&question[4..20]);
    answer.extend([0, 0x20, 0, 8, 0, 1]);
    answer.extend((seen.port() ^ 0x2112).to_be_bytes());
    answer.extend((ip.to_bits() ^ 0x2112_a442).to_be_bytes());
    answer
}

/// RFC 8489 §2: the server learns the address of its router, and a new one while it runs.
#[test]
fn a_server_asks_for_its_external_address() {
    scenario(|lab| {
        let (_router, outside) = forwarded(lab, &IPV4);
        let stun = Stun::start(&outside);
        let setup = on_every_address()
            .with("DIALTONE_NET_EXTERNAL_ADDRESS", format!("stun:{PHONE_OUTSIDE}"))
            .with("DIALTONE_NET_STUN_INTERVAL", "5s");
        let server = Server::start(lab, setup);
        eventually("it has asked", || (server.metric("dialtone_stun_total") >= 1.0).then_some(()));
        stun.lies.store(false, Ordering::Relaxed);
        let asked = server.metric("dialtone_stun_total");
        eventually("it asks again", || (server.metric("dialtone_stun_total") > asked + 1.0).then_some(()));
        talk_across_ipv4(lab, server, &outside);
    });
}
