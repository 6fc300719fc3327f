//! A running transport, its events, and clients of it. Every wait has an end, none is a sleep.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dialtone_core::{Mono, Now, Wall};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::identity::Identity;
use super::phone::REALM;
use crate::auth::{Accounts, NonceKey};
use crate::message::{Message, Request, Response};
use crate::transport::{
    Class, Clock, Frame, Framer, Limits, Metrics, TransportConfig, TransportHandle, Transports,
};
use crate::wire::{Credentials, FlowId, Path, Transport, TransportEvent};

/// Far longer than anything takes on loopback.
const PATIENCE: Duration = Duration::from_secs(20);
const START_S: i64 = 1_795_361_388;

/// Waits for what must happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it did not happen")
}

pub(super) fn accounts() -> Arc<Accounts> {
    Arc::new(Accounts::new(REALM, &[], [("1001", "secret"), ("1002", "other")]))
}

/// A clock that tests turn.
#[derive(Clone, Default)]
pub(super) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Now {
        let seconds = self.0.load(Ordering::SeqCst);
        let wall = Wall::from_micros((START_S + seconds as i64) * 1_000_000);
        Now { mono: Mono::from_millis(1000 + seconds * 1000), wall }
    }
}

/// How a transport is started for a test.
pub(super) struct Setup {
    pub(super) addresses: Vec<&'static str>,
    pub(super) limits: Limits,
    /// Events that the stack has room for, and how many of them are reserved.
    pub(super) room: (usize, usize),
}

impl Default for Setup {
    fn default() -> Self {
        Setup { addresses: vec!["127.0.0.1:0"], limits: Limits::default(), room: (1000, 10) }
    }
}

/// A running transport.
pub(super) struct World {
    pub(super) transports: Transports,
    pub(super) handle: TransportHandle,
    pub(super) events: mpsc::Receiver<TransportEvent>,
    pub(super) hands: Hands,
    /// Who we are over TLS; the transport holds no other.
    pub(super) identity: Identity,
}

impl World {
    pub(super) async fn start(setup: Setup) -> World {
        let (room, reserved) = setup.room;
        let (sender, events) = mpsc::channel(room);
        let sink = move |class, event| {
            if class == Class::New && sender.capacity() <= reserved {
                return Err(Box::new(event));
            }
            sender.try_send(event).map_err(|error| Box::new(error.into_inner()))
        };
        let identity = Identity::new();
        let hands = Hands::default();
        let clock = hands.clone();
        let addresses: Vec<SocketAddr> = setup.addresses.iter().map(|one| one.parse().unwrap()).collect();
        let config = TransportConfig {
            udp: addresses.clone(),
            tcp: addresses.clone(),
            tls: addresses,
            tls_config: Some(identity.config()),
            dns: Default::default(),
            limits: setup.limits,
            key: NonceKey::new([3; 32]),
            clock: Clock::new(move || clock.now()),
        };
        let transports = Transports::start(config, accounts(), sink).await.unwrap();
        World { handle: transports.handle(), transports, events, hands, identity }
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        self.handle.metrics()
    }

    /// The stack has said something to a client in this Call-ID.
    pub(super) fn knows(&self, call_id: &str, client: &Client) {
        let said = format!("SIP/2.0 200 OK\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n");
        let hub = &self.handle.0;
        hub.gate.guard.sent(said.as_bytes(), client.address().ip(), hub.clock.now().mono);
    }

