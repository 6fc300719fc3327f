//! What we ask of a request without credentials (RFC 3261 §22.1, RFC 7616 §3.3, RFC 8760 §2.4).

use super::Algorithm;
use super::accounts::Accounts;
use crate::message::AuthParams;

/// The challenges of a 401, one per algorithm in the order configured; each goes into a WWW-Authenticate
/// header of its own (RFC 8760 §2.4). A UAS answers 401 to INVITE too (RFC 3261 §22.2).
///
/// `account_hint` is whom the request seems to come from; it may be anything. `stale` tells the phone to
/// try again with this nonce and the same password (RFC 7616 §3.3).
///
/// `agent` is its User-Agent. A client that gives the whole answer up over an algorithm that it does not know
/// gets the MD5 challenge alone, where the account allows MD5: either algorithm would have been accepted.
pub fn challenge(
    accounts: &Accounts,
    account_hint: &str,
    agent: Option<&str>,
    nonce: &str,
    stale: bool,
) -> Vec<AuthParams> {
    let one = |algorithm: &Algorithm| {
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
    let algorithms = accounts.algorithms(account_hint);
    let md5_alone = agent.is_some_and(knows_md5_alone) && algorithms.contains(&Algorithm::Md5);
    algorithms.iter().filter(|algorithm| !md5_alone || **algorithm == Algorithm::Md5).map(one).collect()
}

/// Clients that fail on a challenge which they should skip (RFC 7616 §3.7 asks to choose among what one knows):
/// baresip before 3.0 ends its registration with "Function not implemented".
fn knows_md5_alone(agent: &str) -> bool {
    ["baresip v0.", "baresip v1.", "baresip v2."].iter().any(|old| agent.starts_with(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(accounts: &Accounts, hint: &str, stale: bool) -> Vec<String> {
        challenge(accounts, hint, None, "abc", stale).iter().map(ToString::to_string).collect()
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

    #[test]
    fn a_client_that_stumbles_over_sha_256_is_not_offered_it() {
        let mut accounts = Accounts::new("pbx", &[], [("1001", "a"), ("1002", "b")]);
        accounts.set_algorithms("1002", &[Algorithm::Sha256]);
        let offered = |account, agent| challenge(&accounts, account, Some(agent), "abc", false).len();
        assert_eq!(offered("1001", "baresip v1.0.0 (x86_64/linux)"), 1);
        assert_eq!(offered("1001", "baresip v3.8.1 (x86_64/Linux)"), 2);
        assert_eq!(offered("1001", "Linphone/5.1"), 2);
        assert_eq!(offered("1002", "baresip v1.0.0 (x86_64/linux)"), 1, "never left without any");
    }
}
