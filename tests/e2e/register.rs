//! Phones register, and only those that know the password.

use crate::harness::{Lab, Linphone, Phone, Server, Setup, Sipp, Transport, scenario, sipsak};

fn phone<'l>(lab: &'l Lab, file: &'static str, transport: Transport) -> Sipp<'l> {
    Sipp::new(lab, file, "1001", 5070).set("PORT", 5070).over(transport)
}

#[test]
fn sipsak_registers() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let said = sipsak::usrloc(lab, "1001", "dialtone-1001");
        assert!(said.success, "{}", said.output);
        assert!(said.output.contains("usrloc tests completed successful"), "{}", said.output);
        server.finish(0);
    });
}

#[test]
fn sipsak_with_a_wrong_password_is_refused() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let said = sipsak::usrloc(lab, "1001", "dialtone-1002");
        assert!(!said.success, "{}", said.output);
        assert_eq!(server.metric("dialtone_sip_bindings"), 0.0);
        server.finish(0);
    });
}

#[test]
fn sipp_registers_over_udp_with_md5() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        phone(lab, "register.xml", Transport::Udp).run();
        assert_eq!(server.metric("dialtone_sip_bindings"), 1.0);
        server.finish(0);
    });
}

#[test]
fn sipp_registers_over_tcp_with_md5() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        phone(lab, "register.xml", Transport::Tcp).run();
        assert_eq!(server.metric("dialtone_sip_bindings"), 1.0);
        server.finish(0);
    });
}

#[test]
fn sipp_with_a_wrong_password_is_refused() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        phone(lab, "register_refused.xml", Transport::Udp).set("PASSWORD", "wrong").set("STATUS", 401).run();
        assert_eq!(server.metric("dialtone_sip_bindings"), 0.0);
        server.finish(0);
    });
}

/// baresip 1.0.0 gives up over a 401 with a challenge of SHA-256, whatever else the 401 offers.
#[test]
fn baresip_registers_at_the_unmodified_sample_site() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let _alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        assert_eq!(server.metric("dialtone_sip_bindings"), 1.0);
        server.finish(0);
    });
}

#[test]
fn linphone_registers_at_the_unmodified_sample_site() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let _alma = Linphone::start(lab, &server, "1001", 5070);
        assert_eq!(server.metric("dialtone_sip_bindings"), 1.0);
        server.finish(0);
    });
}
