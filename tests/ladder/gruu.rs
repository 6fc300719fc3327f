//! Addresses that lead to one device: RFC 5627.

use dialtone_signaling::message::{Message, Method, Name, NameAddr, Request};

use super::flows_of_phones::flow;
use super::support::{Phone, World};

/// The GRUUs that the last answer told of a device.
fn gruus(phone: &Phone, instance: u32) -> [String; 2] {
    let answer = phone.last("200");
    let device = format!("urn:uuid:{instance}>");
    let contact = answer.headers().tokens(&Name::Contact).find(|contact| contact.contains(&device)).unwrap();
    let contact = NameAddr::parse(contact).unwrap();
    ["pub-gruu", "temp-gruu"].map(|name| contact.params.text(name).unwrap_or_default().into_owned())
}

fn calls(phone: &Phone, uri: &str) {
    phone.invite_with("1002", |request| {
        let mut to = Request::new(Method::Invite, uri);
        std::mem::swap(&mut request.uri, &mut to.uri);
    });
}

fn two_devices(world: &World) -> [Phone; 2] {
    let devices = [world.phone("1002"), world.phone("1002")];
    devices[0].register_with(flow(1, 1));
    devices[1].register_with(flow(2, 1));
    devices
}

/// RFC 5627 §5.3, §6.1: a phone is told its GRUUs, and a call to one rings that device alone.
#[test]
fn a_gruu_rings_one_device() {
    let world = World::new();
    let alice = world.registered("1001");
    let [desk, mobile] = two_devices(&world);
    let [public, temporary] = gruus(&mobile, 2);
    assert_eq!(public, "sip:1002@pbx.example;gr=urn:uuid:2");
    // RFC 5627 §3.1.2: it does not tell whose it is.
    assert!(temporary.starts_with("sip:tgruu.") && temporary.ends_with("@pbx.example;gr"));
    assert!(!temporary.contains("1002"));
    for gruu in [public, temporary] {
        let before = (desk.got("INVITE").len(), mobile.got("INVITE").len());
        calls(&alice, &gruu);
        assert_eq!((desk.got("INVITE").len(), mobile.got("INVITE").len()), (before.0, before.1 + 1));
        alice.cancel();
        world.advance(1000);
    }
    calls(&alice, "sip:1002@pbx.example");
    assert!(desk.is_asked() && mobile.is_asked());
    alice.cancel();
    world.finish();
}

/// RFC 5627 §3.1.2: each registration gives another temporary GRUU; the older ones of the same Call-ID still count,
/// and all of them end when the phone begins anew.
#[test]
fn temporary_gruus_end_with_their_registration() {
    let world = World::new();
    let alice = world.registered("1001");
    let [_desk, mobile] = two_devices(&world);
    let [_, first] = gruus(&mobile, 2);
    mobile.register_with(flow(2, 1));
    let [_, second] = gruus(&mobile, 2);
    assert_ne!(first, second);
    for gruu in [&first, &second] {
        calls(&alice, gruu);
        assert!(mobile.is_asked());
        alice.cancel();
        world.advance(1000);
    }
    mobile.register_with(|request| {
        flow(2, 1)(request);
        request.headers.set(Name::CallId, "anew@phone");
    });
    calls(&alice, &first);
    assert_eq!(alice.status(), 404);
    world.finish();
}

/// RFC 5627 §6.1: 480 for a device that is not there, 404 for what is no GRUU of ours.
#[test]
fn a_gruu_that_leads_nowhere_is_refused() {
    let world = World::new();
    let alice = world.registered("1001");
    let [_desk, mobile] = two_devices(&world);
    let [_, temporary] = gruus(&mobile, 2);
    let forged = temporary.replacen("tgruu.0", "tgruu.1", 1).replacen("tgruu.f", "tgruu.e", 1);
    let forged = if forged == temporary { temporary.replacen("tgruu.", "tgruu.00", 1) } else { forged };
    for (uri, status) in [
        ("sip:1002@pbx.example;gr=urn:uuid:3", 480),
        ("sip:nobody@pbx.example;gr=urn:uuid:3", 404),
        ("sip:tgruu.@pbx.example;gr", 404),
        ("sip:tgruu.zz@pbx.example;gr", 404),
        ("sip:1002@pbx.example;gr", 404),
        (&*forged, 404),
    ] {
        calls(&alice, uri);
        assert_eq!(alice.status(), status, "{uri}");
    }
    world.finish();
}

