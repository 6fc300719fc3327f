//! Phones that keep several flows to us: RFC 5626.

use dialtone_core::Fact;
use dialtone_core::event::DeviceState;
use dialtone_signaling::message::{Name, Request};
use dialtone_signaling::registrar::ContactPolicy;
use dialtone_signaling::wire::Transport;

use super::support::{Phone, World};

/// The way in which a phone registers one of its flows.
pub fn flow(instance: u32, reg_id: u32) -> impl Fn(&mut Request) {
    move |request| {
        let contact = request.headers.text(&Name::Contact).unwrap_or_default().to_owned();
        let flow = format!("{contact};+sip.instance=\"<urn:uuid:{instance}>\";reg-id={reg_id}");
        request.headers.set(Name::Contact, flow);
        request.headers.set(Name::Supported, "path, outbound, gruu");
        request.headers.set(Name::Expires, "3600");
        // Each flow is a registration of its own.
        let call_id = format!("{}-{reg_id}", request.call_id().unwrap_or_default());
        request.headers.set(Name::CallId, call_id);
    }
}

fn contacts(phone: &Phone) -> usize {
    phone.last("200").headers().tokens(&Name::Contact).count()
}

fn over(world: &World, transport: Transport, port: u16) -> Phone {
    world.phone_at("1002", transport, &format!("10.0.0.12:{port}"))
}

/// Bob's phone with two connections.
fn two_flows(world: &World) -> [Phone; 2] {
    let flows = [40001, 40002].map(|port| over(world, Transport::Tcp, port));
    flows[0].register_with(flow(7, 1));
    flows[1].register_with(flow(7, 2));
    flows
}

/// The way in which a phone behind a translator registers, whose instance this is.
fn inside(instance: Option<u32>) -> impl Fn(&mut Request) {
    move |request| {
        let mut via = request.via().unwrap().clone();
        let transport = via.transport.to_ascii_lowercase();
        via.host = std::net::IpAddr::from([192, 168, 1, 7]).into();
        request.headers.set_top(&Name::Via, via.to_string());
        let instance = instance.map(|of| format!(";+sip.instance=\"<urn:uuid:{of}>\"")).unwrap_or_default();
        let contact = format!("<sip:1002@192.168.1.7:5062;transport={transport}>{instance}");
        request.headers.set(Name::Contact, contact);
    }
}

/// RFC 5626 §4.3: a phone behind a translator is back over another connection, or from another port: its call goes on,
/// and its end reaches it. While no way is known nobody is called elsewhere, and a refresh does not end the call.
#[test]
fn a_call_follows_its_phone_to_another_connection() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let world = World::new();
        let alice = world.registered("1001");
        let before = over(&world, transport, 40001);
        before.register_with(inside(Some(7)));
        alice.invite("1002");
        before.answer_at("<sip:1002@192.168.1.7:5062>");
        alice.ack();
        before.manual();
        if transport == Transport::Tcp {
            world.flow_down(before.path().flow.0);
            world.advance(900_000);
            world.send_failed();
            assert!(alice.in_call(), "the refresh found no way, which says nothing of the phone");
        }
        let after = over(&world, transport, 40002);
        after.register_with(inside(Some(7)));
        assert_eq!(world.counts().stack.bindings, 2, "it is the same phone");
        alice.bye();
        assert_eq!((before.got("BYE").len(), after.got("BYE").len()), (0, 1), "{transport:?}");
    }
}

