//! What holds for all messages.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::name::KNOWN;
use super::super::*;

/// Failures are kept as tables, not as seeds.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,2}".prop_map(|name| Host::parse(&name).unwrap()),
        any::<[u8; 4]>().prop_map(|octets| Host::V4(octets.into())),
        any::<[u16; 8]>().prop_map(|groups| Host::V6(groups.into())),
    ]
}

fn params(name: &'static str, value: &'static str) -> impl Strategy<Value = Params> {
    vec((name, option::of(value)), 0..5).prop_map(|pairs| {
        let mut params = Params::new();
        for (name, value) in pairs {
            match value {
                Some(value) => params.set(&name, &value),
                None => params.set_flag(&name),
            }
        }
        params
    })
}

fn header_params() -> impl Strategy<Value = Params> {
    params("[a-zA-Z+.][a-z.-]{0,6}", "[ -~ü]{0,12}")
}

fn sip_uri() -> impl Strategy<Value = Uri> {
    let uri_params = params("[a-z][a-z-]{0,6}", "[a-z0-9:/%&+.-]{1,8}");
    let parts = (any::<bool>(), option::of(".{1,8}"), option::of("[a-z0-9&=+$,]{0,5}"), host());
    (parts, option::of(any::<u16>()), uri_params, option::of("[a-z]{1,4}=[a-z%0-9]{0,5}")).prop_map(
        |((secure, user, password, host), port, params, headers)| {
            let mut uri = Uri::sip(user.as_deref(), host, port);
            uri.scheme = if secure { Scheme::Sips } else { Scheme::Sip };
            uri.password = password.filter(|_| uri.user.is_some());
            uri.params = params;
            uri.headers = headers;
            uri
        },
    )
}

fn uri() -> impl Strategy<Value = Uri> {
    prop_oneof![
        4 => sip_uri(),
        1 => "tel:[+]?[0-9.-]{1,12}(;phone-context=[a-z.]{1,8})?".prop_map(|text| Uri::parse(&text).unwrap()),
        1 => "(urn|http|x-a):[a-z0-9:/?#@;=]{1,16}".prop_map(|text| Uri::parse(&text).unwrap()),
    ]
}

fn name_addr() -> impl Strategy<Value = NameAddr> {
    let display = "[ -~äß€]{1,12}".prop_filter("a name", |name| !name.is_empty());
    (option::of(display), uri(), header_params()).prop_map(|(display, uri, params)| NameAddr {
        display,
        uri,
        params,
    })
}

fn via() -> impl Strategy<Value = Via> {
    (token(), host(), option::of(any::<u16>()), header_params())
        .prop_map(|(transport, host, port, params)| Via { protocol: None, transport, host, port, params })
}

fn auth() -> impl Strategy<Value = AuthParams> {
    vec((token(), "[ -~ü]{0,12}", any::<bool>()), 1..6).prop_map(|params| {
        let mut auth = AuthParams::new("Digest");
        for (name, value, quoted) in params {
            if quoted {
                auth.push_quoted(&name, &value);
            } else {
                auth.push_token(&name, &value);
            }
        }
        auth
    })
}

/// A value as the parser leaves it: any bytes but line ends, trimmed.
fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>().prop_filter("no line end", |byte| !matches!(byte, b'\r' | b'\n')), 0..40)
        .prop_map(|bytes| Bytes::copy_from_slice(bytes.trim_ascii()))
}

fn headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![
        Just(Name::Via),
        Just(Name::From),
        Just(Name::WwwAuthenticate),
        prop::sample::select(KNOWN).prop_map(|(_, _, _, name)| name.clone()),
        token().prop_map(|token| Name::from_bytes(token.as_bytes())),
    ];
    vec((name, value()), 0..10).prop_map(|lines| {
        let lines = lines.into_iter().filter(|(name, _)| *name != Name::ContentLength);
        lines.map(|(name, value)| Header { name, value }).collect()
    })
}

fn message() -> impl Strategy<Value = Message> {
    let body = vec(any::<u8>(), 0..60).prop_map(Bytes::from);
    let request = (token(), uri(), headers(), body.clone()).prop_map(|(method, uri, headers, body)| {
        Message::Request(Request {
            method: Method::from_token(&method),
            uri: uri.into(),
            headers,
            body: body.into(),
        })
    });
    let byte = any::<u8>().prop_filter("no line end", |byte| !matches!(byte, b'\r' | b'\n'));
    let reason = vec(byte, 0..20).prop_map(Bytes::from);
    let response = (100..700_u16, reason, headers(), body).prop_map(|(status, reason, headers, body)| {
        Message::Response(Response { status, reason, headers, body: body.into() })
    });
    prop_oneof![request, response]
}

