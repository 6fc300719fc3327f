//! One worker's thread: wait, receive, handle, send.
//!
//! A turn: commands, then what arrived, then what is due. So what was commanded before a packet was
//! sent holds for that packet. A token of epoll names a slot, not a socket: one that has changed hands
//! within the turn is only read in vain.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use dialtone_core::media::{MediaCommand, MediaEvent, ReadyPort};
use dialtone_core::{Mono, PortId};

use super::clock::Clock;
use super::events::EventQueue;
use super::metrics::{EngineMetrics, Gauges};
use super::reserve::{BoundPair, Notice};
use super::sys::{BATCH_MAX, Epoll, ReceiveBatch, SendBatch, Timer};
use super::wake::Wake;
use crate::counters::DropReason;
use crate::outbox::{Channel, Outbox, PortChange, Slot};
use crate::rtp::DATAGRAM_MAX;
use crate::worker::Worker;

/// Commands, and pairs, that one turn takes.
const TURN_COMMANDS_MAX: usize = 32;
/// How soon a full sink is tried again, milliseconds.
const SINK_RETRY_MS: i32 = 5;
const TOKEN_WAKE: u64 = u64::MAX;
const TOKEN_TIMER: u64 = u64::MAX - 1;

/// What a worker's thread is given at its start.
pub struct Parts<S> {
    pub number: u16,
    pub clock: Clock,
    pub worker: Worker,
    pub wake: Arc<Wake>,
    pub stop: Arc<AtomicBool>,
    pub commands: Receiver<MediaCommand>,
    pub bound: Receiver<BoundPair>,
    pub notices: SyncSender<Notice>,
    pub metrics: Arc<EngineMetrics>,
    pub sink: S,
}

/// One port's sockets.
struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    address: usize,
    number: u16,
    taken: bool,
}

impl Pair {
    fn socket(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp => &self.rtp,
            Channel::Rtcp => &self.rtcp,
        }
    }
}

/// A worker's thread.
pub struct WorkerThread<S> {
    number: u16,
    clock: Clock,
    worker: Worker,
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    commands: Receiver<MediaCommand>,
    bound: Receiver<BoundPair>,
    notices: SyncSender<Notice>,
    metrics: Arc<EngineMetrics>,
    events: EventQueue<S>,
    epoll: Epoll,
    timer: Timer,
    armed: Option<Mono>,
    pairs: Vec<Option<Pair>>,
    next_port: u32,
    receive: ReceiveBatch,
    send: SendBatch,
    outbox: Outbox,
    /// Whether commands or pairs may be waiting.
    backlog: bool,
    turns: u64,
    faults: u64,
}

impl<S: FnMut(MediaEvent) -> Result<(), MediaEvent>> WorkerThread<S> {
    pub fn new(parts: Parts<S>) -> std::io::Result<Self> {
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.add(&*parts.wake, TOKEN_WAKE)?;
        epoll.add(&timer, TOKEN_TIMER)?;
        Ok(Self {
            number: parts.number,
            clock: parts.clock,
            worker: parts.worker,
            wake: parts.wake,
            stop: parts.stop,
            commands: parts.commands,
            bound: parts.bound,
            notices: parts.notices,
            metrics: parts.metrics,
            events: EventQueue::new(parts.sink),
            epoll,
            timer,
            armed: None,
            pairs: Vec::new(),
            next_port: 0,
            receive: ReceiveBatch::new(),
            send: SendBatch::new(),
            outbox: Outbox::default(),
            backlog: true,
            turns: 0,
            faults: 0,
        })
    }

