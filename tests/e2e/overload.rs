//! More calls at once than the server takes on.

use crate::harness::{Load, Server, Setup, Stage, eventually, scenario};

/// Calls that come at once.
const FLOOD: u32 = 600;
/// Calls that are up before.
const BEFORE: u32 = 5;

/// RFC 3261 §21.5.4: every caller of a flood is answered, those that are refused are told when to come again, calls in
/// progress go on, and nothing is left behind.
#[test]
fn a_flood_of_calls_is_answered_and_leaves_nothing() {
    scenario(|lab| {
        // So short a wait that a flood of this size is too much for any machine.
        let setup =
            Setup::shipped().with("DIALTONE_GUARD_SHED_LAG", "1ms").with("DIALTONE_RTP_RESERVE", 1000);
        let server = Server::start(lab, setup);
        let ready = || server.metric("dialtone_media_ports_ready") >= f64::from(BEFORE + FLOOD);
        eventually("each call finds a port", || ready().then_some(()));
        let mut load = Load::new("127.0.0.1:5060".parse().unwrap());
        load.hangs_up = false;
        load.call(0..1);
        load.settle();
        load.call(1..BEFORE);
        load.settle();
        assert_eq!(load.count(|stage| stage == Stage::Up), BEFORE as usize);
        load.hangs_up = true;
        load.call(BEFORE..BEFORE + FLOOD);
        load.settle();
        assert_eq!(load.count(|stage| stage == Stage::Up), BEFORE as usize, "those before are unharmed");
        let refused = load.count(|stage| matches!(stage, Stage::Refused(_)));
        let told = load.count(|stage| matches!(stage, Stage::Refused(5..=30)));
        assert_eq!(told, refused, "each is told when to come again");
        load.hang_up();
        load.settle();
        load.forget_done();
        let over = load.done;
        assert_eq!(load.refused, refused);
        assert_eq!(over + refused, (BEFORE + FLOOD) as usize);
        assert!(over >= BEFORE as usize);
        server.finish(over);
    });
}

/// RFC 3261 §15.1.2: whoever hangs up in the middle of a flood is answered, and so is every call of the flood that was
/// taken on.
#[test]
fn calls_in_progress_are_hung_up_in_a_flood() {
    scenario(|lab| {
        let setup =
            Setup::shipped().with("DIALTONE_GUARD_SHED_LAG", "1ms").with("DIALTONE_RTP_RESERVE", 1000);
        let server = Server::start(lab, setup);
        let ready = || server.metric("dialtone_media_ports_ready") >= f64::from(BEFORE + 2 * FLOOD);
        eventually("each call finds a port", || ready().then_some(()));
        let mut load = Load::new("127.0.0.1:5060".parse().unwrap());
        load.hangs_up = false;
        load.call(0..1);
        load.settle();
        load.call(1..BEFORE);
        load.settle();
        // None of the flood is up before it ends, so that only those of before are hung up in it.
        load.call(BEFORE..BEFORE + FLOOD);
        load.hang_up();
        load.call(BEFORE + FLOOD..BEFORE + 2 * FLOOD);
        load.hangs_up = true;
        load.settle();
        assert_eq!(load.count(|stage| matches!(stage, Stage::Up | Stage::HangingUp)), 0);
        load.forget_done();
        let over = load.done;
        assert_eq!(over + load.refused, (BEFORE + 2 * FLOOD) as usize);
        assert!(over >= BEFORE as usize);
        server.finish(over);
    });
}
