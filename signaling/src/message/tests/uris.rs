//! URIs, addresses, Via and authentication parameters.

use super::super::{AuthParams, Host, NameAddr, PARAMS_MAX, Scheme, Uri, Via};

#[test]
fn uris_print_as_they_were_written() {
    let same = [
        "sip:example.com",
        "sip:alice@example.com",
        "sip:alice:secret@example.com:5080;transport=tcp;lr?subject=a%20b&priority=urgent",
        "sips:alice@[2001:db8::1]:5061;x;y=",
        "sip:1001@k630heaa.invalid;transport=ws;ob",
        "sip:%61lice%40home@example.com",
        "sip:user;par=u%40example.net@example.com",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sip:alice@example.com;maddr=239.255.255.1;ttl=15",
        "sip:a@h;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "sip:*43@pbx.test",
        "sip:#31#@pbx_local",
        "sip:sips%3Auser%40example.com@example.net",
        "sip:h?Route=%3Csip:a%3E",
        "tel:+358-555-1234567;postd=pp22",
        "tel:7042;phone-context=example.com",
        "urn:service:sos",
        "soap.beep://192.0.2.103:3002",
        "http://example.com/a?b#c",
    ];
    for text in same {
        assert_eq!(Uri::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Uri::parse("SIP:a@H").unwrap().to_string(), "sip:a@H");
}

#[test]
fn what_is_no_uri() {
    for text in [
        "",
        "sip",
        "sip:",
        ":",
        "1sip:a",
        "sip:@h",
        "sip:a@",
        "sip:a@b@c",
        "sip:a@h:",
        "sip:a@h:65536",
        "sip:a@h:-1",
        "sip:a b@h",
        "sip:a@h x",
        "<sip:a@h>",
        "sip:a@[::1",
        "sip:a@::1",
        "sip:a@h;p=\"q\"",
        "sip:a@h\r\n",
        "tel:",
        "tel:;x",
        "tel:+1 2",
        "other:",
        "sip:a\"@h",
        "sip:a@h;x=<y>",
        "sip:/a@h/b",
    ] {
        assert!(Uri::parse(text).is_err(), "{text}");
    }
    assert!(Uri::parse(&format!("sip:h{}", ";a".repeat(PARAMS_MAX))).is_ok());
    assert!(Uri::parse(&format!("sip:h{}", ";a".repeat(PARAMS_MAX + 1))).is_err());
}

#[test]
fn users_are_decoded_and_escaped() {
    let user = |text: &str| Uri::parse(text).unwrap().user_decoded().map(|user| user.into_owned());
    assert_eq!(user("sip:%61lice%40x@h").as_deref(), Some("alice@x"));
    assert_eq!(user("sip:100%@h").as_deref(), Some("100%"));
    assert_eq!(user("sip:%zz%4@h").as_deref(), Some("%zz%4"));
    assert_eq!(user("sip:%ff@h").as_deref(), Some("\u{fffd}"));
    assert_eq!(user("tel:+1-(212)-555.12").as_deref(), Some("+121255512"));
    assert_eq!(user("sip:h"), None);
    let uri = Uri::sip(Some("a b@ü#"), Host::parse("h").unwrap(), Some(5070));
    assert_eq!(uri.to_string(), "sip:a%20b%40%C3%BC%23@h:5070");
    assert_eq!(uri.user_decoded().unwrap(), "a b@ü#");
    assert_eq!(Uri::sip(Some(""), Host::parse("h").unwrap(), None).to_string(), "sip:h");
    let mut uri = Uri::parse("sip:h").unwrap();
    uri.set_param("x", "a;b=c");
    assert_eq!(uri.to_string(), "sip:h;x=a%3Bb%3Dc");
}

/// The pairs of RFC 3261 §19.1.4, and their kin.
#[test]
fn uris_match_as_the_rfc_says() {
    let alike = [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("tel:+1-212-555", "tel:+1212555"),
        ("sip:h;x=1;x=2", "sip:h;x=1;X=2"),
    ];
    let apart = [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@h", "sips:a@h"),
        ("sip:a@h;user=phone", "sip:a@h"),
        ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
        ("sip:a@h;lr=1", "sip:a@h;lr"),
        ("sip:a:b@h", "sip:a@h"),
    ];
    let uri = |text: &str| Uri::parse(text).unwrap();
    for (a, b) in alike {
        assert!(uri(a).matches(&uri(b)) && uri(b).matches(&uri(a)), "{a} {b}");
    }
    for (a, b) in apart {
        assert!(!uri(a).matches(&uri(b)) && !uri(b).matches(&uri(a)), "{a} {b}");
    }
}

#[test]
fn schemes_are_told_apart() {
    let scheme = |text: &str| Uri::parse(text).unwrap().scheme;
    assert_eq!(
        [scheme("Sip:h"), scheme("SIPS:h"), scheme("TEL:1")],
        [Scheme::Sip, Scheme::Sips, Scheme::Tel]
    );
}

#[test]
fn addresses() {
    let table = [
        ("sip:a@h;tag=1", Some("<sip:a@h>;tag=1")),
        ("<sip:a@h;tag=2>;tag=1", Some("<sip:a@h;tag=2>;tag=1")),
        ("Bob <sip:a@h>", Some("\"Bob\" <sip:a@h>")),
        ("  Bob  the Builder<sip:a@h>", Some("\"Bob  the Builder\" <sip:a@h>")),
        ("\"Bob \\\"B\\\" \\\\\"<sip:a@h>", Some("\"Bob \\\"B\\\" \\\\\" <sip:a@h>")),
        ("\"\" <sip:a@h>", Some("<sip:a@h>")),
        ("Jörg <sip:a@h>", Some("\"Jörg\" <sip:a@h>")),
        ("sip:a@h;x=\"<;,>\"", Some("<sip:a@h>;x=\"<;,>\"")),
        ("<tel:+1-2>;tag=x", Some("<tel:+1-2>;tag=x")),
        ("< sip:a@h >", Some("<sip:a@h>")),
        ("<sip:a@h> ; lr ; q=0.1 ", Some("<sip:a@h>;lr;q=0.1")),
        ("sip:a@h?x=y", None),
        ("<sip:a@h?x=y>", Some("<sip:a@h?x=y>")),
        ("\"open <sip:a@h>", None),
        ("<sip:a@h", None),
        ("sip:a@h>", None),
        ("<>", None),
        ("", None),
        ("\"only a name\"", None),
        ("<sip:a@h>,<sip:b@h>", None),
        ("<sip:a@h> tail", None),
    ];
    for (text, printed) in table {
        let parsed = NameAddr::parse(text).ok().map(|address| address.to_string());
        assert_eq!(parsed.as_deref(), printed, "{text}");
    }
}

#[test]
fn a_contact_has_a_preference_and_a_lifetime() {
    let contact = |params: &str| NameAddr::parse(&format!("<sip:a@h>{params}")).unwrap();
    let table = [
        (";q=1", Some(1000)),
        (";q=1.", Some(1000)),
        (";q=1.000", Some(1000)),
        (";q=0.7", Some(700)),
        (";q=0.007", Some(7)),
        (";q=0", Some(0)),
        (";q=1.1", None),
        (";q=0.1234", None),
        (";q=.5", None),
        (";q=-1", None),
        (";q", None),
        ("", None),
    ];
    for (params, q) in table {
        assert_eq!(contact(params).q(), q, "{params}");
    }
    assert_eq!(contact(";expires=3600").expires(), Some(3600));
    assert_eq!(contact(";expires=99999999999").expires(), Some(u32::MAX));
    assert_eq!(contact(";expires=soon").expires(), None);
    let mut address = contact(";tag=");
    assert_eq!(address.tag(), None);
    address.set_tag("1");
    assert_eq!(address.to_string(), "<sip:a@h>;tag=1");
}

#[test]
fn vias() {
    let table = [
        ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", Some("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")),
        ("sip / 2.0 / tls  h : 5061 ; a = b", Some("SIP/2.0/tls h:5061;a=b")),
        ("SIP/2.0/WSS df7jal23ls0d.invalid;rport", Some("SIP/2.0/WSS df7jal23ls0d.invalid;rport")),
        ("SIP/2.0/UNKNOWN [::1]:1;received=192.0.2.1", Some("SIP/2.0/UNKNOWN [::1]:1;received=192.0.2.1")),
        ("SIP/2.0/UDP", None),
        ("SIP/2.0/UDPh", None),
        ("SIP/3.0/UDP h", Some("SIP/3.0/UDP h")),
        ("SIP//UDP h", None),
        ("2.0/UDP h", None),
        ("SIP/2.0/UDP h:99999", None),
        ("SIP/2.0/UDP h x", None),
        ("Http / 2.0/UDP h", Some("Http/2.0/UDP h")),
        ("", None),
    ];
    for (text, printed) in table {
        assert_eq!(Via::parse(text).ok().map(|via| via.to_string()).as_deref(), printed, "{text}");
    }
}

#[test]
fn a_via_is_stamped_with_its_source() {
    let stamped = |text: &str| {
        let mut via = Via::parse(text).unwrap();
        via.stamp("192.0.2.9:4000".parse().unwrap());
        via.to_string()
    };
    let here = "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1";
    assert_eq!(stamped(here), here);
    assert_eq!(
        stamped("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1"),
        "SIP/2.0/UDP 10.0.0.1:5070;rport=4000;branch=z9hG4bK1;received=192.0.2.9"
    );
    assert_eq!(
        stamped("SIP/2.0/UDP phone.local;received=1.1.1.1"),
        "SIP/2.0/UDP phone.local;received=192.0.2.9"
    );
    let via = Via::parse("SIP/2.0/UDP h;branch=Z9HG4bKx;rport=no").unwrap();
    assert_eq!((via.has_cookie(), via.rport()), (true, Some(None)));
    for branch in ["1", "z9hG4bK", "z9hG4b"] {
        assert!(!Via::parse(&format!("SIP/2.0/UDP h;branch={branch}")).unwrap().has_cookie());
    }
}

#[test]
fn authentication_parameters() {
    let text = "Digest username=\"bob \\\"b\\\"\" , realm=\"a, b\",nonce = \"x=\", algorithm=SHA-256, nc=00000001,\n\
                qop=auth, uri=\"sip:h;x=1\", opaque=\"\"";
    let auth = AuthParams::parse(&text.replace('\n', " ")).unwrap();
    assert!(auth.is("digest"));
    assert_eq!(auth.get("USERNAME"), Some("bob \"b\""));
    assert_eq!((auth.get("realm"), auth.get("algorithm")), (Some("a, b"), Some("SHA-256")));
    assert_eq!(
        (auth.get("nc"), auth.get("uri"), auth.get("opaque")),
        (Some("00000001"), Some("sip:h;x=1"), Some(""))
    );
    assert_eq!(
        auth.to_string(),
        "Digest username=\"bob \\\"b\\\"\", realm=\"a, b\", nonce=\"x=\", algorithm=SHA-256, nc=00000001, \
         qop=auth, uri=\"sip:h;x=1\", opaque=\"\""
    );
}

#[test]
fn authentication_of_other_shapes() {
    let bearer = AuthParams::parse("Bearer eyJhbGci.eyJ-_~+/.x==").unwrap();
    assert_eq!(bearer.token.as_deref(), Some("eyJhbGci.eyJ-_~+/.x=="));
    assert_eq!(bearer.to_string(), "Bearer eyJhbGci.eyJ-_~+/.x==");
    let bearer = AuthParams::parse("Bearer realm=\"x\", error=\"invalid_token\"").unwrap();
    assert_eq!((bearer.token.as_deref(), bearer.get("error")), (None, Some("invalid_token")));
    let info = AuthParams::parse("nextnonce=\"47364c\", rspauth=\"\", nc = 1").unwrap();
    assert_eq!(
        (info.scheme.as_str(), info.get("nextnonce"), info.get("nc")),
        ("", Some("47364c"), Some("1"))
    );
    assert_eq!(AuthParams::parse("Negotiate").unwrap().scheme, "Negotiate");
    assert_eq!(AuthParams::parse("Digest a=1, A=2").unwrap().count("a"), 2);
    let mut ours = AuthParams::new("Digest");
    ours.push_quoted("realm", "a\"b\r\n").push_token("stale", "true").push_token("x", "not a token");
    assert_eq!(ours.to_string(), "Digest realm=\"a\\\"b  \", stale=true, x=\"not a token\"");
}

#[test]
fn malformed_authentication_parameters() {
    for text in [
        "",
        "Digest a",
        "Digest a=\"x",
        "Digest a=1 b=2",
        "Digest, =1",
        "Digest ,a==",
        "Digest a=,",
        "Digest a=b c",
        "\"x\"",
        "Bearer a b",
    ] {
        let parsed = AuthParams::parse(text);
        let harmless = parsed.as_ref().is_ok_and(|auth| auth.token.is_some());
        assert!(parsed.is_err() || harmless, "{text}: {parsed:?}");
    }
    let many = vec!["a=1"; PARAMS_MAX].join(",");
    assert!(AuthParams::parse(&format!("Digest {many}")).is_ok());
    assert!(AuthParams::parse(&format!("Digest {many},b=1")).is_err());
}
