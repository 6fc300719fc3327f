//! A dialog: RFC 3261 §12. The route and the counters of one leg.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dialtone_core::LegId;

use super::Identity;
use super::tokens::Tokens;
use crate::locate::Hop;
use crate::message::{
    CSeq, HeaderError, Host, MAX_FORWARDS, Method, Name, NameAddr, Print, RawUri, Request, Response, Scheme,
    Uri, Value, push_number, tagged,
};
use crate::registrar::{Nat, Registrar};
use crate::stack::Ways;
use crate::transaction::Course;
use crate::wire::{FlowId, Opens, Path, Transport};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub call_id: Bytes,
    pub local_tag: String,
    pub remote_tag: String,
    /// Our side, as it stands in From of our requests, tag included.
    local: Bytes,
    /// Their side, tag included.
    remote: Bytes,
    /// Where requests are addressed to.
    pub target: RawUri,
    /// Where the device is registered of which the target is the GRUU, if that is ours and there are proxies before it.
    device: Option<RawUri>,
    routes: Vec<NameAddr>,
    /// The first route, or else the target, when its host is a name.
    named: Option<Uri>,
    pub local_cseq: u32,
    remote_cseq: Option<u32>,
    /// How their messages come and ours go.
    pub path: Path,
    /// What the peer is believed about where it is. When that is nothing, the path stays as it is.
    nat: Nat,
    /// Who must prove to be at that address over TLS: the domain that led there (RFC 5922 §7.3).
    domain: Option<(SocketAddr, Arc<str>)>,
}

impl Dialog {
    /// The dialog that our 2xx to `invite` makes (RFC 3261 §12.1.1).
    pub fn uas(invite: &Request, path: Path, nat: Nat, local_tag: &str) -> Result<Dialog, HeaderError> {
        let local = tagged(invite.to()?, invite.headers.get(&Name::To).unwrap_or_default(), local_tag);
        let remote = invite.headers.from()?;
        let target = invite.dialog_target()?;
        let routes = invite.headers.routes(&Name::RecordRoute)?;
        Ok(Dialog {
            call_id: Value::from(invite.call_id()?).into_bytes(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
            local,
            remote: invite.headers.kept(&Name::From).unwrap_or_default(),
            path: if nat == Nat::Always { path } else { next_hop(&target, &routes, path) },
            nat,
            domain: None,
            target: RawUri::from(&*target),
            device: None,
            named: named(&target, &routes),
            routes,
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()?.number),
        })
    }

    /// The dialog that their 2xx to our `invite` makes (RFC 3261 §12.1.2).
    pub fn uac(
        invite: &Request,
        answer: &Response,
        (path, opens): (Path, Opens),
        nat: Nat,
    ) -> Result<Dialog, HeaderError> {
        let local = invite.headers.from()?;
        let remote = answer.headers.to()?;
        let target = answer.headers.contact()?.uri.as_target();
        let mut routes = answer.headers.routes(&Name::RecordRoute)?;
        routes.reverse();
        Ok(Dialog {
            call_id: Value::from(invite.call_id()?).into_bytes(),
            local_tag: local.tag().unwrap_or_default().to_owned(),
            remote_tag: remote.tag().unwrap_or_default().to_owned(),
            local: invite.headers.kept(&Name::From).unwrap_or_default(),
            remote: answer.headers.kept(&Name::To).unwrap_or_default(),
            path: if nat == Nat::Always { path } else { next_hop(&target, &routes, path) },
            nat,
            domain: domain(path, opens),
            target: RawUri::from(&*target),
            device: None,
            named: named(&target, &routes),
            routes,
            local_cseq: invite.cseq()?.number,
            remote_cseq: None,
        })
    }

    /// A request within the dialog (RFC 3261 §12.2.1.1), with the next CSeq and a fresh branch.
    pub fn request(&mut self, method: Method, identity: &Identity, tokens: &mut Tokens) -> Request {
        self.local_cseq += 1;
        self.with_cseq(method, self.local_cseq, identity, tokens)
    }

    /// The ACK to the 2xx of our INVITE with this CSeq (RFC 3261 §13.2.2.4).
    pub fn ack(&self, cseq: u32, identity: &Identity, tokens: &mut Tokens) -> Request {
        self.with_cseq(Method::Ack, cseq, identity, tokens)
    }

