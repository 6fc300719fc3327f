//! The tables of connections, without any socket.

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

/// RFC 3261 §18.2.2, §26.3.2.4: answers have a share of the connections that are being opened, and each host one of that.
#[test]
fn connections_for_answers_leave_room_for_others() {
    let limits = Limits { answer_connects: 3, answer_connects_per_host: 2, ..Limits::default() };
    let mut flows = Flows::default();
    let mut answer = |host: &str, port: u16| {
        let remote = format!("{host}:{port}");
        let opens = Opens::At(remote.parse().unwrap());
        flows.send(Transmit { opens, ..transmit(0, &remote, 1) }, &limits)
    };
    let taken = [("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1)];
    for (host, port) in taken {
        assert!(matches!(answer(host, port), Queued::Connect(_)), "{host}:{port}");
        assert!(matches!(answer(host, port), Queued::Yes), "it waits there too");
    }
    for (host, port) in [("192.0.2.1", 3), ("192.0.2.2", 2), ("192.0.2.3", 1)] {
        assert!(matches!(answer(host, port), Queued::No(Ticket(1))), "{host}:{port}");
    }
    assert!(matches!(flows.send(transmit(0, "192.0.2.1:4", 1), &limits), Queued::Connect(_)), "a request");
    for (host, port) in taken {
        assert_eq!(
            flows.opened(&(Transport::Tcp, SocketAddr::new(host.parse().unwrap(), port)).into()).len(),
            2
        );
    }
    assert!(flows.answering.is_empty());
}
