//! Contacts and proxies that are known by name: RFC 3263 on virtual time.

use std::time::Duration;

use dialtone_core::Cause;
use dialtone_signaling::message::Name;
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::Transport;

use super::support::{Mood, Phone, World, sample};

const UDP: &str = "_sip._udp.phones.example";

fn with(reach: ReachPolicy) -> World {
    World::with(|options| options.reach = reach)
}

/// Contacts are believed.
fn believing() -> World {
    with(ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() })
}

fn registers_as(phone: &Phone, contact: &'static str) {
    phone.register_with(|request| request.headers.set(Name::Contact, contact));
}

/// 1001 calls; 1002 is registered by name, from an address at which nobody is called; two servers stand behind the
/// name.
fn by_name(world: &World, contact: &'static str) -> [Phone; 3] {
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    registers_as(&bob, contact);
    assert_eq!(bob.status(), 200);
    let servers =
        ["10.0.0.21:5060", "10.0.0.22:5062"].map(|address| world.phone_at("1002", Transport::Udp, address));
    world.srv(UDP, 10, "a.phones.example", "10.0.0.21:5060");
    world.srv(UDP, 20, "b.phones.example", "10.0.0.22:5062");
    let [first, second] = servers;
    [alice, first, second]
}

/// RFC 3263 §4.2, §4.3: SRV leads to two servers; the first says nothing, the second answers, and the dialog is its.
#[test]
fn a_dead_target_gives_way_to_the_next() {
    let world = believing();
    let [alice, dead, live] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    dead.loses("INVITE", 100);
    alice.invite("1002");
    assert_eq!((dead.has_called(), live.is_asked()), (false, false));
    world.advance(4000);
    assert!(live.is_asked());
    live.ring();
    live.answer();
    alice.ack();
    world.advance(1000);
    alice.bye();
    assert_eq!((dead.got("BYE").len(), live.got("BYE").len()), (0, 1));
    assert_eq!(world.counts().stack.names.failovers, 1);
    world.check("named_failover");
}

/// RFC 3263 §4.3: what failed is tried last by the next call, until it is forgotten.
#[test]
fn a_dead_target_is_remembered() {
    let world = believing();
    let [alice, dead, live] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    dead.loses("INVITE", 4);
    alice.invite("1002");
    world.advance(4000);
    assert!(live.is_asked());
    alice.cancel();
    alice.invite("1002");
    assert_eq!(live.got("INVITE").len(), 2, "at once");
    alice.cancel();
    world.advance(40_000);
    alice.invite("1002");
    assert!(dead.is_asked());
    alice.cancel();
    world.finish();
}

/// RFC 3261 §18.4, §8.1.3.1: a transport error is no answer, and no time is lost with it.
#[test]
fn a_transport_error_gives_way_at_once() {
    let world = believing();
    let [alice, dead, live] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    dead.loses("INVITE", 1);
    alice.invite("1002");
    world.send_failed();
    assert!(live.is_asked());
    alice.cancel();
    world.finish();
}

/// RFC 3263 §4.3, RFC 3261 §8.1.3.1, §9.1: that a target cannot be reached says nothing of the one that the call has gone
/// on to, and that rings.
#[test]
fn a_transport_error_of_a_target_that_was_given_up_ends_nothing() {
    let world = believing();
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    registers_as(&bob, "<sip:1002@phones.example;transport=tcp>");
    let [dead, live] =
        ["10.0.0.21:5060", "10.0.0.22:5062"].map(|address| world.phone_at("1002", Transport::Tcp, address));
    world.srv("_sip._tcp.phones.example", 10, "a.phones.example", "10.0.0.21:5060");
    world.srv("_sip._tcp.phones.example", 20, "b.phones.example", "10.0.0.22:5062");
    dead.loses("INVITE", 1);
    alice.invite("1002");
    world.advance(4000);
    live.ring();
    world.advance(1000);
    world.send_to_failed("10.0.0.21");
    live.answer();
    alice.ack();
    assert!(alice.in_call() && live.in_call());
    alice.bye();
    assert_eq!(live.got("BYE").len(), 1);
    world.finish();
}

