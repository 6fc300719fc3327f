//! A running engine, what it tells, and phones.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use dialtone_core::codec::Codec;
use dialtone_core::description::Direction;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, MediaEvent, Quality, ReadyPort, Stream};
use dialtone_core::{BridgeId, NodeId, PortId};
use dialtone_media::{Engine, EngineConfig, PromptLibrary};
use rtc_rtp::{Header, Packet};
use rtc_shared::marshal::{Marshal, Unmarshal};
use smallvec::smallvec;

/// Longer than anything here takes on a busy machine; only a failure waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A running engine and what it told.
pub struct Lab {
    pub engine: Engine,
    pub events: Receiver<MediaEvent>,
    pub ready: VecDeque<ReadyPort>,
    pub bridges: u32,
}

pub fn config(ports: RangeInclusive<u16>) -> EngineConfig {
    let prompts = Arc::new(PromptLibrary::embedded().unwrap());
    EngineConfig { ports, reserve: 2, ..EngineConfig::new(vec![V4], prompts, [9; 32]) }
}

impl Lab {
    pub fn start(config: EngineConfig) -> Self {
        let (sender, events) = sync_channel(64);
        let engine = Engine::start(config, move |event| match sender.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(event)) => Err(event),
        });
        Self { engine: engine.unwrap(), events, ready: VecDeque::new(), bridges: 0 }
    }

    pub fn new() -> Self {
        Self::start(config(20_000..=29_999))
    }

    /// The next event that is wanted; ports that become ready meanwhile are kept.
    pub fn event<T>(&mut self, mut wanted: impl FnMut(&MediaEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
            if let Some(found) = wanted(&event) {
                return found;
            }
            if let MediaEvent::Ready { ports } = event {
                self.ready.extend(ports);
            }
        }
    }

    pub fn port(&mut self, ip: IpAddr) -> ReadyPort {
        loop {
            if let Some(index) = self.ready.iter().position(|ready| ready.rtp.ip() == ip) {
                return self.ready.remove(index).unwrap();
            }
            let ports = self.event(|event| match event {
                MediaEvent::Ready { ports } => Some(ports.clone()),
                _ => None,
            });
            self.ready.extend(ports);
        }
    }

    pub fn send(&self, command: MediaCommand) {
        self.engine.send(command).expect("room in the ring");
    }

    pub fn configure(&self, port: PortId, stream: Stream) {
        self.send(MediaCommand::Configure { port, stream });
    }

    pub fn bridge(&mut self, kind: BridgeKind) -> BridgeId {
        self.bridges += 1;
        let bridge = BridgeId::new(NodeId(1), 1, self.bridges);
        self.send(MediaCommand::Bridge { bridge, kind });
        bridge
    }

    pub fn release(&mut self, port: PortId) -> Quality {
        self.send(MediaCommand::Release { port });
        self.event(|event| match event {
            MediaEvent::Released { port: released, quality } if *released == port => Some(*quality),
            _ => None,
        })
    }

    pub fn latched(&mut self) -> (PortId, SocketAddr) {
        self.event(|event| match event {
            MediaEvent::Latched { port, source } => Some((*port, *source)),
            _ => None,
        })
    }

    /// A phone with a port of ours, negotiated.
    pub fn phone(&mut self, ip: IpAddr, codec: Codec, payload_type: u8) -> Phone {
        let ours = self.port(ip);
        let phone = Phone::new(ours, ip);
        self.configure(ours.port, phone.stream(codec, payload_type));
        phone
    }

    pub fn relay(&mut self, a: &Phone, b: &Phone) {
        self.bridge(BridgeKind::Relay { a: a.ours.port, b: b.ours.port });
    }

    pub fn hold(&mut self, phone: &Phone, feed: Feed) -> BridgeId {
        self.bridge(BridgeKind::Hold { port: phone.ours.port, feed })
    }
}

/// A phone's sockets, and the port of ours that serves it.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub ours: ReadyPort,
}

pub fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Phone {
    pub fn new(ours: ReadyPort, ip: IpAddr) -> Self {
        Self { rtp: socket(ip), rtcp: socket(ip), ours }
    }

    pub fn stream(&self, codec: Codec, payload_type: u8) -> Stream {
        Stream {
            rtp: self.rtp.local_addr().unwrap(),
            rtcp: self.rtcp.local_addr().unwrap(),
            receive: smallvec![(payload_type, codec), (101, Codec::TelephoneEvent)],
            send: smallvec![(codec, payload_type), (Codec::TelephoneEvent, payload_type + 1)],
            direction: Direction::SendRecv,
            ptime_ms: 20,
            relatch: false,
        }
    }

    pub fn say(&self, payload_type: u8, sequence: u16, text: &[u8]) {
        say_from(&self.rtp, self.ours.rtp, payload_type, sequence, text);
    }

    pub fn hear(&self) -> Packet {
        let mut bytes = [0; 2000];
        let (length, from) = self.rtp.recv_from(&mut bytes).expect("a packet in time");
        assert_eq!(from, self.ours.rtp, "packets leave from where they are received");
        Packet::unmarshal(&mut Bytes::copy_from_slice(&bytes[..length])).unwrap()
    }
}

pub fn say_from(socket: &UdpSocket, to: SocketAddr, payload_type: u8, sequence: u16, text: &[u8]) {
    let header = Header {
        version: 2,
        payload_type,
        sequence_number: sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc: 0xC0FFEE,
        ..Header::default()
    };
    let packet = Packet { header, payload: Bytes::copy_from_slice(text) };
    socket.send_to(&packet.marshal().unwrap(), to).unwrap();
}
