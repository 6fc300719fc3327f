//! Reading datagrams: one task per socket, which takes as many at once as the system gives, and what goes on before what
//! begins. Each is read far enough to be told apart, and only what may be taken on costs more than that.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;

use super::UdpPort;
use crate::message::Message;
use crate::transport::flows::Outgoing;
use crate::transport::gate::{Admission, Answer, Arrival};
use crate::transport::guard::{Glance, Standing};
use crate::transport::hub::Hub;
use crate::transport::sink::Class;
use crate::transport::stun;
use crate::wire::{Credentials, Path, Ticket, Transport, TransportEvent};

/// Datagrams read at once, before other tasks get their turn.
const DEPTH: usize = 64;
/// No datagram is longer.
const DATAGRAM_MAX: usize = 1 << 16;
/// Datagrams that wait at once, beyond which no more refusals are sent until there are none: what is behind them, a BYE
/// perhaps, must be read before the socket's buffer is full, and reading costs a third of answering.
const ANSWERED_IN_A_ROW: usize = 1024;

/// Reads the socket with this index until everything ends.
pub(in crate::transport) async fn receive(hub: Arc<Hub>, index: usize) {
    let Some(port) = hub.udp.get(index) else { return };
    let mut batch = Batch::new();
    let mut in_a_row = 0_usize;
    let read = async {
        while port.socket.readable().await.is_ok() {
            let (fd, is_v6) = (port.socket.as_raw_fd(), port.local.is_ipv6());
            match port.socket.try_io(Interest::READABLE, || batch.read(fd, is_v6)) {
                Ok(()) => {
                    in_a_row = in_a_row.saturating_add(batch.heads.len());
                    receive_batch(&hub, port, &batch, in_a_row > ANSWERED_IN_A_ROW);
                    if batch.heads.len() < DEPTH {
                        in_a_row = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => in_a_row = 0,
                // An error that the network reported about an earlier datagram.
                Err(error) => tracing::debug!(%error, "datagram not received"),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = read => {}
        () = hub.stopped() => {}
    }
}

thread_local! {
    // Room for what the system says about each datagram, once for each thread. One per family: a read leaves in it how
    // long addresses are.
    static V4: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(DEPTH, None));
    static V6: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(DEPTH, None));
}

/// What was read at once.
struct Batch {
    /// One datagram after the other, each with room for the longest. The system gives memory to what is written.
    bytes: Box<[u8]>,
    /// How long each is, and where it came from.
    heads: Vec<(usize, SocketAddr)>,
}

impl Batch {
    fn new() -> Batch {
        Batch { bytes: vec![0; DEPTH * DATAGRAM_MAX].into(), heads: Vec::with_capacity(DEPTH) }
    }

    /// Reads what there is. Never blocks.
    fn read(&mut self, socket: RawFd, is_v6: bool) -> io::Result<()> {
        self.heads.clear();
        let headers = if is_v6 { &V6 } else { &V4 };
        headers.with_borrow_mut(|headers| {
            let mut places = self.bytes.chunks_exact_mut(DATAGRAM_MAX);
            let mut places: [_; DEPTH] =
                std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap_or_default())]);
            let read = recvmmsg(socket, headers, places.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
            // What has no address has no length either, so that places stay what they are.
            let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
            self.heads.extend(read.map(|datagram| match datagram.address.as_ref().and_then(address) {
                Some(source) => (datagram.bytes, source),
                None => (0, nobody),
            }));
            Ok(())
        })
    }

    fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let places = self.bytes.chunks_exact(DATAGRAM_MAX);
        places.zip(&self.heads).map(|(place, (len, source))| (place.get(..*len).unwrap_or_default(), *source))
    }
}

fn address(found: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = found.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| found.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

/// A message that may be worth parsing.
struct Seen<'m> {
    datagram: &'m [u8],
    glance: Glance<'m>,
    standing: Standing,
    arrival: Arrival,
}

/// What goes on, then registrations to be renewed, then what begins: so the queue in front of the stack is full of the
/// last, if of anything.
fn receive_batch(hub: &Hub, port: &UdpPort, batch: &Batch, hurried: bool) {
    let (mut waiting, now) = (Vec::new(), hub.clock.now());
    for (datagram, source) in batch.datagrams() {
        hub.metrics.udp_received.add();
        let arrival = Arrival { transport: Transport::Udp, source, now };
        let Some(seen) = look(hub, port, datagram, arrival, hurried) else { continue };
        match seen.glance.class(seen.standing) {
            Class::Kept => receive_one(hub, port, &seen, hurried),
            Class::Renewal | Class::New | Class::Registration => waiting.push(seen),
        }
    }
    let is_renewal = |seen: &Seen<'_>| seen.glance.class(seen.standing) == Class::Renewal;
    let (renewals, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_renewal);
    renewals.iter().chain(&rest).for_each(|seen| receive_one(hub, port, seen, hurried));
}

/// Looks at a datagram, no closer than it is worth; `None` when there is no more to be done.
fn look<'m>(
    hub: &Hub,
    port: &UdpPort,
    datagram: &'m [u8],
    arrival: Arrival,
    hurried: bool,
) -> Option<Seen<'m>> {
    match Kind::of(datagram) {
        Kind::KeepAlive => hub.metrics.keepalives.add(),
        Kind::Stun => answer_stun(hub, port, datagram, arrival),
        Kind::Junk => hub.metrics.junk.add(),
        Kind::Sip => {
            let open = |class| hub.sink.is_open(class, arrival.now.mono);
            if hub.gate.drop_unread(datagram, arrival, open, hurried) {
                return None;
            }
            let glance = Glance::of(datagram);
            let standing = hub.gate.inspect(&glance, arrival)?;
            return Some(Seen { datagram, glance, standing, arrival });
        }
    }
    None
}

fn receive_one(hub: &Hub, port: &UdpPort, seen: &Seen<'_>, hurried: bool) {
    let Seen { datagram, glance, standing, arrival } = seen;
    let (standing, arrival) = (*standing, *arrival);
    let open = |class| hub.sink.is_open(class, arrival.now.mono);
    match hub.gate.turn_away(glance, standing, datagram, arrival, open, hurried) {
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
            let proved = credentials != Credentials::None;
            let local = hub.local_address(port.local, arrival.source.ip());
            let path = Path { transport: Transport::Udp, flow: port.flow, local, remote: arrival.source };
            let event = TransportEvent::Received { path, message, credentials };
            let Err(refused) = hub.sink.offer(class, event) else {
                if proved {
                    hub.gate.guard.taken(glance.call_id, arrival);
                }
                return hub.metrics.delivered.add();
            };
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

fn answer_stun(hub: &Hub, port: &UdpPort, datagram: &[u8], arrival: Arrival) {
    if !hub.gate.guard.admits(arrival) {
        return;
    }
    let mut buffer = [0; stun::ANSWER_MAX];
    let Some(len) = stun::answer(datagram, arrival.source, &mut buffer) else {
        return hub.metrics.junk.add();
    };
    // A phone asks again: what does not fit into the socket's buffer need not wait for it.
    match port.socket.try_send_to(buffer.get(..len).unwrap_or_default(), arrival.source) {
        Ok(_) => {
            hub.metrics.stun_answered.add();
            hub.metrics.udp_sent.add();
        }
        Err(_) => hub.metrics.send_failures.add(),
    }
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
