//! Who sends a request: what the transport has proved, and each nonce count once (RFC 7616 §3.4).

use dialtone_core::{Now, Number};

use super::Stack;
use crate::auth::challenge;
use crate::message::{Name, Request, Response};
use crate::wire::{Credentials, Path};

impl Stack {
    /// The account that a request is of, or the answer that it is owed.
    pub(super) fn authenticate(
        &mut self,
        now: Now,
        request: &Request,
        path: Path,
        credentials: Credentials,
    ) -> Result<Number, Box<Response>> {
        match credentials {
            Credentials::Good { account, nonce, nonce_count } => {
                if self.nonces.accept(&nonce, nonce_count, now.mono) {
                    return Ok(account);
                }
                // RFC 7616 §3.4: a count that was used is a replay, or a phone that does not count.
                self.replayed += 1;
                Err(Box::new(self.challenged(now, request, path, true)))
            }
            Credentials::None => Err(Box::new(self.challenged(now, request, path, false))),
        }
    }

    pub(super) fn challenged(&mut self, now: Now, request: &Request, path: Path, stale: bool) -> Response {
        let accounts = &self.subscribers.accounts;
        let salt = self.tokens.salt();
        let nonce = self.config.nonce_key.issue(path.remote.ip(), accounts.realm(), now.wall, salt);
        let from = request.from().ok().and_then(|from| from.uri.user_decoded().map(|user| user.into_owned()));
        let agent = request.headers.text(&Name::UserAgent);
        let mut response = Response::to(request, 401);
        for challenge in challenge(accounts, &from.unwrap_or_default(), agent, &nonce, stale) {
            response.headers.push(Name::WwwAuthenticate, challenge.to_string());
        }
        response
    }
}
