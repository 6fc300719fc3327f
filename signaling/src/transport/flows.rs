//! The connections that are open or opening. Plain tables; the tasks that move bytes are elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::limits::Limits;
use crate::wire::{FlowId, Opens, Path, Ticket, Transmit, Transport};

/// A message on its way into a connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) payload: Bytes,
    pub(super) ticket: Ticket,
}

impl From<Transmit> for Outgoing {
    fn from(transmit: Transmit) -> Self {
        Outgoing { payload: transmit.payload, ticket: transmit.ticket }
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) path: Path,
    /// Bounded; what does not fit closes the connection.
    pub(super) queue: mpsc::Sender<Outgoing>,
    /// Ends the connection's task.
    pub(super) close: Arc<Notify>,
    /// Whether the peer opened it.
    pub(super) accepted: bool,
    /// The domain that the peer has proved to be, when it was opened for one.
    pub(super) domain: Option<Arc<str>>,
}

impl Connection {
    fn is_to(&self, goal: &Goal) -> bool {
        (self.path.transport, self.path.remote) == goal.remote
            && (goal.domain.is_none() || self.domain == goal.domain)
    }
}

/// What became of a message for a connection.
#[derive(Debug)]
pub(super) enum Queued {
    /// It will be written.
    Yes,
    /// A connection must be opened for it; it waits.
    Connect(Goal),
    /// It cannot be sent.
    No(Ticket),
    /// It cannot be sent because the connection does not take what it is given, and is closed for that.
    Slow(Ticket),
    /// It cannot be sent because its connection is gone, and there is nowhere to open another.
    Nowhere(Ticket),
}

/// The far end of a connection. The transport belongs to it: what is meant for TLS never leaves over TCP.
pub(super) type Remote = (Transport, SocketAddr);

/// What a connection is opened to. Over TLS the peer proves to be this domain, or has its address in its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Goal {
    pub(super) remote: Remote,
    pub(super) domain: Option<Arc<str>>,
}

