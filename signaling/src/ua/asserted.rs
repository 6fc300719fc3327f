//! Who calls and who answered, from and to peers that are trusted, and who does not want to be known: RFC 3325,
//! RFC 3323, and Remote-Party-ID, which was never a standard and which many still speak.
//!
//! An extension has one number. What it prefers to be called (P-Preferred-Identity) can be nothing else, and is not
//! read.

use std::net::IpAddr;

use dialtone_core::Party;

use super::identity::Identity;
use super::policy::{IdentityPolicy, SendIdentity};
use crate::message::{Headers, Host, Name, NameAddr, Request, Uri};

/// The host of whoever does not want to be known (RFC 3323 §4.1.1.3).
const NOWHERE: &str = "anonymous.invalid";

/// Characters of a number or a name that a trusted peer says; longer ones are not taken.
const SAID_MAX: usize = 128;

/// Whether the sender of a message wants to be known to nobody who is not trusted (RFC 3323 §4.2, RFC 3325 §9.3).
pub(crate) fn is_private(headers: &Headers) -> bool {
    let values = headers.all(&Name::Privacy).filter_map(|value| std::str::from_utf8(value).ok());
    values
        .flat_map(|value| value.split([';', ',']))
        .map(str::trim)
        .any(|value| ["id", "user", "header"].iter().any(|private| value.eq_ignore_ascii_case(private)))
}

/// Whom a trusted peer says that a message is of (RFC 3325 §9.1).
pub(crate) fn asserted(headers: &Headers) -> Option<Party> {
    let said = |name: &Name| {
        let all: Vec<NameAddr> = headers.elements(name).take(2).filter_map(address).collect();
        all.into_iter().find_map(|address| party(&address).map(|party| (party, address)))
    };
    if let Some((party, _)) = said(&Name::PAssertedIdentity) {
        return Some(Party { private: is_private(headers), ..party });
    }
    let (party, address) = said(&Name::RemotePartyId)?;
    Some(Party { private: is_hidden(&address) || is_private(headers), ..party })
}

/// Whether an address of Remote-Party-ID or Diversion is marked as private (RFC 5806 §4.1).
pub(crate) fn is_hidden(address: &NameAddr) -> bool {
    address.params.get("privacy").is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off"))
}

/// Who calls with an INVITE of an account, which the site calls `name`; `None` when it calls as somebody that it may
/// not be.
pub(crate) fn caller(invite: &Request, account: &str, name: &str, trusted: bool) -> Option<Party> {
    let from = invite.from().ok()?;
    let hidden = matches!(&from.uri.host, Host::Domain(host) if host.eq_ignore_ascii_case(NOWHERE));
    let private = hidden || is_private(&invite.headers);
    if trusted && let Some(party) = asserted(&invite.headers) {
        // Who is not named in From is not named to others by us, whatever else they say (RFC 3323 §4.1.1.3).
        return Some(Party { private: party.private || hidden, ..party });
    }
    if hidden || from.uri.user_decoded().as_deref() == Some(account) {
        return Some(Party { number: account.to_owned(), name: name.to_owned(), private });
    }
    party(from).filter(|_| trusted).map(|party| Party { private, ..party })
}

/// Who an address is of.
pub(crate) fn party(address: &NameAddr) -> Option<Party> {
    let number = address.uri.user_decoded().filter(|user| is_short(user))?.into_owned();
    let name = address.display.clone().filter(|name| is_short(name)).unwrap_or_default();
    Some(Party { number, name, private: false })
}

/// One element of a header.
pub(crate) fn address(element: &[u8]) -> Option<NameAddr> {
    NameAddr::parse(std::str::from_utf8(element).ok()?).ok()
}

fn is_short(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= SAID_MAX && !text.chars().any(char::is_control)
}

impl Identity {
    /// Somebody as their callee sees them in From: what a trusted one may know besides stands elsewhere.
    pub(crate) fn shown(&self, party: &Party) -> NameAddr {
        if !party.private {
            return self.user(&party.number, &party.name);
        }
        let host = Host::parse(NOWHERE).unwrap_or(Host::from(IpAddr::from([127, 0, 0, 1])));
        let mut address = NameAddr::new(Uri::sip(Some("anonymous"), host, None));
        address.display = Some("Anonymous".to_owned());
        address
    }

    /// Says to a peer who a message is of: to one that is trusted, or when there is nothing to hide (RFC 3325 §6, §7).
    /// `side` is the party of Remote-Party-ID, `calling` or `called`.
    pub(crate) fn assert(&self, headers: &mut Headers, policy: IdentityPolicy, party: &Party, side: &str) {
        if party.private && !policy.trusted {
            return;
        }
        let address = self.user(&party.number, &party.name);
        match policy.sends {
            SendIdentity::None => {}
            SendIdentity::Pai => {
                headers.push(Name::PAssertedIdentity, address.to_string());
                if party.private {
                    headers.push(Name::Privacy, "id");
                }
            }
            SendIdentity::Rpid => {
                let privacy = if party.private { "full" } else { "off" };
                let value = format!("{address};party={side};screen=yes;privacy={privacy}");
                headers.push(Name::RemotePartyId, value);
            }
        }
    }
}
