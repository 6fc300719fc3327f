//! Who calls, who answered, and who was called before: RFC 3323, RFC 3325, RFC 5806, RFC 7044.

use dialtone_signaling::message::{Headers, Name};
use dialtone_signaling::ua::{IdentityPolicy, SendIdentity};

use super::support::{Phone, World};

const PAI: IdentityPolicy = IdentityPolicy { trusted: true, sends: SendIdentity::Pai };
const RPID: IdentityPolicy = IdentityPolicy { trusted: true, sends: SendIdentity::Rpid };
const NAMES: [Name; 5] =
    [Name::PAssertedIdentity, Name::RemotePartyId, Name::Privacy, Name::Diversion, Name::HistoryInfo];

/// 1001 and 1002 are phones, 1003 and 1004 trusted systems.
fn world() -> (World, [Phone; 4]) {
    let world = World::with(|options| options.identities = vec![("1003", PAI), ("1004", RPID)]);
    let phones = ["1001", "1002", "1003", "1004"].map(|number| world.registered(number));
    (world, phones)
}

/// That a message says nothing of what is for trusted ones.
fn says_nothing(headers: &Headers) {
    for name in &NAMES {
        assert!(!headers.has(name), "{name}");
    }
}

fn refuse(phones: &[&Phone]) {
    for phone in phones {
        phone.respond(486);
    }
}

/// RFC 3325 §5, §9.1, §9.2: what an untrusted phone asserts is not read, and what it prefers is its own number or
/// nothing. A trusted one is told who calls, an untrusted one by From alone.
#[test]
fn who_is_not_trusted_calls_as_itself() {
    let (world, [alice, bob, carol, dave]) = world();
    let claims = [
        (Name::PAssertedIdentity, "\"Boss\" <sip:1004@pbx.example>"),
        (Name::RemotePartyId, "<sip:1004@pbx.example>;party=calling"),
        (Name::PPreferredIdentity, "<sip:1004@pbx.example>"),
        (Name::Diversion, "<sip:1004@pbx.example>;reason=user-busy"),
        (Name::HistoryInfo, "<sip:1004@pbx.example>;index=1, <sip:1002@pbx.example;cause=486>;index=1.1"),
    ];
    for to in ["1002", "1003", "1004"] {
        alice.invite_with(to, |request| {
            claims.iter().for_each(|(name, value)| request.headers.push(name.clone(), *value));
        });
    }
    says_nothing(bob.last("INVITE").headers());
    let ours = "\"Alma\" <sip:1001@pbx.example>";
    assert_eq!(carol.header("INVITE", Name::PAssertedIdentity), ours);
    assert_eq!(
        dave.header("INVITE", Name::RemotePartyId),
        format!("{ours};party=calling;screen=yes;privacy=off")
    );
    for (phone, unsaid) in [(&carol, Name::RemotePartyId), (&dave, Name::PAssertedIdentity)] {
        for unsaid in [unsaid, Name::PPreferredIdentity, Name::Privacy, Name::Diversion, Name::HistoryInfo] {
            assert!(!phone.last("INVITE").headers().has(&unsaid), "{unsaid}");
        }
        assert!(phone.header("INVITE", Name::From).starts_with(ours));
    }
    refuse(&[&bob, &carol, &dave]);
    world.finish();
}

