//! Where a contact is reached: through proxies, behind NATs, over which transports.

use dialtone_signaling::message::Name;
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::{Path, Transport};

use super::support::{Phone, World};

fn with(reach: ReachPolicy) -> World {
    World::with(|options| options.reach = reach)
}

fn registers_as(phone: &Phone, contact: &'static str) {
    phone.register_with(|request| request.headers.set(Name::Contact, contact));
}

fn through(proxy: &Phone, path: &str) {
    proxy.register_with(|request| {
        request.headers.push(Name::Via, "SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bKphone");
        request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>");
        request.headers.push(Name::Path, path);
        request.headers.push(Name::Supported, "path");
    });
}

/// RFC 3327 §5.3: the path is part of the binding, the answer shows it, and requests take it.
#[test]
fn a_phone_behind_proxies_is_reached_through_them() {
    let world = World::new();
    let (alice, proxy) = (world.registered("1001"), world.phone("1002"));
    through(&proxy, "<sip:10.0.0.12:5060;lr>, <sip:edge.example;lr>");
    assert_eq!(proxy.header("200", Name::Path), "<sip:10.0.0.12:5060;lr>, <sip:edge.example;lr>");
    alice.invite("1002");
    let invite = proxy.last("INVITE");
    let routes: Vec<_> = invite.headers().tokens(&Name::Route).collect();
    assert_eq!(routes, ["<sip:10.0.0.12:5060;lr>", "<sip:edge.example;lr>"]);
    assert!(invite.to_string().starts_with("INVITE sip:1002@192.168.1.2:5060 SIP/2.0"));
    alice.cancel();
    // RFC 3327 §5.3: the path is that of the last registration.
    proxy.register_with(|request| request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>"));
    assert_eq!(proxy.header("200", Name::Path), "");
    world.check_wire("path");
}

/// RFC 3261 §16.6 step 6: a proxy without lr is addressed itself.
#[test]
fn a_strict_router_is_addressed_itself() {
    let world = World::new();
    let (alice, proxy) = (world.registered("1001"), world.phone("1002"));
    through(&proxy, "<sip:10.0.0.12:5060>");
    alice.invite("1002");
    let invite = proxy.last("INVITE");
    assert!(invite.to_string().starts_with("INVITE sip:10.0.0.12:5060 SIP/2.0"));
    assert_eq!(proxy.header("INVITE", Name::Route), "<sip:1002@192.168.1.2:5060>");
    alice.cancel();
    world.finish();
}

/// RFC 3327 §5.3: a phone that does not know of paths is told that somebody put one in; and they have an end.
#[test]
fn a_path_that_was_not_asked_for_or_is_too_long_is_refused() {
    let world = World::new();
    let proxy = world.phone("1002");
    proxy.register_with(|request| request.headers.push(Name::Path, "<sip:10.0.0.12;lr>"));
    assert_eq!((proxy.status(), proxy.header("420", Name::Unsupported)), (420, "path".into()));
    through(&proxy, &["<sip:10.0.0.12;lr>"; 9].join(", "));
    assert_eq!(proxy.status(), 403);
    through(&proxy, "<sip:");
    assert_eq!((proxy.status(), world.counts().stack.bindings), (400, 0));
    world.finish();
}

/// RFC 3261 §8.2.2.3: what the registrar can is no bad extension.
#[test]
fn a_register_may_require_what_the_registrar_knows() {
    let world = World::new();
    let bob = world.phone("1002");
    let requires = |options: &'static str| {
        bob.register_with(|request| request.headers.push(Name::Require, options));
        (bob.status(), if bob.status() == 420 { bob.header("420", Name::Unsupported) } else { String::new() })
    };
    assert_eq!(requires("path, outbound, gruu"), (200, String::new()));
    assert_eq!(requires("path, teapot"), (420, "teapot".into()));
    world.finish();
}

/// RFC 3581 §5, RFC 3261 §10.3: the answer shows the contact as it was registered, and calls go to where the REGISTER
/// came from.
#[test]
fn a_private_contact_is_reached_at_its_source() {
    let world = World::new();
    let (alice, bob) =
        (world.registered("1001"), world.phone_at("1002", Transport::Udp, "203.0.113.7:40000"));
    registers_as(&bob, "<sip:1002@192.168.1.2:5060>");
    assert!(bob.header("200", Name::Contact).starts_with("<sip:1002@192.168.1.2:5060>;"));
    alice.invite("1002");
    assert!(bob.last("INVITE").to_string().starts_with("INVITE sip:1002@192.168.1.2:5060 "));
    bob.answer_at("<sip:1002@192.168.1.2:5060>");
    alice.ack();
    assert!(bob.last("ACK").to_string().starts_with("ACK sip:1002@192.168.1.2:5060 "));
    alice.bye();
    assert_eq!(bob.got("BYE").len(), 1);
    world.check_wire("nat_contact");
}

