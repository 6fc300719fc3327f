//! On which way a binding is reached, and whether it is.
//!
//! A flow is the only way to its binding (RFC 5626 §5.3); proxies of its Path come first (RFC 3327 §5.1); otherwise
//! it is the way that its REGISTER came while that stands, and its contact after that.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use dialtone_core::endpoint::ContactChange;
use dialtone_core::{ContactId, LegId, Now};

use super::{SipOutput, Stack};
use crate::locate::Hop;
use crate::message::{MAX_FORWARDS, Method, Name, NameAddr, RawUri, Request, Scheme, Uri};
use crate::net::same_host;
use crate::registrar::{Binding, Nat, ReachPolicy};
use crate::sdp::CONTENT_TYPE;
use crate::transaction::{Course, TxId};
use crate::ua::{Leg, State, addressed, next_hop};
use crate::wire::{FlowId, Path, Transport};

/// A way to a binding, and what a request must say on it.
pub(super) struct Way {
    pub contact: ContactId,
    pub course: Course,
    pub uri: RawUri,
    pub routes: Vec<String>,
    /// What the phone is believed about where it is.
    pub nat: Nat,
}

impl Stack {
    /// How an extension is reached.
    pub(super) fn policy(&self, endpoint: &str) -> Option<&ReachPolicy> {
        self.subscribers.by_number.get(endpoint).map(|subscriber| &subscriber.reach)
    }

    /// How to reach a contact; `None` when it is not there, or cannot be reached.
    pub(super) fn way(&self, endpoint: &str, contact: ContactId) -> Option<Way> {
        self.registrar.binding(endpoint, contact).and_then(|binding| self.way_to(endpoint, binding))
    }

    /// How to reach a binding; `None` when there is no way, or none that its extension may use.
    pub(super) fn way_to(&self, endpoint: &str, binding: &Binding) -> Option<Way> {
        let target = binding.uri.parse().ok()?;
        let uri = match target.as_target() {
            Cow::Borrowed(_) => binding.uri.clone(),
            Cow::Owned(target) => RawUri::from(target),
        };
        let proxy =
            binding.routes.first().and_then(|first| NameAddr::parse(first).ok()).map(|first| first.uri);
        let mut course = match &proxy {
            Some(proxy) => self.path_to_proxy(proxy, binding)?,
            None => self.path_to_phone(&target, binding)?,
        };
        let (uri, routes) = addressed(uri, binding.routes.clone(), proxy.as_ref());
        let allowed = |path: &Path| self.policy(endpoint).is_none_or(|policy| policy.allows(path.transport));
        course.fallback = course.fallback.filter(allowed);
        // Where the way is to be looked for, it is looked for among what is allowed.
        let may = !course.known || allowed(&course.path);
        let nat = if binding.is_at_source() { Nat::Always } else { binding.nat };
        may.then_some(Way { contact: binding.contact, course, uri, routes, nat })
    }

    fn path_to_phone(&self, target: &Uri, binding: &Binding) -> Option<Course> {
        let stands = self.ways.stands(binding.path);
        if binding.is_at_source() {
            return stands.then_some(binding.path.into());
        }
        let hop = self.hop(binding.path, target, binding.nat);
        let transport = match Transport::named_by(target) {
            // UDP is what a phone says that names nothing: it does not speak against its connection.
            None | Some(Transport::Udp) if target.scheme != Scheme::Sips => binding.path.transport,
            // Who came over TLS is not called in the clear.
            Some(Transport::Tcp) if binding.path.transport == Transport::Tls => Transport::Tls,
            named => named?,
        };
        let hop = hop.map(|hop| match hop.transport {
            Some(_) => Hop { transport: Some(transport), ..hop },
            None => hop,
        });
        // Who is believed is called where the name leads, and anybody else once no way of theirs stands.
        let way_stands = transport == binding.path.transport && stands;
        if let Some(hop) = hop.clone().filter(|_| binding.nat == Nat::Never || !way_stands) {
            return Some(sought(hop, binding.path, None));
        }
        if binding.nat == Nat::Never
            && let Some(remote) = transport.address_of(target)
            && (remote != binding.path.remote || !stands)
        {
            return self.ways.to(transport, remote, binding.path.local).map(Course::from);
        }
        if way_stands {
            let path = next_hop(target, &[], binding.path);
            return Some(Course { hop, ..path.into() });
        }
        // A connection that is gone cannot be called back at its source port; nor can UDP over TCP.
        let remote = match transport.is_reliable() {
            false => next_hop(target, &[], binding.path).remote,
            true => transport.address_of(target).filter(|remote| may_name(binding, *remote))?,
        };
        self.ways.to(transport, remote, binding.path.local).map(Course::from)
    }

