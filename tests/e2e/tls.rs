//! SIP over TLS and HTTPS: openssl, curl and linphone believe the server's certificate and no other.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dialtone_core::cdr::EndedBy;

use crate::harness::{
    Lab, Linphone, Phone, Server, Setup, Sound, Transport, Voice, answered, eventually, heard_both_ways,
    only, scenario,
};

const SECOND: Duration = Duration::from_secs(1);

fn is_tone(sound: &Sound, hz: f64) {
    let peak = sound.peak();
    assert!((peak.hz - hz).abs() < 2.0 && peak.purity > 0.95, "{peak:?} instead of {hz} Hz");
}

/// What a program printed, both ways, and whether it succeeded.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// A handshake; what openssl says of it.
fn handshake(server: &Server<'_>, more: &[&str]) -> (bool, String) {
    let certificate = server.certificate();
    let mut arguments = vec!["s_client", "-connect", "127.0.0.1:5061", "-brief", "-verify_return_error"];
    arguments.extend(["-CAfile", certificate.to_str().unwrap()]);
    arguments.extend(more);
    run("openssl", &arguments)
}

/// RFC 3261 §26.3.1 asks for TLS, RFC 8996 §4 and §5 forbid its old versions.
#[test]
fn openssl_shakes_hands_in_tls_1_2_and_1_3_and_in_nothing_older() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let (success, said) = handshake(&server, &[version, "-verify_ip", "127.0.0.1"]);
            assert!(success && said.contains(&format!("Protocol version: {name}")), "{said}");
            assert!(said.contains("Verification: OK"), "{said}");
        }
        // A name that the server does not know is no reason to refuse.
        let (success, said) = handshake(&server, &["-servername", "somebody.example"]);
        assert!(success && said.contains("Verification: OK"), "{said}");
        for version in ["-tls1", "-tls1_1"] {
            // The second lets openssl itself try.
            let (success, said) = handshake(&server, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
            // Without the extensions of newer versions it is a handshake failure, with them the version.
            let refused = said.contains("alert protocol version") || said.contains("alert handshake failure");
            assert!(!success && refused, "{said}");
        }
        server.finish(0);
    });
}

#[test]
fn https_shows_what_http_shows() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let certificate = server.certificate();
        let (success, said) = run("curl", &["-sS", "-k", "https://127.0.0.1:8443/healthz"]);
        assert!(success && said.contains("\"status\":\"ok\""), "{said}");
        let believed = ["-sS", "--cacert", certificate.to_str().unwrap(), "https://127.0.0.1:8443/metrics"];
        let (success, said) = run("curl", &believed);
        assert!(success && said.contains("\ndialtone_calls 0\n"), "{said}");
        let (success, said) = run("curl", &["-sS", "https://127.0.0.1:8443/healthz"]);
        assert!(!success && said.contains("certificate"), "nobody else vouches for it: {said}");
        server.finish(0);
    });
}

#[test]
fn tls_http_and_https_are_served_on_ipv6() {
    scenario(|lab| {
        let setup = Setup::shipped()
            .with("DIALTONE_SIP_TLS", "127.0.0.1:5061,[::1]:5061")
            .with("DIALTONE_HTTP_BIND", "127.0.0.1:8080,[::1]:8080")
            .with("DIALTONE_HTTP_TLS_BIND", "[::1]:8443");
        let server = Server::start(lab, setup);
        let certificate = server.certificate();
        let believed = certificate.to_str().unwrap();
        for url in ["http://[::1]:8080/healthz", "https://[::1]:8443/healthz"] {
            let (success, said) = run("curl", &["-sS", "-g", "--cacert", believed, url]);
            assert!(success && said.contains("\"status\":\"ok\""), "{url}: {said}");
        }
        let connect =
            ["s_client", "-connect", "[::1]:5061", "-brief", "-verify_ip", "::1", "-CAfile", believed];
        let (success, said) = run("openssl", &connect);
        assert!(success && said.contains("Verification: OK"), "{said}");
        server.finish(0);
    });
}

/// A pair made by openssl, for 127.0.0.1.
fn pair(lab: &Lab, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (lab.path(&format!("{name}.pem")), lab.path(&format!("{name}.key")));
    let (success, said) = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ],
    );
    assert!(success, "{said}");
    (certificate, key)
}

/// Who shows itself in a handshake for SIP now.
fn shown() -> String {
    shown_at("127.0.0.1:5061")
}

fn shown_at(address: &str) -> String {
    let (_, said) = run("openssl", &["s_client", "-connect", address, "-brief"]);
    said.lines().find(|line| line.starts_with("Peer certificate:")).unwrap_or(&said).to_owned()
}

