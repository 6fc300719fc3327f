//! What a REGISTER asks for, and the refusals that it may be owed: RFC 3261 §10.3 steps 6 and 7, RFC 3327 §5.3,
//! RFC 5626 §6 and RFC 5627 §5.1.

use std::time::Duration;

use dialtone_core::ContactId;

use super::{Binding, ContactPolicy, ExpiryPolicy, Nat};
use crate::message::{ContactList, Name, NameAddr, Request, Response};
use crate::transaction::TxId;
use crate::ua::Identity;
use crate::wire::Path;

/// Proxies on the way to one phone.
const ROUTES_MAX: usize = 8;
/// Bytes of all of them.
const ROUTES_BYTES_MAX: usize = 2048;
/// Bytes of a `+sip.instance`.
const INSTANCE_BYTES_MAX: usize = 256;
/// Characters of what a phone calls itself that are kept.
const AGENT_MAX: usize = 128;

/// One REGISTER, as the registrar needs it.
pub(crate) struct Registration<'a> {
    pub tx: TxId,
    pub request: &'a Request,
    pub endpoint: &'a str,
    pub policy: ContactPolicy,
    pub nat: Nat,
    pub path: Path,
    /// Contacts that cannot be reached: they give way when there would be too many.
    pub lost: Vec<ContactId>,
    pub identity: &'a Identity,
}

/// A REGISTER that was found good.
pub(super) struct Asked {
    pub wishes: Vec<Wish>,
    /// Contacts that cannot be reached and that it says nothing of.
    pub lost: Vec<ContactId>,
    pub routes: Vec<String>,
    pub agent: String,
    pub nat: Nat,
    pub call_id: String,
    pub cseq: u32,
}

/// One contact that a REGISTER asks for.
pub(super) struct Wish {
    pub contact: NameAddr,
    pub instance: Option<String>,
    /// With an instance: it is this flow of it (RFC 5626 §6).
    pub reg_id: Option<u32>,
    /// Zero takes it back.
    pub lasts: Duration,
}

type Refused = Box<Response>;

