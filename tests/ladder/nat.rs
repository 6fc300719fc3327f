//! Behind an address translator: which of our addresses a peer is told, in Via, Contact and session descriptions.

use dialtone::switch::Input;
use dialtone_core::PortId;
use dialtone_core::media::{MediaEvent, ReadyPort};
use dialtone_signaling::message::{Message, Name};
use dialtone_signaling::net::Addresses;
use dialtone_signaling::stack::{SipInput, Socket};
use dialtone_signaling::wire::{FlowId, Transport};

use super::calls::connect;
use super::support::{Phone, World, sdp};

const INSIDE: &str = "10.0.0.1";
const OUTSIDE: &str = "198.51.100.1";

fn external(world: &World, address: &str) {
    let mut external = Addresses::default();
    external.set(address.parse().unwrap());
    world.input(Input::Sip(SipInput::Addresses { external, default: Addresses::default() }));
}

fn behind_a_router() -> World {
    World::with(|options| options.stack.identity.net.external.set(OUTSIDE.parse().unwrap()))
}

/// The addresses in the description of the last message that begins so: of `o=` and `c=`.
fn described(phone: &Phone, prefix: &str) -> Vec<String> {
    let message: Message = phone.last(prefix);
    let text = String::from_utf8(message.to_bytes().to_vec()).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let addressed = body.lines().filter(|line| line.starts_with("o=") || line.starts_with("c="));
    addressed.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

fn host_of(phone: &Phone, prefix: &str, name: Name) -> String {
    phone.address_of(prefix, name).uri.host.to_string()
}

fn outside(world: &World, number: &str) -> Phone {
    let phone = world.phone_at(number, Transport::Udp, "203.0.113.11:40000");
    phone.register(3600);
    phone
}

/// RFC 3261 §8.1.1.7, §8.1.1.8, RFC 4566 §5.7: whoever is outside is told what can be reached from there, and
/// the other leg of the same call what can be reached inside.
#[test]
fn each_leg_is_told_an_address_that_its_peer_reaches() {
    let world = behind_a_router();
    let (alice, bob) = (outside(&world, "1001"), world.registered("1002"));
    connect(&world, &alice, &bob, "1002");
    assert_eq!(host_of(&alice, "200 OK (sdp)", Name::Contact), OUTSIDE);
    assert_eq!(described(&alice, "200 OK (sdp)"), [OUTSIDE, OUTSIDE]);
    assert!(bob.header("INVITE", Name::Via).starts_with(&format!("SIP/2.0/UDP {INSIDE}:5060;")));
    assert_eq!(host_of(&bob, "INVITE", Name::Contact), INSIDE);
    assert_eq!(described(&bob, "INVITE"), [INSIDE, INSIDE]);
    bob.bye();
    assert!(alice.header("BYE", Name::Via).starts_with(&format!("SIP/2.0/UDP {OUTSIDE}:5060;")));
    world.check("nat_caller_outside");
}

/// RFC 3261 §8.1.1.7, RFC 3264 §8.3.1: the same when we call outside, and in a change of the call.
#[test]
fn a_phone_outside_is_called_from_the_external_address() {
    let world = behind_a_router();
    let (alice, bob) = (world.registered("1001"), outside(&world, "1002"));
    connect(&world, &alice, &bob, "1002");
    assert!(bob.header("INVITE", Name::Via).starts_with(&format!("SIP/2.0/UDP {OUTSIDE}:5060;")));
    assert_eq!(host_of(&bob, "INVITE", Name::Contact), OUTSIDE);
    assert_eq!(described(&bob, "INVITE"), [OUTSIDE, OUTSIDE]);
    assert_eq!(host_of(&alice, "200 OK (sdp)", Name::Contact), INSIDE);
    assert_eq!(described(&alice, "200 OK (sdp)"), [INSIDE, INSIDE]);
    bob.reinvite(sdp("pcmu te"));
    assert_eq!(described(&bob, "200 OK (sdp)"), [OUTSIDE, OUTSIDE]);
    bob.ack();
    alice.bye();
    world.check("nat_callee_outside");
}

/// RFC 8489 §2: a router may get a new address while calls go on; what is sent from then on says so.
#[test]
fn a_new_external_address_counts_at_once() {
    let world = behind_a_router();
    let (alice, bob) = (outside(&world, "1001"), world.registered("1002"));
    connect(&world, &alice, &bob, "1002");
    external(&world, "198.51.100.2");
    bob.bye();
    assert!(alice.header("BYE", Name::Via).starts_with("SIP/2.0/UDP 198.51.100.2:5060;"));
    connect(&world, &alice, &bob, "1002");
    assert_eq!(described(&alice, "200 OK (sdp)"), ["198.51.100.2"; 2]);
    assert_eq!(described(&bob, "INVITE"), [INSIDE, INSIDE]);
    alice.bye();
    world.finish();
}

/// RFC 3581 §4: a phone behind a translator of its own is called where its REGISTER came from, whatever its
/// Contact says.
#[test]
fn a_phone_behind_its_own_router_is_called_where_it_came_from() {
    let world = World::new();
    let alice = world.registered("1001");
    let bob = world.phone_at("1002", Transport::Udp, "203.0.113.11:40000");
    let private = "<sip:1002@192.168.7.7:5060>";
    bob.register_with(|request| request.headers.set(Name::Contact, private));
    alice.invite("1002");
    assert!(bob.is_asked(), "the INVITE goes to 203.0.113.11:40000");
    bob.answer_at(private);
    alice.ack();
    alice.bye();
    assert_eq!(bob.got("BYE").len(), 1);
    world.finish();
}

/// RFC 3261 §18.1.1, RFC 4566 §5.7: sockets of every address; 0.0.0.0 is nowhere said.
#[test]
fn sockets_of_every_address_say_the_one_towards_the_peer() {
    let world = World::with(|options| options.ports = 0);
    let ready = |number: u32| ReadyPort {
        port: PortId { worker: 0, number },
        rtp: format!("0.0.0.0:{}", 10_000 + 2 * number).parse().unwrap(),
        rtcp: format!("0.0.0.0:{}", 10_001 + 2 * number).parse().unwrap(),
    };
    world.media(MediaEvent::Ready { ports: (1..=6).map(ready).collect() });
    let bind = |flow| {
        let local = "0.0.0.0:5060".parse().unwrap();
        let sockets = vec![Socket { transport: Transport::Udp, flow: FlowId(flow), local }];
        world.input(Input::Sip(SipInput::Sockets(sockets)));
    };
    bind(1);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    // With another flow, as after a restart, the way that the REGISTER came is not there any more.
    for flow in [1, 7] {
        bind(flow);
        connect(&world, &alice, &bob, "1002");
        assert!(bob.header("INVITE", Name::Via).starts_with(&format!("SIP/2.0/UDP {INSIDE}:5060;")));
        assert_eq!(host_of(&bob, "INVITE", Name::Contact), INSIDE);
        assert_eq!(described(&bob, "INVITE"), [INSIDE, INSIDE]);
        assert_eq!(described(&alice, "200 OK (sdp)"), [INSIDE, INSIDE]);
        alice.bye();
    }
    external(&world, OUTSIDE);
    let carol = outside(&world, "1003");
    connect(&world, &alice, &carol, "1003");
    assert_eq!(described(&carol, "INVITE"), [OUTSIDE, OUTSIDE]);
    assert_eq!(described(&alice, "200 OK (sdp)"), [INSIDE, INSIDE]);
    alice.bye();
    world.finish();
}
