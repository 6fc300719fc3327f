//! What a request's Authorization is worth (RFC 7616 §3.4, RFC 3261 §22.4).
//!
//! An account that does not exist is hashed against an HA1 that nobody knows, so that neither the answer
//! nor the time it takes tells who exists.

use std::net::IpAddr;

use dialtone_core::{Number, Wall};

use super::accounts::Accounts;
use super::digest::{Algorithm, Exchange, Hash};
use super::nonce::NonceKey;
use crate::message::{AuthParams, Name, RawUri, Request};

/// Authorization headers looked at in one request.
const HEADERS_READ: usize = 4;
/// Bytes of a header worth parsing.
const HEADER_BYTES: usize = 2048;
/// Bytes of an account's name as it is reported.
const REPORTED_ACCOUNT_BYTES: usize = 64;

/// What the credentials prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There are none for our realm that can be understood: challenge.
    None,
    /// The nonce has expired, or is not ours, or was not issued to this source: challenge with stale=true.
    Stale,
    /// The nonce is good and the response is not.
    Bad {
        /// Who they said they are: at most 64 bytes, no control characters; may not exist.
        account: String,
    },
    /// They know the password. Whether the count was used before is for [`super::NonceWindow`] to say.
    Good {
        /// Who they are.
        account: Number,
        /// The nonce, as sent.
        nonce: String,
        /// Its count, at least 1 (RFC 7616 §3.4).
        nonce_count: u32,
    },
}

/// Well-formed credentials for our realm, not yet hashed.
#[derive(Clone)]
pub struct Claim {
    params: AuthParams,
    algorithm: Algorithm,
    nonce_count: u32,
    response: Hash,
    fresh: bool,
}

impl Claim {
    /// The claim that a request makes to our realm; of several, the first whose nonce is fresh. Costs one HMAC
    /// for each and no digest. What cannot be understood is no claim.
    pub fn find(
        request: &Request,
        source: IpAddr,
        accounts: &Accounts,
        key: &NonceKey,
        now: Wall,
    ) -> Option<Claim> {
        let mut stale = None;
        for value in request.headers.all(&Name::Authorization).take(HEADERS_READ) {
            let Some(mut claim) = Claim::parse(value, accounts.realm()) else { continue };
            claim.fresh = key.is_fresh(claim.param("nonce"), source, accounts.realm(), now);
            if claim.fresh {
                return Some(claim);
            }
            stale.get_or_insert(claim);
        }
        stale
    }

    /// Who they say they are, fit for tables and logs: at most 64 bytes, no control characters.
    pub fn account(&self) -> String {
        printable(self.param("username"))
    }

    /// Whether the nonce is ours, issued to this source, and has not expired.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Hashes. `request` is the one that the claim was found in.
    pub fn verify(&self, request: &Request, accounts: &Accounts, key: &NonceKey) -> Verdict {
        if !self.fresh {
            return Verdict::Stale;
        }
        let username = self.param("username");
        let nobody = self.nobodys_ha1(key, username, accounts.realm());
        let known = accounts.ha1(username, self.algorithm);
        let exchange = Exchange {
            method: request.method.as_str(),
            uri: self.param("uri"),
            nonce: self.param("nonce"),
            nonce_count: self.param("nc"),
            cnonce: self.param("cnonce"),
        };
        let expected = exchange.response(self.algorithm, &known.unwrap_or(nobody));
        // Each side of `&` is computed whatever the others say.
        let right =
            expected.same(&self.response) & known.is_some() & same_target(self.param("uri"), &request.uri);
        if right {
            let (account, nonce) = (username.to_owned(), self.param("nonce").to_owned());
            Verdict::Good { account, nonce, nonce_count: self.nonce_count }
        } else {
            Verdict::Bad { account: self.account() }
        }
    }