/// RFC 5627 §5.3: who did not ask for GRUUs, or is nobody in particular, gets none.
#[test]
fn gruus_are_for_those_who_ask() {
    let world = World::new();
    let bob = world.phone("1002");
    bob.register_with(|request| {
        flow(1, 1)(request);
        request.headers.set(Name::Supported, "path, outbound");
    });
    assert!(!bob.header("200", Name::Contact).contains("gruu"));
    bob.register_with(|request| request.headers.set(Name::Supported, "gruu"));
    let answer = bob.last("200");
    let plain: Vec<_> =
        answer.headers().tokens(&Name::Contact).filter(|one| !one.contains("instance")).collect();
    assert!(plain.len() == 1 && !plain[0].contains("gruu"), "{plain:?}");
    world.finish();
}

/// RFC 5627 §5.1: a GRUU of ours is no place.
#[test]
fn a_gruu_cannot_be_registered() {
    let world = World::new();
    let bob = world.phone("1002");
    bob.register_with(|request| request.headers.set(Name::Contact, "<sip:1002@pbx.example;gr=urn:uuid:1>"));
    assert_eq!((bob.status(), world.counts().stack.bindings), (403, 0));
    world.finish();
}

/// RFC 5627 §3.4: a phone that names itself by its GRUU is addressed by it, and where it is.
#[test]
fn a_phone_that_calls_as_its_gruu_is_addressed_by_it() {
    let world = World::new();
    let bob = world.registered("1002");
    let alice = world.phone("1001");
    // The domain may be an address, even the one that the phone has too.
    let gruu = "sip:1001@10.0.0.12;gr=urn:uuid:9";
    alice.invite_with("1002", |request| request.headers.set(Name::Contact, format!("<{gruu}>")));
    bob.answer();
    alice.ack();
    bob.bye();
    let Message::Request(bye) = alice.last("BYE") else { panic!("a request") };
    assert_eq!(bye.uri.as_str(), gruu);
    world.finish();
}

/// RFC 5627 §6.1: a phone behind proxies that names itself by its GRUU is addressed where it is registered now: nobody but
/// us knows where that is.
#[test]
fn a_phone_behind_proxies_that_is_called_by_its_gruu_is_addressed_where_it_is() {
    let world = World::new();
    let (alice, proxy) = (world.registered("1001"), world.phone("1002"));
    let registers = |contact: &'static str| {
        proxy.register_with(|request| {
            request.headers.push(Name::Via, "SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bKphone");
            request.headers.set(Name::Contact, contact);
            flow(2, 1)(request);
            request.headers.push(Name::Path, "<sip:10.0.0.12:5060;lr;ob>");
        });
    };
    registers("<sip:1002@192.168.1.2:5060>");
    let [gruu, _] = gruus(&proxy, 2);
    alice.invite("1002");
    let body = proxy.answering_body();
    proxy.respond_with(200, |response| {
        response.headers.push(Name::RecordRoute, "<sip:10.0.0.12:5060;lr>");
        response.headers.set(Name::Contact, format!("<{gruu}>"));
        response.set_body("application/sdp", body);
    });
    alice.ack();
    registers("<sip:1002@192.168.1.2:5099>");
    alice.bye();
    let addressed = |request: &str| {
        let Message::Request(request) = proxy.last(request) else { panic!("a request") };
        (request.uri.to_string(), request.headers.text(&Name::Route).unwrap().to_owned())
    };
    let route = "<sip:10.0.0.12:5060;lr>".to_owned();
    assert_eq!(addressed("ACK"), ("sip:1002@192.168.1.2:5060".into(), route.clone()));
    assert_eq!(addressed("BYE"), ("sip:1002@192.168.1.2:5099".into(), route));
    world.finish();
}
