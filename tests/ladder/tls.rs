//! Calls over TLS: what our URIs say, and that nothing falls back to the clear.

use dialtone_signaling::message::{Message, Method, Name, Request, Uri};
use dialtone_signaling::wire::Transport;

use super::calls::connect;
use super::support::{Phone, World, sdp};

/// The Request-URI of the last request that a phone got whose summary begins so.
fn request_uri(phone: &Phone, prefix: &str) -> String {
    let Message::Request(request) = phone.last(prefix) else { panic!("{prefix} is no request") };
    request.uri.as_str().to_owned()
}

#[test]
fn a_phone_on_tls_talks_with_a_phone_on_udp() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40001");
    alice.register(3600);
    let bob = world.registered("1002");
    connect(&world, &alice, &bob, "1002");
    assert_eq!(alice.address_of("200 OK (sdp)", Name::Contact).uri.param("transport"), Some("tls"));
    bob.bye();
    assert!(alice.header("BYE", Name::Via).starts_with("SIP/2.0/TLS 10.0.0.1:5061;"));
    world.check("tls_to_udp");
}

/// RFC 3261 §8.1.1.8, §26.2.2: to a SIPS contact go TLS and a SIPS Contact of ours.
#[test]
fn a_sips_contact_is_called_over_tls_and_told_a_sips_contact() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
    bob.register_with(|request| request.headers.set(Name::Contact, "<sips:1002@10.0.0.12:40002>"));
    connect(&world, &alice, &bob, "1002");
    assert_eq!(request_uri(&bob, "INVITE"), "sips:1002@10.0.0.12:40002");
    assert!(bob.header("INVITE", Name::Contact).starts_with("<sips:"));
    alice.bye();
    world.check("tls_sips_contact");
}

fn dials_sips(phone: &Phone, number: &str) {
    phone.invite_with(number, |request| {
        request.uri = Uri::parse(&format!("sips:{number}@dialtone")).unwrap().into();
        let contact = request.headers.text(&Name::Contact).unwrap().replace("sip:", "sips:");
        request.headers.set(Name::Contact, contact);
    });
}

/// RFC 3261 §12.1.1: who dials a SIPS URI is told a SIPS Contact.
#[test]
fn a_caller_of_a_sips_uri_is_told_a_sips_contact() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40001");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
    bob.register(3600);
    dials_sips(&alice, "1002");
    bob.answer();
    alice.ack();
    assert!(alice.header("200 OK (sdp)", Name::Contact).starts_with("<sips:"));
    bob.bye();
    world.check("tls_sips_dialed");
}

/// RFC 5630 §5.3: who dials a SIPS URI reaches nobody over UDP or TCP, and what asks for SIPS there is refused.
#[test]
fn a_sips_uri_leads_over_tls_or_nowhere() {
    let world = World::new();
    let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40001");
    let bob = world.registered("1002");
    dials_sips(&alice, "1002");
    assert_eq!((alice.status(), bob.got("INVITE").len()), (480, 0));
    let safe = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
    safe.register(3600);
    dials_sips(&alice, "1002");
    assert_eq!((safe.got("INVITE").len(), bob.got("INVITE").len()), (1, 0));
    safe.respond(486);
    let carol = world.registered("1003");
    dials_sips(&carol, "1002");
    assert_eq!((carol.status(), safe.got("INVITE").len()), (480, 1));
    assert_eq!(carol.header("480", Name::Warning), "380 pbx.example \"SIPS Not Allowed\"");
    world.finish();
}

/// RFC 3261 §26.2.2, RFC 5630 §5.3: nor by a proxy that is known for TLS and cannot be found.
#[test]
fn a_proxy_for_tls_that_is_not_there_is_not_passed_by_in_the_clear() {
    for proxy in ["<sip:edge.example;transport=tls;lr>", "<sips:edge.example;lr>", "<sips:10.0.0.12;lr>"] {
        for transport in [Transport::Tcp, Transport::Udp] {
            let world = World::new();
            let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40001");
            let bob = world.phone_at("1002", transport, "10.0.0.12:40002");
            bob.register_with(|request| {
                request.headers.push(Name::Path, proxy);
                request.headers.push(Name::Supported, "path");
            });
            assert_eq!(bob.status(), 200);
            dials_sips(&alice, "1002");
            assert!(bob.got("INVITE").is_empty(), "{proxy} {transport:?}");
            let clear = world.ways_of("INVITE sip").into_iter().filter(|way| *way != Transport::Tls);
            assert_eq!(clear.count(), 0, "{proxy} {transport:?}");
            alice.cancel();
            world.advance(45_000);
        }
    }
}