/// RFC 5923 §5 keeps the call's requests on the phone's connection; the certificate changes meanwhile, twice.
#[test]
fn a_call_between_tls_and_udp_goes_on_while_the_certificate_is_replaced() {
    scenario(|lab| {
        let (certificate, key) = pair(lab, "first");
        let setup = Setup::shipped()
            .with("DIALTONE_TLS_CERTIFICATE", certificate.display())
            .with("DIALTONE_TLS_PRIVATE_KEY", key.display());
        let server = Server::start(lab, setup);
        let alma = Phone::new("1001", 5070, 0.0).with(Transport::Tls, Voice::Pcmu, 440.0);
        let mut alma = alma.trusting(&certificate).start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(3 * SECOND).part(SECOND, 2 * SECOND), 1000.0);
        is_tone(&ben.hears(3 * SECOND).part(SECOND, 2 * SECOND), 440.0);
        assert!(shown().contains("first"), "{}", shown());

        // By command.
        let (second, second_key) = pair(lab, "second");
        fs::copy(&second_key, &key).unwrap();
        let (success, said) = server.command(&["reload-certificates"]);
        assert!(!success && said.contains("the certificate before stays in force"), "half of a pair: {said}");
        assert!(shown().contains("first"), "{}", shown());
        fs::copy(&second, &certificate).unwrap();
        let (success, said) = server.command(&["reload-certificates"]);
        assert!(success && said.starts_with("certificate for 127.0.0.1, good until "), "{said}");
        assert!(shown().contains("second"), "{}", shown());

        // By signal.
        let (third, third_key) = pair(lab, "third");
        fs::copy(third, &certificate).unwrap();
        fs::copy(third_key, &key).unwrap();
        server.hang_up();
        eventually("the third certificate is shown", || shown().contains("third").then_some(()));
        assert_eq!(server.metric("dialtone_tls_reloads_total"), 3.0);
        assert!(shown_at("127.0.0.1:8443").contains("third"), "HTTPS has the same certificate");

        is_tone(&alma.hears_more(2 * SECOND).last(SECOND), 1000.0);
        is_tone(&ben.hears_more(2 * SECOND).last(SECOND), 440.0);
        ben.hang_up();
        alma.expect("CALL_CLOSED");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Callee);
        heard_both_ways(&cdr, 200);
    });
}

#[test]
fn two_baresips_on_tls_call_each_other_with_the_servers_own_certificate() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma =
            Phone::new("1001", 5070, 0.0).with(Transport::Tls, Voice::Pcmu, 440.0).start(lab, &server);
        let ben = Phone::new("1002", 5080, 0.0).with(Transport::Tls, Voice::Pcmu, 1000.0).answering();
        let mut ben = ben.start(lab, &server);
        assert_eq!(server.metric("dialtone_sip_connections"), 2.0);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(3 * SECOND).part(SECOND, 2 * SECOND), 1000.0);
        is_tone(&ben.hears(3 * SECOND).part(SECOND, 2 * SECOND), 440.0);
        assert_eq!(server.metric("dialtone_sip_connections"), 2.0, "each phone's own connection is used");
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Caller);
    });
}

/// RFC 5118 §1: a baresip on IPv6 and TLS, and one on IPv4 and UDP, call each other.
#[test]
fn a_phone_on_ipv6_and_tls_talks_with_one_on_ipv4() {
    scenario(|lab| {
        let setup = Setup::shipped()
            .with("DIALTONE_SIP_TLS", "127.0.0.1:5061,[::1]:5061")
            .with("DIALTONE_RTP_BIND", "127.0.0.1,::1");
        let server = Server::start(lab, setup);
        let alma = Phone::new("1001", 5070, 0.0).with(Transport::Tls, Voice::Pcmu, 440.0).ipv6();
        let mut alma = alma.start(lab, &server);
        let mut ben = Phone::new("1002", 5080, 1000.0).answering().start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.expect("CALL_ESTABLISHED");
        is_tone(&alma.hears(3 * SECOND).part(SECOND, 2 * SECOND), 1000.0);
        is_tone(&ben.hears(3 * SECOND).part(SECOND, 2 * SECOND), 440.0);
        alma.hang_up();
        ben.expect("CALL_CLOSED");
        ben.dial("1001");
        alma.expect("CALL_INCOMING");
        alma.answer();
        ben.expect("CALL_ESTABLISHED");
        is_tone(&ben.hears_more(3 * SECOND).last(SECOND), 440.0);
        ben.hang_up();
        alma.expect("CALL_CLOSED");
        let records = server.finish(2);
        answered(&records[0], Some("1002"), EndedBy::Caller);
        heard_both_ways(&records[0], 140);
        answered(&records[1], Some("1001"), EndedBy::Caller);
    });
}

#[test]
fn linphone_on_tls_is_called_from_udp() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut ben = Linphone::start_over_tls(lab, &server, "1002", 5080);
        assert_eq!(server.metric("dialtone_sip_connections"), 1.0);
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        ben.speaks();
        let heard = alma.hears(3 * SECOND);
        assert!(heard.last(2 * SECOND).dbfs() > -40.0, "{} dB", heard.dbfs());
        alma.hang_up();
        ben.expect("ended");
        let cdr = only(server.finish(1));
        answered(&cdr, Some("1002"), EndedBy::Caller);
        heard_both_ways(&cdr, 100);
    });
}
