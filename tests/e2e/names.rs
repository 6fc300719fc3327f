//! A phone that is known by a host name, and a DNS server that says where it leads.

use dialtone_core::cdr::EndedBy;

use crate::harness::{Dns, Server, Setup, Sipp, answered, heard_both_ways, scenario};

/// Two servers behind one name; nobody is at the first.
const ZONE: [&str; 4] = [
    "--naptr-record=phones.test,10,10,s,SIP+D2U,,_sip._udp.phones.test",
    "--srv-host=_sip._udp.phones.test,dead.phones.test,5090,10,0",
    "--srv-host=_sip._udp.phones.test,live.phones.test,5094,20,0",
    "--host-record=dead.phones.test,live.phones.test,127.0.0.1",
];

/// RFC 3263 §4.1, §4.2, §4.3, RFC 8767 §5: NAPTR and SRV lead to two targets, of which one is dead: calls go through by
/// the other, with sound, and go on doing so when the DNS server has been killed.
#[test]
fn a_call_goes_through_by_the_target_that_lives() {
    scenario(|lab| {
        let dns = Dns::start(lab, &ZONE);
        let setup = Setup::shipped()
            .site("nat = \"auto\"", "nat = \"never\"")
            .with("DIALTONE_DNS_SERVERS", Dns::server())
            // What DNS says is past its time at once, so that the second call needs DNS again, or what it said.
            .with("DIALTONE_DNS_TTL_MIN", "0s")
            .with("DIALTONE_DNS_TIMEOUT", "500ms")
            .with("DIALTONE_DNS_ATTEMPTS", 1)
            .with("DIALTONE_DNS_FAILOVER_AFTER", "1s");
        let server = Server::start(lab, setup);
        Sipp::new(lab, "register_by_name.xml", "1002", 5080).run();
        let live = Sipp::new(lab, "callee.xml", "1002", 5094).set("RING", 100).rtp_echo().calls(2, 10);
        let live = live.listen();
        let call = || Sipp::new(lab, "caller.xml", "1001", 5070).set("TALK", 1500).dial("1002").run();
        call();
        assert_eq!(server.metric("dialtone_sip_failovers_total"), 1.0);
        assert_eq!(server.metric("dialtone_dns_stale_total"), 0.0);
        drop(dns);
        call();
        assert_eq!(server.metric("dialtone_sip_failovers_total"), 1.0, "the dead one is remembered");
        assert!(server.metric("dialtone_dns_stale_total") > 0.0);
        live.finish();
        let records = server.finish(2);
        for record in &records {
            answered(record, Some("1002"), EndedBy::Caller);
            heard_both_ways(record, 40);
        }
    });
}