/// RFC 3261 §10.2, §12.2: who registers again under the same Call-ID is the same phone without an instance too; who only
/// has the same address behind another translator is not, and a call is not theirs.
#[test]
fn a_call_follows_its_phone_and_no_other() {
    for (call_id, instance, host, follows) in [
        ("same", None, "10.0.0.12:40002", true),
        ("another", None, "10.0.0.13:40001", false),
        ("same", Some(8), "10.0.0.13:40001", false),
    ] {
        let world = World::new();
        let alice = world.registered("1001");
        let [mine, other] = [("10.0.0.12:40001", "same"), (host, call_id)].map(|(address, call_id)| {
            let phone = world.phone_at("1002", Transport::Udp, address);
            (phone, move |request: &mut Request| request.headers.set(Name::CallId, call_id))
        });
        mine.0.register_with(|request| {
            inside(instance.map(|_| 7))(request);
            mine.1(request);
        });
        alice.invite("1002");
        mine.0.answer_at("<sip:1002@192.168.1.7:5062>");
        alice.ack();
        other.0.register_with(|request| {
            inside(instance)(request);
            other.1(request);
            request.headers.set(Name::CSeq, "2 REGISTER");
        });
        assert_eq!((other.0.status(), world.counts().stack.bindings), (200, 2));
        alice.bye();
        let byes = [&mine.0, &other.0].map(|phone| phone.got("BYE").len() == 1);
        assert_eq!(byes, [!follows, follows], "{call_id} {instance:?}");
        world.advance(45_000);
    }
}

/// RFC 5626 §4.3, RFC 3261 §10.3 steps 6 and 7: a phone that is back is the one that it was, when there is room for no
/// other as well; and what is refused, or asks for nothing, makes room for nobody.
#[test]
fn a_phone_that_is_back_is_known_when_there_is_no_room() {
    let world = World::with(|options| {
        options.contacts = ContactPolicy { contacts_max: 1, replaces_oldest: false };
    });
    let alice = world.registered("1001");
    let [before, after] = [40001, 40002].map(|port| over(&world, Transport::Tcp, port));
    let registers = |phone: &Phone, cseq: u32, change: &dyn Fn(&mut Request)| {
        phone.register_with(|request| {
            inside(Some(7))(request);
            request.headers.set(Name::CallId, "boot@phone");
            request.headers.set(Name::CSeq, format!("{cseq} REGISTER"));
            change(request);
        });
        phone.status()
    };
    assert_eq!(registers(&before, 5, &|_| {}), 200);
    alice.invite("1002");
    before.answer_at("<sip:1002@192.168.1.7:5062>");
    alice.ack();
    world.flow_down(before.path().flow.0);
    assert_eq!(registers(&after, 6, &|request| request.headers.set(Name::Expires, "1")), 423);
    assert_eq!(registers(&after, 7, &|request| request.headers.set(Name::Contact, "<sip:")), 400);
    assert_eq!(
        registers(&after, 8, &|request| {
            request.headers.remove(&Name::Contact);
        }),
        200
    );
    assert_eq!((contacts(&after), world.counts().stack.bindings), (1, 2), "it only asked");
    assert_eq!(registers(&after, 5, &|_| {}), 400, "it is older than what stands");
    assert_eq!((registers(&after, 9, &|_| {}), contacts(&after)), (200, 1));
    alice.bye();
    assert_eq!((before.got("BYE").len(), after.got("BYE").len()), (0, 1));
    world.finish();
}

/// RFC 5626 §5.3: a contact whose only connection is gone takes no place that a phone which is there needs.
#[test]
fn a_contact_that_cannot_be_reached_gives_way() {
    let world = World::with(|options| {
        options.contacts = ContactPolicy { contacts_max: 2, replaces_oldest: false };
    });
    let [lost, stays] = [(1, 40001), (2, 40002)].map(|(instance, port)| {
        let phone = over(&world, Transport::Tcp, port);
        phone.register_with(flow(instance, 1));
        phone
    });
    let third = over(&world, Transport::Tcp, 40003);
    third.register_with(flow(3, 1));
    assert_eq!(third.status(), 403, "both are there");
    world.flow_down(lost.path().flow.0);
    third.register_with(flow(3, 1));
    assert_eq!((third.status(), contacts(&third)), (200, 2));
    let alice = world.registered("1001");
    alice.invite("1002");
    assert_eq!([&lost, &stays, &third].map(|phone| phone.got("INVITE").len()), [0, 1, 1]);
    alice.cancel();
}

