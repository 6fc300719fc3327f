//! Messages made to hurt (RFC 4475, RFC 5118): what the parser makes of each, and what somebody is answered who
//! has proved who they are. What a stranger is answered on the wire is in `tests/e2e/torture.rs`.

use bytes::Bytes;
use dialtone_core::Fact;
use dialtone_signaling::message::{ContactList, Message, Method, Name, Request};
use dialtone_signaling::wire::Transport;

use super::support::torture::{Case, case, cases};
use super::support::{Phone, World};

fn request(case: &Case) -> Request {
    match Message::parse(case.bytes().into()).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{}: a response: {response:?}", case.file),
    }
}

/// What the parser and the check say, in the words of the table.
fn read(wire: Bytes) -> String {
    match Message::parse(wire) {
        Ok(Message::Request(request)) => match request.check() {
            Ok(()) => "accepted".into(),
            Err(invalid) => format!("refused {}", invalid.status),
        },
        Ok(Message::Response(_)) => "accepted".into(),
        Err(error) => match error.owed() {
            Some(status) => format!("unreadable {status}"),
            None => "unreadable".into(),
        },
    }
}

/// The phone of 1001, where the message says that it comes from.
fn phone_of(world: &World, case: &Case) -> Phone {
    let address = if case.ipv6 { "[2001:db8::61]:5060" } else { "192.0.2.61:5060" };
    world.phone_at("1001", Transport::Udp, address)
}

/// A world in which 1001 has sent this.
fn sent(name: &str) -> (World, Phone) {
    let (world, case) = (World::new(), case(name));
    let phone = phone_of(&world, &case);
    phone.send(request(&case));
    (world, phone)
}

#[test]
fn every_message_is_read_as_the_table_says() {
    let wrong: Vec<String> = cases()
        .iter()
        .filter(|case| read(case.bytes().into()) != case.message)
        .map(|case| format!("{} ({}): {}", case.file, case.rfc, read(case.bytes().into())))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_read_is_printed_to_something_that_is_read_alike() {
    let without_length = |mut message: Message| {
        message.headers_mut().remove(&Name::ContentLength);
        message
    };
    for case in cases() {
        let Ok(message) = Message::parse(case.bytes().into()) else { continue };
        let again = Message::parse(message.to_bytes()).unwrap();
        assert_eq!(without_length(again), without_length(message), "{}", case.file);
    }
}

#[test]
fn whoever_is_known_gets_the_answer_that_the_table_owes() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Some(owed) = &case.known else { continue };
        let world = World::new();
        let phone = phone_of(&world, &case);
        phone.send(request(&case));
        let status = phone.status().to_string();
        if status != *owed {
            wrong.push(format!("{} ({}): {status}, not {owed}", case.file, case.rfc));
        }
        world.finish();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn contacts(phone: &Phone) -> Vec<String> {
    let ContactList::List(contacts) = phone.last("200").contacts().unwrap() else { panic!("a star") };
    contacts.iter().map(|contact| contact.uri.to_string()).collect()
}

/// RFC 4475 §3.1.1.4: escaped NULs end no text.
#[test]
fn contacts_that_differ_by_an_escaped_nul_are_two() {
    let (_world, phone) = sent("escaped-nul-in-contacts");
    assert_eq!(contacts(&phone), ["sip:%00@192.0.2.61", "sip:%00%00@192.0.2.61"]);
}

/// RFC 4475 §3.3.12, §3.3.13: whose a parameter is, is said by the brackets.
#[test]
fn an_unknown_parameter_belongs_to_the_header_or_to_the_uri() {
    let (_world, outside) = sent("contact-parameter-outside");
    assert_eq!(contacts(&outside), ["sip:1001@192.0.2.61"]);
    let (_world, inside) = sent("contact-parameter-inside");
    assert_eq!(contacts(&inside), ["sip:1001@192.0.2.61;oddparam"]);
}

/// RFC 3261 §7.3.1: one list, however it is cut into lines.
#[test]
fn a_list_over_lines_registers_all_of_its_contacts() {
    let (_world, phone) = sent("comma-lists");
    let uris = ["sip:1001@192.0.2.61", "sip:1001,1@192.0.2.62", "sip:1001@192.0.2.63", "sip:1001@192.0.2.64"];
    assert_eq!(contacts(&phone), uris);
}

/// RFC 4475 §3.3.14 and RFC 3261 §19.1.5: headers in a contact are kept, and not obeyed.
#[test]
fn headers_in_a_contact_do_not_reach_our_requests() {
    let (world, phone) = sent("contact-with-headers");
    assert_eq!(contacts(&phone), ["sip:1001@192.0.2.61?Route=%3Csip:192.0.2.66;lr%3E"]);
    let caller = world.registered("1002");
    caller.invite("1001");
    let Message::Request(invite) = phone.last("INVITE") else { unreachable!() };
    assert_eq!((invite.uri.as_str(), invite.headers.has(&Name::Route)), ("sip:1001@192.0.2.61", false));
    phone.answer_at("<sip:1001@192.0.2.61?Call-ID=other>");
    let Message::Request(ack) = phone.last("ACK") else { unreachable!() };
    assert_eq!(ack.uri.as_str(), "sip:1001@192.0.2.61");
    caller.ack();
    caller.bye();
    world.finish();
}

/// RFC 4475 §3.2.1: a branch of the cookie alone is the same in every request and tells none apart.
#[test]
fn two_calls_whose_branch_is_the_cookie_alone_are_two() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    for calls in 1..=2 {
        alice.invite_with("1002", |request| {
            request.headers.set(Name::Via, "SIP/2.0/UDP 10.0.0.11:5060;rport;branch=z9hG4bK");
        });
        assert_eq!((alice.status(), bob.got("INVITE").len()), (100, calls));
        bob.ring();
        alice.cancel();
        assert_eq!(bob.got("CANCEL").len(), calls);
    }
    world.finish();
}