/// RFC 3263 §4.3, RFC 3261 §21.5.4: 503 gives way to the next, and is left alone as long as it says.
#[test]
fn an_overloaded_target_gives_way_and_is_left_alone() {
    let world = believing();
    let [alice, full, live] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    alice.invite("1002");
    full.respond_with(503, |response| response.headers.push(Name::RetryAfter, "120"));
    assert!(live.is_asked());
    live.respond(486);
    alice.invite("1002");
    live.respond_with(503, |response| response.headers.push(Name::RetryAfter, "120"));
    assert_eq!(full.got("INVITE").len(), 1);
    alice.invite("1002");
    assert_eq!((full.got("INVITE").len(), live.got("INVITE").len()), (1, 2), "nobody is left");
    world.check("named_overload");
}

/// RFC 3261 §8.1.3.1, §16.7: when every target is dead, the caller hears of it as of any phone that does not answer.
#[test]
fn all_targets_dead_ends_the_call() {
    let world = World::with(|options| {
        options.reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() };
        options.site.extensions.values_mut().for_each(|one| one.ring_timeout = Duration::from_secs(60));
    });
    let [alice, one, two] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    one.loses("INVITE", 100);
    two.loses("INVITE", 100);
    alice.invite("1002");
    world.advance(4000 + 32_000);
    assert_eq!(world.cdrs().pop().unwrap().cause, Cause::NoUserResponding);
    world.check("named_all_dead");
}

/// RFC 3263 §4.2: a name that is not there.
#[test]
fn a_name_that_is_not_there_ends_the_call_at_once() {
    let world = believing();
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    registers_as(&bob, "<sip:1002@nowhere.example>");
    alice.invite("1002");
    assert!(!alice.in_call() && bob.got("INVITE").is_empty());
    assert_eq!(world.cdrs().pop().unwrap().cause, Cause::DestinationOutOfOrder);
    world.check("named_nowhere");
}

/// RFC 3261 §9.1: what never left needs no CANCEL, and nothing leaves when DNS answers later.
#[test]
fn a_call_is_given_up_while_its_name_is_looked_up() {
    let world = believing();
    let [alice, one, two] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    world.dns_is(Mood::Silent);
    alice.invite("1002");
    assert_eq!(world.counts().stack.names.names.waiting, 1);
    alice.cancel();
    assert_eq!(alice.status(), 487);
    world.advance(10_000);
    assert_eq!((one.got("INVITE").len(), two.got("INVITE").len()), (0, 0));
    assert_eq!(world.counts().stack.legs, 0);
    world.check("named_cancel_while_looking");
}

/// RFC 3263 §4.3, RFC 8767 §5: a resolver that never answers ends nothing but this call, in time.
#[test]
fn a_resolver_that_never_answers_ends_the_call() {
    let world = believing();
    let [alice, ..] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    world.dns_is(Mood::Silent);
    alice.invite("1002");
    let (carol, dan) = (world.registered("1003"), world.registered("1004"));
    carol.invite("1004");
    dan.answer();
    carol.ack();
    carol.bye();
    assert_eq!(world.cdrs().len(), 1, "others call meanwhile");
    world.advance(5000);
    assert_eq!(world.counts().stack.names.names.waiting, 0);
    assert_eq!(world.cdrs().len(), 2);
    world.finish();
}

/// RFC 8767 §5: when DNS fails, what it said before goes on serving.
#[test]
fn calls_go_on_when_dns_is_gone() {
    let world = believing();
    let [alice, live, _] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    let is_called = || {
        alice.invite("1002");
        world.advance(2000);
        assert!(live.is_asked());
        live.respond(486);
        world.advance(120_000);
    };
    is_called();
    for mood in [Mood::Fails, Mood::Silent, Mood::Answers] {
        world.dns_is(mood);
        is_called();
    }
    assert!(world.counts().stack.names.names.stale > 0);
    world.finish();
}

/// RFC 3263 §4.1: a port that is named asks for addresses alone; a transport that is named for no NAPTR.
#[test]
fn what_a_contact_names_is_not_asked_for() {
    let world = believing();
    let [alice, one, _] = by_name(&world, "<sip:1002@a.phones.example:5060>");
    alice.invite("1002");
    assert!(one.is_asked());
    assert_eq!(world.asked(), ["A a.phones.example", "AAAA a.phones.example"]);
    alice.cancel();
    world.finish();
}

