//! What we ask of a request without credentials (RFC 3261 §22.1, RFC 7616 §3.3, RFC 8760 §2.4).

use super::accounts::Accounts;
use crate::message::AuthParams;

/// The challenges of a 401, one per algorithm in the order configured; each goes into a WWW-Authenticate
/// header of its own (RFC 8760 §2.4). A UAS answers 401 to INVITE too (RFC 3261 §22.2).
///
/// `account_hint` is whom the request seems to come from; it may be anything. `stale` tells the phone to
/// try again with this nonce and the same password (RFC 7616 §3.3).
pub fn challenge(accounts: &Accounts, account_hint: &str, nonce: &str, stale: bool) -> Vec<AuthParams> {
    let one = |algorithm: &super::Algorithm| {
        let mut challenge = AuthParams::new("Digest");
        challenge.push_quoted("realm", accounts.realm());
        challenge.push_quoted("nonce", nonce);
        if stale {
            challenge.push_token("stale", "true");
        }
        challenge.push_token("algorithm", algorithm.token());
        challenge.push_quoted("qop", "auth");
        challenge
    };
    accounts.algorithms(account_hint).iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Algorithm;

    fn printed(accounts: &Accounts, hint: &str, stale: bool) -> Vec<String> {
        challenge(accounts, hint, "abc", stale).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_challenge_per_algorithm_in_order() {
        let mut accounts = Accounts::new("pbx", &[], [("1001", "a"), ("1002", "b")]);
        accounts.set_algorithms("1002", &[Algorithm::Sha256]);
        assert_eq!(
            printed(&accounts, "1001", false),
            [
                r#"Digest realm="pbx", nonce="abc", algorithm=MD5, qop="auth""#,
                r#"Digest realm="pbx", nonce="abc", algorithm=SHA-256, qop="auth""#,
            ]
        );
        assert_eq!(printed(&accounts, "nobody", false), printed(&accounts, "1001", false));
        assert_eq!(
            printed(&accounts, "1002", true),
            [r#"Digest realm="pbx", nonce="abc", stale=true, algorithm=SHA-256, qop="auth""#]
        );
    }
}