    /// The proxy nearest to us, where its name leads or at the address that it names, or else from where it sent the
    /// REGISTER. One that is known for TLS is not passed by in the clear.
    fn path_to_proxy(&self, proxy: &Uri, binding: &Binding) -> Option<Course> {
        let transport = match Transport::named_by(proxy) {
            Some(_) if binding.path.transport == Transport::Tls => Transport::Tls,
            None if proxy.scheme == Scheme::Sips => return None,
            named => named.unwrap_or(binding.path.transport),
        };
        let came = Some(binding.path).filter(|path| {
            self.ways.stands(*path) && (path.transport == Transport::Tls || transport != Transport::Tls)
        });
        if let Some(hop) = self.hop(binding.path, proxy, binding.nat) {
            return Some(sought(hop, binding.path, came));
        }
        let named = transport.address_of(proxy).filter(|remote| may_name(binding, *remote));
        let Some(remote) = named else { return came.map(Course::from) };
        let open = came.filter(|path| {
            path.transport.is_reliable() && (path.transport, path.remote.ip()) == (transport, remote.ip())
        });
        open.or_else(|| self.ways.to(transport, remote, binding.path.local)).or(came).map(Course::from)
    }

    /// A connection is gone, and with it the only way to some.
    pub(super) fn flow_down(&mut self, now: Now, flow: FlowId, out: &mut Vec<SipOutput>) {
        self.ways.flows.remove(&flow);
        for (endpoint, contact) in self.registrar.over(flow).to_vec() {
            let binding = self.registrar.binding(&endpoint, contact);
            if binding.is_some_and(|binding| self.way_to(&endpoint, binding).is_none()) {
                self.way_failed(&endpoint, contact, out);
                self.callers_of(now, contact, out);
            }
        }
    }

    /// A phone has left one way for another, and its calls with it: behind a translator there is none else to it
    /// (RFC 5626 §4.3).
    pub(super) fn calls_follow(&mut self, endpoint: &str, moved: &[(Path, Path)]) {
        if moved.is_empty() {
            return;
        }
        // Phones change their way seldom.
        for leg in self.legs.values_mut().filter(|leg| *leg.endpoint == *endpoint) {
            moved.iter().for_each(|(from, to)| leg.moves(*from, *to));
        }
    }

    /// Calls that were on their way to a contact whose connection broke.
    fn callers_of(&mut self, now: Now, contact: ContactId, out: &mut Vec<SipOutput>) {
        let over = |leg: &Leg| matches!(&leg.state, State::Calling(calling) if calling.goes_on_from(contact));
        // Connections of flows break seldom, and branches that ring are few among legs.
        let legs: Vec<LegId> = self.legs.iter().filter(|(_, leg)| over(leg)).map(|(id, _)| *id).collect();
        for leg in legs {
            self.next_way(now, leg, None, out);
        }
    }

    /// The contacts of an extension to which no way leads.
    pub(super) fn unreachable(&self, endpoint: &str) -> Vec<ContactId> {
        let bindings = self.registrar.current(endpoint).iter();
        let lost = bindings.filter(|binding| self.way_to(endpoint, binding).is_none());
        lost.map(|binding| binding.contact).collect()
    }

    /// A contact cannot be reached.
    pub(super) fn way_failed(&mut self, endpoint: &str, contact: ContactId, out: &mut Vec<SipOutput>) {
        if self.probes.lost(contact) {
            reached(endpoint, contact, false, None, out);
        }
    }

    /// Keeps an eye on what the registrar has changed.
    pub(super) fn watch(
        &mut self,
        now: Now,
        changes: &[ContactChange],
        restored: bool,
        out: &mut Vec<SipOutput>,
    ) {
        for change in changes {
            match change {
                ContactChange::Added { endpoint, contact, .. } => {
                    let first = self.first_question(endpoint, restored);
                    self.probes.watch(now.mono, endpoint, contact.id, first);
                    let binding = self.registrar.binding(endpoint, contact.id);
                    if restored && binding.is_some_and(|binding| self.way_to(endpoint, binding).is_none()) {
                        self.way_failed(endpoint, contact.id, out);
                    }
                }
                ContactChange::Refreshed { endpoint, contact, .. } => {
                    let first = self.first_question(endpoint, false);
                    if self.probes.heard(now.mono, *contact, first) {
                        reached(endpoint, *contact, true, None, out);
                    }
                }
                ContactChange::Removed { contact, .. } => self.probes.forget(*contact),
                ContactChange::Reached { .. } => {}
            }
        }
    }

