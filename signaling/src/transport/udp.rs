//! Datagrams: one task per socket, which reads into one buffer and allocates only for what may be SIP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::flows::Outgoing;
use super::gate::{Admission, Answer};
use super::guard::Glance;
use super::hub::Hub;
use super::sink::Class;
use super::stun;
use crate::message::Message;
use crate::wire::{FlowId, Path, Ticket, Transport, TransportEvent};

/// Datagrams read before other tasks get their turn.
const BATCH: usize = 64;
/// Datagrams that wait at once, beyond which no more refusals are sent until there are none: what is behind them, a BYE
/// perhaps, must be read before the socket's buffer is full, and reading costs a third of answering.
const ANSWERED_IN_A_ROW: usize = 1024;
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

/// Reads the socket with this index until everything ends.
pub(super) async fn receive(hub: Arc<Hub>, index: usize) {
    let Some(port) = hub.udp.get(index) else { return };
    let mut buffer = vec![0; usize::from(u16::MAX) + 1].into_boxed_slice();
    let mut in_a_row = 0_usize;
    let read = async {
        while port.socket.readable().await.is_ok() {
            for _ in 0..BATCH {
                match port.socket.try_recv_from(&mut buffer) {
                    Ok((len, source)) => {
                        in_a_row = in_a_row.saturating_add(1);
                        let datagram = buffer.get(..len).unwrap_or_default();
                        receive_one(&hub, port, datagram, source, in_a_row > ANSWERED_IN_A_ROW);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        in_a_row = 0;
                        break;
                    }
                    // An error that the network reported about an earlier datagram.
                    Err(error) => tracing::debug!(%error, "datagram not received"),
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = read => {}
        () = hub.stopped() => {}
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

fn receive_one(hub: &Hub, port: &UdpPort, datagram: &[u8], source: SocketAddr, hurried: bool) {
    hub.metrics.udp_received.add();
    let arrival = hub.arrival(Transport::Udp, source);
    match Kind::of(datagram) {
        Kind::KeepAlive => return hub.metrics.keepalives.add(),
        Kind::Stun => return answer_stun(hub, port, datagram, source),
        Kind::Junk => return hub.metrics.junk.add(),
        Kind::Sip => {}
    }
    let glance = Glance::of(datagram);
    let Some(standing) = hub.gate.inspect(&glance, arrival) else { return };
    let open = |class| hub.sink.is_open(class, arrival.now.mono);
    match hub.gate.turn_away(&glance, standing, datagram, arrival, open, hurried) {
        Some(Admission::Answer(answer)) => return send_answer(hub, port, answer),
        Some(Admission::Deliver { .. } | Admission::Drop) => return,
        None => {}
    }
    let (admission, alarm) = hub.gate.admit(Bytes::copy_from_slice(datagram), arrival, standing, open);
    hub.alarm(alarm);
    match admission {
        Admission::Drop => {}
        Admission::Answer(answer) => send_answer(hub, port, answer),
        Admission::Deliver { class, message, credentials } => {
            let local = hub.local_address(port.local, source.ip());
            let path = Path { transport: Transport::Udp, flow: port.flow, local, remote: source };
            let event = TransportEvent::Received { path, message, credentials };
            let Err(refused) = hub.sink.offer(class, event) else { return hub.metrics.delivered.add() };
            let TransportEvent::Received { message, .. } = *refused else { return };
            match (class, message) {
                (Class::New | Class::Registration | Class::Renewal, Message::Request(request)) => {
                    if let Some(answer) = hub.gate.shed(&request, class, arrival) {
                        send_answer(hub, port, answer);
                    }
                }
                (_, Message::Response(_)) | (Class::Kept, _) => hub.metrics.shed_reserved.add(),
            }
        }
    }
}

fn answer_stun(hub: &Hub, port: &UdpPort, datagram: &[u8], source: SocketAddr) {
    let Some(answer) = stun::answer(datagram, source) else { return hub.metrics.junk.add() };
    hub.metrics.stun_answered.add();
    port.send(hub, Outgoing { payload: answer.into(), ticket: Ticket::default() }, source);
}

fn send_answer(hub: &Hub, port: &UdpPort, answer: Answer) {
    port.send(hub, Outgoing { payload: answer.payload, ticket: Ticket::default() }, answer.target);
}

/// What a datagram looks like before anything is allocated for it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Line ends, NULs, or nothing: it holds a NAT binding open (RFC 5626 §4.4.1).
    KeepAlive,
    /// It asks for its own address (RFC 5626 §4.4.2).
    Stun,
    /// Its first line does not speak of SIP: RTP, STUN, noise.
    Junk,
    /// Worth parsing.
    Sip,
}

impl Kind {
    fn of(datagram: &[u8]) -> Kind {
        if stun::is_request(datagram) {
            return Kind::Stun;
        }
        let filler = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let start = datagram.iter().take_while(|byte| filler(byte)).count();
        let text = datagram.get(start..).unwrap_or_default();
        if text.is_empty() {
            return Kind::KeepAlive;
        }
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        // The version is a response's first word and a request's last, however long what is between.
        let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        let names_sip = |word: &[u8]| word.get(..4).is_some_and(|four| four.eq_ignore_ascii_case(b"SIP/"));
        let speaks_sip = names_sip(line) || names_sip(last);
        if text.first().is_some_and(u8::is_ascii_graphic) && speaks_sip { Kind::Sip } else { Kind::Junk }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_sip_is_parsed() {
        let cases: &[(&[u8], Kind)] = &[
            (b"", Kind::KeepAlive),
            (b"\r\n\r\n", Kind::KeepAlive),
            (b"\0\0\0\0", Kind::KeepAlive),
            (b"\x80\x60\0\x01SIP/2.0\n", Kind::Junk),
            (b"\x01\x01\0\0!\x12\xa4B", Kind::Junk),
            (b"\0\x01\0\0!\x12\xa4Babcdefghijkl", Kind::Stun),
            (b"GET / HTTP/1.1\r\n\r\n", Kind::Junk),
            (b"REGISTER sip:pbx SIP/2.0\r\n\r\n", Kind::Sip),
            (b"\r\nSIP/2.0 200 OK\r\n\r\n", Kind::Sip),
            (b"REGISTER sip:pbx SIP/7.0\r\n\r\n", Kind::Sip),
            (b"OPTIONS sip:pbx SIP/2.0  \r\n\r\n", Kind::Sip),
            (b"hello\r\nVia: SIP/2.0/UDP a\r\n\r\n", Kind::Junk),
        ];
        for (datagram, kind) in cases {
            assert_eq!(Kind::of(datagram), *kind, "{datagram:?}");
        }
        let long = format!("OPTIONS sip:{}@h SIP/2.0\r\n\r\n", "x".repeat(60_000));
        assert_eq!(Kind::of(long.as_bytes()), Kind::Sip);
    }
}
