//! The network: it loses, repeats, delays and shuffles, peers vanish, or do not read.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use super::fleet::Fleet;
use super::inject::{firewall, impair};
use crate::harness::{Flow, Phone, Server, Setup, Sipp, answered, eventually, only, scenario};

const SECOND: Duration = Duration::from_secs(1);

/// RFC 3261 §17.1.1.2, §17.1.2.2: what is lost is sent again. A fifth of all datagrams is lost, either way.
#[test]
fn calls_and_registrations_come_through_loss() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(30, 30).with("DIALTONE_RTP_RESERVE", 100));
        firewall(&["udp dport 5060 numgen random mod 100 < 20", "udp sport 5060 numgen random mod 100 < 20"]);
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.register(2000..2030);
        fleet.call(7000..7030);
        fleet.settle();
        assert_eq!((fleet.up(), fleet.ledger.registered.len()), (30, 30), "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        assert!(fleet.ledger.ended.values().all(|status| *status == 200), "{:?}", fleet.ledger.ended);
        firewall(&[]);
        let records = fleet.check(server);
        assert!(records.iter().all(|cdr| cdr.ended_by == EndedBy::Caller), "{records:#?}");
    });
}

/// RFC 3261 §17.2: what comes twice, late and in another order happens once.
#[test]
fn what_comes_twice_and_out_of_order_happens_once() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(30, 30).with("DIALTONE_RTP_RESERVE", 100));
        let mut fleet = Fleet::new(&impair("127.0.0.1:5060"));
        fleet.register(2000..2030);
        fleet.call(7000..7030);
        fleet.settle();
        assert_eq!((fleet.up(), fleet.ledger.registered.len()), (30, 30), "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        assert!(fleet.ledger.ended.values().all(|status| *status == 200), "{:?}", fleet.ledger.ended);
        let records = fleet.check(server);
        assert!(records.iter().all(|cdr| cdr.ended_by == EndedBy::Caller), "{records:#?}");
    });
}

/// A phone whose connection hangs in the air is found out by being asked, and is called over its next one.
#[test]
fn a_half_open_connection_is_found_and_the_phone_called_over_its_next() {
    scenario(|lab| {
        // So that it is known after six seconds that a question has no answer, and not after half a minute.
        let setup =
            Setup::shipped().site("qualify = \"60s\"", "qualify = \"1s\"").with("DIALTONE_SIP_T1", "100ms");
        let server = Server::start(lab, setup);
        let (lost, _) = Flow::register("1002", 1);
        server.wait_for_metric("dialtone_sip_bindings", 1.0);
        let port = lost.port();
        firewall(&[&format!("tcp dport {port}"), &format!("tcp sport {port}")]);
        server.wait_for_metric("dialtone_sip_unreachable", 1.0);
        let (mut next, _) = Flow::register("1002", 1);
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let phone = std::thread::spawn(move || next.answer_and_echo());
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        let peak = alma.hears(3 * SECOND).part(SECOND, 2 * SECOND).peak();
        assert!((peak.hz - 440.0).abs() < 1.0, "{peak:?}");
        alma.hang_up();
        phone.join().unwrap();
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Caller);
        drop(lost);
    });
}

/// Who asks and never reads the answers is closed, and nobody else notices.
#[test]
fn a_peer_that_does_not_read_is_closed() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(0, 20).with("DIALTONE_RTP_RESERVE", 100));
        let mut deaf = TcpStream::connect("127.0.0.1:5060").unwrap();
        let local = deaf.local_addr().unwrap();
        let writer = std::thread::spawn(move || {
            for number in 0..u32::MAX {
                let options = format!(
                    "OPTIONS sip:dialtone SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bK{number}\r\n\
                     From: <sip:1001@dialtone>;tag=1\r\nTo: <sip:dialtone>\r\nCall-ID: deaf-{number}\r\n\
                     CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
                );
                if deaf.write_all(options.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.call(7000..7010);
        fleet.settle();
        eventually("the connection is closed", || writer.is_finished().then_some(()));
        writer.join().unwrap();
        assert_eq!(server.transport_count("slow_peers"), 1.0);
        assert_eq!(server.metric("dialtone_sip_connections"), 0.0);
        fleet.call(7010..7020);
        fleet.settle();
        assert_eq!(fleet.up(), 20, "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        fleet.check(server);
    });
}

/// One direction of the voice is lost: the other goes on, and the call ends when the silence has lasted its time.
#[test]
fn a_call_that_is_heard_one_way_ends_and_says_why() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped().with("DIALTONE_RTP_TIMEOUT", "2s"));
        let talk = Sipp::new(lab, "caller_is_hung_up_on.xml", "1001", 5070).dial("*43").start();
        server.wait_for_metric("dialtone_calls_answered_total", 1.0);
        firewall(&["udp sport 25070", "udp sport 25072"]);
        talk.finish();
        let cdr = only(server.finish(1));
        assert_eq!(cdr.ended_by, EndedBy::System, "{cdr:#?}");
        assert!(Duration::from_millis(cdr.talk_ms) >= 2 * SECOND, "{cdr:#?}");
    });
}