    fn with_cseq(&self, method: Method, cseq: u32, identity: &Identity, tokens: &mut Tokens) -> Request {
        let routes = self.routes.iter().map(Print::printed).collect();
        let nearest = self.routes.first().map(|first| &first.uri);
        let target = self.device.as_ref().unwrap_or(&self.target);
        let (uri, routes) = addressed(target.clone(), routes, nearest);
        let cseq = CSeq { number: cseq, method: method.clone() };
        let mut request = Request::new(method, uri);
        request.headers.push(Name::Via, identity.via(self.path, &tokens.branch()));
        request.headers.push(Name::MaxForwards, MAX_FORWARDS);
        for route in routes {
            request.headers.push(Name::Route, route);
        }
        request.headers.push(Name::From, self.local.clone());
        request.headers.push(Name::To, self.remote.clone());
        request.headers.push(Name::CallId, self.call_id.clone());
        request.headers.push(Name::CSeq, cseq);
        request.headers.push(Name::UserAgent, identity.agent());
        request
    }

    /// Whether a request of theirs is newer than the last; an older one is owed 500
    /// (RFC 3261 §12.2.2).
    pub fn advances(&mut self, cseq: u32) -> bool {
        let newer = self.remote_cseq.is_none_or(|last| cseq > last);
        if newer {
            self.remote_cseq = Some(cseq);
        }
        newer
    }

    /// Takes a new target from a target refresh request or its answer (RFC 3261 §12.2.1.2), which came
    /// this way.
    pub fn refresh(&mut self, contact: Option<&NameAddr>, way: Path) {
        if let Some(contact) = contact {
            let way = if self.would_leave_tls(way) { self.path } else { way };
            let target = contact.uri.as_target();
            self.path = if self.nat == Nat::Always { way } else { next_hop(&target, &self.routes, way) };
            self.target = RawUri::from(&*target);
            self.device = None;
            self.named = named(&target, &self.routes);
        }
    }

    /// Its peer has left one way for another.
    pub fn moves(&mut self, from: Path, to: Path) {
        let only_way = self.nat == Nat::Always || from.transport.is_reliable();
        let follows = only_way && self.routes.is_empty() && !self.would_leave_tls(to);
        if follows && self.path.is_same_peer(from) {
            self.path = to;
        }
    }

    /// What began over TLS goes on so (RFC 3261 §26.2.2).
    fn would_leave_tls(&self, to: Path) -> bool {
        self.path.transport == Transport::Tls && to.transport != Transport::Tls
    }

    /// It goes on by the way that a request of ours took, and to whom a connection was opened so for that.
    pub fn goes_on(&mut self, path: Path, opens: Opens) {
        (self.path, self.domain) = (path, domain(path, opens));
    }

    /// Where a connection is opened for its next request.
    fn opens(&self) -> Opens {
        let there = self.domain.as_ref().filter(|(remote, _)| *remote == self.path.remote);
        there.map_or(Opens::Peer, |(_, domain)| Opens::Named(Arc::clone(domain)))
    }

    /// Looks whether the way still stands; before each request of ours.
    pub fn look_for(&mut self, ways: &Ways, identity: &Identity, registrar: &Registrar) {
        // Behind a route it is the next proxy's connection, and the target's address says nothing of it; nor does that
        // of who is behind a translator.
        match self.routes.first() {
            None if self.nat == Nat::Always => {}
            None => self.path = ways.still(self.path, &self.target),
            // RFC 5627 §6.1: proxies would ask us where a GRUU of ours leads, as nobody else knows.
            Some(nearest) => {
                let target = self.target.parse().ok();
                let gruu = target.filter(|target| target.params.has("gr") && identity.is_ours(target));
                self.device = gruu.and_then(|gruu| registrar.behind(&gruu, &nearest.uri.host));
            }
        }
    }

    /// Which way its next request takes, and where to when that leads nowhere: the way that the peer's own messages
    /// come while it stands, then where the name of the nearest proxy, or of the peer, leads (RFC 3263 §4).
    pub fn course(&self, ways: &Ways, identity: &Identity) -> Course {
        let nearest = self.named.as_ref().and_then(|uri| ways.hop(identity, self.path, uri, self.nat));
        let hop = nearest.filter(|_| self.nat != Nat::Always);
        let stands = self.path.flow == FlowId(0) || ways.stands(self.path);
        Course { known: stands || hop.is_none(), hop, opens: self.opens(), ..self.path.into() }
    }

    /// Becomes the dialog of another fork of the same INVITE.
    pub fn retarget(&mut self, remote: &NameAddr, contact: Option<&NameAddr>) {
        self.remote = Value::from(remote).into_bytes();
        self.remote_tag = remote.tag().unwrap_or_default().to_owned();
        self.refresh(contact, self.path);
    }

