//! Who may have us connect to whom: whoever registers or calls names hosts in Contact, Path and Record-Route, and only
//! `nat = "never"` believes them about hosts of others.

use std::time::Duration;

use dialtone_signaling::message::{Name, Request};
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::Transport;

use super::support::{Phone, World};

/// Where nobody of ours is.
const ELSEWHERE: &str = "10.0.0.99:6379";

/// What names it: by address, by maddr (RFC 3263 §4), by name.
const NAMES: [&str; 3] = [
    "sip:10.0.0.99:6379;transport=tcp",
    "sip:a.example:6379;transport=tcp;maddr=10.0.0.99",
    "sip:elsewhere.example:6379;transport=tcp",
];

fn with(nat: Nat, qualify: u64) -> (World, Phone) {
    let qualify = Duration::from_secs(qualify);
    let world = World::with(|options| options.reach = ReachPolicy { nat, qualify, ..ReachPolicy::default() });
    let elsewhere = world.phone_at("1004", Transport::Tcp, ELSEWHERE);
    world.host("elsewhere.example", "10.0.0.99");
    (world, elsewhere)
}

fn registers_as(phone: &Phone, contact: &'static str) {
    phone.register_with(|request| request.headers.set(Name::Contact, contact));
}

/// RFC 3261 §26.1: who registers does not have us connect to hosts of others, neither to ask for options nor to call.
#[test]
fn nobody_makes_us_connect_to_others() {
    for (nat, reached) in [(Nat::Auto, 0), (Nat::Never, 1)] {
        let (world, elsewhere) = with(nat, 10);
        let bob = world.phone("1002");
        registers_as(&bob, "<sip:1002@10.0.0.99:6379;transport=tcp>");
        world.advance(30_000);
        let alice = world.registered("1001");
        alice.invite("1002");
        assert_eq!(elsewhere.got("INVITE").len(), reached, "{nat:?}");
        assert_eq!(elsewhere.got("OPTIONS").len().min(1), reached, "{nat:?}");
    }
}

/// RFC 3261 §26.1, RFC 3263 §4.3: nor by a name when the way on which they are called refuses.
#[test]
fn a_refusal_makes_us_connect_to_nobody_else() {
    for (nat, reached) in [(Nat::Auto, 0), (Nat::Never, 1)] {
        for contact in &NAMES[1..] {
            let (world, elsewhere) = with(nat, 0);
            let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40000");
            bob.register_with(|request| request.headers.set(Name::Contact, format!("<{contact}>")));
            let alice = world.registered("1001");
            alice.invite("1002");
            if bob.is_asked() {
                bob.respond(503);
            }
            assert_eq!(elsewhere.got("INVITE").len(), reached, "{nat:?} {contact}");
            alice.cancel();
            world.advance(45_000);
        }
    }
}

/// RFC 3327 §6, RFC 3261 §26.1: a proxy of a Path is where the REGISTER came from; only who is believed names one
/// elsewhere.
#[test]
fn a_path_leads_to_where_the_register_came_from() {
    for (nat, reached) in [(Nat::Auto, 0), (Nat::Never, 1)] {
        for proxy in NAMES {
            let (world, elsewhere) = with(nat, 10);
            let bob = world.phone_at("1002", Transport::Tcp, "10.0.0.12:40000");
            bob.register_with(|request| {
                request.headers.push(Name::Path, format!("<{proxy};lr>"));
                request.headers.push(Name::Supported, "path");
            });
            assert_eq!(bob.status(), 200);
            world.advance(10_000);
            let alice = world.registered("1001");
            alice.invite("1002");
            for request in ["OPTIONS", "INVITE"] {
                let got = [&elsewhere, &bob].map(|phone| phone.got(request).len().min(1));
                assert_eq!(got, [reached, 1 - reached], "{nat:?} {proxy} {request}");
            }
        }
    }
}

/// RFC 3261 §26.1, §12.2.1.1: nor in a call: when a caller's connection is gone, its Contact and its Record-Route lead to
/// its own host.
#[test]
fn a_dialog_makes_us_connect_to_nobody_else() {
    for (nat, reached) in [(Nat::Auto, 0), (Nat::Never, 1)] {
        for name in &NAMES[1..] {
            let says = |names: Name, value: String| {
                let (world, elsewhere) = with(nat, 0);
                let bob = world.registered("1002");
                let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40000");
                alice.invite_with("1002", |request: &mut Request| request.headers.set(names, value));
                bob.answer();
                alice.ack();
                world.flow_down(alice.path().flow.0);
                alice.loses("BYE", 1);
                bob.bye();
                assert_eq!(elsewhere.got("BYE").len(), reached, "{nat:?} {name}");
                world.advance(45_000);
            };
            says(Name::Contact, format!("<{name}>"));
            says(Name::RecordRoute, format!("<{name};lr>"));
        }
    }
}
