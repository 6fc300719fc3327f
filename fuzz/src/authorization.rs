//! The Authorization header and what it is worth.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use dialtone_core::Wall;
use dialtone_signaling::auth::{Accounts, Algorithm, Claim, Exchange, NonceKey, Verdict, verify};
use dialtone_signaling::message::{AuthParams, Method, Name, Request};

const REALM: &str = "dialtone.example";
const TARGET: &str = "sip:dialtone.example";
const PASSWORD: &str = "secret";
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);
const HEADER_MAX: usize = 8192;

static KEY: LazyLock<NonceKey> = LazyLock::new(|| NonceKey::new([9; 32]));
static NONCE: LazyLock<String> = LazyLock::new(|| KEY.issue(SOURCE, REALM, NOW, 1));
static ACCOUNTS: LazyLock<Accounts> = LazyLock::new(|| Accounts::new(REALM, &[], [("1001", PASSWORD)]));

/// Only who knows the password is let in, and only with a nonce of ours. In the input, `{nonce}` stands for one.
pub fn authorization(data: &[u8]) {
    let Some(text) = header(data) else { return };
    let parsed = AuthParams::parse(&text).ok();
    if let Some(params) = &parsed {
        assert_eq!(params.to_string().parse().as_ref(), Ok(params));
    }
    let request = request(&text);
    let claim = Claim::find(&request, SOURCE, &ACCOUNTS, &KEY, NOW);
    let verdict = verify(&request, SOURCE, &ACCOUNTS, &KEY, NOW);
    assert_eq!(claim.is_some(), verdict != Verdict::None);
    if let Some(account) = claim.as_ref().map(Claim::account) {
        assert!(account.len() <= 64 && !account.contains(|c: char| c.is_control()));
    }
    match verdict {
        Verdict::None => {}
        Verdict::Stale => assert!(claim.is_some_and(|claim| !claim.is_fresh())),
        Verdict::Bad { account } => assert_eq!(claim.map(|claim| claim.account()), Some(account)),
        Verdict::Good { account, nonce, nonce_count } => {
            assert_eq!((&*account, &nonce), ("1001", &*NONCE));
            assert!(nonce_count > 0);
            assert!(knows_the_password(&parsed.expect("a claim has parameters")));
        }
    }
}

/// Whether this header lets its sender in.
pub fn is_let_in(data: &[u8]) -> bool {
    let verdict = header(data).map(|text| verify(&request(&text), SOURCE, &ACCOUNTS, &KEY, NOW));
    matches!(verdict, Some(Verdict::Good { .. }))
}

/// One line of text, as the message parser leaves it.
fn header(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= HEADER_MAX)?;
    (!text.contains(|c: char| c.is_control())).then(|| text.replace("{nonce}", &NONCE))
}

fn request(header: &str) -> Request {
    let mut request = Request::new(Method::Register, TARGET);
    request.headers.push(Name::Authorization, header);
    request
}

/// The response, worked out from the password.
fn knows_the_password(params: &AuthParams) -> bool {
    let param = |name| params.get(name).unwrap_or_default();
    let algorithm = Algorithm::from_token(params.get("algorithm").unwrap_or("MD5")).expect("one of ours");
    let exchange = Exchange {
        method: "REGISTER",
        uri: param("uri"),
        nonce: param("nonce"),
        nonce_count: param("nc"),
        cnonce: param("cnonce"),
    };
    let expected = exchange.response(algorithm, &algorithm.ha1("1001", REALM, PASSWORD));
    expected.hex().to_string().eq_ignore_ascii_case(param("response"))
}
