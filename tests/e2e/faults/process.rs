//! The process: killed, stopped, and without time.

use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use super::fleet::Fleet;
use super::inject::{freeze, rounds, starve};
use crate::harness::{Server, Sipp, answered, eventually, heard_both_ways, scenario};

const SHORT: Duration = Duration::from_millis(500);

/// Killed while phones register and call: who has got a 200 to REGISTER is registered afterwards, and each call that was
/// answered has one record, however many milliseconds before.
#[test]
fn a_kill_under_load_breaks_no_promise() {
    let rounds = rounds(2);
    scenario(move |lab| {
        let setup = Fleet::site(10 * rounds, 30 * rounds).with("DIALTONE_RTP_RESERVE", 100);
        let mut server = Server::start(lab, setup);
        let mut fleet = Fleet::new("127.0.0.1:5060");
        for round in 0..rounds {
            let (phones, calls) = (2000 + 10 * round, 7000 + 30 * round);
            fleet.register(phones..phones + 10);
            fleet.call(calls..calls + 30);
            let enough = fleet.ledger.answered.len() + 1 + (7 * round as usize) % 28;
            fleet.until("calls are answered", |ledger| ledger.answered.len() >= enough);
            server.kill();
            while fleet.take(SHORT) {}
            fleet.give_up();
            server.restart_after_crash();
            // The server knows nothing of them, and says so.
            fleet.hang_up();
            fleet.settle();
        }
        fleet.check(server);
    });
}

/// Stopped for five seconds: everybody repeats themselves, nothing happens twice, and calls go on afterwards.
#[test]
fn a_stopped_server_goes_on_where_it_was() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(20, 40).with("DIALTONE_RTP_RESERVE", 100));
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.call(7000..7020);
        fleet.settle();
        let talk = Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 9000).dial("*43").start();
        server.wait_for_metric("dialtone_calls_answered_total", 21.0);
        freeze(&server, || {
            fleet.register(2000..2020);
            fleet.call(7020..7040);
            for _ in 0..10 {
                assert!(!fleet.take(SHORT), "a stopped server answers");
                fleet.repeat();
            }
        });
        fleet.settle();
        assert_eq!((fleet.up(), fleet.ledger.registered.len()), (40, 20), "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        talk.finish();
        assert!(server.metric("dialtone_turn_longest_seconds") > 0.0);
        fleet.ledger.called.insert("*43".into());
        fleet.ledger.answered.insert("*43".into());
        let records = fleet.check(server);
        let talk = records.iter().find(|cdr| cdr.dialed == "*43").unwrap();
        answered(talk, None, EndedBy::Caller);
        heard_both_ways(talk, 60);
    });
}

/// With a tenth of the time: whoever is answered is served, and when there is time again nothing is left.
#[test]
fn a_starved_server_keeps_what_it_says() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(40, 60).with("DIALTONE_RTP_RESERVE", 100));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut fleet = Fleet::new("127.0.0.1:5060");
                fleet.register(2000..2040);
                for part in 0..6 {
                    fleet.call(7000 + 10 * part..7010 + 10 * part);
                    fleet.settle();
                    fleet.hang_up();
                }
                fleet.settle();
                fleet
            });
            while !client.is_finished() {
                starve(&server, SHORT);
            }
            let fleet = client.join().unwrap();
            assert_eq!(fleet.ledger.registered.len(), 40);
            assert!(fleet.ledger.ended.values().all(|status| *status == 200), "{:?}", fleet.ledger.ended);
            eventually("the server rests", || (server.metric("dialtone_sip_legs") == 0.0).then_some(()));
            fleet.check(server);
        });
    });
}
