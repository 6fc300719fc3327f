//! The wall clock leaps; what is measured and kept goes by clocks that do not.

use super::fleet::Fleet;
use super::inject::Clock;
use crate::harness::{Server, scenario};

/// A day forward, and two days back: calls that go on have the length that they had, phones stay registered, also over a
/// crash, and passwords are taken.
#[test]
fn a_clock_that_leaps_ends_nothing() {
    scenario(|lab| {
        let clock = Clock::new(lab);
        let setup = clock.of(Fleet::site(30, 60).with("DIALTONE_RTP_RESERVE", 100));
        let mut server = Server::start(lab, setup);
        let mut fleet = Fleet::new("127.0.0.1:5060");
        for (round, shift) in ["+1d", "-1d", "+0"].into_iter().enumerate() {
            let round = u32::try_from(round).unwrap();
            let (phones, calls) = (2000 + 10 * round, 7000 + 20 * round);
            fleet.register(phones..phones + 10);
            fleet.call(calls..calls + 10);
            fleet.settle();
            clock.set(shift);
            fleet.call(calls + 10..calls + 20);
            fleet.settle();
            assert_eq!(fleet.up(), 20, "{:?}", fleet.ledger);
            fleet.hang_up();
            fleet.settle();
            server.wait_for_records(fleet.ledger.called.len());
            server.kill();
            server.restart_after_crash();
        }
        assert!(fleet.ledger.ended.values().all(|status| *status == 200), "{:?}", fleet.ledger.ended);
        let records = fleet.check(server);
        for cdr in records {
            assert!(cdr.talk_ms <= cdr.duration_ms && cdr.duration_ms < 300_000, "{cdr:#?}");
        }
    });
}