    fn parse(value: &[u8], realm: &str) -> Option<Claim> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= HEADER_BYTES)?;
        let params = AuthParams::parse(text).ok().filter(|params| params.is("Digest"))?;
        if params.get("realm") != Some(realm) {
            // RFC 3261 §22.3: credentials for other realms are for other servers.
            return None;
        }
        let once = ["username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"];
        if !once.iter().all(|name| params.count(name) == 1 && params.get(name) != Some("")) {
            return None;
        }
        if !params.get("qop")?.eq_ignore_ascii_case("auth") || params.get("userhash").is_some_and(is_true) {
            return None;
        }
        let algorithm = match params.count("algorithm") {
            // RFC 7616 §3.4: absent means MD5.
            0 => Algorithm::Md5,
            1 => Algorithm::from_token(params.get("algorithm")?)?,
            _ => return None,
        };
        let nonce_count = nonce_count(params.get("nc")?)?;
        let response = Hash::from_hex(params.get("response")?)?;
        let fits = response.as_bytes().len() == algorithm.hash_len();
        fits.then_some(Claim { params, algorithm, nonce_count, response, fresh: false })
    }

    fn param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }

    /// An HA1 of the right length that stays the same for a name and that nobody can know.
    fn nobodys_ha1(&self, key: &NonceKey, username: &str, realm: &str) -> Hash {
        let parts = [username.as_bytes(), realm.as_bytes(), self.algorithm.token().as_bytes()];
        Hash::take(key.derive("ha1", &parts).as_bytes(), self.algorithm.hash_len())
    }
}

/// All of the above but the throttle: what the Authorization of `request`, which came from `source`, is worth.
pub fn verify(request: &Request, source: IpAddr, accounts: &Accounts, key: &NonceKey, now: Wall) -> Verdict {
    match Claim::find(request, source, accounts, key, now) {
        Some(claim) => claim.verify(request, accounts, key),
        None => Verdict::None,
    }
}

/// RFC 7616 §3.4: eight hexadecimal digits, counting from 1. Shorter ones are sent by some phones.
fn nonce_count(text: &str) -> Option<u32> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok())?.filter(|count| *count > 0)
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// Whether `uri` names what the request is for (RFC 7616 §3.4.6). Phones leave out ports and parameters, or
/// write a user's escapes otherwise; which host they mean, and whom if they name anybody, must not differ.
/// SIPp names nobody: it hashes the address of the server whatever it asks for.
fn same_target(uri: &str, target: &RawUri) -> bool {
    if uri == target.as_str() {
        return true;
    }
    let uri = RawUri::from(uri);
    match (uri.parse(), target.parse()) {
        (Ok(a), Ok(b)) => {
            let same_kind = a.scheme == b.scheme || a.scheme.is_sip() && b.scheme.is_sip();
            let same_user = a.user_decoded() == b.user_decoded() || a.user_decoded().is_none();
            same_kind && a.host == b.host && same_user
        }
        _ => false,
    }
}