    /// Takes over the counters of the early dialog that it was (RFC 3261 §13.2.2.4).
    pub fn confirm(&mut self, early: &Dialog) {
        self.local_cseq = self.local_cseq.max(early.local_cseq);
        self.remote_cseq = early.remote_cseq;
    }

    /// Leaves room below the next CSeq for requests that are not remembered: a gap is no mistake
    /// (RFC 3261 §12.2.2).
    pub fn skip(&mut self, numbers: u32) {
        self.local_cseq += numbers;
    }

    /// Whether a message with this Call-ID and these tags belongs here.
    pub fn is_for(&self, call_id: &str, remote_tag: &str) -> bool {
        self.call_id == call_id && self.remote_tag == remote_tag
    }
}

/// Who has proved, or would have to prove, to be there.
fn domain(path: Path, opens: Opens) -> Option<(SocketAddr, Arc<str>)> {
    match opens {
        Opens::Named(domain) => Some((path.remote, domain)),
        Opens::Peer | Opens::At(_) | Opens::Nowhere => None,
    }
}

/// Which URI requests to `target` along `routes` go to first, when its host is a name.
fn named(target: &Uri, routes: &[NameAddr]) -> Option<Uri> {
    let nearest = routes.first().map_or(target, |route| &route.uri);
    Hop::of(nearest).map(|_| nearest.clone())
}

/// The Request-URI and the Route values of a request to `target` along `routes`, of which `nearest` is the first. A
/// strict router wants to be addressed itself, and the target last (RFC 3261 §12.2.1.1, §16.6 step 6).
pub(crate) fn addressed(
    target: RawUri,
    mut routes: Vec<String>,
    nearest: Option<&Uri>,
) -> (RawUri, Vec<String>) {
    match nearest.filter(|nearest| !nearest.is_loose()) {
        None => (target, routes),
        Some(strict) => {
            routes.remove(0);
            routes.push(format!("<{target}>"));
            (RawUri::from(strict), routes)
        }
    }
}

/// Where a dialog's requests go. The way that the peer's own message came works through NAT, so it is
/// kept; a contact on the same host that names another port is no NAT's work and is followed.
pub(crate) fn next_hop(target: &Uri, routes: &[NameAddr], way: Path) -> Path {
    // RFC 5627 §3.4: the host of a GRUU is that of a registrar, not of the phone. RFC 5626 §4.3: a contact with ob is
    // reached over the flow that the dialog began on.
    let is_phone = routes.is_empty() && !target.params.has("gr") && !target.params.has("ob");
    let named = target.host.ip().filter(|ip| *ip == way.remote.ip() && is_phone);
    match (named, way.transport) {
        (Some(ip), Transport::Udp) => {
            let port = target.port.unwrap_or(way.transport.default_port());
            Path { remote: SocketAddr::new(ip, port), ..way }
        }
        (Some(_), Transport::Tcp | Transport::Tls) | (None, _) => way,
    }
}

impl Identity {
    /// The Via of a request that leaves over `path`. `rport` asks for symmetric answers (RFC 3581 §3).
    pub(crate) fn via(&self, path: Path, branch: &str) -> String {
        let mut via = String::with_capacity(96);
        via.push_str("SIP/2.0/");
        via.push_str(path.transport.via());
        via.push(' ');
        self.push_address(path, &mut via);
        via.push_str(";branch=");
        via.push_str(branch);
        if path.transport == Transport::Udp {
            via.push_str(";rport");
        }
        via
    }

    /// The Contact with which a peer reaches us over `path`. Its user names the leg, if it is of one, so that a
    /// trace shows what belongs together. When `asked` is a SIPS URI, it is one too (RFC 3261 §8.1.1.8, §12.1.1).
    pub(crate) fn contact(&self, path: Path, leg: impl Into<Option<LegId>>, asked: &RawUri) -> String {
        let secure =
            path.transport == Transport::Tls && asked.parse().is_ok_and(|asked| asked.scheme == Scheme::Sips);
        let mut contact = String::with_capacity(96);
        contact.push_str(if secure { "<sips:" } else { "<sip:" });
        if let Some(leg) = leg.into() {
            // Writing to a string cannot fail.
            let _ = write!(contact, "{leg}@");
        }
        self.push_address(path, &mut contact);
        if !secure && path.transport != Transport::Udp {
            contact.push_str(";transport=");
            contact.push_str(path.transport.uri());
        }
        contact.push('>');
        contact
    }

    /// Our address as the peer at the far end of `path` should see it.
    fn push_address(&self, path: Path, out: &mut String) {
        Host::from(self.net.shown(path, path.local.ip())).print(out);
        out.push(':');
        push_number(out, path.local.port());
    }
}
