//! linphone registers, calls and is called.

use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use crate::harness::{Linphone, Phone, Server, Setup, answered, eventually, heard_both_ways, only, scenario};

/// Waits until so many packets of voice were sent and received.
fn packets_flow(server: &Server<'_>, packets: f64) {
    for name in ["dialtone_media_packets_in_total", "dialtone_media_packets_out_total"] {
        let enough = || (server.metric(name) >= packets).then_some(());
        eventually(&format!("{name} is {packets}"), enough);
    }
}

#[test]
fn linphone_calls_the_echo_test() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Linphone::start(lab, &server, "1001", 5070);
        alma.dial("*43");
        alma.speaks();
        packets_flow(&server, 130.0);
        alma.hang_up();
        alma.expect("ended");
        let cdr = only(server.finish(1));
        answered(&cdr, None, EndedBy::Caller);
        heard_both_ways(&cdr, 100);
    });
}

#[test]
fn linphone_calls_linphone() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Linphone::start(lab, &server, "1001", 5070);
        let mut ben = Linphone::start(lab, &server, "1002", 5080);
        alma.dial("1002");
        alma.speaks();
        ben.speaks();
        packets_flow(&server, 250.0);
        ben.hang_up();
        alma.expect("ended");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
        heard_both_ways(&cdr, 50);
    });
}

#[test]
fn linphone_is_called_by_baresip_which_hears_it() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut ben = Linphone::start(lab, &server, "1002", 5080);
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.speaks();
        let heard = alma.hears(Duration::from_secs(3));
        assert!(heard.last(Duration::from_secs(2)).dbfs() > -40.0, "{} dB", heard.dbfs());
        alma.hang_up();
        ben.expect("ended");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 100);
    });
}
