//! Connections: framing, limits, deadlines, back-pressure, connecting.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::phone::Text;
use super::world::{Client, Setup, World, soon};
use crate::message::{Message, Response};
use crate::transport::Limits;
use crate::transport::connection::Opened;
use crate::wire::{FlowId, Opens, Path, Ticket, Transmit, Transport, TransportEvent};

fn ping(call_id: &str) -> String {
    Text { method: "OPTIONS", transport: "TCP", call_id: call_id.into(), ..Text::default() }.print()
}

fn transmit(path: Path, payload: impl Into<bytes::Bytes>, ticket: u64) -> Transmit {
    Transmit { path, opens: Opens::Peer, payload: payload.into(), ticket: Ticket(ticket) }
}

async fn flow_up(world: &mut World) -> Path {
    match world.event().await {
        TransportEvent::FlowUp { path } => path,
        other => panic!("{other:?}"),
    }
}

async fn flow_down(world: &mut World) -> FlowId {
    match world.event().await {
        TransportEvent::FlowDown { flow } => flow,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_and_trains_of_messages_arrive_whole() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.tcp_client().await;
    for byte in ping("slow").as_bytes() {
        client.send([*byte]).await;
    }
    assert_eq!(world.received_request().await.1.call_id(), Ok("slow"));
    client.send(format!("{}\r\n{}{}", ping("one"), ping("two"), ping("three"))).await;
    for call_id in ["one", "two", "three"] {
        assert_eq!(world.received_request().await.1.call_id(), Ok(call_id));
    }
    client.send("\r\n\r\n").await;
    assert_eq!(client.bytes(2).await, b"\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_comes_serves_and_goes() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.tcp_client().await;
    client.send(ping("c1")).await;
    let up = flow_up(&mut world).await;
    let (path, _, _) = world.received_request().await;
    assert_eq!((up, path.remote), (path, client.address()));
    world.handle.send(transmit(path, ping("back"), 1));
    assert!(client.receive().await.is_some());
    drop(client);
    assert_eq!(flow_down(&mut world).await, path.flow);
    assert_eq!(world.metrics().connections.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_boundaries_is_answered_and_closed() {
    let world = World::start(Setup::default()).await;
    let cases = [
        (ping("c1").replace("Content-Length: 0\r\n", ""), Some(400)),
        (ping("c1").replace("Content-Length: 0", "Content-Length: 70000"), Some(513)),
        (ping("c1").replace("Content-Length: 0", "Content-Length: none"), Some(400)),
        ("x".repeat(66_000), None),
        (Text { method: "ACK", ..Text::default() }.print().replace("Content-Length: 0\r\n", ""), None),
    ];
    for (stream, status) in &cases {
        let mut client = world.tcp_client().await;
        client.send(stream).await;
        if let Some(status) = status {
            assert_eq!(client.response().await.status, *status);
        }
        assert!(client.receive().await.is_none(), "closed");
    }
    assert_eq!(world.metrics().framing_errors.get(), cases.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limits_are_closed_at_once() {
    let limits = Limits { connections: 3, connections_per_source: 2, ..Limits::default() };
    let setup = Setup { addresses: vec!["127.0.0.1:0", "[::1]:0"], limits, ..Setup::default() };
    let mut world = World::start(setup).await;
    let mut kept = Vec::new();
    for ipv6 in [false, false, true] {
        kept.push(world.client(Transport::Tcp, ipv6).await);
        flow_up(&mut world).await;
    }
    // Two of this source; three in all.
    for ipv6 in [false, true] {
        assert!(world.client(Transport::Tcp, ipv6).await.receive().await.is_none());
    }
    assert_eq!(world.metrics().connections_refused.get(), 2);
    drop(kept.remove(0));
    flow_down(&mut world).await;
    let mut client = world.tcp_client().await;
    client.send(ping("c1")).await;
    assert_eq!(world.received_request().await.1.call_id(), Ok("c1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_opened_for_what_is_sent_and_used_again() {
    let mut world = World::start(Setup::default()).await;
    let phone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = world.path_to(Transport::Tcp, phone.local_addr().unwrap());
    for call_id in ["one", "two"] {
        world.handle.send(transmit(path, ping(call_id), 1));
    }
    let (stream, _) = soon(phone.accept()).await.unwrap();
    let mut phone = Client::tcp(stream);
    let up = flow_up(&mut world).await;
    assert_eq!((up.remote, up.local), (path.remote, path.local));
    for call_id in ["one", "two"] {
        let Some(Message::Request(request)) = phone.receive().await else { panic!() };
        assert_eq!(request.call_id(), Ok(call_id));
    }
    // A stale path to the same remote takes the open connection.
    world.handle.send(transmit(Path { flow: FlowId(99), ..path }, ping("three"), 1));
    assert!(phone.receive().await.is_some());
    phone.send(ping("c1")).await;
    assert_eq!(world.received_request().await.0, up);
    assert_eq!(world.metrics().connections_opened.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_is_told() {
    let mut world = World::start(Setup::default()).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = world.path_to(Transport::Tcp, nobody.local_addr().unwrap());
    drop(nobody);
    world.handle.send(transmit(path, ping("c1"), 7));
    let event = world.event().await;
    assert!(matches!(event, TransportEvent::SendFailed { ticket: Ticket(7) }), "{event:?}");
    assert_eq!(world.metrics().connects_failed.get(), 1);
}

/// RFC 3261 §18.2.2: the connection of a request is gone before its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_connection_is_gone_goes_to_where_the_sender_listens() {
    let mut world = World::start(Setup::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listens = listener.local_addr().unwrap();
    let mut client = world.tcp_client().await;
    client.send(ping("c1")).await;
    flow_up(&mut world).await;
    let (path, request, _) = world.received_request().await;
    drop(client);
    flow_down(&mut world).await;
    let payload = || Response::to(&request, 200).to_bytes();
    world.handle.send(Transmit { path, opens: Opens::At(listens), payload: payload(), ticket: Ticket(1) });
    let mut phone = Client::tcp(soon(listener.accept()).await.unwrap().0);
    assert_eq!(phone.response().await.status, 200);
    let up = flow_up(&mut world).await;
    assert_eq!((up.remote, world.metrics().connections_opened.get()), (listens, 1));

    world.handle.send(Transmit { path, opens: Opens::Nowhere, payload: payload(), ticket: Ticket(2) });
    let event = world.event().await;
    assert!(matches!(event, TransportEvent::SendFailed { ticket: Ticket(2) }), "{event:?}");
    assert_eq!((world.metrics().answers_unreturned.get(), world.metrics().connects_failed.get()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_closed() {
    let limits = Limits { write_queue: 4, ..Limits::default() };
    let mut world = World::start(Setup { limits, ..Setup::default() }).await;
    let _client = world.tcp_client().await;
    let path = flow_up(&mut world).await;
    // More than the kernel buffers for any connection: the queue must overflow, or the connection is gone.
    for ticket in 1..=2000 {
        world.handle.send(transmit(path, vec![b'x'; 60_000], ticket));
        if world.metrics().slow_peers.get() > 0 {
            break;
        }
    }
    let failed = world.event().await;
    assert!(matches!(failed, TransportEvent::SendFailed { .. }), "{failed:?}");
    while !matches!(world.event().await, TransportEvent::FlowDown { flow } if flow == path.flow) {}
    assert_eq!(world.metrics().slow_peers.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_that_is_behind_stops_reading_and_loses_nothing() {
    let mut world = World::start(Setup { room: (2, 1), ..Setup::default() }).await;
    let mut client = world.tcp_client().await;
    let all: String = (0..50).map(|n| ping(&format!("c{n}"))).collect();
    client.send(all).await;
    for n in 0..50 {
        assert_eq!(world.received_request().await.1.call_id().unwrap(), format!("c{n}"));
    }
    assert_eq!(world.metrics().shed.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_writes_what_is_queued_and_closes() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.tcp_client().await;
    let path = flow_up(&mut world).await;
    world.handle.send(transmit(path, ping("last"), 1));
    let handle = world.handle.clone();
    soon(world.transports.shutdown()).await;
    assert!(client.receive().await.is_some());
    assert!(client.receive().await.is_none());
    // Too late, and harmless.
    handle.send(transmit(path, ping("later"), 2));
    assert_eq!(handle.metrics().send_failures.get(), 1);
    assert!(TcpStream::connect(handle.locals()[1].1).await.is_err());
}

/// A connection without a socket, on tokio's paused clock.
async fn on_virtual_time(world: &mut World, accepted: bool) -> (DuplexStream, Path) {
    let (ours, theirs) = duplex(64);
    let path = Path {
        transport: Transport::Tcp,
        flow: FlowId(77),
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.7:40000".parse().unwrap(),
    };
    let hub = world.handle.0.clone();
    let (connection, opened) = Opened::new(path, accepted, hub.limits.write_queue);
    assert!(!accepted || hub.flows().accept(path.remote.ip(), &hub.limits));
    hub.flows().insert(connection);
    assert!(hub.spawn(opened.run(Arc::clone(&hub), ours)));
    assert_eq!(flow_up(world).await, path);
    (theirs, path)
}

async fn world_without_sockets() -> World {
    World::start(Setup { addresses: vec![], ..Setup::default() }).await
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed_after_a_while() {
    let mut world = world_without_sockets().await;
    let begun = tokio::time::Instant::now();
    let (_theirs, path) = on_virtual_time(&mut world, true).await;
    let down = world.event_within(Duration::from_secs(3600)).await;
    assert!(matches!(down, TransportEvent::FlowDown { flow } if flow == path.flow));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(world.metrics().connections_timed_out.get(), 1);
}

/// RFC 5626 §4.4.1: a ping is answered, and it is no message: who never sends one keeps no connection.
#[tokio::test(start_paused = true)]
async fn who_only_pings_is_closed_after_the_same_while() {
    let mut world = world_without_sockets().await;
    let (mut theirs, path) = on_virtual_time(&mut world, true).await;
    let begun = tokio::time::Instant::now();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    // Writing fails once the connection is gone.
    while theirs.write_all(b"\r\n\r\n").await.is_ok() {
        let mut pong = [0; 2];
        if theirs.read_exact(&mut pong).await.is_err() {
            break;
        }
        every_second.tick().await;
    }
    assert!((30..=31).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(flow_down(&mut world).await, path.flow);
    assert_eq!(world.metrics().connections_timed_out.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_must_be_complete_in_time_however_busily_it_trickles() {
    let mut world = world_without_sockets().await;
    let (mut theirs, _) = on_virtual_time(&mut world, false).await;
    let begun = tokio::time::Instant::now();
    let mut trickle = tokio::time::interval(Duration::from_secs(1));
    let text = ping("never");
    let mut bytes = text.as_bytes().iter();
    // Writing fails once the connection is gone.
    while theirs.write_all(&[*bytes.next().unwrap()]).await.is_ok() {
        trickle.tick().await;
    }
    assert!((10..=12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(world.metrics().connections_timed_out.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn pings_keep_a_served_connection_open() {
    let mut world = world_without_sockets().await;
    let (mut theirs, path) = on_virtual_time(&mut world, true).await;
    theirs.write_all(ping("c1").as_bytes()).await.unwrap();
    assert_eq!(world.received_request().await.1.call_id(), Ok("c1"));
    let mut every_hour = tokio::time::interval(Duration::from_secs(3600));
    for _ in 0..10 {
        every_hour.tick().await;
        theirs.write_all(b"\r\n\r\n").await.unwrap();
        let mut pong = [0; 2];
        theirs.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\r\n");
    }
    let silent = tokio::time::Instant::now();
    let down = world.event_within(Duration::from_secs(86_400)).await;
    assert!(matches!(down, TransportEvent::FlowDown { flow } if flow == path.flow));
    assert_eq!(silent.elapsed(), Limits::default().idle_deadline);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_for_long_is_closed_and_the_rest_reported() {
    let mut world = world_without_sockets().await;
    let (_theirs, path) = on_virtual_time(&mut world, true).await;
    for ticket in 1..=3 {
        world.handle.send(transmit(path, ping("c1"), ticket));
    }
    for expected in 1..=3 {
        let event = world.event_within(Duration::from_secs(60)).await;
        assert!(
            matches!(event, TransportEvent::SendFailed { ticket: Ticket(t) } if t == expected),
            "{event:?}"
        );
    }
    assert_eq!(flow_down(&mut world).await, path.flow);
    assert_eq!(world.metrics().slow_peers.get(), 1);
}