/// RFC 5626 §6: a flow is one binding, known by instance and reg-id whatever its URI and connection.
#[test]
fn a_new_connection_takes_the_place_of_its_flow_and_of_no_other() {
    let world = World::new();
    let [first, second] = two_flows(&world);
    assert_eq!((contacts(&first), contacts(&second), world.counts().stack.bindings), (1, 2, 2));
    assert_eq!(second.header("200", Name::Require), "outbound");
    // RFC 5626 §5.4
    assert_eq!(second.header("200", Name::FlowTimer), "120");
    let again = over(&world, Transport::Tcp, 40003);
    again.register_with(flow(7, 1));
    assert_eq!((contacts(&again), world.counts().stack.bindings), (2, 2));
    again.register_with(|request| {
        flow(7, 2)(request);
        request.headers.set(Name::Expires, "0");
    });
    assert_eq!((contacts(&again), world.counts().stack.bindings), (1, 1));
    let alice = world.registered("1001");
    alice.invite("1002");
    assert_eq!((first.got("INVITE").len(), again.got("INVITE").len()), (0, 1));
    alice.cancel();
    world.check_wire("flow_replaced");
}

/// RFC 5626 §6: both parameters make a flow, and only of a phone that says that it knows them.
#[test]
fn without_an_instance_or_outbound_there_is_no_flow() {
    let world = World::new();
    let bob = world.phone("1002");
    bob.register_with(|request| {
        let contact = format!("{};reg-id=1", request.headers.text(&Name::Contact).unwrap());
        request.headers.set(Name::Contact, contact);
        request.headers.set(Name::Supported, "outbound");
    });
    bob.register_with(|request| {
        flow(7, 1)(request);
        request.headers.remove(&Name::Supported);
    });
    assert_eq!(
        (bob.header("200", Name::Require), bob.header("200", Name::FlowTimer)),
        ("".into(), "".into())
    );
    assert!(!bob.header("200", Name::Contact).contains("reg-id"));
    world.finish();
}

/// RFC 5626 §4.2.1: a registration is of one flow.
#[test]
fn two_flows_in_one_register_are_refused() {
    let world = World::new();
    let bob = world.phone("1002");
    bob.register_with(|request| {
        flow(7, 1)(request);
        request.headers.push(Name::Contact, "<sip:b@10.0.0.12:5070>;+sip.instance=\"<urn:uuid:7>\";reg-id=2");
    });
    assert_eq!((bob.status(), world.counts().stack.bindings), (400, 0));
    world.finish();
}

/// RFC 5626 §6: a proxy that does not keep the flow makes the flow useless.
#[test]
fn a_first_hop_that_keeps_no_flow_is_439() {
    let world = World::new();
    let proxy = world.phone("1002");
    let through = |path: &'static str| {
        proxy.register_with(|request| {
            flow(7, 1)(request);
            request.headers.push(Name::Via, "SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bKphone");
            request.headers.push(Name::Path, path);
        });
    };
    through("<sip:10.0.0.12:5060;lr>");
    assert_eq!(proxy.status(), 439);
    through("<sip:token@10.0.0.12:5060;lr;ob>");
    assert_eq!((proxy.status(), proxy.header("200", Name::Require)), (200, "outbound".into()));
    assert_eq!(proxy.header("200", Name::FlowTimer), "", "that is the first hop's to say");
    world.finish();
}

/// RFC 5626 §7: one flow of an instance at a time, and the next when the connection of the first is gone.
#[test]
fn a_killed_connection_leaves_the_other() {
    let world = World::new();
    let alice = world.registered("1001");
    let [first, second] = two_flows(&world);
    alice.invite("1002");
    assert_eq!((first.got("INVITE").len(), second.got("INVITE").len()), (1, 0), "one bell");
    alice.cancel();
    world.advance(40_000);
    world.flow_down(101);
    assert_eq!(world.counts().stack.unreachable, 1);
    alice.invite("1002");
    assert_eq!((first.got("INVITE").len(), second.got("INVITE").len()), (1, 1));
    second.answer();
    alice.ack();
    alice.bye();
    world.check_wire("flow_killed");
}

/// RFC 5626 §5.3: a proxy whose flow is gone says 430; a flow that cannot take the request is gone too.
#[test]
fn a_flow_that_fails_is_followed_by_the_next() {
    let world = World::new();
    let alice = world.registered("1001");
    let [first, second] = two_flows(&world);
    first.register_with(flow(7, 1));
    alice.invite("1002");
    let (asked, other) = if first.is_asked() { (&first, &second) } else { (&second, &first) };
    asked.respond(100);
    asked.respond(430);
    assert!(other.is_asked());
    let (before, after) = (asked.last("INVITE"), other.last("INVITE"));
    assert_eq!(before.call_id(), after.call_id());
    assert_eq!((before.cseq().unwrap().number, after.cseq().unwrap().number), (1, 2));
    other.ring();
    other.answer();
    alice.ack();
    alice.bye();
    assert_eq!(world.cdrs().len(), 1);
    world.check("flow_failed");
}

