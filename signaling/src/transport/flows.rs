//! The connections that are open or opening. Plain tables; the tasks that move bytes are elsewhere.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
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
    /// Those of them that are for answers.
    answering: HashSet<Goal>,
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
        let answers = matches!(transmit.opens, Opens::At(_));
        let full = self.opening.len() >= limits.pending_connects
            || (answers && !self.may_answer(remote.ip(), limits))
            || self.open.len() + self.opening.len() >= limits.connections;
        match self.opening.get_mut(&goal) {
            Some(waiting) if waiting.len() >= limits.pending_queue => Queued::No(ticket),
            Some(waiting) => {
                waiting.push(transmit.into());
                Queued::Yes
            }
            None if full => Queued::No(ticket),
            None => {
                if answers {
                    self.answering.insert(goal.clone());
                }
                self.opening.insert(goal.clone(), vec![transmit.into()]);
                Queued::Connect(goal)
            }
        }
    }

    /// Whether one more connection may be opened to this host for answers. Who sends requests and goes away has us open
    /// as many as it likes, and must leave room for those that we have to open.
    fn may_answer(&self, host: IpAddr, limits: &Limits) -> bool {
        let to_host = self.answering.iter().filter(|goal| goal.remote.1.ip() == host).count();
        self.answering.len() < limits.answer_connects && to_host < limits.answer_connects_per_host
    }

    /// The newest open connection that leads there.
    fn towards(&self, goal: &Goal) -> Option<&Connection> {
        let flows = self.by_remote.get(&goal.remote)?;
        flows.iter().rev().filter_map(|flow| self.open.get(flow)).find(|connection| connection.is_to(goal))
    }

    /// What waited for a connection, which is open now or never will be.
    pub(super) fn opened(&mut self, goal: &Goal) -> Vec<Outgoing> {
        self.answering.remove(goal);
        self.opening.remove(goal).unwrap_or_default()
    }
}