    /// A phone has just been heard, so that it is asked late in its interval; all those that a restart brought back
    /// at once are spread over all of it.
    fn first_question(&mut self, endpoint: &str, restored: bool) -> Option<Duration> {
        let every = self.every(endpoint)?;
        let part = if restored { every } else { every / 4 };
        let spread = u32::try_from(part.as_millis()).unwrap_or(u32::MAX);
        Some(every - part + Duration::from_millis(self.tokens.below(spread).into()))
    }

    fn every(&self, endpoint: &str) -> Option<Duration> {
        self.policy(endpoint).map(|policy| policy.qualify).filter(|every| !every.is_zero())
    }

    /// Asks whoever is due.
    pub(super) fn qualify(&mut self, now: Now, out: &mut Vec<SipOutput>) {
        while let Some((endpoint, contact)) = self.probes.next(now.mono) {
            let Some(every) = self.every(&endpoint) else { continue };
            let Some(way) = self.way(&endpoint, contact) else {
                if self.probes.no_way(now.mono, contact, Some(every)) {
                    reached(&endpoint, contact, false, None, out);
                }
                continue;
            };
            let question = self.question(&endpoint, &way);
            let tx = self.tx.send(now.mono, question, way.course, None, &mut self.tx_out);
            self.probes.asked(now.mono, contact, tx);
        }
    }

    /// RFC 3261 §11.1.
    fn question(&mut self, endpoint: &str, way: &Way) -> Request {
        let identity = &self.config.identity;
        let mut from = identity.server();
        from.set_tag(&self.tokens.tag());
        let mut request = Request::new(Method::Options, way.uri.clone());
        let headers = &mut request.headers;
        headers.push(Name::Via, identity.via(way.course.path, &self.tokens.branch()).to_string());
        way.routes.iter().for_each(|route| headers.push(Name::Route, route));
        headers.push(Name::MaxForwards, MAX_FORWARDS);
        headers.push(Name::From, from.to_string());
        headers.push(Name::To, identity.user(endpoint, "").to_string());
        headers.push(Name::CallId, self.tokens.call_id());
        headers.push(Name::CSeq, "1 OPTIONS");
        headers.push(Name::Contact, identity.contact(way.course.path, None, &way.uri));
        headers.push(Name::Accept, CONTENT_TYPE);
        headers.push(Name::UserAgent, identity.agent());
        request
    }

    /// A transaction that serves no leg is over: a question of ours, perhaps.
    pub(super) fn questioned(&mut self, now: Now, tx: TxId, status: Option<u16>, out: &mut Vec<SipOutput>) {
        if status.is_some_and(|status| status < 200) {
            return;
        }
        let every = self.probes.whose(tx).cloned().and_then(|endpoint| self.every(&endpoint));
        // RFC 5626 §7: a proxy that answers for a flow that is gone does not speak for the phone.
        let answered = status.is_some_and(|status| status != 430);
        let Some(verdict) = self.probes.done(now.mono, tx, answered, every) else { return };
        let (endpoint, contact) = (&verdict.endpoint, verdict.contact);
        if verdict.news || answered {
            reached(endpoint, contact, verdict.reachable, verdict.round_trip, out);
        }
        if verdict.news && !verdict.reachable {
            let path = self.registrar.binding(endpoint, contact).map(|binding| binding.path);
            if let Some(path) = path.filter(|path| path.transport.is_reliable() && self.ways.stands(*path)) {
                out.push(SipOutput::Close { flow: path.flow });
            }
        }
        // Somebody may have waited for its place.
        self.qualify(now, out);
    }
}

/// Whether we go where a phone's REGISTER says: only who is believed names another host than the one that it came from.
fn may_name(binding: &Binding, remote: SocketAddr) -> bool {
    binding.nat == Nat::Never || same_host(remote.ip(), binding.path.remote.ip())
}

/// A way that is to be looked for; the last one known says from which of our addresses, and whether TLS is needed.
fn sought(hop: Hop, last: Path, fallback: Option<Path>) -> Course {
    let transport = if hop.secure { Transport::Tls } else { hop.transport.unwrap_or(last.transport) };
    let path = Path { flow: FlowId(0), transport, ..last };
    Course { known: false, hop: Some(hop), fallback, ..path.into() }
}

fn reached(
    endpoint: &str,
    contact: ContactId,
    reachable: bool,
    round_trip: Option<Duration>,
    out: &mut Vec<SipOutput>,
) {
    let endpoint = endpoint.to_owned();
    out.push(SipOutput::Contact(ContactChange::Reached { endpoint, contact, reachable, round_trip }));
}