fn printable(text: &str) -> String {
    let mut account = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if account.len() + c.len_utf8() > REPORTED_ACCOUNT_BYTES {
            break;
        }
        account.push(c);
    }
    account
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::NONCE_LIFETIME;
    use crate::message::Method;

    const REALM: &str = "dialtone.example";
    const TARGET: &str = "sip:dialtone.example";
    const NOW: Wall = Wall::from_micros(1_795_361_388_000_000);

    fn key() -> NonceKey {
        NonceKey::new([9; 32])
    }

    fn source() -> IpAddr {
        IpAddr::from([192, 0, 2, 7])
    }

    fn accounts() -> Accounts {
        let mut accounts = Accounts::new(REALM, &[], [("1001", "secret"), ("1002", "other")]);
        accounts.set_algorithms("1002", &[Algorithm::Sha256]);
        accounts
    }

    /// What a phone sends, before a case changes it.
    struct Phone {
        algorithm: Algorithm,
        username: &'static str,
        password: &'static str,
        realm: &'static str,
        nonce: String,
        uri: &'static str,
        hashed_method: &'static str,
        nonce_count: &'static str,
        template: &'static str,
    }

    const TEMPLATE: &str = r#"Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", algorithm={algorithm}, cnonce="0a4f113b", qop=auth, nc={nc}"#;

    impl Default for Phone {
        fn default() -> Self {
            Phone {
                algorithm: Algorithm::Md5,
                username: "1001",
                password: "secret",
                realm: REALM,
                nonce: key().issue(source(), REALM, NOW, 1),
                uri: TARGET,
                hashed_method: "REGISTER",
                nonce_count: "00000001",
                template: TEMPLATE,
            }
        }
    }

    impl Phone {
        fn header(&self) -> String {
            let ha1 = self.algorithm.ha1(self.username, self.realm, self.password);
            let exchange = Exchange {
                method: self.hashed_method,
                uri: self.uri,
                nonce: &self.nonce,
                nonce_count: self.nonce_count,
                cnonce: "0a4f113b",
            };
            self.template
                .replace("{username}", self.username)
                .replace("{realm}", self.realm)
                .replace("{nonce}", &self.nonce)
                .replace("{uri}", self.uri)
                .replace("{response}", &exchange.response(self.algorithm, &ha1).hex().to_string())
                .replace("{algorithm}", self.algorithm.token())
                .replace("{nc}", self.nonce_count)
        }
    }

    fn request(target: &str, headers: &[String]) -> Request {
        let mut request = Request::new(Method::Register, target);
        for header in headers {
            request.headers.push(Name::Authorization, header);
        }
        request
    }

    fn verdict(phone: &Phone) -> Verdict {
        verify(&request(TARGET, &[phone.header()]), source(), &accounts(), &key(), NOW)
    }

    fn good(phone: &Phone) -> Verdict {
        Verdict::Good { account: phone.username.into(), nonce: phone.nonce.clone(), nonce_count: 1 }
    }

    fn bad(account: &str) -> Verdict {
        Verdict::Bad { account: account.into() }
    }

    #[test]
    fn the_right_password_is_good_with_either_algorithm() {
        for algorithm in Algorithm::ALL {
            let phone = Phone { algorithm, ..Phone::default() };
            assert_eq!(verdict(&phone), good(&phone));
        }
        let phone =
            Phone { username: "1002", password: "other", algorithm: Algorithm::Sha256, ..Phone::default() };
        assert_eq!(verdict(&phone), good(&phone));
    }

    #[test]
    fn what_is_wrong_is_bad() {
        let cases = [
            ("password", Phone { password: "Secret", ..Phone::default() }, "1001"),
            ("account", Phone { username: "1003", ..Phone::default() }, "1003"),
            ("method", Phone { hashed_method: "INVITE", ..Phone::default() }, "1001"),
            ("target", Phone { uri: "sip:elsewhere.example", ..Phone::default() }, "1001"),
            ("MD5 switched off", Phone { username: "1002", password: "other", ..Phone::default() }, "1002"),
        ];
        for (what, phone, account) in cases {
            assert_eq!(verdict(&phone), bad(account), "{what}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_nothing() {
        let templates = [
            ("no qop", TEMPLATE.replace(", qop=auth", "")),
            ("auth-int", TEMPLATE.replace("qop=auth", "qop=auth-int")),
            ("no nc", TEMPLATE.replace(", nc={nc}", "")),
            ("nc zero", TEMPLATE.replace("{nc}", "00000000")),
            ("nc no number", TEMPLATE.replace("{nc}", "+0000001")),
            ("nc too long", TEMPLATE.replace("{nc}", "000000001")),
            ("no cnonce", TEMPLATE.replace(r#"cnonce="0a4f113b", "#, "")),
            ("empty cnonce", TEMPLATE.replace("0a4f113b", "")),
            ("no uri", TEMPLATE.replace(r#"uri="{uri}", "#, "")),
            ("two usernames", format!(r#"{TEMPLATE}, username="1002""#)),
            ("two algorithms", format!("{TEMPLATE}, algorithm=MD5")),
            ("unknown algorithm", TEMPLATE.replace("{algorithm}", "SHA-512-256")),
            ("session algorithm", TEMPLATE.replace("{algorithm}", "MD5-sess")),
            ("length of the other algorithm", TEMPLATE.replace("{algorithm}", "SHA-256")),
            ("response no hex", TEMPLATE.replace("{response}", &"z".repeat(32))),
            ("hashed user", format!("{TEMPLATE}, userhash=true")),
            ("another scheme", TEMPLATE.replace("Digest", "Basic")),
            ("too long", format!(r#"{TEMPLATE}, opaque="{}""#, "x".repeat(HEADER_BYTES))),
            ("no parameters", "Digest".into()),
        ];
        for (what, template) in templates {
            let template: &'static str = Box::leak(template.into_boxed_str());
            assert_eq!(verdict(&Phone { template, ..Phone::default() }), Verdict::None, "{what}");
        }
        assert_eq!(verdict(&Phone { realm: "other.example", ..Phone::default() }), Verdict::None);
        let without = verify(&request(TARGET, &[]), source(), &accounts(), &key(), NOW);
        assert_eq!(without, Verdict::None);
    }

    #[test]
    fn what_real_phones_write_otherwise_is_understood() {
        let templates = [
            ("no algorithm", TEMPLATE.replace(", algorithm={algorithm}", "")),
            ("quoted qop", TEMPLATE.replace("qop=auth", r#"qop="auth""#)),
            ("case of algorithm", TEMPLATE.replace("{algorithm}", "md5")),
            ("quoted algorithm", TEMPLATE.replace("{algorithm}", r#""MD5""#)),
            ("case of scheme", TEMPLATE.replace("Digest", "digest")),
            ("opaque", format!(r#"{TEMPLATE}, opaque="""#)),
            ("unhashed user", format!("{TEMPLATE}, userhash=false")),
        ];
        for (what, template) in templates {
            let template: &'static str = Box::leak(template.into_boxed_str());
            let phone = Phone { template, ..Phone::default() };
            assert_eq!(verdict(&phone), good(&phone), "{what}");
        }
        let short = Phone { nonce_count: "1", ..Phone::default() };
        assert_eq!(verdict(&short), good(&short));
    }

    #[test]
    fn the_target_may_be_written_otherwise() {
        let cases = [
            ("sip:1002@pbx", "sip:1002@pbx:5060;transport=tcp", true),
            ("sip:1002@PBX;user=phone", "sip:1002@pbx", true),
            ("sips:%31002@pbx", "sip:1002@pbx", true),
            ("sip:1003@pbx", "sip:1002@pbx", false),
            ("sip:pbx:5060", "sip:1002@pbx", true),
            ("sip:1002@pbx", "sip:pbx", false),
            ("sip:other", "sip:1002@pbx", false),
            ("sip:1002@other", "sip:1002@pbx", false),
            ("tel:+49-30-1", "tel:+49301", true),
            ("tel:+49301", "sip:+49301@pbx", false),
            ("<sip:1002@pbx>", "sip:1002@pbx", false),
        ];
        for (uri, target, same) in cases {
            assert_eq!(same_target(uri, &RawUri::from(target)), same, "{uri} for {target}");
        }
    }

    #[test]
    fn an_old_or_strange_nonce_is_stale_whatever_the_response() {
        let past = Wall::from_micros(NOW.as_micros() - NONCE_LIFETIME.as_micros() as i64 - 1);
        let elsewhere = IpAddr::from([192, 0, 2, 8]);
        let nonces = [
            key().issue(source(), REALM, past, 1),
            key().issue(elsewhere, REALM, NOW, 1),
            NonceKey::new([1; 32]).issue(source(), REALM, NOW, 1),
            "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
        ];
        for nonce in nonces {
            for password in ["secret", "wrong"] {
                assert_eq!(
                    verdict(&Phone { nonce: nonce.clone(), password, ..Phone::default() }),
                    Verdict::Stale
                );
            }
        }
    }

    #[test]
    fn of_several_the_fresh_one_of_our_realm_counts() {
        let phone = Phone::default();
        let stale = Phone { nonce: "old".into(), ..Phone::default() };
        let foreign = Phone { realm: "other.example", ..Phone::default() };
        let headers = [foreign.header(), stale.header(), phone.header()];
        let request = request(TARGET, &headers);
        assert_eq!(verify(&request, source(), &accounts(), &key(), NOW), good(&phone));
    }

    #[test]
    fn a_reported_account_is_short_and_printable() {
        let long: &'static str = Box::leak("é".repeat(100).into_boxed_str());
        let phone = Phone { username: long, ..Phone::default() };
        assert_eq!(verdict(&phone), bad(&"é".repeat(32)));
        assert_eq!(printable("a\u{7}\u{1b}[1mb"), "a[1mb");
    }
}