impl Registration<'_> {
    /// Reads it against what stands already.
    pub(super) fn read(&self, existing: &[Binding], expiry: &ExpiryPolicy) -> Result<Asked, Refused> {
        let headers = &self.request.headers;
        let (Ok(call_id), Ok(cseq)) = (self.request.call_id(), self.request.cseq()) else {
            return Err(self.refused(400, "Malformed Call-ID or CSeq"));
        };
        let late = |binding: &Binding| binding.call_id == call_id && binding.cseq >= cseq.number;
        let routes = self.routes()?;
        let wishes = match headers.contacts() {
            Err(_) => return Err(self.refused(400, "Malformed Contact")),
            Ok(ContactList::Star) if headers.expires() != Some(0) => {
                return Err(self.refused(400, "Contact * needs Expires 0"));
            }
            Ok(ContactList::Star) => existing.iter().filter_map(Wish::away).collect(),
            Ok(ContactList::List(contacts)) => contacts
                .into_iter()
                .map(|contact| self.wish(contact, expiry))
                .collect::<Result<Vec<_>, _>>()?,
        };
        if existing.iter().any(|binding| late(binding) && wishes.iter().any(|wish| wish.is_for(binding))) {
            return Err(self.refused(400, "CSeq Out Of Order"));
        }
        let flows = wishes.iter().filter(|wish| wish.reg_id.is_some() && !wish.lasts.is_zero()).count();
        if flows > 1 {
            // RFC 5626 §4.2.1: one flow is one registration.
            return Err(self.refused(400, "One Contact With reg-id At A Time"));
        }
        if flows > 0 {
            self.first_hop_has_outbound()?;
        }
        // A phone that is back is no other one.
        let is_lost =
            |old: &&Binding| self.lost.contains(&old.contact) && !wishes.iter().any(|wish| wish.is_for(old));
        let lost: Vec<ContactId> = existing.iter().filter(is_lost).map(|old| old.contact).collect();
        self.leaves_room(existing, &wishes, &lost)?;
        let nat = self.nat.of(self.request, self.path);
        let (agent, call_id, cseq) = (self.agent(), call_id.to_owned(), cseq.number);
        Ok(Asked { wishes, lost, routes, agent, nat, call_id, cseq })
    }

    /// RFC 3327 §5.3: the Path goes with the binding, and a phone that does not know of it is told that a proxy
    /// has put one in.
    fn routes(&self) -> Result<Vec<String>, Refused> {
        let headers = &self.request.headers;
        if !headers.has(&Name::Path) {
            return Ok(Vec::new());
        }
        if !self.supports("path") {
            let mut response = self.refused(420, "Bad Extension");
            response.headers.push(Name::Unsupported, "path");
            return Err(response);
        }
        let Ok(routes) = headers.routes(&Name::Path) else {
            return Err(self.refused(400, "Malformed Path"));
        };
        let routes: Vec<String> = routes.iter().map(NameAddr::to_string).collect();
        if routes.len() > ROUTES_MAX || routes.iter().map(String::len).sum::<usize>() > ROUTES_BYTES_MAX {
            return Err(self.refused(403, "Path Too Long"));
        }
        Ok(routes)
    }

    fn wish(&self, contact: NameAddr, expiry: &ExpiryPolicy) -> Result<Wish, Refused> {
        let headers = &self.request.headers;
        let asks = contact.expires().or(headers.expires());
        let lasts = asks.map_or(expiry.default, |seconds| Duration::from_secs(seconds.into()));
        if !lasts.is_zero() && lasts < expiry.min {
            let mut response = Box::new(Response::to(self.request, 423));
            response.headers.push(Name::MinExpires, expiry.min.as_secs().to_string());
            return Err(response);
        }
        if contact.uri.params.has("gr") && self.identity.is_ours(&contact.uri) {
            // RFC 5627 §5.1: a GRUU of ours that leads to itself would lead nowhere.
            return Err(self.refused(403, "Contact Is A GRUU"));
        }
        let instance = contact.params.get("+sip.instance").map(str::to_owned);
        if instance.as_ref().is_some_and(|instance| instance.len() > INSTANCE_BYTES_MAX) {
            return Err(self.refused(400, "Instance Too Long"));
        }
        // RFC 5626 §6: a reg-id without an instance, or of a phone that does not speak outbound, is ignored.
        let reg_id = contact.params.get("reg-id").and_then(|id| id.parse().ok());
        let reg_id = reg_id.filter(|id| (1..1 << 31).contains(id) && instance.is_some());
        let reg_id = reg_id.filter(|_| self.supports("outbound"));
        Ok(Wish { contact, instance, reg_id, lasts: lasts.min(expiry.max) })
    }

    /// RFC 5626 §6: over a proxy that does not keep the flow, there is none to come back on.
    fn first_hop_has_outbound(&self) -> Result<(), Refused> {
        let through_proxy = self.through_proxy();
        let paths = self.request.headers.routes(&Name::Path).unwrap_or_default();
        let keeps = paths.last().is_some_and(|first_hop| first_hop.uri.params.has("ob"));
        if through_proxy && !keeps {
            Err(self.refused(439, "First Hop Lacks Outbound Support"))
        } else {
            Ok(())
        }
    }

    fn leaves_room(&self, existing: &[Binding], wishes: &[Wish], lost: &[ContactId]) -> Result<(), Refused> {
        let fresh = |wish: &&Wish| !wish.lasts.is_zero() && !existing.iter().any(|old| wish.is_for(old));
        let taken_back = |old: &&Binding| wishes.iter().any(|wish| wish.lasts.is_zero() && wish.is_for(old));
        let (more, fewer) = (wishes.iter().filter(fresh).count(), existing.iter().filter(taken_back).count());
        let fewer = fewer + lost.len();
        let too_many = existing.len() + more - fewer > self.policy.contacts_max;
        if too_many && (!self.policy.replaces_oldest || more > self.policy.contacts_max) {
            return Err(self.refused(403, "Too Many Contacts"));
        }
        Ok(())
    }

    /// Whether the phone understands an extension.
    pub fn supports(&self, option: &str) -> bool {
        self.request.headers.has_token(&Name::Supported, option)
            || self.request.headers.has_token(&Name::Require, option)
    }

    /// Whether somebody stands between us and the phone.
    pub fn through_proxy(&self) -> bool {
        through_proxy(self.request)
    }

    fn agent(&self) -> String {
        let agent = self.request.headers.text(&Name::UserAgent).unwrap_or_default();
        agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect()
    }

    fn refused(&self, status: u16, why: &str) -> Refused {
        Box::new(Response::to(self.request, status).with_reason(why))
    }
}

impl Wish {
    /// Whether it is about this binding: the same flow of an instance (RFC 5626 §6), or else the same instance or
    /// the same URI (RFC 3261 §19.1.4).
    pub fn is_for(&self, binding: &Binding) -> bool {
        let same_instance = self.instance.is_some() && self.instance == binding.instance;
        if same_instance && binding.reg_id.is_none_or(|id| self.reg_id == Some(id)) {
            return true;
        }
        self.reg_id.is_none() && binding.uri.parse().is_ok_and(|uri| uri.matches(&self.contact.uri))
    }

    /// Takes a binding back, whoever made it.
    fn away(binding: &Binding) -> Option<Wish> {
        let contact = NameAddr::new(binding.uri.parse().ok()?);
        let (instance, reg_id) = (binding.instance.clone(), binding.reg_id);
        Some(Wish { contact, instance, reg_id, lasts: Duration::ZERO })
    }
}

/// Whether a request came over somebody else.
pub(super) fn through_proxy(request: &Request) -> bool {
    request.headers.elements(&Name::Via).take(2).count() > 1
}