impl From<Remote> for Goal {
    fn from(remote: Remote) -> Self {
        Goal { remote, domain: None }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Flows {
    open: HashMap<FlowId, Connection>,
    /// In the order in which they were opened: to one address there are as many as it has domains.
    by_remote: HashMap<Remote, Vec<FlowId>>,
    /// Accepted connections of each source, those whose handshake goes on among them.
    accepted_from: HashMap<IpAddr, usize>,
    /// Accepted and not yet entered: their handshake goes on.
    handshakes: usize,
    opening: HashMap<Goal, Vec<Outgoing>>,
}

impl Flows {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The write queue of each open connection.
    pub(super) fn queues(&self) -> impl Iterator<Item = &mpsc::Sender<Outgoing>> {
        self.open.values().map(|connection| &connection.queue)
    }

    /// To how many peers a connection is being opened.
    pub(super) fn opening(&self) -> usize {
        self.opening.len()
    }

    /// Gives one more connection from `source` its place, if that is within limits. [`Flows::insert`] takes it,
    /// or [`Flows::give_up`] gives it back.
    pub(super) fn accept(&mut self, source: IpAddr, limits: &Limits) -> bool {
        let from_source = self.accepted_from.get(&source).copied().unwrap_or(0);
        let room = self.open.len() + self.handshakes < limits.connections
            && from_source < limits.connections_per_source
            && self.handshakes < limits.handshakes;
        if room {
            *self.accepted_from.entry(source).or_default() += 1;
            self.handshakes += 1;
        }
        room
    }

    /// The handshake of a connection that was accepted came to nothing.
    pub(super) fn give_up(&mut self, source: IpAddr) {
        self.handshakes -= 1;
        self.forget_source(source);
    }

    /// Adds an open connection.
    pub(super) fn insert(&mut self, connection: Connection) {
        let path = connection.path;
        if connection.accepted {
            self.handshakes -= 1;
        }
        self.by_remote.entry((path.transport, path.remote)).or_default().push(path.flow);
        self.open.insert(path.flow, connection);
    }

    /// Forgets a connection; its queue ends once written.
    pub(super) fn remove(&mut self, flow: FlowId) {
        let Some(connection) = self.open.remove(&flow) else { return };
        let Path { transport, remote, .. } = connection.path;
        if let Entry::Occupied(mut entry) = self.by_remote.entry((transport, remote)) {
            entry.get_mut().retain(|one| *one != flow);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        if connection.accepted {
            self.forget_source(remote.ip());
        }
    }

    fn forget_source(&mut self, source: IpAddr) {
        if let Some(count) = self.accepted_from.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.accepted_from.remove(&source);
            }
        }
    }

    /// Ends a connection's task, which forgets it.
    pub(super) fn close(&self, flow: FlowId) {
        if let Some(connection) = self.open.get(&flow) {
            connection.close.notify_one();
        }
    }

    /// Queues a message: on its own connection, on another one to the same remote, or for one to be opened.
    pub(super) fn send(&mut self, transmit: Transmit, limits: &Limits) -> Queued {
        let Transmit { path: Path { transport, flow, remote, .. }, ticket, .. } = transmit;
        let domain = match &transmit.opens {
            Opens::Named(domain) if transport == Transport::Tls => Some(Arc::clone(domain)),
            Opens::Named(_) | Opens::Peer | Opens::At(_) | Opens::Nowhere => None,
        };
        let mut goal = Goal { remote: (transport, remote), domain };
        // A path that an earlier process stored may carry a number that now is somebody else's.
        let own = self.open.get(&flow).filter(|connection| connection.is_to(&goal));
        let mut open = own.or_else(|| self.towards(&goal));
        match transmit.opens {
            Opens::At(address) if open.is_none() => {
                goal.remote = (transport, address);
                open = self.towards(&goal);
            }
            Opens::Nowhere if open.is_none() => return Queued::Nowhere(ticket),
            Opens::At(_) | Opens::Nowhere | Opens::Named(_) | Opens::Peer => {}
        }
        if let Some(connection) = open {
            return match connection.queue.try_send(transmit.into()) {
                Ok(()) => Queued::Yes,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    connection.close.notify_one();
                    let flow = connection.path.flow;
                    self.remove(flow);
                    Queued::Slow(ticket)
                }
                // It is being closed this moment.
                Err(mpsc::error::TrySendError::Closed(_)) => Queued::No(ticket),
            };
        }
        let full = self.opening.len() >= limits.pending_connects
            || self.open.len() + self.opening.len() >= limits.connections;
        match self.opening.get_mut(&goal) {
            Some(waiting) if waiting.len() >= limits.pending_queue => Queued::No(ticket),
            Some(waiting) => {
                waiting.push(transmit.into());
                Queued::Yes
            }
            None if full => Queued::No(ticket),
            None => {
                self.opening.insert(goal.clone(), vec![transmit.into()]);
                Queued::Connect(goal)
            }
        }
    }

    /// The newest open connection that leads there.
    fn towards(&self, goal: &Goal) -> Option<&Connection> {
        let flows = self.by_remote.get(&goal.remote)?;
        flows.iter().rev().filter_map(|flow| self.open.get(flow)).find(|connection| connection.is_to(goal))
    }