/// RFC 3261 §8.2.3: 415 says what can be read instead.
#[test]
fn an_unreadable_body_is_told_what_can_be_read() {
    for name in ["body-of-an-unknown-type", "body-that-is-compressed", "offer-beside-a-required-part"] {
        let (_world, phone) = sent(name);
        assert_eq!(phone.header("415", Name::Accept), "application/sdp", "{name}");
        assert_eq!(phone.header("415", Name::AcceptEncoding), "identity", "{name}");
    }
}

/// RFC 5621 §3.1: the offer of a call may stand among other parts.
#[test]
fn an_offer_among_parts_is_the_offer() {
    for name in ["offer-among-parts", "offer-beside-a-location", "offer-as-an-alternative"] {
        let world = World::new();
        let bob = world.registered("1002");
        let phone = phone_of(&world, &case(name));
        phone.send(request(&case(name)));
        assert!(!bob.last("INVITE").body().is_empty(), "{name}");
        let offered = |fact: &Fact| matches!(fact, Fact::CallStarted { .. });
        assert_eq!(world.facts().iter().filter(|fact| offered(fact)).count(), 1);
        bob.answer();
        assert!(phone.last("200 OK").body().starts_with(b"v=0"), "{name}");
        world.finish();
    }
}

/// RFC 4475 §3.4.1: who has no Contact is reached where From says, and without a From tag there is a dialog too.
#[test]
fn a_call_as_in_rfc_2543_is_a_call() {
    let world = World::new();
    let bob = world.registered("1002");
    let old = case("as-in-rfc-2543");
    let phone = phone_of(&world, &old);
    phone.send(request(&old));
    bob.answer();
    let answer = phone.last("200 OK");
    assert!(answer.body().starts_with(b"v=0"));
    let mut ack = Request::new(Method::Ack, answer.contact().unwrap().uri.clone());
    ack.headers.push(Name::Via, "SIP/2.0/UDP gateway.pbx.example");
    for name in [Name::From, Name::To, Name::CallId] {
        ack.headers.copy(&name, answer.headers());
    }
    ack.headers.push(Name::CSeq, "56 ACK");
    phone.send(ack);
    bob.bye();
    let Message::Request(bye) = phone.last("BYE") else { unreachable!() };
    // Its Record-Route is a strict router, which wants to be addressed itself.
    assert_eq!(bye.uri.as_str(), "sip:1002@pbx.example;maddr=relay.pbx.example");
    assert_eq!(bye.headers.text(&Name::Route), Some("<sip:1001@pbx.example;user=phone>"));
    assert_eq!(bye.headers.to().unwrap().tag(), None);
    world.finish();
}