/// RFC 3581 §4, RFC 5626 §5.3: a phone that is reached where it is needs no DNS; its name is where it is looked for
/// when that way says nothing, at its own host.
#[test]
fn a_phone_is_called_where_it_is_before_where_its_name_leads() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.phone("1002"));
    registers_as(&bob, "<sip:1002@phones.example;transport=udp>");
    let named = world.phone_at("1002", Transport::Udp, "10.0.0.12:5070");
    world.srv(UDP, 5, "b.phones.example", "10.0.0.99:5060");
    world.srv(UDP, 10, "a.phones.example", "10.0.0.12:5070");
    alice.invite("1002");
    assert!(bob.is_asked() && world.asked().is_empty());
    alice.cancel();
    bob.loses("INVITE", 1);
    alice.invite("1002");
    world.send_failed();
    assert!(named.is_asked());
    alice.cancel();
    world.finish();
}

/// RFC 3327 §5.3, RFC 3263 §4: the nearest proxy of a Path is known by name; where that leads nowhere, it is where the
/// REGISTER came from.
#[test]
fn a_proxy_is_found_by_name() {
    let world = believing();
    let (alice, proxy) = (world.registered("1001"), world.phone("1002"));
    let through = |path: &'static str| {
        proxy.register_with(|request| {
            request.headers.push(Name::Via, "SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bKphone");
            request.headers.set(Name::Contact, "<sip:1002@192.168.1.2:5060>");
            request.headers.push(Name::Path, path);
            request.headers.push(Name::Supported, "path");
        });
    };
    let other = world.phone_at("1002", Transport::Udp, "10.0.0.31:5060");
    world.srv("_sip._udp.edge.example", 0, "p1.edge.example", "10.0.0.31:5060");
    through("<sip:edge.example;lr>");
    alice.invite("1002");
    assert_eq!((proxy.got("INVITE").len(), other.got("INVITE").len()), (0, 1));
    assert_eq!(other.header("INVITE", Name::Route), "<sip:edge.example;lr>");
    alice.cancel();
    through("<sip:nowhere.example;lr>");
    alice.invite("1002");
    assert_eq!((proxy.got("INVITE").len(), other.got("INVITE").len()), (1, 1));
    alice.cancel();
    world.finish();
}

/// RFC 3261 §26.2.2, RFC 3263 §4.1, RFC 5922 §7.3: a SIPS contact is called over TLS or not at all, and whoever is
/// there must be the domain that was asked for, not the host that its records name.
#[test]
fn sips_is_called_over_tls_alone() {
    let world = believing();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40000");
    registers_as(&bob, "<sips:1002@phones.example>");
    world.srv("_sip._udp.phones.example", 0, "a.phones.example", "10.0.0.21:5060");
    world.srv("_sips._tcp.phones.example", 0, "a.phones.example", "10.0.0.21:5061");
    let secure = world.phone_at("1002", Transport::Tls, "10.0.0.21:5061");
    alice.invite("1002");
    assert!(secure.is_asked());
    assert_eq!(world.ways_of("INVITE sips:1002@"), [Transport::Tls]);
    secure.ring();
    alice.cancel();
    for request in ["INVITE sips:1002@", "CANCEL", "ACK sips:1002@"] {
        assert_eq!(world.domains_of(request), [Some("phones.example".to_owned())], "{request}");
    }
    world.finish();
}

/// RFC 3261 §12.2.1.1, RFC 3263 §4: a caller's connection is gone: its name says where it listens.
#[test]
fn a_request_within_a_dialog_finds_the_peer_by_name() {
    for (world, address) in [(World::new(), "10.0.0.11:5070"), (believing(), "10.0.0.41:5070")] {
        let bob = world.registered("1002");
        let alice = world.phone_at("1001", Transport::Tcp, "10.0.0.11:40000");
        let listens = world.phone_at("1001", Transport::Tcp, address);
        world.srv("_sip._tcp.caller.example", 0, "one.caller.example", address);
        alice.invite_with("1002", |request| {
            request.headers.set(Name::Contact, "<sip:1001@caller.example;transport=tcp>");
        });
        bob.answer();
        alice.ack();
        world.flow_down(alice.path().flow.0);
        bob.bye();
        assert_eq!((alice.got("BYE").len(), listens.got("BYE").len()), (0, 1));
        world.advance(40_000);
    }
}

