//! TLS around connections: versions, limits before the handshake, certificates that change, peers that prove
//! who they are.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::identity::{Identity, believing};
use super::phone::Text;
use super::world::{Client, Setup, World, soon};
use crate::message::{Message, Name};
use crate::transport::Limits;
use crate::wire::{FlowId, Opens, Path, Ticket, Transmit, Transport, TransportEvent};

fn ping(call_id: &str) -> String {
    Text { method: "OPTIONS", transport: "TLS", call_id: call_id.into(), ..Text::default() }.print()
}

fn transmit(path: Path, call_id: &str, ticket: u64) -> Transmit {
    Transmit { path, opens: Opens::Peer, payload: ping(call_id).into(), ticket: Ticket(ticket) }
}

async fn connect(world: &World, client: Arc<ClientConfig>, name: &'static str) -> TlsStream<TcpStream> {
    let stream = soon(TcpStream::connect(world.local(Transport::Tls, false))).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    soon(TlsConnector::from(client).connect(name, stream)).await.unwrap()
}

/// RFC 3261 §26.2.1: a request arrives over TLS, and what goes back takes the same connection (RFC 5923 §5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_cross_over_tls_both_ways() {
    let setup = Setup { addresses: vec!["127.0.0.1:0", "[::1]:0"], ..Setup::default() };
    let mut world = World::start(setup).await;
    for ipv6 in [false, true] {
        let mut client = world.client(Transport::Tls, ipv6).await;
        client.send(ping("there")).await;
        let (path, request, _) = world.received_request().await;
        assert_eq!((path.transport, path.remote), (Transport::Tls, client.address()));
        assert_eq!(path.local, world.local(Transport::Tls, ipv6));
        assert!(request.headers.text(&Name::Via).unwrap().starts_with("SIP/2.0/TLS "));
        world.handle.send(transmit(path, "back", 1));
        let Some(Message::Request(back)) = client.receive().await else { panic!() };
        assert_eq!(back.call_id(), Ok("back"));
        let register = Text { transport: "TLS", ..Text::default() }.print();
        assert_eq!(client.ask(register).await.status, 401);
    }
    // What has arrived at the client is counted here only then.
    world.until(|metrics| (metrics.tls_received.get(), metrics.tls_sent.get()) == (4, 4)).await;
    assert_eq!(world.metrics().tcp_received.get(), 0);
}

