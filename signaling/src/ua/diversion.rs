//! Who was called before a call came to somebody: Diversion (RFC 5806) and History-Info (RFC 7044), from and to peers
//! that are trusted. Both say the same of a call (RFC 7544), so that what one peer says in one is told in both.

use dialtone_core::leg::DIVERSIONS_MAX;
use dialtone_core::{Diversion, DiversionReason, Party};

use super::asserted::{address, is_hidden, party};
use super::identity::Identity;
use crate::message::{Headers, Name, NameAddr};

/// Reasons as both headers say them: RFC 5806 §4.1, and the causes of RFC 4458 §2 after RFC 7544 §7.
const REASONS: [(DiversionReason, &str, &str); 7] = [
    (DiversionReason::Unknown, "unknown", "404"),
    (DiversionReason::UserBusy, "user-busy", "486"),
    (DiversionReason::NoAnswer, "no-answer", "408"),
    (DiversionReason::Unavailable, "unavailable", "503"),
    (DiversionReason::Unconditional, "unconditional", "302"),
    (DiversionReason::DoNotDisturb, "do-not-disturb", "404"),
    (DiversionReason::Deflection, "deflection", "480"),
];

/// The cause of RFC 4458 for a call that its callee deflects while it rings.
const DEFLECTED_RINGING: &str = "487";

fn reason_of(
    text: Option<&str>,
    which: impl Fn(&(DiversionReason, &'static str, &'static str)) -> &'static str,
) -> DiversionReason {
    let text = text.unwrap_or_default();
    let known = REASONS.iter().find(|known| which(known).eq_ignore_ascii_case(text));
    known.map_or(DiversionReason::Unknown, |(reason, ..)| *reason)
}

fn said(reason: DiversionReason) -> (&'static str, &'static str) {
    let known = REASONS.iter().find(|(known, ..)| *known == reason);
    known.map_or(("unknown", "404"), |(_, diversion, cause)| (diversion, cause))
}

/// What a trusted peer says, first to last.
pub(crate) fn read(headers: &Headers) -> Vec<Diversion> {
    if !headers.has(&Name::Diversion) {
        return history(headers);
    }
    let said = headers.elements(&Name::Diversion).take(DIVERSIONS_MAX).filter_map(address);
    // The topmost is the last one (RFC 5806 §5).
    let mut diversions: Vec<Diversion> = said.filter_map(|address| diverted(&address)).collect();
    diversions.reverse();
    diversions
}

fn diverted(address: &NameAddr) -> Option<Diversion> {
    let reason = address.params.text("reason");
    let reason = reason_of(reason.as_deref(), |(_, diversion, _)| diversion);
    Some(Diversion { by: Party { private: is_hidden(address), ..party(address)? }, reason })
}

/// Each entry whose successor says why the call came to it is a diversion (RFC 7544 §3.1).
fn history(headers: &Headers) -> Vec<Diversion> {
    let entries: Vec<NameAddr> =
        headers.elements(&Name::HistoryInfo).take(DIVERSIONS_MAX + 1).filter_map(address).collect();
    let diverted = |pair: &[NameAddr]| {
        let [from, to] = pair else { return None };
        let cause = to.uri.param("cause")?;
        let reason = match cause {
            DEFLECTED_RINGING => DiversionReason::Deflection,
            cause => reason_of(Some(cause), |(.., cause)| cause),
        };
        let hidden = from.uri.header("Privacy").is_some();
        Some(Diversion { by: Party { private: hidden, ..party(from)? }, reason })
    };
    entries.windows(2).filter_map(diverted).collect()
}

/// Tells a trusted peer, which is called as `target`.
pub(crate) fn write(identity: &Identity, headers: &mut Headers, diversions: &[Diversion], target: &str) {
    if diversions.is_empty() {
        return;
    }
    for Diversion { by, reason } in diversions.iter().rev() {
        let privacy = if by.private { "full" } else { "off" };
        let address = identity.user(&by.number, &by.name);
        headers.push(Name::Diversion, format!("{address};reason={};privacy={privacy}", said(*reason).0));
    }
    let (mut index, mut came) = ("1".to_owned(), None);
    for Diversion { by, reason } in diversions {
        let mut address = identity.user(&by.number, &by.name);
        address.uri.headers = by.private.then(|| "Privacy=history".to_owned());
        push_entry(headers, address, came, &mut index);
        came = Some(*reason);
    }
    push_entry(headers, identity.user(target, ""), came, &mut index);
}

/// One History-Info entry, and the index that comes after it (RFC 7044 §10.3).
fn push_entry(
    headers: &mut Headers,
    mut address: NameAddr,
    came: Option<DiversionReason>,
    index: &mut String,
) {
    if let Some(reason) = came {
        address.uri.set_param("cause", said(reason).1);
        let before = index.clone();
        index.push_str(".1");
        headers.push(Name::HistoryInfo, format!("{address};index={index};mp={before}"));
    } else {
        headers.push(Name::HistoryInfo, format!("{address};index={index}"));
    }
}