/// RFC 3261 §12.2.1.1: the Request-URI is the contact, and the way the one that worked.
#[test]
fn a_caller_behind_a_nat_hears_of_the_end_of_its_call() {
    let world = World::new();
    let bob = world.registered("1002");
    let alice = world.phone_at("1001", Transport::Udp, "203.0.113.7:40000");
    alice.invite_with("1002", |request| {
        request.headers.set(Name::Contact, "<sip:1001@192.168.1.2:5060>");
    });
    bob.answer();
    alice.ack();
    bob.bye();
    assert!(alice.last("BYE").to_string().starts_with("BYE sip:1001@192.168.1.2:5060 "));
    world.finish();
}

/// RFC 3581 §4: a NAT that gives the phone another port moves its binding.
#[test]
fn a_nat_that_changes_the_port_is_followed() {
    let world = World::new();
    let alice = world.registered("1001");
    let phones = [40000, 40001].map(|port| {
        let phone = world.phone_at("1002", Transport::Udp, &format!("203.0.113.7:{port}"));
        phone.register_with(|request| {
            request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>");
            request.headers.set(Name::CallId, format!("{port}@phone"));
        });
        phone
    });
    assert_eq!(world.counts().stack.bindings, 2, "alice's and his");
    alice.invite("1002");
    assert_eq!(phones.clone().map(|phone| phone.got("INVITE").len()), [0, 1]);
    alice.cancel();
    world.finish();
}

/// RFC 3581 §2: a Via of another host tells of a NAT even when the contact looks right; nat = "always" and "never" are
/// not told anything.
#[test]
fn the_site_says_whether_contacts_are_believed() {
    let reached = |nat, contact: &'static str, via: Option<&'static str>| {
        let world = with(ReachPolicy { nat, ..ReachPolicy::default() });
        let (alice, source) =
            (world.registered("1001"), world.phone_at("1002", Transport::Udp, "203.0.113.7:40000"));
        let named = world.phone_at("1002", Transport::Udp, "203.0.113.7:5070");
        let elsewhere = world.phone_at("1002", Transport::Udp, "203.0.113.8:5060");
        source.register_with(|request| {
            request.headers.set(Name::Contact, contact);
            via.into_iter().for_each(|via| request.headers.set(Name::Via, via));
        });
        alice.invite("1002");
        let got = [&source, &named, &elsewhere].map(|phone| phone.got("INVITE").len());
        alice.cancel();
        world.finish();
        got
    };
    let (same_host, other_host) = ("<sip:1002@203.0.113.7:5070>", "<sip:1002@203.0.113.8:5060>");
    assert_eq!(reached(Nat::Auto, same_host, None), [0, 1, 0]);
    assert_eq!(reached(Nat::Auto, other_host, None), [1, 0, 0]);
    let inside = Some("SIP/2.0/UDP 192.168.1.2:5060;rport;branch=z9hG4bK-inside");
    assert_eq!(reached(Nat::Auto, same_host, inside), [1, 0, 0]);
    assert_eq!(reached(Nat::Always, same_host, None), [1, 0, 0]);
    assert_eq!(reached(Nat::Never, same_host, inside), [0, 1, 0]);
    assert_eq!(reached(Nat::Never, other_host, None), [0, 0, 1]);
}

/// RFC 3261 §26.3.2.1: an account that is kept to one transport neither registers nor calls over another.
#[test]
fn an_account_is_kept_to_its_transports() {
    let world = with(ReachPolicy { transports: vec![Transport::Tcp], ..ReachPolicy::default() });
    let clear = world.phone("1002");
    clear.register(3600);
    assert_eq!((clear.status(), world.counts().stack.bindings), (403, 0));
    clear.invite("*43");
    assert_eq!(clear.status(), 403);
    clear.untrusted();
    clear.register(3600);
    assert_eq!(clear.status(), 401, "nobody is told before they have proved who they are");
    let pinned = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40000");
    pinned.register(3600);
    assert_eq!(pinned.status(), 200);
    world.check_wire("transport_refused");
}