/// RFC 5626 §3.5.1: a double CRLF is answered by a single one, inside TLS too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_inside_tls() {
    let world = World::start(Setup::default()).await;
    let mut client = world.tls_client().await;
    client.send("\r\n\r\n").await;
    assert_eq!(client.bytes(2).await, b"\r\n");
    assert_eq!(world.metrics().keepalives.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_1_3_are_spoken_whatever_name_is_asked_for() {
    let world = World::start(Setup::default()).await;
    for version in [&TLS12, &TLS13] {
        let client = believing(&[&world.identity.certificate], &[version]);
        // The address sends no name; the other is one that the transport was never told.
        for name in ["127.0.0.1", "pbx.example"] {
            let stream = connect(&world, client.clone(), name).await;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        }
    }
    assert_eq!(world.metrics().handshakes_failed.get(), 0);
}

/// A ClientHello of TLS 1.`minor - 1` alone, otherwise to the transport's taste.
fn hello(minor: u8) -> Vec<u8> {
    // secp256r1 and x25519; ECDSA with SHA-256; uncompressed points.
    let groups = [0, 10, 0, 6, 0, 4, 0, 0x17, 0, 0x1d];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let points = [0, 11, 0, 2, 1, 0];
    let extensions = [&groups[..], &signatures, &points].concat();
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session; ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let len = body.len() as u8;
    [vec![22, 3, 1, 0, len + 4, 1, 0, 0, len], body].concat()
}

/// RFC 8996 §5: TLS 1.1 must not be negotiated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_1_is_refused() {
    let world = World::start(Setup::default()).await;
    let local = world.local(Transport::Tls, false);
    let mut answer = [0; 7];
    let mut stream = soon(TcpStream::connect(local)).await.unwrap();
    stream.write_all(&hello(3)).await.unwrap();
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[0], 22, "the same hello with TLS 1.2 gets a handshake: {answer:?}");
    let mut stream = soon(TcpStream::connect(local)).await.unwrap();
    stream.write_all(&hello(2)).await.unwrap();
    soon(stream.read_exact(&mut answer)).await.unwrap();
    // A fatal alert: 70, protocol_version.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
    world.until(|metrics| metrics.handshakes_failed.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_shake_hands_is_closed_and_leaves_its_place() {
    let limits = Limits {
        connections_per_source: 1,
        handshake_deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut world = World::start(Setup { limits, ..Setup::default() }).await;
    let mut silent = soon(TcpStream::connect(world.local(Transport::Tls, false))).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    assert!(!matches!(soon(silent.read(&mut [0])).await, Ok(1..)), "closed");
    world.until(|metrics| metrics.handshakes_failed.get() == 1).await;
    world.until(|_| world.handle.0.flows().accept([127, 0, 0, 1].into(), &world.handle.0.limits)).await;
    world.handle.0.flows().give_up([127, 0, 0, 1].into());
    let mut client = world.tls_client().await;
    client.send(ping("c1")).await;
    assert_eq!(world.received_request().await.1.call_id(), Ok("c1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_before_the_work_of_a_handshake() {
    let limits = Limits { connections_per_source: 1, ..Limits::default() };
    let world = World::start(Setup { limits, ..Setup::default() }).await;
    let silent = soon(TcpStream::connect(world.local(Transport::Tls, false))).await.unwrap();
    world.until(|metrics| metrics.connections_accepted.get() == 1).await;
    for transport in [Transport::Tls, Transport::Tcp] {
        let mut second = soon(TcpStream::connect(world.local(transport, false))).await.unwrap();
        let _ = second.write_all(ping("c1").as_bytes()).await;
        assert!(!matches!(soon(second.read(&mut [0])).await, Ok(1..)), "closed unread");
    }
    assert_eq!(world.metrics().connections_refused.get(), 2);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_for_new_handshakes_and_established_connections_go_on() {
    let mut world = World::start(Setup::default()).await;
    let other = Identity::new();
    // One client, which would resume its session if it were let.
    let both = believing(&[&world.identity.certificate, &other.certificate], rustls::ALL_VERSIONS);
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let first = connect(&world, both.clone(), "127.0.0.1").await;
    assert_eq!(shown(&first), world.identity.certificate);
    let address = first.get_ref().0.local_addr().unwrap();
    let mut first = Client::stream(first, address);
    first.send("\r\n\r\n").await;
    assert_eq!(first.bytes(2).await, b"\r\n");

    world.identity.server.send_replace(other.server.borrow().clone());
    let second = connect(&world, both, "127.0.0.1").await;
    assert_eq!(shown(&second), other.certificate);
    first.send(ping("still")).await;
    let (path, request, _) = world.received_request().await;
    assert_eq!(request.call_id(), Ok("still"));
    world.handle.send(transmit(path, "and back", 1));
    assert!(first.receive().await.is_some());
}

/// A phone that listens for TLS, as this identity.
async fn answer(listener: &TcpListener, identity: &Identity) -> Option<Client> {
    let (stream, address) = soon(listener.accept()).await.unwrap();
    let server = identity.server.borrow().clone();
    let stream = soon(TlsAcceptor::from(server).accept(stream)).await.ok()?;
    Some(Client::stream(stream, address))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_opened_to_who_proves_its_address_and_used_again() {
    let mut world = World::start(Setup::default()).await;
    let phone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = world.path_to(Transport::Tls, phone.local_addr().unwrap());
    assert_eq!((path.flow, path.local), (FlowId(0), world.local(Transport::Tls, false)));
    world.handle.send(transmit(path, "one", 1));
    let mut phone = answer(&phone, &world.identity).await.unwrap();
    let TransportEvent::FlowUp { path: up } = world.event().await else { panic!() };
    assert_eq!((up.transport, up.remote, up.local), (Transport::Tls, path.remote, path.local));
    world.handle.send(transmit(path, "two", 2));
    for call_id in ["one", "two"] {
        let Some(Message::Request(request)) = phone.receive().await else { panic!() };
        assert_eq!(request.call_id(), Ok(call_id));
    }
    assert_eq!(world.metrics().connections_opened.get(), 1);
}

/// RFC 3261 §26.3.2.1: who cannot prove to be whom we meant is not talked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_nobody_vouches_for_hears_nothing() {
    let mut world = World::start(Setup::default()).await;
    let stranger = Identity::new();
    let phone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = world.path_to(Transport::Tls, phone.local_addr().unwrap());
    world.handle.send(transmit(path, "secret", 7));
    if let Some(mut phone) = answer(&phone, &stranger).await {
        assert!(phone.receive().await.is_none());
    }
    let event = world.event().await;
    assert!(matches!(event, TransportEvent::SendFailed { ticket: Ticket(7) }), "{event:?}");
    assert_eq!(world.metrics().connects_failed.get(), 1);
}

/// RFC 5922 §7.3: who was found by name proves to be that name; its address need not be in its certificate, and does
/// not do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_found_by_name_proves_to_be_that_name() {
    let mut world = World::start(Setup::default()).await;
    let proxy = Identity::of(&["one.example", "two.example"]);
    let trusted = believing(&[&proxy.certificate, &world.identity.certificate], rustls::ALL_VERSIONS);
    world.identity.believed.send_replace(trusted);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = world.path_to(Transport::Tls, listener.local_addr().unwrap());
    let named = |domain: &str, call_id: &str, ticket| Transmit {
        opens: Opens::Named(domain.into()),
        ..transmit(path, call_id, ticket)
    };
    let mut peers = Vec::new();
    for domain in ["one.example", "two.example"] {
        world.handle.send(named(domain, domain, 1));
        let mut peer = answer(&listener, &proxy).await.unwrap();
        let Some(Message::Request(request)) = peer.receive().await else { panic!() };
        assert_eq!(request.call_id(), Ok(domain), "each has a connection of its own");
        assert!(matches!(world.event().await, TransportEvent::FlowUp { .. }));
        peers.push(peer);
    }
    world.handle.send(named("one.example", "again", 2));
    let Some(Message::Request(request)) = peers[0].receive().await else { panic!() };
    assert_eq!(request.call_id(), Ok("again"));

    // Another name, and the right address with the wrong name.
    for (identity, domain, ticket) in [(&proxy, "three.example", 7), (&world.identity, "four.example", 8)] {
        world.handle.send(named(domain, "secret", ticket));
        if let Some(mut peer) = answer(&listener, identity).await {
            assert!(peer.receive().await.is_none());
        }
    }
    for ticket in [7, 8] {
        let event = world.event().await;
        assert!(
            matches!(event, TransportEvent::SendFailed { ticket: Ticket(one) } if one == ticket),
            "{event:?}"
        );
    }
    assert_eq!((world.metrics().connections_opened.get(), world.metrics().connects_failed.get()), (2, 2));
}
