//! Addresses that lead to one device and no other: RFC 5627.
//!
//! A public GRUU names the extension and the device. A temporary one names nobody to whom it is shown; it carries
//! both sealed in itself, so that nothing is remembered of those that were given out:
//!
//! ```text
//! tgruu.hex( salt: 8 bytes | device: 8 bytes, registration: 4 bytes, extension, all under a pad | seal: 10 bytes )
//! ```

use super::binding::device;
use super::{Binding, Number};
use crate::auth::NonceKey;
use crate::message::Uri;
use crate::ua::Identity;

const PREFIX: &str = "tgruu.";
const SALT: usize = 8;
const DEVICE: usize = 8;
const SESSION: usize = 4;
const SEAL: usize = 10;
/// Of the extension; a pad of one hash covers it all.
const ENDPOINT_MAX: usize = 64 - DEVICE - SESSION;

/// What seals temporary GRUUs; must survive a restart, or all of them are void with it.
#[derive(Clone, Debug)]
pub struct GruuKey(NonceKey);

impl GruuKey {
    /// From random bytes.
    pub fn new(secret: [u8; 32]) -> GruuKey {
        GruuKey(NonceKey::new(secret))
    }

    /// The Contact parameters that tell a phone its GRUUs (RFC 5627 §5.3); empty for one that did not say which
    /// device it is.
    pub(super) fn params(&self, endpoint: &str, binding: &Binding, identity: &Identity) -> String {
        let Some(device) = binding.device() else { return String::new() };
        let mut public = identity.user(endpoint, "").uri;
        public.set_param("gr", &device);
        let temporary = self.temporary(endpoint, binding).map(|user| {
            let mut uri = identity.user(&user, "").uri;
            uri.params.set_flag("gr");
            format!(";temp-gruu=\"{uri}\"")
        });
        format!(";pub-gruu=\"{public}\"{}", temporary.unwrap_or_default())
    }

    /// The user part of a temporary GRUU: another one for each registration, none of which tells the next
    /// (RFC 5627 §5.4).
    fn temporary(&self, endpoint: &str, binding: &Binding) -> Option<String> {
        if endpoint.len() > ENDPOINT_MAX {
            return None;
        }
        let instance = binding.instance.as_deref()?;
        let salt = self
            .hash("salt", &[binding.call_id.as_bytes(), &binding.cseq.to_be_bytes(), instance.as_bytes()]);
        let salt = &salt[..SALT];
        let mut plain = self.device(endpoint, instance)[..DEVICE].to_vec();
        plain.extend(&self.session(binding)[..SESSION]);
        plain.extend(endpoint.as_bytes());
        let mut sealed = salt.to_vec();
        sealed.extend(self.under_pad(salt, &plain));
        let seal = self.hash("seal", &[&sealed]);
        sealed.extend(&seal[..SEAL]);
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{PREFIX}{hex}"))
    }

    /// Whose device a GRUU is; `of` gives the bindings of an extension.
    pub(super) fn resolve<'a>(
        &self,
        uri: &Uri,
        of: impl FnOnce(&str) -> &'a [Binding],
    ) -> Option<(Number, String)> {
        let user = uri.user_decoded()?;
        if let Some(device) = uri.param_decoded("gr").filter(|device| !device.is_empty()) {
            return Some((user.into_owned(), device.into_owned()));
        }
        let sealed = decode(user.strip_prefix(PREFIX)?)?;
        let (body, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL)?)?;
        if !same(&self.hash("seal", &[body])[..SEAL], seal) {
            return None;
        }
        let (salt, covered) = body.split_at_checked(SALT)?;
        let plain = self.under_pad(salt, covered);
        let (wanted, rest) = plain.split_at_checked(DEVICE)?;
        let (session, endpoint) = rest.split_at_checked(SESSION)?;
        let endpoint = std::str::from_utf8(endpoint).ok()?;
        // RFC 5627 §3.1.2: it ends with the registration, that is with its Call-ID.
        let binding = of(endpoint).iter().find(|binding| {
            let instance = binding.instance.as_deref().unwrap_or_default();
            self.device(endpoint, instance)[..DEVICE] == *wanted
                && self.session(binding)[..SESSION] == *session
        })?;
        let instance = binding.instance.as_deref()?;
        Some((endpoint.to_owned(), device(instance).into_owned()))
    }

    fn device(&self, endpoint: &str, instance: &str) -> [u8; 32] {
        self.hash("device", &[endpoint.as_bytes(), instance.as_bytes()])
    }

    fn session(&self, binding: &Binding) -> [u8; 32] {
        self.hash("session", &[binding.call_id.as_bytes()])
    }

    /// The same once more takes it off again.
    fn under_pad(&self, salt: &[u8], text: &[u8]) -> Vec<u8> {
        let (first, second) = (self.hash("pad", &[salt, b"1"]), self.hash("pad", &[salt, b"2"]));
        text.iter().zip(first.iter().chain(&second)).map(|(byte, pad)| byte ^ pad).collect()
    }

    fn hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let hash = self.0.derive(label, parts);
        std::array::from_fn(|at| hash.as_bytes().get(at).copied().unwrap_or(0))
    }
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 2 * (SALT + 64 + SEAL) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

/// In a time that does not tell how much of it is right.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, |wrong, (a, b)| wrong | (a ^ b)) == 0
}