/// One header as somebody else might write it (RFC 3261 §7.3.1, §7.3.3): in another case or compact, with blanks
/// around the colon, folded at each blank, its lines ended by LF alone.
fn written(header: &Header, style: u8) -> Vec<u8> {
    let does = |bit: u8| style & (1 << bit) != 0;
    let compact =
        KNOWN.iter().find(|(.., known)| *known == header.name).and_then(|(_, _, short, _)| short.first());
    let mut name = match compact.filter(|_| does(0)) {
        Some(short) => short.to_vec(),
        None => header.name.as_str().as_bytes().to_vec(),
    };
    if does(1) && header.name.as_str().len() > 1 {
        name.make_ascii_uppercase();
    }
    let end: &[u8] = if does(2) { b"\n" } else { b"\r\n" };
    let colon: &[u8] = match (does(3), does(4)) {
        (true, true) => b" \t:\t ",
        (true, false) => b" : ",
        (false, true) => b":",
        (false, false) => b": ",
    };
    let value = &header.value;
    let inside = |at: usize| at > 0 && value.get(at).is_some_and(|byte| !byte.is_ascii_whitespace());
    let folds = |at: usize| does(5) && value[at] == b' ' && inside(at - 1) && inside(at + 1);
    let mut text = [&name, colon].concat();
    for at in 0..value.len() {
        if at > 1 && folds(at) {
            text.extend([end, b" \t"].concat());
        } else {
            text.push(value[at]);
        }
    }
    [&text, end].concat()
}

proptest! {
    #![proptest_config(cases())]

    /// However it is written, it is the same message.
    #[test]
    fn a_message_is_the_same_in_every_spelling(message in message(), styles in vec(any::<u8>(), 12)) {
        let plain = message.to_bytes();
        let line = plain.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut wire = [b"\r\n", &plain[..line]].concat();
        for (header, style) in message.headers().iter().zip(&styles) {
            // What has another case is another spelling of an unknown name, which is kept.
            let style = if matches!(header.name, Name::Other(_)) { style & !2 } else { *style };
            wire.extend(written(header, style));
        }
        wire.extend(format!("l: {}\r\n\r\n", message.body().len()).as_bytes());
        wire.extend(message.body().iter());
        let mut parsed = Message::parse(wire.into()).unwrap();
        prop_assert_eq!(parsed.headers_mut().remove(&Name::ContentLength), 1);
        prop_assert_eq!(parsed, message);
    }

    #[test]
    fn a_printed_uri_parses_to_itself(uri in uri()) {
        prop_assert_eq!(Uri::parse(&uri.to_string()), Ok(uri.clone()));
        prop_assert!(uri.matches(&uri));
    }

    #[test]
    fn a_printed_address_parses_to_itself(address in name_addr()) {
        prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
    }

    #[test]
    fn a_list_of_addresses_parses_to_itself(list in vec(name_addr(), 0..6)) {
        let mut headers = Headers::new();
        headers.push(Name::Contact, ContactList::List(list.clone()));
        prop_assert_eq!(headers.contacts(), Ok(ContactList::List(list)));
    }

    #[test]
    fn a_printed_via_parses_to_itself(via in via()) {
        prop_assert_eq!(Via::parse(&via.to_string()), Ok(via));
    }

    #[test]
    fn printed_credentials_parse_to_themselves(auth in auth()) {
        prop_assert_eq!(AuthParams::parse(&auth.to_string()), Ok(auth));
    }

    #[test]
    fn a_printed_message_parses_to_itself(message in message()) {
        let mut parsed = Message::parse(message.to_bytes()).unwrap();
        prop_assert_eq!(parsed.headers_mut().remove(&Name::ContentLength), 1);
        prop_assert_eq!(parsed, message);
    }

    #[test]
    fn serde_keeps_a_message(message in message()) {
        let json = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
    }

    #[test]
    fn framing_agrees_with_the_parser(message in message()) {
        let wire = message.to_bytes();
        let end = head_end(&wire).unwrap();
        prop_assert_eq!(content_length(&wire[..end]), Ok(Some(message.body().len())));
        prop_assert_eq!(end + message.body().len(), wire.len());
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Message::parse(bytes.into());
    }

    /// Bytes changed in a good message: whatever still parses prints to something that parses alike.
    #[test]
    fn mutations_never_panic(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut wire = message.to_bytes().to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut wire) = byte;
        }
        let wire = Bytes::from(wire);
        match Message::parse(wire.clone()) {
            Err(error) => {
                let _ = (error.owed(), error.reply(&wire));
            }
            Ok(parsed) => {
                let again = Message::parse(parsed.to_bytes()).unwrap();
                let strip = |mut message: Message| {
                    message.headers_mut().remove(&Name::ContentLength);
                    message
                };
                prop_assert_eq!(strip(again), strip(parsed));
            }
        }
    }

    #[test]
    fn random_text_never_panics_a_view(text in ".{0,60}") {
        let _ = (Uri::parse(&text), NameAddr::parse(&text), Via::parse(&text));
        let _ = (CSeq::parse(&text), AuthParams::parse(&text), Host::parse(&text));
    }

    /// What a view accepts, it prints so that it is accepted again and means the same.
    #[test]
    fn views_of_near_misses_are_stable(text in r#"(sip:|<sip:|Bob <|"x" <)?[a-z@:;=<>",\\ ?\[\]./%0-9]{0,30}"#) {
        if let Ok(address) = NameAddr::parse(&text) {
            prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
        }
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert_eq!(Uri::parse(&uri.to_string()), Ok(uri));
        }
        if let Ok(auth) = AuthParams::parse(&text) {
            prop_assert_eq!(AuthParams::parse(&auth.to_string()), Ok(auth));
        }
    }
}