    /// What waited for a connection, which is open now or never will be.
    pub(super) fn opened(&mut self, goal: &Goal) -> Vec<Outgoing> {
        self.opening.remove(goal).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: &str = "192.0.2.1:5060";

    fn path(flow: u64, remote: &str) -> Path {
        let local = "192.0.2.100:5060".parse().unwrap();
        Path { transport: Transport::Tcp, flow: FlowId(flow), local, remote: remote.parse().unwrap() }
    }

    fn connection(flow: u64, remote: &str, room: usize) -> (Connection, mpsc::Receiver<Outgoing>) {
        let (queue, received) = mpsc::channel(room);
        let close = Arc::new(Notify::new());
        (Connection { path: path(flow, remote), queue, close, accepted: true, domain: None }, received)
    }

    fn enter(flows: &mut Flows, connection: Connection) {
        assert!(flows.accept(connection.path.remote.ip(), &Limits::default()));
        flows.insert(connection);
    }

    fn transmit(flow: u64, remote: &str, ticket: u64) -> Transmit {
        Transmit {
            path: path(flow, remote),
            opens: Opens::Peer,
            payload: Bytes::from_static(b"x"),
            ticket: Ticket(ticket),
        }
    }

    #[test]
    fn a_message_takes_its_flow_or_another_to_the_same_remote() {
        let (mut flows, limits) = (Flows::default(), Limits::default());
        let (first, mut to_first) = connection(1, REMOTE, 4);
        let (second, mut to_second) = connection(2, REMOTE, 4);
        enter(&mut flows, first);
        enter(&mut flows, second);
        assert!(matches!(flows.send(transmit(1, REMOTE, 1), &limits), Queued::Yes));
        assert_eq!(to_first.try_recv().unwrap().ticket, Ticket(1));
        flows.remove(FlowId(1));
        assert!(matches!(flows.send(transmit(1, REMOTE, 2), &limits), Queued::Yes));
        assert_eq!(to_second.try_recv().unwrap().ticket, Ticket(2));
        // The number of a flow is not enough: it must lead to whom the message is for.
        assert!(matches!(flows.send(transmit(2, "192.0.2.9:5060", 3), &limits), Queued::Connect(_)));
        flows.remove(FlowId(2));
        assert_eq!(flows.len(), 0);
        assert!(flows.accepted_from.is_empty());
    }

    #[test]
    fn a_full_queue_closes_the_connection() {
        let (mut flows, limits) = (Flows::default(), Limits::default());
        let (first, _to_first) = connection(1, REMOTE, 1);
        enter(&mut flows, first);
        assert!(matches!(flows.send(transmit(1, REMOTE, 1), &limits), Queued::Yes));
        assert!(matches!(flows.send(transmit(1, REMOTE, 2), &limits), Queued::Slow(Ticket(2))));
        assert_eq!(flows.len(), 0);
    }

    #[test]
    fn what_waits_for_a_connection_is_bounded() {
        let limits = Limits { pending_connects: 1, pending_queue: 2, ..Limits::default() };
        let mut flows = Flows::default();
        assert!(matches!(flows.send(transmit(0, REMOTE, 1), &limits), Queued::Connect(_)));
        assert!(matches!(flows.send(transmit(0, REMOTE, 2), &limits), Queued::Yes));
        assert!(matches!(flows.send(transmit(0, REMOTE, 3), &limits), Queued::No(Ticket(3))));
        assert!(matches!(flows.send(transmit(0, "192.0.2.9:5060", 4), &limits), Queued::No(Ticket(4))));
        let waiting: Vec<_> = flows
            .opened(&(Transport::Tcp, REMOTE.parse().unwrap()).into())
            .iter()
            .map(|one| one.ticket.0)
            .collect();
        assert_eq!(waiting, [1, 2]);
    }

    #[test]
    fn connections_are_counted_by_source_and_in_all() {
        let limits = Limits { connections: 3, connections_per_source: 2, ..Limits::default() };
        let mut flows = Flows::default();
        let source = |text: &str| text.parse::<IpAddr>().unwrap();
        for (flow, remote) in [(1, "192.0.2.1:1"), (2, "192.0.2.1:2")] {
            assert!(flows.accept(source("192.0.2.1"), &limits));
            flows.insert(connection(flow, remote, 1).0);
        }
        assert!(!flows.accept(source("192.0.2.1"), &limits));
        assert!(flows.accept(source("192.0.2.2"), &limits));
        assert!(!flows.accept(source("192.0.2.3"), &limits), "a handshake that goes on has its place");
        flows.insert(connection(3, "192.0.2.2:1", 1).0);
        assert!(!flows.accept(source("192.0.2.3"), &limits));
        flows.remove(FlowId(1));
        assert!(flows.accept(source("192.0.2.1"), &limits));
        flows.give_up(source("192.0.2.1"));
        assert!(flows.accept(source("192.0.2.1"), &limits), "what came to nothing left its place");
    }

    #[test]
    fn handshakes_are_counted_of_all_sources() {
        let limits = Limits { handshakes: 1, ..Limits::default() };
        let mut flows = Flows::default();
        assert!(flows.accept([192, 0, 2, 1].into(), &limits));
        assert!(!flows.accept([192, 0, 2, 2].into(), &limits));
        flows.insert(connection(1, "192.0.2.1:1", 1).0);
        assert!(flows.accept([192, 0, 2, 2].into(), &limits));
    }

    /// RFC 3261 §26.2.2: what is to be protected on its way is never sent where it is not.
    #[test]
    fn a_message_for_tls_never_takes_a_connection_without() {
        let (mut flows, limits) = (Flows::default(), Limits::default());
        let (plain, mut to_plain) = connection(1, REMOTE, 4);
        enter(&mut flows, plain);
        let mut for_tls = transmit(1, REMOTE, 1);
        for_tls.path.transport = Transport::Tls;
        assert!(matches!(flows.send(for_tls, &limits), Queued::Connect(_)));
        assert!(to_plain.try_recv().is_err());
    }

    /// RFC 5922 §7.3: what was opened for one domain is not another's, and what asks for none takes any.
    #[test]
    fn a_connection_for_one_domain_is_not_shared_with_another() {
        let (mut flows, limits) = (Flows::default(), Limits::default());
        let over_tls = |ticket, opens| {
            let mut transmit = Transmit { opens, ..transmit(0, REMOTE, ticket) };
            transmit.path.transport = Transport::Tls;
            transmit
        };
        let named = |ticket, domain: &str| over_tls(ticket, Opens::Named(domain.into()));
        let Queued::Connect(goal) = flows.send(named(1, "one.example"), &limits) else { panic!() };
        assert_eq!(goal.domain.as_deref(), Some("one.example"));
        assert!(matches!(flows.send(named(2, "two.example"), &limits), Queued::Connect(_)), "each its own");
        assert_eq!(flows.opened(&goal).len(), 1);
        let (mut first, mut to_first) = connection(1, REMOTE, 4);
        (first.path.transport, first.domain) = (Transport::Tls, goal.domain);
        enter(&mut flows, first);
        assert!(matches!(flows.send(named(3, "one.example"), &limits), Queued::Yes));
        assert!(matches!(flows.send(over_tls(4, Opens::Peer), &limits), Queued::Yes));
        assert_eq!(
            [to_first.try_recv().unwrap().ticket, to_first.try_recv().unwrap().ticket],
            [3, 4].map(Ticket)
        );
        assert!(matches!(flows.send(named(5, "two.example"), &limits), Queued::Yes), "it still waits");
        assert!(to_first.try_recv().is_err());
        flows.remove(FlowId(1));
        assert!(flows.by_remote.is_empty());
    }

    /// RFC 3261 §18.2.2: an answer takes the connection of its request, and without it one to where the sender
    /// listens, if there is one.
    #[test]
    fn an_answer_opens_a_connection_to_where_its_request_says() {
        let (mut flows, limits) = (Flows::default(), Limits::default());
        let (first, mut to_first) = connection(1, REMOTE, 4);
        enter(&mut flows, first);
        let listens: SocketAddr = "192.0.2.1:5070".parse().unwrap();
        let answer = |ticket, opens| Transmit { opens, ..transmit(1, REMOTE, ticket) };
        assert!(matches!(flows.send(answer(1, Opens::At(listens)), &limits), Queued::Yes));
        assert!(matches!(flows.send(answer(2, Opens::Nowhere), &limits), Queued::Yes));
        assert_eq!(
            [to_first.try_recv().unwrap().ticket, to_first.try_recv().unwrap().ticket],
            [1, 2].map(Ticket)
        );
        flows.remove(FlowId(1));
        assert!(matches!(flows.send(answer(3, Opens::Nowhere), &limits), Queued::Nowhere(Ticket(3))));
        let queued = flows.send(answer(4, Opens::At(listens)), &limits);
        assert!(matches!(queued, Queued::Connect(goal) if goal == (Transport::Tcp, listens).into()));
        assert_eq!(flows.opened(&(Transport::Tcp, listens).into()).len(), 1);
        let (second, mut to_second) = connection(2, "192.0.2.1:5070", 4);
        enter(&mut flows, second);
        assert!(matches!(flows.send(answer(5, Opens::At(listens)), &limits), Queued::Yes));
        assert_eq!(to_second.try_recv().unwrap().ticket, Ticket(5));
    }
}