/// RFC 3261 §26.2.2: whoever is kept to connections is not reached by datagrams when the connection is gone.
#[test]
fn an_account_is_never_reached_over_another_transport() {
    let world = with(ReachPolicy { transports: vec![Transport::Tcp], ..ReachPolicy::default() });
    let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40000");
    let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40000");
    registers_as(&bob, "<sip:1002@10.0.0.12:5060>");
    let (datagrams, listener) =
        (world.phone("1002"), world.phone_at("1002", Transport::Tcp, "10.0.0.12:5060"));
    world.flow_down(101);
    alice.invite("1002");
    assert_eq!((datagrams.got("INVITE").len(), listener.got("INVITE").len()), (0, 1));
    alice.cancel();
    world.finish();
}

/// RFC 3581 §4, RFC 5626 §4.3: what is known of the way to a phone holds for its dialogs too.
#[test]
fn a_dialog_stays_on_the_way_that_worked() {
    let bye_goes_to = |nat, answers_at: &'static str, via: Option<&'static str>| {
        let world = with(ReachPolicy { nat, ..ReachPolicy::default() });
        let (alice, source) =
            (world.registered("1001"), world.phone_at("1002", Transport::Udp, "203.0.113.7:40000"));
        let named = world.phone_at("1002", Transport::Udp, "203.0.113.7:5070");
        source.register_with(|request| via.into_iter().for_each(|via| request.headers.set(Name::Via, via)));
        alice.invite("1002");
        source.answer_at(answers_at);
        alice.ack();
        alice.bye();
        let got = [source.got("BYE").len(), named.got("BYE").len()];
        world.advance(45_000);
        got
    };
    let (plain, flow) = ("<sip:1002@203.0.113.7:5070>", "<sip:1002@203.0.113.7:5070;ob>");
    assert_eq!(bye_goes_to(Nat::Auto, plain, None)[0], 0);
    assert_eq!(bye_goes_to(Nat::Auto, flow, None), [1, 0]);
    assert_eq!(bye_goes_to(Nat::Always, plain, None), [1, 0]);
    let inside = Some("SIP/2.0/UDP 192.168.1.2:5060;rport;branch=z9hG4bK-inside");
    assert_eq!(bye_goes_to(Nat::Auto, plain, inside), [1, 0]);
}

/// RFC 3261 §26.2.2: who is kept to TLS is refused in the clear, and not called in the clear when the connection is
/// gone, whatever its contact says.
#[test]
fn who_is_kept_to_tls_is_never_reached_in_the_clear() {
    let world = with(ReachPolicy { transports: vec![Transport::Tls], ..ReachPolicy::default() });
    for clear in [Transport::Udp, Transport::Tcp] {
        let phone = world.phone_at("1002", clear, "10.0.0.12:5060");
        phone.register(3600);
        assert_eq!(phone.status(), 403);
    }
    let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40000");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40000");
    registers_as(&bob, "<sip:1002@10.0.0.12:5060;transport=tcp>");
    assert_eq!(bob.status(), 200);
    alice.invite("1002");
    assert!(bob.is_asked());
    alice.cancel();
    let Path { flow, .. } = bob.path();
    world.flow_down(flow.0);
    alice.invite("1002");
    let sent = world.ways_of("INVITE sip:1002@");
    assert!(sent.iter().all(|transport| *transport == Transport::Tls), "{sent:?}");
    alice.cancel();
    world.advance(45_000);
}

/// RFC 3261 §26.2.2: nor within a dialog: a call over TLS is neither ended nor moved in the clear, not even by who can
/// prove who it is.
#[test]
fn a_call_of_who_is_kept_to_tls_is_not_spoken_of_in_the_clear() {
    let world = with(ReachPolicy { transports: vec![Transport::Tls], ..ReachPolicy::default() });
    let alice = world.phone_at("1001", Transport::Tls, "10.0.0.11:40000");
    alice.invite("*43");
    alice.ack();
    let clear = world.phone_at("1001", Transport::Udp, "10.0.0.11:5060");
    clear.steals(&alice);
    clear.bye();
    assert!(clear.status() == 403 && alice.in_call());
    alice.bye();
    assert_eq!(alice.status(), 200);
    world.finish();
}
