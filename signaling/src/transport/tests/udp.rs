//! Datagrams: junk, shedding, sending.

use bytes::Bytes;

use super::phone::Text;
use super::world::{Setup, World, soon};
use crate::message::{Message, Method, Name};
use crate::transport::Limits;
use crate::wire::{FlowId, Opens, Path, Ticket, Transmit, Transport, TransportEvent};

fn ping(call_id: &str) -> String {
    Text { method: "OPTIONS", call_id: call_id.into(), ..Text::default() }.print()
}

fn bye(call_id: &str) -> String {
    Text { method: "BYE", call_id: call_id.into(), to_tag: "t", ..Text::default() }.print()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_and_keep_alives_leave_no_trace_but_a_count() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    for junk in [&b"\r\n\r\n"[..], b"", b"\0\0", b"\x80\x60 rtp", b"hello", b"GET / HTTP/1.1\r\n\r\n"] {
        client.send(junk).await;
    }
    client.send(ping("c9")).await;
    let (_, request, _) = world.received_request().await;
    assert_eq!(request.call_id(), Ok("c9"));
    let metrics = world.metrics();
    assert_eq!((metrics.udp_received.get(), metrics.keepalives.get(), metrics.junk.get()), (7, 3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_dropped_until_the_next_second() {
    let limits = Limits { datagrams_per_second: 2, ..Limits::default() };
    let mut world = World::start(Setup { limits, ..Setup::default() }).await;
    let mut client = world.udp_client().await;
    for call_id in ["c1", "c2", "c3"] {
        client.send(ping(call_id)).await;
    }
    for call_id in ["c1", "c2"] {
        assert_eq!(world.received_request().await.1.call_id(), Ok(call_id));
    }
    world.until(|metrics| metrics.flooded.get() == 1).await;
    world.hands.advance(1);
    client.send(ping("c4")).await;
    assert_eq!(world.received_request().await.1.call_id(), Ok("c4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_that_is_behind_sheds_new_work_first() {
    let mut world = World::start(Setup { room: (3, 1), ..Setup::default() }).await;
    let mut client = world.udp_client().await;
    for call_id in ["c4", "c5"] {
        world.knows(call_id, &client);
    }
    client.send(ping("c1")).await;
    client.send(ping("c2")).await;
    let shed = client.ask(ping("c3")).await;
    assert!(shed.status == 503 && shed.headers.text(&Name::RetryAfter).is_some());
    client.send(bye("c4")).await;
    // The second finds the reserve taken and is dropped without a word.
    client.send(bye("c5")).await;
    assert_eq!(client.ask(ping("c6")).await.call_id(), Ok("c6"));
    for call_id in ["c1", "c2", "c4"] {
        assert_eq!(world.received_request().await.1.call_id(), Ok(call_id));
    }
    let metrics = world.metrics();
    assert_eq!((metrics.shed.get(), metrics.shed_reserved.get(), metrics.delivered.get()), (2, 1, 3));
}

/// RFC 8489 §16: asking for one's address costs what any datagram costs, and a silenced source gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stun_takes_from_the_share_of_its_source() {
    let limits = Limits { datagrams_per_second: 2, ..Limits::default() };
    let mut world = World::start(Setup { limits, ..Setup::default() }).await;
    let mut client = world.udp_client().await;
    let ask = b"\0\x01\0\0!\x12\xa4Babcdefghijkl";
    for _ in 0..5 {
        client.send(ask).await;
    }
    world.until(|metrics| metrics.flooded.get() == 3).await;
    assert_eq!(world.metrics().stun_answered.get(), 2);
    world.hands.advance(1);
    client.send(ping("c1")).await;
    assert_eq!(world.received_request().await.1.call_id(), Ok("c1"));
}

/// What was read at once: what goes on comes before what begins, in the order of each, and nothing is lost however much
/// waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_that_waits_is_read() {
    let mut world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    world.knows("call", &client);
    for number in 0..200 {
        client.send(ping(&format!("c{number}"))).await;
        client.send(bye("call").replace("CSeq: 1", &format!("CSeq: {number}"))).await;
    }
    let (mut pings, mut byes) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let (_, request, _) = world.received_request().await;
        match request.method {
            Method::Bye => byes.push(request.cseq().unwrap().number),
            _ => pings.push(request.call_id().unwrap().to_owned()),
        }
    }
    assert_eq!(byes, (0..200).collect::<Vec<u32>>());
    assert_eq!(pings, (0..200).map(|number| format!("c{number}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stack_sends_from_any_thread_and_hears_of_failures() {
    let mut world =
        World::start(Setup { addresses: vec!["127.0.0.1:0", "[::1]:0"], ..Setup::default() }).await;
    for ipv6 in [false, true] {
        let mut client = world.client(Transport::Udp, ipv6).await;
        let path = world.path_to(Transport::Udp, client.address());
        let (handle, payload) = (world.handle.clone(), Bytes::from(ping("out")));
        let too_large = Bytes::from(vec![b'x'; 70_000]);
        std::thread::spawn(move || {
            handle.send(Transmit { path, opens: Opens::Peer, payload, ticket: Ticket(1) });
            // No datagram is that long.
            handle.send(Transmit { path, opens: Opens::Peer, payload: too_large, ticket: Ticket(2) });
        })
        .join()
        .unwrap();
        let Some(Message::Request(request)) = client.receive().await else { panic!() };
        assert_eq!(request.call_id(), Ok("out"));
        let event = world.event().await;
        assert!(matches!(event, TransportEvent::SendFailed { ticket: Ticket(2) }), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_of_an_earlier_process_takes_the_socket_like_its_own() {
    let world = World::start(Setup::default()).await;
    let mut client = world.udp_client().await;
    let path = Path {
        transport: Transport::Udp,
        flow: FlowId(4711),
        local: "127.0.0.1:5060".parse().unwrap(),
        remote: client.address(),
    };
    world.handle.send(Transmit { path, opens: Opens::Peer, payload: ping("old").into(), ticket: Ticket(1) });
    assert!(client.receive().await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_socket_knows_the_address_it_is_reached_at() {
    let mut world = World::start(Setup { addresses: vec!["0.0.0.0:0", "[::]:0"], ..Setup::default() }).await;
    for (ipv6, address) in [(false, "127.0.0.1"), (true, "::1")] {
        let port = world.local(Transport::Udp, ipv6).port();
        let client = tokio::net::UdpSocket::bind((address, 0)).await.unwrap();
        soon(client.send_to(ping("c1").as_bytes(), (address, port))).await.unwrap();
        let (path, _, _) = world.received_request().await;
        assert_eq!(path.local, std::net::SocketAddr::new(address.parse().unwrap(), port));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_named() {
    let world = World::start(Setup::default()).await;
    let taken = world.local(Transport::Udp, false);
    let config = crate::transport::TransportConfig {
        udp: vec![taken],
        tcp: vec![],
        tls: vec![],
        tls_config: None,
        dns: Default::default(),
        limits: Default::default(),
        key: crate::auth::NonceKey::new([0; 32]),
        clock: crate::transport::Clock::new(dialtone_core::Now::default),
    };
    let started = crate::transport::Transports::start(config, super::world::accounts(), |_, _| Ok(())).await;
    let Err(error) = started else { panic!("it started") };
    assert!(error.to_string().starts_with(&format!("cannot bind UDP {taken}: ")), "{error}");
}
