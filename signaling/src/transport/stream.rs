//! TCP, with or without TLS: listening, accepting within limits, and connecting on demand (RFC 3261 §18.1, §18.2).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::connection::Opened;
use super::flows::{Connection, Goal, Outgoing, Queued};
use super::hub::Hub;
use crate::wire::{Path, Transmit, Transport};

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1024;
/// Silence after which the kernel asks a peer whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// Between two such questions.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered data or questions after which the kernel gives a peer up: as long as a transaction waits
/// (RFC 3261 §17.1.2.2, timer F).
const GIVE_UP_AFTER: Duration = Duration::from_secs(32);
/// After an error of the system's, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds a listener. Must run in the runtime that will poll it.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until everything ends.
pub(super) async fn accept(hub: Arc<Hub>, transport: Transport, listener: TcpListener) {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => admit(&hub, transport, stream, remote),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    pause(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = hub.stopped() => {}
    }
}

fn admit(hub: &Arc<Hub>, transport: Transport, stream: TcpStream, remote: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    let silenced = hub.gate.guard.is_silenced(remote.ip(), hub.clock.now().mono);
    if silenced || !hub.flows().accept(remote.ip(), &hub.limits) {
        // Dropping the stream closes it.
        return hub.metrics.connections_refused.add();
    }
    hub.metrics.connections_accepted.add();
    tune(&stream);
    let path = Path { transport, flow: hub.new_flow(), local, remote };
    match transport {
        Transport::Tls => {
            if !hub.spawn(protect(hub.clone(), path, stream)) {
                hub.flows().give_up(remote.ip());
            }
        }
        Transport::Tcp | Transport::Udp => enter_accepted(hub, path, stream),
    }
}

/// Shakes hands before anything else is kept of the peer.
async fn protect(hub: Arc<Hub>, path: Path, stream: TcpStream) {
    let handshake = async { hub.tls()?.accept(stream).await };
    let handshake = timeout(hub.limits.handshake_deadline, handshake);
    let protected = tokio::select! {
        protected = handshake => protected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = hub.stopped() => Err(io::ErrorKind::Interrupted.into()),
    };
    match protected {
        Ok(stream) => enter_accepted(&hub, path, stream),
        Err(error) => {
            tracing::debug!(remote = %path.remote, %error, "no TLS handshake");
            hub.metrics.handshakes_failed.add();
            hub.flows().give_up(path.remote.ip());
        }
    }
}

fn enter_accepted(hub: &Arc<Hub>, path: Path, stream: impl Stream) {
    let (connection, opened) = Opened::new(path, true, hub.limits.write_queue);
    hub.flows().insert(connection);
    run(hub, opened, stream);
}

/// Sends a message over its connection, or over one that is opened for it. Never blocks.
pub(super) fn send(hub: &Arc<Hub>, transmit: Transmit) {
    let queued = hub.flows().send(transmit, &hub.limits);
    match queued {
        Queued::Yes => {}
        Queued::No(ticket) => hub.send_failed(ticket),
        Queued::Slow(ticket) => {
            hub.metrics.slow_peers.add();
            hub.send_failed(ticket);
        }
        Queued::Nowhere(ticket) => {
            hub.metrics.answers_unreturned.add();
            hub.send_failed(ticket);
        }
        Queued::Connect(goal) => {
            let task = connect(hub.clone(), goal.clone());
            if !hub.spawn(task) {
                fail(hub, hub.flows().opened(&goal));
            }
        }
    }
}

async fn connect(hub: Arc<Hub>, goal: Goal) {
    let (transport, remote) = goal.remote;
    let attempt = timeout(hub.limits.connect_deadline, open(&hub, &goal));
    let opened = tokio::select! {
        opened = attempt => opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = hub.stopped() => Err(io::ErrorKind::Interrupted.into()),
    };
    let (bound, stream) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(transport = transport.via(), %remote, %error, "connection not opened");
            hub.metrics.connects_failed.add();
            let waiting = hub.flows().opened(&goal);
            return fail(&hub, waiting);
        }
    };
    hub.metrics.connections_opened.add();
    let local = reachable(&hub, transport, bound);
    let path = Path { transport, flow: hub.new_flow(), local, remote };
    let (mut connection, opened) = Opened::new(path, false, hub.limits.write_queue);
    connection.domain = goal.domain.clone();
    let unsent = enter(&hub, connection, &goal);
    fail(&hub, unsent);
    match stream {
        Either::Plain(stream) => run(&hub, opened, stream),
        Either::Tls(stream) => run(&hub, opened, stream),
    }
}

/// A connection that we opened.
enum Either {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, and where it is TLS, makes sure of the peer. Gives our end's address too.
async fn open(hub: &Hub, goal: &Goal) -> io::Result<(SocketAddr, Either)> {
    let (transport, remote) = goal.remote;
    let stream = dial(hub, transport, remote).await?;
    tune(&stream);
    let bound = stream.local_addr()?;
    let stream = match transport {
        Transport::Tls => Either::Tls(Box::new(hub.tls()?.connect(stream, goal).await?)),
        Transport::Tcp | Transport::Udp => Either::Plain(stream),
    };
    Ok((bound, stream))
}

/// Enters an opened connection and gives it what waited for it, in one step: nothing can slip between. Returns
/// what its queue has no room for.
fn enter(hub: &Hub, connection: Connection, goal: &Goal) -> Vec<Outgoing> {
    let mut flows = hub.flows();
    let waiting = flows.opened(goal);
    let unsent = waiting
        .into_iter()
        .filter_map(|outgoing| connection.queue.try_send(outgoing).err().map(|error| error.into_inner()))
        .collect();
    flows.insert(connection);
    unsent
}

async fn dial(hub: &Hub, transport: Transport, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // From the address that the peer knows us by, if we have but one.
    if let Some(local) = hub.listening(transport, remote).filter(|local| !local.ip().is_unspecified()) {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}

/// Our address as the peer can reach it: of a connection that we opened, the port is one nobody listens on.
fn reachable(hub: &Hub, transport: Transport, bound: SocketAddr) -> SocketAddr {
    let listening = hub.listening(transport, bound);
    SocketAddr::new(bound.ip(), listening.map_or(bound.port(), |listening| listening.port()))
}

/// What a connection is read from and written to: TCP itself, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Stream for S {}

fn run(hub: &Arc<Hub>, opened: Opened, stream: impl Stream) {
    let flow = opened.flow();
    if !hub.spawn(opened.run(hub.clone(), stream)) {
        hub.flows().remove(flow);
    }
}

fn fail(hub: &Hub, unsent: Vec<Outgoing>) {
    unsent.into_iter().for_each(|outgoing| hub.send_failed(outgoing.ticket));
}

/// Small messages leave at once, and a peer that vanished is noticed. None of it is worth a refusal.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(GIVE_UP_AFTER));
}

#[allow(clippy::disallowed_methods)] // The shell's own timer: the listener would spin on a lasting error.
async fn pause(interval: Duration) {
    tokio::time::sleep(interval).await;
}
