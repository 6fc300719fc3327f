//! A worker and its clock, and what it sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Quality, ReadyPort, Stream};
use dialtone_core::{BridgeId, Mono, NodeId, PortId, Wall};
use dialtone_media::counters::DropReason;
use dialtone_media::outbox::{Channel, Outbox, PortChange, Slot};
use dialtone_media::rtp::{self, Fixed, Header};
use dialtone_media::worker::{Worker, WorkerConfig};
use dialtone_media::{PromptLibrary, SilenceLimits};
use smallvec::smallvec;

pub const SECOND: Duration = Duration::from_secs(1);

/// A sent datagram, with the virtual time at which it left.
pub struct Sent {
    pub at: Mono,
    pub slot: Slot,
    pub channel: Channel,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A worker and its clock.
pub struct Lab {
    pub now: Mono,
    pub worker: Worker,
    pub out: Outbox,
    pub sent: Vec<Sent>,
    pub events: Vec<MediaEvent>,
    pub changes: Vec<PortChange>,
    pub ports: u32,
}

impl Lab {
    pub fn new() -> Self {
        Self::with_prompts(PromptLibrary::embedded().unwrap())
    }

    pub fn with_prompts(prompts: PromptLibrary) -> Self {
        let worker = Worker::new(WorkerConfig {
            number: 3,
            silence: SilenceLimits { rtp: 60 * SECOND, hold: 1800 * SECOND },
            prompts: Arc::new(prompts),
            seed: [7; 32],
            wall_at_zero: Wall::from_micros(1_795_361_388_000_000),
        });
        let now = Mono::from_millis(5);
        let (sent, events, changes) = (Vec::new(), Vec::new(), Vec::new());
        Self { now, worker, out: Outbox::default(), sent, events, changes, ports: 0 }
    }

    pub fn port(&mut self) -> (PortId, Slot) {
        let port = PortId { worker: 3, number: self.ports };
        self.ports += 1;
        let ready = ReadyPort { port, rtp: at(4000), rtcp: at(4001) };
        (port, self.worker.adopt(self.now, ready))
    }

    /// A configured port whose peer sits at this port number.
    pub fn leg(&mut self, peer: u16, stream: Stream) -> (PortId, Slot) {
        let (port, slot) = self.port();
        self.command(MediaCommand::Configure {
            port,
            stream: Stream { rtp: at(peer), rtcp: at(peer + 1), ..stream },
        });
        (port, slot)
    }

    pub fn settle(&mut self) {
        for datagram in self.out.datagrams() {
            self.sent.push(Sent {
                at: self.now,
                slot: datagram.slot,
                channel: datagram.channel,
                to: datagram.to,
                bytes: self.out.bytes(datagram).to_vec(),
            });
        }
        self.out.clear_datagrams();
        self.events.append(&mut self.out.events);
        self.changes.append(&mut self.out.ports);
    }

    pub fn command(&mut self, command: MediaCommand) {
        self.worker.command(self.now, command, &mut self.out);
        self.settle();
    }

    pub fn bridge(&mut self, number: u32, kind: BridgeKind) {
        self.command(MediaCommand::Bridge { bridge: bridge(number), kind });
    }

    pub fn hold(&mut self, number: u32, port: PortId, feed: Feed) {
        self.bridge(number, BridgeKind::Hold { port, feed });
    }

    pub fn packet(&mut self, slot: Slot, source: u16, bytes: &[u8]) {
        self.worker.datagram(self.now, slot, Channel::Rtp, at(source), bytes, &mut self.out);
        self.settle();
    }

    pub fn report(&mut self, slot: Slot, source: u16, bytes: &[u8]) {
        self.worker.datagram(self.now, slot, Channel::Rtcp, at(source), bytes, &mut self.out);
        self.settle();
    }

    /// Lets time pass and does what falls due, each thing at its own instant.
    pub fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.worker.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.worker.expire(self.now, &mut self.out);
            self.settle();
        }
        self.now = until;
    }

    pub fn rtp(&self) -> Vec<(&Sent, Header)> {
        let rtp = self.sent.iter().filter(|sent| sent.channel == Channel::Rtp);
        rtp.map(|sent| (sent, rtp::peek(&sent.bytes).unwrap())).collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.worker.counters().dropped(reason)
    }

    pub fn quality(&mut self, port: PortId) -> Quality {
        self.command(MediaCommand::Release { port });
        let released = self.events.iter().rev().find_map(|event| match event {
            MediaEvent::Released { port: released, quality } if *released == port => Some(*quality),
            _ => None,
        });
        released.unwrap()
    }
}

pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub fn bridge(number: u32) -> BridgeId {
    BridgeId::new(NodeId(1), 1, number)
}

pub fn stream(codec: Codec, payload_type: u8) -> Stream {
    Stream {
        rtp: at(1),
        rtcp: at(2),
        receive: smallvec![(payload_type, codec)],
        send: smallvec![(codec, payload_type)],
        direction: Direction::SendRecv,
        ptime_ms: 20,
        relatch: false,
    }
}

pub fn pcma() -> Stream {
    stream(Codec::Pcma, 8)
}

pub fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let fixed = Fixed { marker: false, payload_type, sequence, timestamp, ssrc: 0xAAAA };
    [&fixed.to_bytes()[..], payload].concat()
}

pub fn sent_ssrc(lab: &Lab) -> u32 {
    rtp::peek(&lab.sent[0].bytes).unwrap().ssrc
}