/// RFC 5922 §7.3, RFC 3261 §15.1.1: whoever proved to be a domain is asked to prove it again when a dialog's connection
/// is opened anew, whatever address its Contact or Record-Route names.
#[test]
fn a_dialog_over_tls_knows_whose_certificate_it_wants() {
    for route in [None, Some("<sip:10.0.0.21:5061;transport=tls;lr>")] {
        let world = believing();
        let alice = world.registered("1001");
        let bob = world.phone_at("1002", Transport::Tls, "10.0.0.12:40000");
        registers_as(&bob, "<sips:1002@phones.example>");
        world.srv("_sips._tcp.phones.example", 0, "a.phones.example", "10.0.0.21:5061");
        let secure = world.phone_at("1002", Transport::Tls, "10.0.0.21:5061");
        alice.invite("1002");
        let body = secure.answering_body();
        secure.respond_with(200, |response| {
            response.headers.set(Name::Contact, "<sips:1002@10.0.0.21:5061>");
            route.into_iter().for_each(|route| response.headers.push(Name::RecordRoute, route));
            response.set_body("application/sdp", body);
        });
        alice.ack();
        alice.bye();
        for request in ["INVITE sips:1002@", "ACK sips:1002@", "BYE sips:1002@"] {
            assert_eq!(world.domains_of(request), [Some("phones.example".to_owned())], "{request} {route:?}");
        }
        assert_eq!(secure.got("BYE").len(), 1);
        world.finish();
    }
}

/// RFC 3261 §11.1, RFC 3263 §4.3: a contact that is asked whether it is there is asked at each of its targets.
#[test]
fn a_question_finds_the_next_target_too() {
    let qualify = Duration::from_secs(60);
    let world = with(ReachPolicy { nat: Nat::Never, qualify, ..ReachPolicy::default() });
    let [_, dead, live] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    dead.loses("OPTIONS", 100);
    world.advance(60_000 + 5000);
    assert_eq!(live.got("OPTIONS").len(), 1);
    assert_eq!(world.counts().stack.unreachable, 0);
    world.apply(sample());
    world.advance(120_000);
    world.finish();
}

/// RFC 8767 §5: what is known, fresh or stale, serves also while so many wait for DNS that nobody else may.
#[test]
fn what_is_known_needs_no_room_to_wait() {
    let world = World::with(|options| {
        options.reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() };
        options.stack.dns.waiting = 1;
    });
    let [alice, live, _] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    let (carol, dan) = (world.registered("1003"), world.registered("1004"));
    registers_as(&dan, "<sip:1004@tarpit.example>");
    let is_called = || {
        alice.invite("1002");
        assert!(live.is_asked());
        live.respond(486);
    };
    is_called();
    world.dns_is(Mood::Silent);
    for pause in [0, 120_000] {
        world.advance(pause);
        carol.invite("1004");
        assert_eq!(world.counts().stack.names.names.waiting, 1);
        is_called();
        carol.cancel();
        world.advance(10_000);
    }
    assert_eq!(world.counts().stack.names.names.refused, 0);
    world.finish();
}

/// RFC 3261 §26.3.2.4: of the requests that may wait for DNS an extension has a share, whatever name it registers.
#[test]
fn an_extension_has_a_share_of_those_that_wait() {
    let world = World::with(|options| {
        options.reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() };
        options.stack.dns.waiting = 8;
        options.site.extensions.values_mut().for_each(|one| one.ring_timeout = Duration::from_secs(60));
    });
    let [alice, first, _] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    let mallory = world.registered("1003");
    registers_as(&mallory, "<sip:1003@tarpit.example>");
    world.dns_is(Mood::Silent);
    let callers: Vec<_> = (0..3).map(|_| world.phone("1004")).collect();
    callers.iter().for_each(|caller| caller.invite("1003"));
    assert_eq!(world.counts().stack.names.names.waiting, 2);
    assert_eq!(world.counts().stack.names.names.refused, 1);
    alice.invite("1002");
    assert_eq!(world.counts().stack.names.names.waiting, 3);
    assert!(!first.is_asked());
    alice.cancel();
    callers.iter().take(2).for_each(Phone::cancel);
    world.advance(10_000);
    world.finish();
}

/// RFC 3261 §21.5.4: when nobody has room to wait, the call is refused, and counted.
#[test]
fn those_that_wait_have_a_bound() {
    let world = World::with(|options| {
        options.reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() };
        options.stack.dns.waiting = 1;
    });
    let [alice, ..] = by_name(&world, "<sip:1002@phones.example;transport=udp>");
    let carol = world.registered("1003");
    world.dns_is(Mood::Silent);
    alice.invite("1002");
    carol.invite("1002");
    assert_eq!(world.counts().stack.names.names.refused, 1);
    assert_eq!(world.cdrs().pop().unwrap().cause, Cause::DestinationOutOfOrder);
    world.advance(10_000);
    world.finish();
}
