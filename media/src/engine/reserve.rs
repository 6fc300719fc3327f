//! The reserve: a thread that keeps bound RTP/RTCP pairs ready for every worker, so that a call never
//! waits for the kernel and never fails late.
//!
//! ```text
//!  free ──draw at random, bind──▶ reserve ──Configure──▶ in use
//!   ▲                                │                     │
//!   └──────── quarantine ◀───────────┴───────Release───────┘
//! ```
//!
//! Numbers are drawn at random because a predictable one invites injection, and rest after use because
//! the packets of the last call may still be under way.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use dialtone_core::Mono;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use socket2::{Domain, Protocol, Socket, Type};

use super::clock::Clock;
use super::metrics::EngineMetrics;
use super::wake::Wake;

/// After a failure that is not about one port number: no descriptors, no address.
const RETRY: Duration = Duration::from_secs(1);

/// A bound pair on its way to a worker.
pub struct BoundPair {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    /// Index of its address in the configuration.
    pub address: usize,
    /// Where its two sockets are bound.
    pub bound: [SocketAddr; 2],
    /// The even number.
    pub number: u16,
}

/// What a worker did with a pair.
pub enum Notice {
    /// A call uses it now.
    Taken { worker: u16, address: usize },
    /// Its sockets are closed.
    Closed { worker: u16, address: usize, number: u16, taken: bool },
}

/// The numbers of one address that are not bound.
#[derive(Debug, Default)]
pub struct PortPool {
    free: Vec<u16>,
    resting: VecDeque<(Mono, u16)>,
}

impl PortPool {
    /// Every even number of the range whose odd neighbor lies in it too.
    pub fn new(range: &RangeInclusive<u16>) -> Self {
        let pairs = range.clone().filter(|number| number % 2 == 0 && *number < *range.end());
        Self { free: pairs.filter(|number| *number > 0).collect(), resting: VecDeque::new() }
    }

    /// How many numbers are free to be drawn.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many rest.
    pub fn resting(&self) -> usize {
        self.resting.len()
    }

    /// A number at random; `None` when all are bound or rest.
    pub fn draw(&mut self, random: &mut impl RngCore) -> Option<u16> {
        let index = (random.next_u32() as usize).checked_rem(self.free.len())?;
        Some(self.free.swap_remove(index))
    }

    /// A number that was drawn in vain.
    pub fn put_back(&mut self, number: u16) {
        self.free.push(number);
    }

    /// A number that may not be used before `until`, which never lies before that of an earlier call.
    pub fn rest(&mut self, number: u16, until: Mono) {
        self.resting.push_back((until, number));
    }

    /// Frees what has rested. Returns when the next number will be free.
    pub fn wake(&mut self, now: Mono) -> Option<Mono> {
        while let Some((_, number)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.free.push(number);
        }
        self.resting.front().map(|(until, _)| *until)
    }
}

/// A worker as the reserve sees it.
pub struct Customer {
    pub bound: SyncSender<BoundPair>,
    pub wake: Arc<Wake>,
}

/// The thread's state.
pub struct Reserve {
    pub clock: Clock,
    pub addresses: Vec<IpAddr>,
    pub pools: Vec<PortPool>,
    pub customers: Vec<Customer>,
    /// Pairs in reserve, by worker and address.
    pub held: Vec<Vec<usize>>,
    pub wanted: usize,
    pub quarantine: Duration,
    pub dscp: u8,
    pub random: ChaCha12Rng,
    pub notices: Receiver<Notice>,
    pub metrics: Arc<EngineMetrics>,
    /// Addresses that have run out, so that each time is counted once.
    pub exhausted: Vec<bool>,
}