/// RFC 3325 §9.1: a trusted peer calls as others; its own number is what it says when it says nothing.
#[test]
fn who_is_trusted_says_who_calls() {
    let (world, [_, bob, carol, _]) = world();
    let from = |value: &str| format!("{value};tag=x");
    let table = [
        ("<sip:1003@pbx.example>", None, "\"Ann\" <sip:1003@pbx.example>"),
        ("\"Jo\" <sip:0301@carrier.example>", None, "\"Jo\" <sip:0301@pbx.example>"),
        (
            "<sip:x@carrier.example>",
            Some((Name::PAssertedIdentity, "\"Jo\" <sip:+4930@carrier.example>, <tel:+4931>")),
            "\"Jo\" <sip:+4930@pbx.example>",
        ),
        (
            "<sip:1003@pbx.example>",
            Some((Name::PAssertedIdentity, "<tel:+49-30>")),
            "<sip:+4930@pbx.example>",
        ),
        (
            "<sip:1003@pbx.example>",
            Some((Name::RemotePartyId, "Jo <sip:0302@carrier.example>;party=calling;privacy=off")),
            "\"Jo\" <sip:0302@pbx.example>",
        ),
        (
            "<sip:1003@pbx.example>",
            Some((Name::PAssertedIdentity, "<sip:carrier.example")),
            "\"Ann\" <sip:1003@pbx.example>",
        ),
    ];
    for (said, asserted, seen) in table {
        carol.invite_with("1002", |request| {
            request.headers.set(Name::From, from(said));
            if let Some((name, value)) = &asserted {
                request.headers.push(name.clone(), *value);
            }
        });
        let from = bob.header("INVITE", Name::From);
        assert!(from.starts_with(&format!("{seen};tag=")), "{said} {asserted:?}: {from}");
        says_nothing(bob.last("INVITE").headers());
        bob.respond(486);
    }
    world.finish();
}

/// RFC 3323 §4.1.1.3: a trusted peer that leaves From anonymous, and asserts who it is, asserts it to us.
#[test]
fn an_anonymous_from_stays_so_beside_an_assertion() {
    let (world, [_, bob, carol, _]) = world();
    carol.invite_with("1002", |request| {
        request.headers.set(Name::From, "<sip:anonymous@anonymous.invalid>;tag=x");
        request.headers.push(Name::PAssertedIdentity, "<tel:+4930>");
    });
    let seen = bob.last("INVITE").to_string();
    assert!(seen.contains("<sip:anonymous@anonymous.invalid>") && !seen.contains("4930"), "{seen}");
    bob.respond(486);
    world.finish();
}

/// RFC 3323 §4.1, §5, RFC 3325 §7, §9.3: whoever wants it is known to trusted ones alone, however it says so.
#[test]
fn a_caller_who_hides_is_known_to_trusted_ones_alone() {
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    for (from, privacy) in [
        ("<sip:1001@pbx.example>;tag=x", Some("id")),
        ("<sip:1001@pbx.example>;tag=x", Some("header;user;critical")),
        ("\"Anonymous\" <sip:anonymous@Anonymous.Invalid>;tag=x", None),
    ] {
        let (world, [alice, bob, carol, dave]) = world();
        for to in ["1002", "1003", "1004"] {
            alice.invite_with(to, |request| {
                request.headers.set(Name::From, from);
                privacy.into_iter().for_each(|privacy| request.headers.push(Name::Privacy, privacy));
            });
        }
        let seen = bob.last("INVITE");
        says_nothing(seen.headers());
        assert!(!seen.to_string().contains("Alma") && !seen.to_string().contains("1001@"), "{seen}");
        for phone in [&bob, &carol, &dave] {
            assert!(phone.header("INVITE", Name::From).starts_with(anonymous));
        }
        assert_eq!(carol.header("INVITE", Name::PAssertedIdentity), "\"Alma\" <sip:1001@pbx.example>");
        assert_eq!(carol.header("INVITE", Name::Privacy), "id");
        assert!(dave.header("INVITE", Name::RemotePartyId).ends_with(";privacy=full"));
        refuse(&[&bob, &carol, &dave]);
        world.finish();
    }
}

/// RFC 3323 §4.2: `none` asks for nothing, nor does what we do not know.
#[test]
fn a_caller_who_does_not_hide_is_shown() {
    let (world, [alice, bob, ..]) = world();
    for privacy in ["none", "session", "ident"] {
        alice.invite_with("1002", |request| request.headers.push(Name::Privacy, privacy));
        assert!(bob.header("INVITE", Name::From).starts_with("\"Alma\" <sip:1001@pbx.example>"));
        bob.respond(486);
    }
    world.finish();
}

/// RFC 3325 §6: an untrusted one may be told of those who do not hide, when the operator wants that.
#[test]
fn an_untrusted_phone_may_be_told_of_those_who_do_not_hide() {
    let told = IdentityPolicy::new(false, Some(SendIdentity::Pai));
    let world = World::with(|options| options.identities = vec![("1002", told)]);
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    assert_eq!(bob.header("INVITE", Name::PAssertedIdentity), "\"Alma\" <sip:1001@pbx.example>");
    bob.respond(486);
    alice.invite_with("1002", |request| request.headers.push(Name::Privacy, "id"));
    says_nothing(bob.last("INVITE").headers());
    bob.respond(486);
    world.finish();
}

