//! Listening, accepting within limits, and connecting on demand (RFC 3261 §18.1, §18.2).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::connection::Opened;
use super::flows::{Connection, Outgoing, Queued};
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
pub(super) async fn accept(hub: Arc<Hub>, listener: TcpListener) {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => admit(&hub, stream, remote),
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

fn admit(hub: &Arc<Hub>, stream: TcpStream, remote: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    if !hub.flows().may_accept(remote.ip(), &hub.limits) {
        // Dropping the stream closes it.
        return hub.metrics.connections_refused.add();
    }
    hub.metrics.connections_accepted.add();
    tune(&stream);
    let path = Path { transport: Transport::Tcp, flow: hub.new_flow(), local, remote };
    let (connection, opened) = Opened::new(path, true, hub.limits.write_queue);
    hub.flows().insert(connection);
    run(hub, opened, stream);
}

/// Sends a message over its connection, or over one that is opened for it. Never blocks.
pub(super) fn send(hub: &Arc<Hub>, transmit: Transmit) {
    let remote = transmit.path.remote;
    let queued = hub.flows().send(transmit, &hub.limits);
    match queued {
        Queued::Yes => {}
        Queued::No(ticket) => hub.send_failed(ticket),
        Queued::Slow(ticket) => {
            hub.metrics.slow_peers.add();
            hub.send_failed(ticket);
        }
        Queued::Connect => {
            let task = connect(hub.clone(), remote);
            if !hub.spawn(task) {
                fail(hub, hub.flows().opened(remote));
            }
        }
    }
}

async fn connect(hub: Arc<Hub>, remote: SocketAddr) {
    let attempt = timeout(hub.limits.connect_deadline, open(&hub, remote));
    let opened = tokio::select! {
        opened = attempt => opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = hub.stopped() => Err(io::ErrorKind::Interrupted.into()),
    };
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%remote, %error, "connection not opened");
            hub.metrics.connects_failed.add();
            let waiting = hub.flows().opened(remote);
            return fail(&hub, waiting);
        }
    };
    hub.metrics.connections_opened.add();
    tune(&stream);
    let bound = stream.local_addr().unwrap_or(remote);
    let path =
        Path { transport: Transport::Tcp, flow: hub.new_flow(), local: reachable(&hub, bound), remote };
    let (connection, opened) = Opened::new(path, false, hub.limits.write_queue);
    let unsent = enter(&hub, connection, remote);
    fail(&hub, unsent);
    run(&hub, opened, stream);
}

/// Enters an opened connection and gives it what waited for it, in one step: nothing can slip between. Returns
/// what its queue has no room for.
fn enter(hub: &Hub, connection: Connection, remote: SocketAddr) -> Vec<Outgoing> {
    let mut flows = hub.flows();
    let waiting = flows.opened(remote);
    let unsent = waiting
        .into_iter()
        .filter_map(|outgoing| connection.queue.try_send(outgoing).err().map(|error| error.into_inner()))
        .collect();
    flows.insert(connection);
    unsent
}

async fn open(hub: &Hub, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // From the address that the peer knows us by, if we have but one.
    let listening = hub.tcp.iter().find(|local| local.is_ipv4() == remote.is_ipv4());
    if let Some(local) = listening.filter(|local| !local.ip().is_unspecified()) {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}

/// Our address as the peer can reach it: of a connection that we opened, the port is one nobody listens on.
fn reachable(hub: &Hub, bound: SocketAddr) -> SocketAddr {
    let listening = hub.tcp.iter().find(|local| local.is_ipv4() == bound.is_ipv4());
    SocketAddr::new(bound.ip(), listening.map_or(bound.port(), SocketAddr::port))
}

fn run(hub: &Arc<Hub>, opened: Opened, stream: TcpStream) {
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
