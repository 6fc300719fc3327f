//! The media workers without their sockets, on virtual time, and the ports that they have bound.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dialtone_core::media::{MediaCommand, MediaEvent, ReadyPort, Stream};
use dialtone_core::{Mono, PortId, Wall};
use dialtone_media::outbox::{Channel, Outbox, PortChange, Slot};
use dialtone_media::worker::{Worker, WorkerConfig};
use dialtone_media::{PromptLibrary, SilenceLimits};

use super::net::address;

/// So that a dead phone is noticed before a run is over.
const SILENCE: SilenceLimits = SilenceLimits { rtp: Duration::from_secs(15), hold: Duration::from_secs(25) };

static PROMPTS: LazyLock<Arc<PromptLibrary>> =
    LazyLock::new(|| Arc::new(PromptLibrary::embedded().expect("prompts of ours can be read")));

pub struct Media {
    workers: Vec<Worker>,
    slots: BTreeMap<SocketAddr, (usize, Slot)>,
    addresses: BTreeMap<(usize, u32), SocketAddr>,
    /// What ports in use were told.
    pub told: BTreeMap<PortId, Stream>,
    next: u32,
    outbox: Outbox,
}

/// What came of a turn.
#[derive(Default)]
pub struct Came {
    pub events: Vec<MediaEvent>,
    /// Sound for whoever is there.
    pub sound: Vec<(SocketAddr, Vec<u8>)>,
    /// Workers that have one port less, and whether it was one of IPv6.
    pub closed: Vec<(u16, bool)>,
}

impl Media {
    pub fn new(seed: u64, wall: Wall) -> Media {
        let mut key = [3; 32];
        key[..8].copy_from_slice(&seed.to_be_bytes());
        let worker = |number| {
            let prompts = Arc::clone(&PROMPTS);
            Worker::new(WorkerConfig { number, silence: SILENCE, prompts, seed: key, wall_at_zero: wall })
        };
        Media {
            workers: vec![worker(0), worker(1)],
            slots: BTreeMap::new(),
            addresses: BTreeMap::new(),
            told: BTreeMap::new(),
            next: 1,
            outbox: Outbox::default(),
        }
    }

    /// Binds so many ports of a worker.
    pub fn stock(&mut self, now: Mono, worker: u16, count: u32, ipv6: bool) -> MediaEvent {
        let mut ports = Vec::new();
        for number in self.next..self.next + count {
            let rtp = SocketAddr::new(address(ipv6, 0, 1), 10_000 + 2 * (number % 27_000) as u16);
            let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
            let ready = ReadyPort { port: PortId { worker, number }, rtp, rtcp };
            let slot = self.workers[usize::from(worker)].adopt(now, ready);
            self.slots.insert(rtp, (worker.into(), slot));
            self.addresses.insert((worker.into(), slot.0), rtp);
            ports.push(ready);
        }
        self.next += count;
        MediaEvent::Ready { ports }
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.workers.iter().filter_map(Worker::deadline).min()
    }

    pub fn command(&mut self, now: Mono, command: MediaCommand) -> Came {
        match &command {
            MediaCommand::Configure { port, stream } => {
                self.told.insert(*port, stream.clone());
            }
            MediaCommand::Bridge { .. } => {}
            MediaCommand::Release { port } => {
                self.told.remove(port);
            }
        }
        let worker = usize::from(command.worker());
        self.workers[worker].command(now, command, &mut self.outbox);
        self.came(worker)
    }

    pub fn expire(&mut self, now: Mono) -> Came {
        let mut all = Came::default();
        for worker in 0..self.workers.len() {
            if self.workers[worker].deadline().is_some_and(|due| due <= now) {
                self.workers[worker].expire(now, &mut self.outbox);
                let came = self.came(worker);
                all.events.extend(came.events);
                all.sound.extend(came.sound);
                all.closed.extend(came.closed);
            }
        }
        all
    }

    /// A phone's packet arrives at one of our ports.
    pub fn packet(&mut self, now: Mono, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Came {
        let Some(&(worker, slot)) = self.slots.get(&to) else { return Came::default() };
        self.workers[worker].datagram(now, slot, Channel::Rtp, from, bytes, &mut self.outbox);
        self.came(worker)
    }

    fn came(&mut self, worker: usize) -> Came {
        let sound = self.outbox.datagrams().iter().filter(|datagram| datagram.channel == Channel::Rtp);
        let sound = sound.map(|datagram| (datagram.to, self.outbox.bytes(datagram).to_vec())).collect();
        self.outbox.clear_datagrams();
        let mut closed = Vec::new();
        for change in self.outbox.ports.drain(..) {
            if let PortChange::Closed(slot) = change {
                let Some(address) = self.addresses.remove(&(worker, slot.0)) else { continue };
                self.slots.remove(&address);
                closed.push((worker as u16, address.is_ipv6()));
            }
        }
        Came { events: self.outbox.events.drain(..).collect(), sound, closed }
    }
}