/// RFC 3261 §26.2.2, RFC 5626 §4.3: a phone that registers, or speaks within its call, in the clear does not take the
/// call out of TLS.
#[test]
fn a_call_over_tls_does_not_follow_its_phone_into_the_clear() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
    let clear = world.phone_at("1002", Transport::Udp, "10.0.0.12:5060");
    let instance = |request: &mut Request| {
        let contact = request.headers.text(&Name::Contact).unwrap_or_default().to_owned();
        request.headers.set(Name::Contact, format!("{contact};+sip.instance=\"<urn:uuid:7>\""));
    };
    bob.register_with(instance);
    connect(&world, &alice, &bob, "1002");
    clear.register_with(instance);
    assert_eq!((clear.status(), world.counts().stack.bindings), (200, 2));
    clear.steals(&bob);
    clear.within_saying(Method::Update, sdp("pcmu te"), |_| {});
    assert_eq!(clear.status(), 200);
    alice.bye();
    assert_eq!((bob.got("BYE").len(), clear.got("BYE").len()), (1, 0));
    world.finish();
}

/// RFC 5630 §5.3: nor does who takes it over.
#[test]
fn a_call_to_a_sips_uri_is_taken_over_tls_alone() {
    for rings in [true, false] {
        let world = World::new();
        let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40001");
        let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
        bob.register(3600);
        let [clear, safe] = [(Transport::Udp, "10.0.0.13:5060"), (Transport::Tls, "10.0.0.14:40004")]
            .map(|(transport, address)| world.phone_at("1002", transport, address));
        dials_sips(&alice, "1002");
        if rings {
            bob.ring();
        } else {
            bob.answer();
            alice.ack();
        }
        let (_, replaces) = bob.replaces();
        let takes = |phone: &Phone| {
            phone.invite_with("1001", |invite| invite.headers.push(Name::Replaces, replaces.clone()));
            phone.status()
        };
        assert_eq!(takes(&clear), 403, "{rings}");
        assert_eq!(takes(&safe), 200, "{rings}");
        safe.ack();
        if rings {
            alice.ack();
        }
        alice.bye();
        assert_eq!((clear.got("BYE").len(), safe.got("BYE").len()), (0, 1));
        world.advance(45_000);
    }
}

/// A request of `phone` that says where it listens, over the connection that it has now.
fn claims(phone: &Phone, address: &str) {
    phone.invite_with("7777", |request| {
        let mut via = request.via().unwrap().clone();
        let address: std::net::SocketAddr = address.parse().unwrap();
        (via.host, via.port) = (address.ip().into(), Some(address.port()));
        via.params.set_flag("alias");
        request.headers.set_top(&Name::Via, via.to_string());
    });
    assert_eq!(phone.status(), 404, "it is who it says, and nobody has that number");
}

/// RFC 5923 §6: the alias of a phone that proved who it is makes its new connection that of its contact; what
/// another account claims does not.
#[test]
fn a_phone_that_is_back_is_called_over_its_new_connection() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
    bob.register_with(|request| request.headers.set(Name::Contact, "<sips:1002@10.0.0.12>"));
    world.flow_down(101);
    let carol = world.phone_at("1003", Transport::Tls, "10.0.0.12:40003");
    claims(&carol, "10.0.0.12:5061");
    let back = world.phone_at("1002", Transport::Tls, "10.0.0.12:40004");
    let listener = world.phone_at("1002", Transport::Tls, "10.0.0.12:5061");
    alice.invite("1002");
    assert_eq!((carol.got("INVITE").len(), listener.got("INVITE").len()), (0, 1), "carol is not bob");
    listener.respond(486);

    claims(&back, "10.0.0.12:5061");
    alice.invite("1002");
    assert_eq!((back.got("INVITE").len(), listener.got("INVITE").len()), (1, 1));
    back.respond(486);
}

/// RFC 3261 §18.2.2, §26.2.2: without its connection the phone is called where it listens for TLS, and the port of
/// TLS is 5061.
#[test]
fn a_phone_whose_tls_connection_is_gone_is_called_at_its_contact_over_tls() {
    for contact in
        ["sip:1002@10.0.0.12;transport=tls", "sips:1002@10.0.0.12", "sip:1002@10.0.0.12;transport=tcp"]
    {
        let world = World::new();
        let alice = world.registered("1001");
        let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40002");
        bob.register_with(|request| request.headers.set(Name::Contact, format!("<{contact}>")));
        world.flow_down(101);
        // What listens on the same port without TLS is somebody else.
        let plain = world.phone_at("1002", Transport::Tcp, "10.0.0.12:5061");
        let listener = world.phone_at("1002", Transport::Tls, "10.0.0.12:5061");
        alice.invite("1002");
        assert_eq!((bob.got("INVITE").len(), plain.got("INVITE").len()), (0, 0), "{contact}");
        assert!(listener.header("INVITE", Name::Via).starts_with("SIP/2.0/TLS "), "{contact}");
        listener.answer();
        alice.ack();
        alice.bye();
        assert_eq!(world.counts().stack.legs, 0);
    }
}
