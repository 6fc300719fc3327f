//! What a REFER or a Replaces points to: a number of ours, or a dialog of ours (RFC 3515 §2.4.2, RFC 3891 §3).

use dialtone_core::LegId;
use dialtone_core::leg::TransferTo;

use super::Stack;
use crate::message::{Name, NameAddr, Replaces, Request, Response};
use crate::ua::{ReferTo, State};
use crate::wire::Path;

impl Stack {
    /// Where a REFER leads, or the answer that it is owed. A refusal must not end the dialog: no 404, no 481
    /// (RFC 5057 §5.1).
    pub(super) fn refer_to(&self, request: &Request, path: Path) -> ReferTo {
        let refuse = |status, why| Err(Box::new(Response::to(request, status).with_reason(why)));
        let headers = &request.headers;
        let mut targets = headers.elements(&Name::ReferTo);
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return refuse(400, "One Refer-To Is Needed"); // RFC 3515 §2.4.2
        };
        let Ok(NameAddr { uri, .. }) = NameAddr::parse(&String::from_utf8_lossy(target)) else {
            return refuse(400, "Malformed Refer-To");
        };
        let referrers: Vec<_> = headers.elements(&Name::ReferredBy).collect();
        let readable = |text: &&[u8]| NameAddr::parse(&String::from_utf8_lossy(text)).is_ok();
        if referrers.len() > 1 || !referrers.iter().all(readable) {
            return refuse(400, "Malformed Referred-By"); // RFC 3892 §3
        }
        if uri.param("method").is_some_and(|method| method != "INVITE") {
            return refuse(603, "Only Calls Are Transferred");
        }
        if let Some(replaces) = uri.header("Replaces") {
            let Ok(replaces) = Replaces::parse(&replaces) else {
                return refuse(400, "Malformed Replaces");
            };
            let leg = self.replaced_by(&replaces).filter(|leg| !replaces.early_only || !self.is_up(*leg));
            return leg.map_or_else(|| refuse(603, "No Such Call"), |leg| Ok(TransferTo::Leg(leg)));
        }
        if !self.ways.serves(&self.config.identity, path, &uri) {
            return refuse(603, "Not Served Here");
        }
        let number = uri.user_decoded().filter(|user| !user.is_empty()).map(|user| user.into_owned());
        number.map_or_else(|| refuse(603, "No Number"), |number| Ok(TransferTo::Number(number)))
    }

    /// The leg whose place an INVITE takes, if it takes any, or the answer that it is owed (RFC 3891 §3).
    pub(super) fn replaced(&self, invite: &Request) -> Result<Option<LegId>, Box<Response>> {
        let refuse = |status| Err(Box::new(Response::to(invite, status)));
        let Ok(replaces) = invite.headers.replaces() else { return refuse(400) };
        let Some(replaces) = replaces else { return Ok(None) };
        match self.replaced_by(&replaces) {
            Some(leg) if self.is_up(leg) && replaces.early_only => refuse(486),
            // An early dialog that we did not begin cannot be taken over.
            Some(leg) if self.is_up(leg) || self.is_early(leg) => Ok(Some(leg)),
            Some(_) | None => refuse(481),
        }
    }

    fn replaced_by(&self, replaces: &Replaces) -> Option<LegId> {
        self.dialog_named(&replaces.call_id, &replaces.to_tag, &replaces.from_tag)
    }

    fn is_up(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| matches!(leg.state, State::Up(_)))
    }

    /// Whether it is one that we began and nobody has answered.
    fn is_early(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| matches!(leg.state, State::Calling(_)))
    }
}
