//! One connection: bytes in, frames to the gate, frames out of a bounded queue, and a deadline for everything
//! that the peer could keep us waiting with.
//!
//! Reading stops while the stack has no room, so the peer's window closes: TCP's own back-pressure. Writing goes
//! on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::flows::{Connection, Outgoing};
use super::framer::{Frame, Framer, FramingError};
use super::gate::Admission;
use super::guard::Glance;
use super::hub::Hub;
use super::metrics::Count;
use super::sink::Class;
use crate::wire::{Credentials, FlowId, Path, Ticket, TransportEvent};

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// For what is queued to leave after the peer or we stopped reading.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// A connection that is entered among the flows and not yet run.
pub(super) struct Opened {
    path: Path,
    accepted: bool,
    outbox: Outbox,
    close: Arc<Notify>,
    replies: mpsc::Sender<Outgoing>,
}

impl Opened {
    /// Makes the two ends: one for the table of flows, one to run.
    pub(super) fn new(path: Path, accepted: bool, write_queue: usize) -> (Connection, Opened) {
        let (queue, received) = mpsc::channel(write_queue);
        let close = Arc::new(Notify::new());
        let outbox = Outbox { queue: received, writing: None };
        let opened = Opened { path, accepted, outbox, close: close.clone(), replies: queue.clone() };
        (Connection { path, queue, close, accepted, domain: None }, opened)
    }

    /// Which it is.
    pub(super) fn flow(&self) -> FlowId {
        self.path.flow
    }

    /// Runs it until either side, a deadline or everything ends.
    pub(super) async fn run(mut self, hub: Arc<Hub>, stream: impl AsyncRead + AsyncWrite) {
        let path = self.path;
        hub.metrics.connections.set(hub.flows().len() as u64);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut peer = Peer { hub: &hub, path, replies: self.replies, accepted: self.accepted };
        {
            let sent = hub.metrics.sent(path.transport);
            let write = self.outbox.write(&hub, sent, &mut writer);
            tokio::pin!(write);
            let lives = async {
                peer.hub.deliver(Class::Kept, TransportEvent::FlowUp { path }).await;
                peer.read(&mut reader).await;
            };
            let flush = tokio::select! {
                () = lives => true,
                () = &mut write => false,
                () = self.close.notified() => false,
                () = hub.stopped() => true,
            };
            // Without senders the queue ends when it is empty.
            hub.flows().remove(path.flow);
            drop(peer);
            if flush {
                let _ = timeout(FLUSH_DEADLINE, write).await;
            }
        }
        self.outbox.fail_rest(&hub);
        hub.metrics.connections.set(hub.flows().len() as u64);
        // Behind the failures just reported, so that nothing is heard of a flow after its end.
        tokio::select! {
            _ = hub.reports.send(TransportEvent::FlowDown { flow: path.flow }) => {}
            () = hub.stopped() => {}
        }
    }
}

/// What is to be written.
struct Outbox {
    queue: mpsc::Receiver<Outgoing>,
    /// Not known to have left.
    writing: Option<Ticket>,
}

impl Outbox {
    /// Writes until the queue ends or the peer does not take more.
    async fn write(&mut self, hub: &Hub, sent: &Count, writer: &mut (impl AsyncWrite + Unpin)) {
        while let Some(outgoing) = self.queue.recv().await {
            self.writing = Some(outgoing.ticket);
            let write = async {
                writer.write_all(&outgoing.payload).await?;
                // TLS keeps a record until it is whole.
                writer.flush().await
            };
            match timeout(hub.limits.write_deadline, write).await {
                Ok(Ok(())) => sent.add(),
                Ok(Err(_)) => return,
                Err(_) => return hub.metrics.slow_peers.add(),
            }
            self.writing = None;
        }
        let _ = writer.shutdown().await;
    }

    /// Reports whatever has not left.
    fn fail_rest(&mut self, hub: &Hub) {
        self.queue.close();
        let unwritten = std::iter::from_fn(|| self.queue.try_recv().ok()).map(|outgoing| outgoing.ticket);
        self.writing.take().into_iter().chain(unwritten).for_each(|ticket| hub.send_failed(ticket));
    }
}

