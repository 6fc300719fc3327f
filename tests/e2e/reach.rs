//! How phones are reached: through a proxy, over one of two connections, over TLS or not at all.

use std::time::Duration;

use dialtone_core::Cause;
use dialtone_core::cdr::EndedBy;

use crate::harness::{
    Baresip, Firewall, Phone, Proxy, Server, Setup, Sipp, Transport, Voice, answered, break_connections,
    heard_both_ways, scenario,
};

const SECOND: Duration = Duration::from_secs(1);

fn hears(phone: &Baresip, hz: f64) {
    let peak = phone.hears_more(3 * SECOND).last(2 * SECOND).peak();
    assert!((peak.hz - hz).abs() < 2.0 && peak.purity > 0.95, "{peak:?} instead of {hz} Hz");
}

/// RFC 3327 §5.1, §5.3: kamailio puts itself into the Path of a baresip that nobody else reaches; calls to it and from it
/// go through, with sound both ways.
#[test]
fn a_phone_behind_a_proxy_is_reached_through_its_path() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let _proxy = Proxy::start(lab);
        let direct = "udp sport 5060 udp dport 5080 ip saddr 127.0.0.1 counter drop";
        let firewall = Firewall::start(direct);
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).behind(Proxy::HOST).start(lab, &server);
        alma.dial("1002");
        ben.expect("CALL_INCOMING");
        ben.answer();
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        hears(&alma, 1000.0);
        hears(&ben, 440.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let records = server.wait_for_records(1);
        let (good, said) = server.command(&["trace", &records[0].call.to_string(), "--messages"]);
        assert!(good && said.contains("Route: <sip:127.0.0.50;lr"), "{said}");

        ben.dial("1001");
        alma.expect("CALL_INCOMING");
        alma.answer();
        ben.expect("CALL_ESTABLISHED");
        hears(&ben, 440.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        assert_eq!(firewall.counted(), 0, "nothing was even sent past the proxy");
        let records = server.finish(2);
        answered(&records[0], Some("1002"), EndedBy::Caller);
        heard_both_ways(&records[0], 140);
        answered(&records[1], Some("1001"), EndedBy::Callee);
    });
}

/// RFC 5626 §5.3, §7: a baresip that is registered over TCP and over TLS; its TCP connection is killed and cannot be made
/// again, and it is called over the other.
#[test]
fn baresip_whose_connection_is_killed_is_reached_by_its_other() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let ben = Phone::new("1002", 5080, 0.0).with(Transport::Tcp, Voice::Pcmu, 1000.0);
        let mut ben = ben.and_over(Transport::Tls).answering().start(lab, &server);
        let contacts = server.contacts();
        assert_eq!(contacts.lines().filter(|line| line.starts_with("1002 ")).count(), 2, "{contacts}");
        Firewall::start("tcp dport 5060 tcp flags & (syn | ack) == syn reject with tcp reset");
        assert_eq!(break_connections("dport = :5060"), 1);
        server.wait_for_metric("dialtone_sip_unreachable", 1.0);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        hears(&alma, 1000.0);
        hears(&ben, 440.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        let records = server.finish(1);
        answered(&records[0], Some("1002"), EndedBy::Caller);
        heard_both_ways(&records[0], 140);
    });
}

/// RFC 3261 §26.2.2: an extension that is kept to TLS neither registers nor calls in the clear, and when its connection is
/// gone it is not called in the clear either: not one datagram or connection of plain SIP leaves the server for it.
#[test]
fn an_extension_on_tls_is_never_reached_in_the_clear() {
    scenario(|lab| {
        let password = "password = \"dialtone-1002\"";
        let pinned = format!("{password}\ntransports = [\"tls\"]");
        let server = Server::start(lab, Setup::shipped().site(password, &pinned));
        for transport in [Transport::Udp, Transport::Tcp] {
            let phone = Sipp::new(lab, "register_refused.xml", "1002", 5090).set("PORT", 5090);
            phone.set("STATUS", 403).over(transport).run();
        }
        Sipp::new(lab, "caller_is_forbidden.xml", "1002", 5090).dial("1001").run();
        assert_eq!(server.metric("dialtone_sip_bindings"), 0.0);

        let firewall = Firewall::start(
            "udp sport 5060 udp dport != 5070 counter; tcp sport 5060 counter; tcp dport { 5060, 5080 } counter",
        );
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let ben = Phone::new("1002", 5080, 0.0).with(Transport::Tls, Voice::Pcmu, 1000.0);
        let mut ben = ben.answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        hears(&alma, 1000.0);
        hears(&ben, 440.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        assert_eq!(firewall.counted(), 0);
        firewall.also("tcp dport 5061 tcp flags & (syn | ack) == syn reject with tcp reset");
        assert_eq!(break_connections("dport = :5061"), 1);
        server.wait_for_metric("dialtone_sip_connections", 0.0);
        alma.dial("1002");
        alma.expect("CALL_CLOSED");
        assert_eq!(firewall.counted(), 0, "it was tried in the clear");
        let records = server.finish(2);
        answered(&records[0], Some("1002"), EndedBy::Caller);
        heard_both_ways(&records[0], 140);
        assert_eq!(records[1].cause, Cause::DestinationOutOfOrder, "{:#?}", records[1]);
    });
}