impl Reserve {
    /// Runs until every worker is gone.
    pub fn run(mut self) {
        loop {
            let now = self.clock.now();
            let next = self.fill(now);
            self.publish();
            let notice = match next {
                Some(at) => match self.notices.recv_timeout(at.since(now)) {
                    Ok(notice) => notice,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match self.notices.recv() {
                    Ok(notice) => notice,
                    Err(_) => return,
                },
            };
            self.note(notice);
            while let Ok(notice) = self.notices.try_recv() {
                self.note(notice);
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Taken { worker, address } => self.held[usize::from(worker)][address] -= 1,
            Notice::Closed { worker, address, number, taken } => {
                if !taken {
                    self.held[usize::from(worker)][address] -= 1;
                }
                self.pools[address].rest(number, self.clock.now() + self.quarantine);
                self.metrics.reserve.bound.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Binds what is missing. Returns when there is something to do again without a notice.
    fn fill(&mut self, now: Mono) -> Option<Mono> {
        let mut next: Option<Mono> = None;
        for address in 0..self.addresses.len() {
            let free_again = self.pools[address].wake(now);
            let again = match self.fill_address(now, address) {
                Ok(true) => {
                    self.exhausted[address] = false;
                    continue;
                }
                Ok(false) => {
                    if !std::mem::replace(&mut self.exhausted[address], true) {
                        self.metrics.reserve.exhausted.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(address = %self.addresses[address], "no media port is free");
                    }
                    free_again
                }
                Err(error) => {
                    tracing::warn!(address = %self.addresses[address], %error, "media port not bound");
                    Some(now + RETRY)
                }
            };
            next = next.into_iter().chain(again).min();
        }
        for (customer, held) in self.customers.iter().zip(&self.held) {
            if held.iter().any(|held| *held > 0) {
                customer.wake.wake();
            }
        }
        next
    }

    /// Returns whether every worker has what it wants of this address.
    fn fill_address(&mut self, now: Mono, address: usize) -> io::Result<bool> {
        // One pair for each in turn, so that a small range is shared.
        loop {
            let mut satisfied = true;
            for worker in 0..self.customers.len() {
                if self.held[worker][address] >= self.wanted {
                    continue;
                }
                satisfied = false;
                let Some(pair) = self.bind(now, address)? else { return Ok(false) };
                // The ring holds a whole reserve, so only a worker that is gone refuses.
                if self.customers[worker].bound.try_send(pair).is_err() {
                    return Ok(true);
                }
                self.held[worker][address] += 1;
                self.metrics.reserve.bound.fetch_add(1, Ordering::Relaxed);
            }
            if satisfied {
                return Ok(true);
            }
        }
    }

    fn bind(&mut self, now: Mono, address: usize) -> io::Result<Option<BoundPair>> {
        let ip = self.addresses[address];
        while let Some(number) = self.pools[address].draw(&mut self.random) {
            let pair = socket(SocketAddr::new(ip, number), self.dscp)
                .and_then(|rtp| Ok((rtp, socket(SocketAddr::new(ip, number + 1), self.dscp)?)));
            match pair {
                Ok((rtp, rtcp)) => {
                    let bound = [number, number + 1].map(|number| SocketAddr::new(ip, number));
                    return Ok(Some(BoundPair { rtp, rtcp, address, bound, number }));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    // Another program has it; perhaps not for long.
                    self.metrics.reserve.bind_failures.fetch_add(1, Ordering::Relaxed);
                    self.pools[address].rest(number, now + self.quarantine);
                }
                Err(error) => {
                    self.metrics.reserve.bind_failures.fetch_add(1, Ordering::Relaxed);
                    self.pools[address].put_back(number);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn publish(&self) {
        let resting = self.pools.iter().map(PortPool::resting).sum::<usize>();
        self.metrics.reserve.quarantined.store(resting as u64, Ordering::Relaxed);
    }
}

/// A bound UDP socket whose packets carry this DiffServ code point (RFC 4594 §4.1).
pub fn socket(address: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    let class = u32::from(dscp) << 2;
    if address.is_ipv6() {
        // Without this, one socket on `::` would take the IPv4 port of the same number too.
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(class)?;
    } else {
        socket.set_tos_v4(class)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_pool_holds_whole_pairs_only() {
        let cases = [
            (4000..=4000, 0),
            (4000..=4001, 1),
            (4001..=4004, 1),
            (4001..=4005, 2),
            (0..=3, 1),
            (65_534..=65_535, 1),
        ];
        for (range, expected) in cases {
            assert_eq!(PortPool::new(&range).free(), expected, "{range:?}");
        }
    }

    #[test]
    fn numbers_come_at_random_and_rest_after_use() {
        let mut random = ChaCha12Rng::from_seed([1; 32]);
        let mut pool = PortPool::new(&(4000..=4199));
        let drawn: Vec<_> = std::iter::from_fn(|| pool.draw(&mut random)).collect();
        let mut sorted = drawn.clone();
        sorted.sort_unstable();
        assert_ne!(drawn, sorted);
        sorted.dedup();
        assert_eq!(sorted.len(), 100);

        pool.rest(drawn[0], Mono::from_millis(10));
        pool.rest(drawn[1], Mono::from_millis(20));
        assert_eq!(pool.wake(Mono::from_millis(9)), Some(Mono::from_millis(10)));
        assert_eq!(pool.draw(&mut random), None);
        assert_eq!(pool.wake(Mono::from_millis(10)), Some(Mono::from_millis(20)));
        assert_eq!(pool.draw(&mut random), Some(drawn[0]));
        assert_eq!(pool.wake(Mono::from_millis(20)), None);
    }
}