    /// Waits until the metrics say so.
    pub(super) async fn until(&self, so: impl Fn(&Metrics) -> bool) {
        let metrics = self.metrics();
        soon(async {
            while !so(&metrics) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The first local address of this transport and family.
    pub(super) fn local(&self, transport: Transport, ipv6: bool) -> SocketAddr {
        let fits = |(found, local): &(Transport, SocketAddr)| *found == transport && local.is_ipv6() == ipv6;
        self.handle.locals().into_iter().find(fits).unwrap().1
    }

    /// A way to an address from which nothing came.
    pub(super) fn path_to(&self, transport: Transport, remote: SocketAddr) -> Path {
        Path { transport, flow: FlowId(0), local: self.local(transport, remote.is_ipv6()), remote }
    }

    /// A client over this transport.
    pub(super) async fn client(&self, transport: Transport, ipv6: bool) -> Client {
        let server = self.local(transport, ipv6);
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
                socket.connect(server).await.unwrap();
                Client::Udp(socket)
            }
            Transport::Tcp => Client::tcp(soon(TcpStream::connect(server)).await.unwrap()),
            Transport::Tls => {
                let stream = soon(TcpStream::connect(server)).await.unwrap();
                let address = stream.local_addr().unwrap();
                let connector = TlsConnector::from(self.identity.client());
                let stream = soon(connector.connect(ServerName::from(server.ip()), stream)).await.unwrap();
                Client::stream(stream, address)
            }
        }
    }

    pub(super) async fn udp_client(&self) -> Client {
        self.client(Transport::Udp, false).await
    }

    pub(super) async fn tcp_client(&self) -> Client {
        self.client(Transport::Tcp, false).await
    }

    pub(super) async fn tls_client(&self) -> Client {
        self.client(Transport::Tls, false).await
    }

    /// The next event.
    pub(super) async fn event(&mut self) -> TransportEvent {
        self.event_within(PATIENCE).await
    }

    /// The next event, on a clock that may be virtual.
    pub(super) async fn event_within(&mut self, patience: Duration) -> TransportEvent {
        let event = timeout(patience, self.events.recv()).await.expect("it did not happen");
        event.expect("the transport is gone")
    }

    /// The next message; flows coming and going are passed over.
    pub(super) async fn received(&mut self) -> (Path, Message, Credentials) {
        loop {
            match self.event().await {
                TransportEvent::Received { path, message, credentials } => {
                    return (path, message, credentials);
                }
                TransportEvent::FlowUp { .. } | TransportEvent::FlowDown { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn received_request(&mut self) -> (Path, Request, Credentials) {
        match self.received().await {
            (path, Message::Request(request), credentials) => (path, request, credentials),
            other => panic!("{other:?}"),
        }
    }
}

/// Both ways of a stream.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The far end of a socket.
pub(super) enum Client {
    Udp(UdpSocket),
    Stream { io: Box<dyn Io>, address: SocketAddr, framer: Box<Framer> },
}

impl Client {
    pub(super) fn tcp(stream: TcpStream) -> Client {
        let address = stream.local_addr().unwrap();
        Client::stream(stream, address)
    }

    pub(super) fn stream(io: impl Io + 'static, address: SocketAddr) -> Client {
        Client::Stream { io: Box::new(io), address, framer: Box::new(Framer::new(65_535)) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Client::Udp(socket) => socket.local_addr().unwrap(),
            Client::Stream { address, .. } => *address,
        }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self {
            Client::Udp(socket) => {
                soon(socket.send(bytes.as_ref())).await.unwrap();
            }
            Client::Stream { io, .. } => {
                soon(io.write_all(bytes.as_ref())).await.unwrap();
                soon(io.flush()).await.unwrap();
            }
        }
    }

    /// The next message; `None` when the server closed the connection.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        let mut buffer = vec![0; 65_536];
        match self {
            Client::Udp(socket) => {
                let len = soon(socket.recv(&mut buffer)).await.unwrap();
                Some(Message::parse(buffer[..len].to_vec().into()).unwrap())
            }
            Client::Stream { io, framer, .. } => loop {
                if let Some(Frame::Message(message)) = framer.next().unwrap() {
                    return Some(Message::parse(message).unwrap());
                }
                // A reset is an end too: the server closed with something of ours unread.
                match soon(io.read(&mut buffer)).await {
                    Ok(len @ 1..) => framer.push(&buffer[..len]),
                    Ok(0) | Err(_) => return None,
                }
            },
        }
    }

    pub(super) async fn response(&mut self) -> Response {
        match self.receive().await {
            Some(Message::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Sends, and gives what comes back.
    pub(super) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes).await;
        self.response().await
    }

    /// The next `len` bytes of a connection.
    pub(super) async fn bytes(&mut self, len: usize) -> Vec<u8> {
        let Client::Stream { io, .. } = self else { panic!("no stream") };
        let mut bytes = vec![0; len];
        soon(io.read_exact(&mut bytes)).await.unwrap();
        bytes
    }
}
