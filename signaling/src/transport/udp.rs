//! Datagrams: sockets, and how they are written. `receive.rs` reads them.

mod receive;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::flows::Outgoing;
use super::hub::Hub;
use crate::wire::FlowId;

pub(super) use receive::receive;

/// What the kernel buffers for one socket, bytes: a second of a busy site.
const SOCKET_BUFFER: usize = 4 << 20;

/// One bound socket.
pub(super) struct UdpPort {
    pub(super) flow: FlowId,
    pub(super) socket: Arc<UdpSocket>,
    /// As bound; may be a wildcard.
    pub(super) local: SocketAddr,
    /// What did not fit into the socket's buffer at once.
    late: mpsc::Sender<(Outgoing, SocketAddr)>,
}

/// What waits for a socket's buffer.
pub(super) type Late = mpsc::Receiver<(Outgoing, SocketAddr)>;

impl UdpPort {
    /// Binds. Must run in the runtime that will poll it.
    pub(super) fn bind(address: SocketAddr, flow: FlowId, queue: usize) -> io::Result<(UdpPort, Late)> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if address.is_ipv6() {
            // IPv4 has sockets of its own, so that addresses stay what they are.
            socket.set_only_v6(true)?;
        }
        // Smaller buffers than asked for are no reason not to start.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let local = socket.local_addr()?;
        let (late, receiver) = mpsc::channel(queue);
        Ok((UdpPort { flow, socket, local, late }, receiver))
    }

    /// What waits for the socket's buffer.
    pub(super) fn waiting(&self) -> &mpsc::Sender<(Outgoing, SocketAddr)> {
        &self.late
    }

    /// Sends now or, when the socket's buffer is full, soon. Never blocks.
    pub(super) fn send(&self, hub: &Hub, outgoing: Outgoing, target: SocketAddr) {
        match self.socket.try_send_to(&outgoing.payload, target) {
            Ok(_) => hub.metrics.udp_sent.add(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = self.late.try_send((outgoing, target)) {
                    hub.send_failed(error.into_inner().0.ticket);
                }
            }
            Err(error) => {
                tracing::debug!(%target, %error, "datagram not sent");
                hub.send_failed(outgoing.ticket);
            }
        }
    }
}

/// Writes what the socket's buffer had no room for.
pub(super) async fn send_late(hub: Arc<Hub>, index: usize, mut late: Late) {
    let Some(port) = hub.udp.get(index) else { return };
    let write = async {
        while let Some((outgoing, target)) = late.recv().await {
            match port.socket.send_to(&outgoing.payload, target).await {
                Ok(_) => hub.metrics.udp_sent.add(),
                Err(_) => hub.send_failed(outgoing.ticket),
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = hub.stopped() => {}
    }
}