    /// Runs until the engine stops. A panic costs the turn that it happened in, not the calls of the
    /// whole worker.
    pub fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let turns = AssertUnwindSafe(|| {
                while !self.stop.load(Ordering::Acquire) {
                    self.turn();
                }
            });
            if catch_unwind(turns).is_err() {
                self.faults += 1;
                self.outbox.clear_datagrams();
            }
        }
        self.say_goodbye();
    }

    fn turn(&mut self) {
        self.arm();
        let timeout_ms = match (self.backlog && !self.events.is_blocked(), self.events.pending()) {
            (true, _) => 0,
            (false, 0) => -1,
            (false, _) => SINK_RETRY_MS,
        };
        // Only a programming error makes a wait fail; then the loop still turns and can be stopped.
        let ready = self.epoll.wait(timeout_ms).unwrap_or(0);
        self.turns += 1;
        self.events.retry();
        if (0..ready).any(|index| self.epoll.token(index) == TOKEN_WAKE) {
            self.wake.clear();
            self.backlog = true;
        }
        if self.backlog && !self.events.is_blocked() {
            let more_pairs = self.take_pairs();
            let more_commands = self.take_commands();
            self.backlog = more_pairs || more_commands;
        }
        for index in 0..ready {
            match self.epoll.token(index) {
                // The one was seen to above, the other is by what is due.
                TOKEN_WAKE | TOKEN_TIMER => {}
                token => self.receive(token),
            }
        }
        self.expire();
        self.publish();
    }

    fn arm(&mut self) {
        let deadline = self.worker.deadline();
        if deadline != self.armed {
            let at_ns = deadline.map(|deadline| self.clock.kernel_ns(deadline));
            // It cannot fail with a valid instant; were it to, the next turn would try again.
            if self.timer.set(at_ns).is_ok() {
                self.armed = deadline;
            }
        }
    }

    fn receive(&mut self, token: u64) {
        let (slot, channel) = from_token(token);
        let Some(Some(pair)) = self.pairs.get(slot.index()) else { return };
        let Ok(count) = self.receive.receive(pair.socket(channel)) else { return };
        let now = self.clock.now();
        for index in 0..count {
            let Some((source, bytes)) = self.receive.datagram(index) else { continue };
            if bytes.len() > DATAGRAM_MAX {
                self.worker.counters_mut().drop(DropReason::Truncated);
                continue;
            }
            self.worker.datagram(now, slot, channel, source, bytes, &mut self.outbox);
        }
        self.settle();
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        while self.worker.deadline().is_some_and(|deadline| deadline <= now) {
            self.worker.expire(now, &mut self.outbox);
            self.settle();
        }
    }

    /// Returns whether more may be waiting.
    fn take_pairs(&mut self) -> bool {
        let mut ports = Vec::new();
        let mut more = true;
        for _ in 0..TURN_COMMANDS_MAX {
            let Ok(pair) = self.bound.try_recv() else {
                more = false;
                break;
            };
            let port = PortId { worker: self.number, number: self.next_port };
            self.next_port += 1;
            let [rtp, rtcp] = pair.bound;
            let ready = ReadyPort { port, rtp, rtcp };
            let slot = self.worker.adopt(self.clock.now(), ready);
            if self.pairs.len() <= slot.index() {
                self.pairs.resize_with(slot.index() + 1, || None);
            }
            let BoundPair { rtp, rtcp, address, number, .. } = pair;
            let polled = self
                .epoll
                .add(&rtp, to_token(slot, Channel::Rtp))
                .and_then(|()| self.epoll.add(&rtcp, to_token(slot, Channel::Rtcp)));
            self.pairs[slot.index()] = Some(Pair { rtp, rtcp, address, number, taken: false });
            match polled {
                Ok(()) => ports.push(ready),
                Err(error) => {
                    tracing::warn!(%error, "a media port cannot be polled");
                    let release = MediaCommand::Release { port };
                    self.worker.command(self.clock.now(), release, &mut self.outbox);
                    self.settle();
                }
            }
        }
        if !ports.is_empty() {
            self.events.push(MediaEvent::Ready { ports });
        }
        more
    }

    /// Returns whether more may be waiting.
    fn take_commands(&mut self) -> bool {
        for _ in 0..TURN_COMMANDS_MAX {
            let Ok(command) = self.commands.try_recv() else { return false };
            self.metrics.worker(self.number).commands_queued.fetch_sub(1, Ordering::Relaxed);
            self.worker.command(self.clock.now(), command, &mut self.outbox);
            self.settle();
        }
        true
    }

    /// Carries out what the worker wants.
    fn settle(&mut self) {
        self.flush();
        for change in self.outbox.ports.drain(..) {
            let (Slot(index), closed) = match change {
                PortChange::Taken(slot) => (slot, false),
                PortChange::Closed(slot) => (slot, true),
            };
            let Some(place) = self.pairs.get_mut(index as usize) else { continue };
            let Some(pair) = place else { continue };
            let (worker, address, number) = (self.number, pair.address, pair.number);
            let notice = if closed {
                let taken = pair.taken;
                *place = None;
                Notice::Closed { worker, address, number, taken }
            } else {
                pair.taken = true;
                Notice::Taken { worker, address }
            };
            // The channel holds two notices for every port that can be bound, so it is never full.
            let _ = self.notices.try_send(notice);
        }
        for event in self.outbox.events.drain(..) {
            self.events.push(event);
        }
    }

    fn flush(&mut self) {
        let datagrams = self.outbox.datagrams();
        let mut at = 0;
        while let Some(first) = datagrams.get(at) {
            let run = datagrams[at..]
                .iter()
                .take(BATCH_MAX)
                .take_while(|next| (next.slot, next.channel) == (first.slot, first.channel));
            let Some(Some(pair)) = self.pairs.get(first.slot.index()) else {
                at += 1;
                continue;
            };
            let batch = run.map(|datagram| (datagram.to, self.outbox.bytes(datagram)));
            let counters = self.worker.counters_mut();
            match self.send.send(pair.socket(first.channel), batch) {
                Ok(sent) => {
                    for datagram in &datagrams[at..at + sent] {
                        counters.packets_out += 1;
                        counters.bytes_out += self.outbox.bytes(datagram).len() as u64;
                    }
                    at += sent.max(1);
                }
                // No route, no buffer: sound that is late is worth nothing, so it is not tried again.
                Err(_) => {
                    counters.drop(DropReason::SendFailed);
                    at += 1;
                }
            }
        }
        self.outbox.clear_datagrams();
    }

    fn publish(&self) {
        let (reserved, in_use) = self.worker.ports();
        let gauges = Gauges {
            reserved,
            in_use,
            events_pending: self.events.pending(),
            events_dropped: self.events.dropped(),
            turns: self.turns,
            faults: self.faults,
        };
        self.metrics.worker(self.number).publish(self.worker.counters(), gauges);
    }

    fn say_goodbye(&mut self) {
        let mut from = Some(0);
        while let Some(index) = from {
            from = self.worker.farewell(self.clock.now(), index, &mut self.outbox);
            self.flush();
        }
    }
}

fn to_token(slot: Slot, channel: Channel) -> u64 {
    u64::from(slot.0) << 1 | u64::from(channel == Channel::Rtcp)
}

fn from_token(token: u64) -> (Slot, Channel) {
    (Slot((token >> 1) as u32), if token & 1 == 0 { Channel::Rtp } else { Channel::Rtcp })
}
