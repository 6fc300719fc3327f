//! Phones with several connections, and phones that keep a NAT open.

use std::net::UdpSocket;
use std::time::Duration;

use dialtone_core::cdr::EndedBy;
use dialtone_signaling::message::Name;

use crate::harness::{Flow, Linphone, Phone, Server, Setup, answered, eventually, only, scenario};

const SECOND: Duration = Duration::from_secs(1);

/// RFC 5626 §7: of two connections one is killed; the phone is called over the other, and voice passes.
#[test]
fn a_phone_whose_connection_is_killed_is_reached_by_its_other() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let mut alma = Phone::new("1001", 5070, 440.0).start(lab, &server);
        let (first, answer) = Flow::register("1002", 1);
        assert_eq!(answer.headers.text(&Name::Require), Some("outbound"));
        let (mut second, answer) = Flow::register("1002", 2);
        assert_eq!(answer.headers.elements(&Name::Contact).count(), 2);
        first.kill();
        server.wait_for_metric("dialtone_sip_unreachable", 1.0);
        let phone = std::thread::spawn(move || (second.answer_and_echo(), second));
        alma.dial("1002");
        alma.expect("CALL_ESTABLISHED");
        let peak = alma.hears(3 * SECOND).part(SECOND, 2 * SECOND).peak();
        assert!((peak.hz - 440.0).abs() < 1.0, "{peak:?}");
        alma.hang_up();
        let (invite, second) = phone.join().unwrap();
        assert_eq!(invite.cseq().unwrap().number, 1, "the dead connection was not even tried");
        // The killed one comes back in its own place.
        let (third, answer) = Flow::register("1002", 1);
        assert_eq!(answer.headers.elements(&Name::Contact).count(), 2);
        server.wait_for_metric("dialtone_sip_unreachable", 0.0);
        drop((second, third));
        answered(&only(server.finish(1)), Some("1002"), EndedBy::Caller);
    });
}

/// RFC 5626 §4.4.2: a STUN binding request on the SIP port is answered with the address that it came from.
#[test]
fn a_keep_alive_by_stun_is_answered() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(5 * SECOND)).unwrap();
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        request.extend(1..=12);
        socket.send_to(&request, "127.0.0.1:5060").unwrap();
        let mut answer = [0; 64];
        let len = socket.recv(&mut answer).unwrap();
        assert_eq!((len, &answer[..2], &answer[8..20]), (32, &[1, 1][..], &request[8..]));
        let port = u16::from_be_bytes([answer[26] ^ 0x21, answer[27] ^ 0x12]);
        assert_eq!(port, socket.local_addr().unwrap().port());
        server.finish(0);
    });
}

/// RFC 3261 §11, RFC 5627 §5.3: linphone is asked at its interval and answers; what it registered is shown.
#[test]
fn linphone_is_asked_whether_it_is_there() {
    scenario(|lab| {
        let server = Server::start(lab, Setup::shipped().site("qualify = \"60s\"", "qualify = \"1s\""));
        let _alma = Linphone::start(lab, &server, "1001", 5070);
        let shown = eventually("linphone has been asked", || {
            let shown = server.contacts();
            shown.contains(" ms ").then_some(shown)
        });
        assert!(
            shown.contains("1001") && shown.contains(" reachable ") && shown.contains("inphone"),
            "{shown}"
        );
        server.finish(0);
    });
}