/// RFC 5626 §7: what a phone answers, it answers for all of its flows.
#[test]
fn a_refusal_is_not_asked_for_twice() {
    let world = World::new();
    let alice = world.registered("1001");
    let [first, second] = two_flows(&world);
    alice.invite("1002");
    let asked = if first.is_asked() { &first } else { &second };
    asked.respond(486);
    assert_eq!((alice.status(), first.got("INVITE").len() + second.got("INVITE").len()), (486, 1));
    world.finish();
}

/// RFC 5626 §7: the connection breaks while the INVITE is on its way.
#[test]
fn a_connection_that_breaks_before_anything_is_heard_is_followed_by_the_next() {
    let world = World::new();
    let alice = world.registered("1001");
    let [first, second] = two_flows(&world);
    alice.invite("1002");
    let down = if first.is_asked() { 101 } else { 102 };
    world.flow_down(down);
    assert!(first.is_asked() && second.is_asked());
    alice.cancel();
    world.finish();
}

/// RFC 5626 §5.3: nobody can be called back over a flow that is gone, so the phone is not there.
#[test]
fn a_phone_without_a_flow_is_unavailable_until_it_is_back() {
    let world = World::new();
    let alice = world.registered("1001");
    let [_first, _second] = two_flows(&world);
    world.flow_down(101);
    world.flow_down(102);
    let gone = Fact::DeviceStateChanged { endpoint: "1002".into(), state: DeviceState::Unavailable };
    assert!(world.facts().contains(&gone));
    alice.invite("1002");
    assert_eq!(alice.status(), 480);
    let again = over(&world, Transport::Tcp, 40003);
    again.register_with(flow(7, 2));
    alice.invite("1002");
    assert!(again.is_asked());
    alice.cancel();
    world.finish();
}

/// Alice calls Bob's phone, and its connection breaks before it has said anything: which one broke, and the other, by
/// which it is called now.
fn broken_off(world: &World) -> (Phone, Phone, Phone) {
    let alice = world.registered("1001");
    let [first, second] = two_flows(world);
    alice.invite("1002");
    let (before, after) = if first.is_asked() { (first, second) } else { (second, first) };
    world.flow_down(before.path().flow.0);
    assert!(after.is_asked());
    (alice, before, after)
}

/// RFC 3261 §13.2.2.4, §18.2.2, RFC 5626 §7: what was sent by the connection that broke is answered all the same, over
/// another one, and once more: that call is acknowledged and ended, and the other goes on.
#[test]
fn what_answers_by_the_way_before_is_acknowledged_and_ended() {
    let world = World::new();
    let (alice, before, after) = broken_off(&world);
    before.manual();
    before.answer();
    before.repeat();
    assert_eq!((before.got("ACK").len(), before.got("BYE").len()), (2, 1));
    after.ring();
    after.answer();
    alice.ack();
    assert!(alice.in_call() && after.in_call());
    before.repeat();
    assert_eq!((before.got("ACK").len(), before.got("BYE").len()), (3, 1), "whoever has the call meanwhile");
    alice.bye();
    assert_eq!(after.got("BYE").len(), 1);
    world.finish();
}

/// RFC 3261 §9.1, RFC 5626 §7: and a phone that rings for it stops.
#[test]
fn what_rings_by_the_way_before_is_cancelled() {
    let world = World::new();
    let (alice, before, after) = broken_off(&world);
    before.ring();
    assert_eq!((before.got("CANCEL").len(), before.is_asked()), (1, false));
    assert_eq!(alice.got("180").len(), 0, "nobody is told of it");
    after.ring();
    alice.cancel();
    assert_eq!((before.got("CANCEL").len(), after.got("CANCEL").len()), (1, 1));
    world.finish();
}