/// RFC 3325 §9.1: the answer says who answered, to a caller that is trusted; a callee may hide, and a trusted one
/// say who it is.
#[test]
fn a_trusted_caller_is_told_who_answered() {
    let (world, [alice, bob, carol, dave]) = world();
    let talks = |caller: &Phone, to: &str, callee: &Phone, says: &[(Name, &str)]| {
        caller.invite(to);
        let sdp = callee.answering_body();
        callee.respond_with(200, |response| {
            response.set_body("application/sdp", sdp);
            says.iter().for_each(|(name, value)| response.headers.push(name.clone(), *value));
        });
        caller.ack();
        let answer = caller.last("200");
        caller.bye();
        answer
    };
    let pai = |answer: &dialtone_signaling::message::Message| {
        answer.headers().text(&Name::PAssertedIdentity).unwrap_or_default().to_owned()
    };
    let answer = talks(&carol, "1002", &bob, &[(Name::PAssertedIdentity, "<sip:1001@pbx.example>")]);
    assert_eq!(pai(&answer), "\"Ben\" <sip:1002@pbx.example>");
    assert!(!answer.headers().has(&Name::Privacy));
    let answer = talks(&carol, "1002", &bob, &[(Name::Privacy, "id")]);
    assert_eq!(pai(&answer), "\"Ben\" <sip:1002@pbx.example>");
    assert_eq!(answer.headers().text(&Name::Privacy), Some("id"));
    let answer =
        talks(&carol, "1004", &dave, &[(Name::RemotePartyId, "\"Jo\" <sip:0301@b.example>;party=called")]);
    assert_eq!(pai(&answer), "\"Jo\" <sip:0301@pbx.example>");
    let answer = talks(&dave, "1002", &bob, &[]);
    let told = answer.headers().text(&Name::RemotePartyId).unwrap();
    assert_eq!(told, "\"Ben\" <sip:1002@pbx.example>;party=called;screen=yes;privacy=off");
    says_nothing(talks(&alice, "1002", &bob, &[(Name::Privacy, "id")]).headers());
    says_nothing(talks(&alice, "1003", &carol, &[]).headers());
    world.finish();
}

/// RFC 5806 §4, RFC 7044 §10.3, RFC 7544: what a trusted peer says of who was called before is told to trusted ones.
#[test]
fn who_was_called_before_is_told_among_trusted_ones() {
    let said: [&[(Name, &str)]; 2] = [
        &[
            (Name::Diversion, "\"Two\" <sip:0302@b.example>;reason=no-answer;counter=1"),
            (Name::Diversion, "<sip:0301@b.example>;reason=\"user-busy\";privacy=full"),
        ],
        &[(
            Name::HistoryInfo,
            "<sip:0301@b.example?Privacy=history>;index=1, \"Two\" <sip:0302@b.example;cause=486>;index=1.1, \
             <sip:1003@b.example;cause=408>;index=1.1.1",
        )],
    ];
    for said in said {
        let (world, [_, bob, carol, dave]) = world();
        for to in ["1002", "1003"] {
            dave.invite_with(to, |request| {
                said.iter().for_each(|(name, value)| request.headers.push(name.clone(), *value));
            });
        }
        says_nothing(bob.last("INVITE").headers());
        let invite = carol.last("INVITE");
        let all = |name: &Name| -> Vec<String> {
            invite.headers().all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
        };
        assert_eq!(
            all(&Name::Diversion),
            [
                "\"Two\" <sip:0302@pbx.example>;reason=no-answer;privacy=off",
                "<sip:0301@pbx.example>;reason=user-busy;privacy=full",
            ]
        );
        assert_eq!(
            all(&Name::HistoryInfo),
            [
                "<sip:0301@pbx.example?Privacy=history>;index=1",
                "\"Two\" <sip:0302@pbx.example;cause=486>;index=1.1;mp=1",
                "<sip:1003@pbx.example;cause=408>;index=1.1.1;mp=1.1",
            ]
        );
        refuse(&[&bob, &carol]);
        world.finish();
    }
}

