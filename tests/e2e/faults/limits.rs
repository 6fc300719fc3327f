//! Nothing left: of ports, and of open files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use super::fleet::Fleet;
use super::inject::{allow_files, limit_files};
use crate::harness::{Server, Sipp, answered, eventually, heard_both_ways, scenario};

/// Ten calls have a port, five are refused, and when the ten are over the next ten have the ports, rested.
#[test]
fn calls_beyond_the_last_port_are_refused_and_ports_come_back() {
    scenario(|lab| {
        let setup = Fleet::site(0, 35)
            .with("DIALTONE_RTP_PORT_MIN", 30_000)
            .with("DIALTONE_RTP_PORT_MAX", 30_019)
            .with("DIALTONE_RTP_WORKERS", 1)
            .with("DIALTONE_RTP_RESERVE", 10)
            .with("DIALTONE_RTP_QUARANTINE", "1s");
        let server = Server::start(lab, setup);
        server.wait_for_metric("dialtone_media_ports_ready", 10.0);
        let mut fleet = Fleet::new("127.0.0.1:5060");
        for round in 0..2 {
            let first = 7000 + 15 * round;
            fleet.call(first..first + 15);
            fleet.settle();
            assert_eq!(fleet.up(), 10, "{:?}", fleet.ledger);
            assert!(fleet.ledger.refused.values().all(|status| *status == 503), "{:?}", fleet.ledger.refused);
            fleet.hang_up();
            fleet.settle();
            server.wait_for_metric("dialtone_media_ports_ready", 10.0);
        }
        assert_eq!(fleet.ledger.refused.len(), 10);
        fleet.check(server);
    });
}

/// Without a file to open: a call that goes on is not touched, who has bound ports calls, others get 503, connections
/// wait; and all of it is over when files may be opened again.
#[test]
fn a_server_without_open_files_serves_what_it_has() {
    scenario(|lab| {
        let setup = Fleet::site(20, 60).with("DIALTONE_RTP_WORKERS", 1).with("DIALTONE_RTP_RESERVE", 8);
        let server = Server::start(lab, setup);
        server.wait_for_metric("dialtone_media_ports_ready", 8.0);
        let talk = Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 6000).dial("*43").start();
        server.wait_for_metric("dialtone_calls_answered_total", 1.0);
        server.wait_for_metric("dialtone_media_ports_ready", 8.0);
        let before = limit_files(&server);
        let mut waiting = TcpStream::connect("127.0.0.1:8080").unwrap();
        write!(waiting, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.register(2000..2020);
        fleet.call(7000..7020);
        fleet.settle();
        assert_eq!(fleet.ledger.registered.len(), 20, "{:?}", fleet.ledger);
        assert!((8..20).contains(&fleet.up()), "{:?}", fleet.ledger);
        assert!(fleet.ledger.refused.values().all(|status| *status == 503), "{:?}", fleet.ledger.refused);
        waiting.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(waiting.read(&mut [0]).is_err(), "somebody accepts connections");
        fleet.hang_up();
        fleet.settle();
        allow_files(&server, before);
        waiting.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        eventually("ports are bound again", || {
            (server.metric("dialtone_media_ports_ready") >= 8.0).then_some(())
        });
        let refused = fleet.ledger.refused.len();
        fleet.call(7020..7028);
        fleet.settle();
        assert_eq!(fleet.ledger.refused.len(), refused, "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        talk.finish();
        fleet.ledger.called.insert("*43".into());
        fleet.ledger.answered.insert("*43".into());
        let records = fleet.check(server);
        let talk = records.iter().find(|cdr| cdr.dialed == "*43").unwrap();
        answered(talk, None, EndedBy::Caller);
        heard_both_ways(talk, 150);
    });
}
