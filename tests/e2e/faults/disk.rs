//! The disk: full, slow, damaged.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use super::fleet::Fleet;
use super::inject::{SlowDisk, SmallDisk, damage};
use crate::harness::{Server, eventually, scenario};

/// A full disk: calls that go on go on, nobody is told that a registration is kept that is not, records wait, callers are
/// refused meanwhile; with room again everything is written, once.
#[test]
fn a_full_disk_loses_nothing() {
    scenario(|lab| {
        let disk = SmallDisk::new(lab, 24);
        let server = Server::start(lab, Fleet::site(40, 60).with("DIALTONE_RTP_RESERVE", 100));
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.register(2000..2010);
        fleet.call(7000..7020);
        fleet.settle();
        assert_eq!((fleet.up(), fleet.ledger.registered.len()), (20, 10), "{:?}", fleet.ledger);
        disk.fill();
        fleet.hang_up();
        fleet.settle();
        assert!(fleet.ledger.ended.values().all(|status| *status == 200), "{:?}", fleet.ledger.ended);
        fleet.register(2010..2020);
        fleet.call(7020..7030);
        fleet.settle();
        let failures = || server.metric("dialtone_writer_failures_total") > 0.0;
        eventually("the failure is counted", || failures().then_some(()));
        fleet.hang_up();
        fleet.settle();
        disk.relieve();
        server.wait_for_records(fleet.ledger.answered.len());
        fleet.register(2020..2030);
        fleet.call(7030..7040);
        fleet.settle();
        assert_eq!(fleet.up(), 10, "{:?}", fleet.ledger);
        assert!(fleet.ledger.registered.contains("2029"), "{:?}", fleet.ledger);
        fleet.hang_up();
        fleet.settle();
        fleet.check(server);
    });
}

/// Every wait for the disk takes two seconds: a registration waits for it, and no call does.
#[test]
fn a_slow_disk_delays_registrations_and_no_call() {
    scenario(|lab| {
        let server = Server::start(lab, Fleet::site(10, 40).with("DIALTONE_RTP_RESERVE", 100));
        let mut fleet = Fleet::new("127.0.0.1:5060");
        {
            let _slow = SlowDisk::new(lab, &server, Duration::from_secs(2));
            fleet.register(2000..2010);
            fleet.call(7000..7040);
            fleet.until("all calls are answered", |ledger| ledger.answered.len() == 40);
            assert_eq!(fleet.ledger.registered.len(), 0, "the disk is waited for");
            fleet.settle();
        }
        fleet.hang_up();
        fleet.settle();
        assert_eq!(fleet.ledger.registered.len(), 10);
        fleet.check(server);
    });
}

/// A flipped bit in the live state, half a line at the end of the records: the server starts, keeps what it cannot read,
/// and serves; the records are those from before.
#[test]
fn a_damaged_store_and_a_torn_record_do_not_stop_the_start() {
    scenario(|lab| {
        let mut server = Server::start(lab, Fleet::site(10, 10).with("DIALTONE_RTP_RESERVE", 100));
        let mut fleet = Fleet::new("127.0.0.1:5060");
        fleet.register(2000..2010);
        fleet.call(7000..7005);
        fleet.settle();
        fleet.hang_up();
        fleet.settle();
        server.wait_for_records(5);
        server.kill();
        eventually("the server is gone", || (!server.runs()).then_some(()));
        damage(&server.data().join("state/db"));
        let records = std::fs::read_dir(server.data().join("records")).unwrap();
        let cdrs =
            records.map(|entry| entry.unwrap().path()).find(|path| path.to_str().unwrap().contains("cdr"));
        let mut cdrs = OpenOptions::new().append(true).open(cdrs.unwrap()).unwrap();
        cdrs.write_all(b"{\"call\":\"c1-0000").unwrap();
        server.restart_after_crash();
        fleet.register(2000..2010);
        fleet.call(7005..7010);
        fleet.settle();
        fleet.hang_up();
        fleet.settle();
        fleet.check(server);
    });
}