/// RFC 5806 §5: a call that we follow elsewhere has been diverted by whoever sent it there.
#[test]
fn a_call_that_is_sent_on_says_by_whom() {
    let (world, [alice, bob, carol, dave]) = world();
    alice.invite("1002");
    bob.respond_with(302, |response| response.headers.set(Name::Contact, "<sip:1003@pbx.example>"));
    assert_eq!(
        carol.header("INVITE", Name::Diversion),
        "\"Ben\" <sip:1002@pbx.example>;reason=unconditional;privacy=off"
    );
    carol.ring();
    carol.respond_with(302, |response| response.headers.set(Name::Contact, "<sip:1004@pbx.example>"));
    let invite = dave.last("INVITE");
    let said: Vec<_> = invite.headers().all(&Name::Diversion).collect();
    assert_eq!(said.len(), 2);
    assert!(String::from_utf8_lossy(said[0]).starts_with("\"Ann\" <sip:1003@pbx.example>;reason=deflection"));
    dave.respond(486);
    carol.invite("1002");
    bob.respond_with(302, |response| response.headers.set(Name::Contact, "<sip:1001@pbx.example>"));
    says_nothing(alice.last("INVITE").headers());
    alice.respond(486);
    world.finish();
}

/// More diversions than are kept.
#[test]
fn of_many_diversions_the_last_are_kept() {
    let (world, [alice, bob, carol, dave]) = world();
    dave.invite_with("1002", |request| {
        for number in (1..=20).rev() {
            request.headers.push(Name::Diversion, format!("<sip:{number}@b.example>;reason=unknown"));
        }
    });
    bob.respond_with(302, |response| response.headers.set(Name::Contact, "<sip:1003@pbx.example>"));
    let invite = carol.last("INVITE");
    let said: Vec<String> = invite
        .headers()
        .all(&Name::Diversion)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert_eq!(said.len(), 10);
    assert!(said[0].contains("sip:1002@") && said[1].contains("sip:20@"), "{said:?}");
    carol.respond(486);
    assert!(!alice.has_called());
    world.finish();
}

/// RFC 3325 §9.1: nobody becomes somebody else by transferring a call, and who hides stays hidden.
#[test]
fn who_hides_stays_hidden_when_a_call_is_transferred() {
    let (world, [alice, bob, carol, _]) = world();
    alice.invite_with("1003", |request| request.headers.push(Name::Privacy, "id"));
    carol.answer();
    alice.ack();
    world.advance(1000);
    carol.refer("1002");
    let invite = bob.last("INVITE");
    says_nothing(invite.headers());
    assert!(bob.header("INVITE", Name::From).starts_with("\"Anonymous\""), "{invite}");
    bob.answer();
    world.advance(5000);
    alice.bye();
    world.finish();
}

/// RFC 3325 §9.1, RFC 5876 §3.2: after a transfer both are told whom they talk with now, if they are told such things:
/// by UPDATE or by re-INVITE, whatever they allow.
#[test]
fn after_a_transfer_both_are_told_whom_they_talk_with() {
    for updates in [false, true] {
        let (world, [alice, bob, carol, dave]) = world();
        dave.invite_with("1002", |request| {
            if updates {
                request.headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");
            }
        });
        bob.answer();
        dave.ack();
        bob.refer("1003");
        carol.answer();
        let method = if updates { "UPDATE" } else { "re-INVITE" };
        let told = dave.header(method, Name::RemotePartyId);
        assert!(told.contains("sip:1003@") && told.contains(";party=called;"), "{told}");
        assert!(carol.header("INVITE", Name::PAssertedIdentity).contains("sip:1004@"));
        assert!(carol.got("re-INVITE").is_empty(), "it was told with the call");
        if updates {
            dave.reply("UPDATE", 200, |_| {});
        } else {
            dave.answer();
        }
        bob.bye();
        assert!(alice.got("INVITE").is_empty() && dave.in_call() && carol.in_call());
        world.advance(5000);
        assert_eq!(dave.got(method).len(), 1, "once");
        dave.bye();
        world.finish();
    }
}