/// The reading side.
struct Peer<'a> {
    hub: &'a Hub,
    path: Path,
    replies: mpsc::Sender<Outgoing>,
    accepted: bool,
}

impl Peer<'_> {
    /// Reads until the peer ends, breaks the framing, or keeps us waiting too long: in all for its first
    /// message, whatever it says before; for each message from its first byte; and between messages.
    async fn read(&mut self, reader: &mut (impl AsyncRead + Unpin)) {
        let limits = &self.hub.limits;
        let mut framer = Framer::new(limits.message_bytes);
        let mut buffer = vec![0; READ_BYTES].into_boxed_slice();
        let mut half_read_since = None;
        let mut first_until = self.accepted.then(|| Instant::now() + limits.first_message_deadline);
        loop {
            let now = Instant::now();
            let deadline = match framer.is_half_read() {
                true => *half_read_since.get_or_insert(now) + limits.half_read_deadline,
                false => now + limits.idle_deadline,
            };
            let deadline = first_until.map_or(deadline, |until| deadline.min(until));
            let Ok(read) = timeout_at(deadline, reader.read(&mut buffer)).await else {
                return self.hub.metrics.connections_timed_out.add();
            };
            let Ok(len @ 1..) = read else { return };
            framer.push(buffer.get(..len).unwrap_or_default());
            loop {
                let frame = match framer.next() {
                    Ok(None) => break,
                    Ok(Some(frame)) => frame,
                    Err(error) => return self.give_up(error),
                };
                half_read_since = None;
                if let Frame::Message(_) = frame {
                    first_until = None;
                }
                if !self.take(frame).await {
                    return;
                }
            }
        }
    }

    /// Handles one frame; false when the connection must end.
    async fn take(&self, frame: Frame) -> bool {
        let message = match frame {
            Frame::Ping => {
                self.hub.metrics.keepalives.add();
                // RFC 5626 §4.4.1: one CRLF back.
                return self.reply(Bytes::from_static(b"\r\n"));
            }
            Frame::Message(message) => message,
        };
        self.hub.metrics.received(self.path.transport).add();
        let arrival = self.hub.arrival(self.path.transport, self.path.remote);
        let bytes = message.clone();
        let glance = Glance::of(&bytes);
        let Some(standing) = self.hub.gate.inspect(&glance, arrival) else { return true };
        let open = |class| self.hub.sink.is_open(class, arrival.now.mono);
        let (admission, alarm) = self.hub.gate.admit(message, arrival, standing, open);
        self.hub.alarm(alarm);
        match admission {
            Admission::Drop => true,
            Admission::Answer(answer) => self.reply(answer.payload),
            Admission::Deliver { class, message, credentials } => {
                if credentials != Credentials::None {
                    self.hub.gate.guard.taken(glance.call_id, arrival);
                }
                let event = TransportEvent::Received { path: self.path, message, credentials };
                self.hub.deliver(class, event).await;
                self.hub.metrics.delivered.add();
                true
            }
        }
    }

    /// Queues an answer; false when the peer does not read its answers.
    fn reply(&self, payload: Bytes) -> bool {
        let sent = self.replies.try_send(Outgoing { payload, ticket: Ticket::default() }).is_ok();
        if !sent {
            self.hub.metrics.slow_peers.add();
        }
        sent
    }

    /// Answers what can still be answered on a stream whose messages cannot be told apart any more.
    fn give_up(&self, error: FramingError) {
        self.hub.metrics.framing_errors.add();
        tracing::debug!(remote = %self.path.remote, %error, "connection closed");
        let (head, status) = match error {
            FramingError::TooLarge { head, .. } => (head, 513),
            FramingError::NoLength { head } => (head, 400),
        };
        let arrival = self.hub.arrival(self.path.transport, self.path.remote);
        let answer = head.and_then(|head| self.hub.gate.answer_unframed(&head, status, arrival));
        if let Some(answer) = answer {
            self.reply(answer.payload);
        }
    }
}
