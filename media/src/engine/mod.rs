//! The engine: worker threads, the reserve's thread, and the rings between them and everybody else.
//!
//! ```text
//!  send(command) ──bounded ring, eventfd──▶ media-0, media-1 … ──sink──▶ events
//!                                              ▲ │
//!                               bound pairs    │ ▼ taken, closed
//!                                           media-reserve
//! ```
//!
//! Nothing here blocks on a sink, and no worker waits for another thread.

mod clock;
mod events;
mod metrics;
mod reserve;
mod sys;
mod thread;
mod wake;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dialtone_core::media::{MediaCommand, MediaEvent};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

pub use self::metrics::{EngineMetrics, Metric, MetricKind, QueueDepth, ReserveMetrics, WorkerMetrics};

use self::clock::Clock;
use self::reserve::{Customer, PortPool, Reserve};
use self::thread::{Parts, WorkerThread};
use self::wake::Wake;
use crate::leg::SilenceLimits;
use crate::prompt::PromptLibrary;
use crate::worker::{Worker, WorkerConfig};

/// Workers of an engine.
pub const WORKERS_MAX: u16 = 256;

/// How an engine runs. [`EngineConfig::new`] fills in the usual values.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Threads that move packets, 1 to [`WORKERS_MAX`]; about one per core.
    pub workers: u16,
    /// Addresses of which each worker keeps ports. What a peer is told instead is signaling's affair.
    pub addresses: Vec<IpAddr>,
    /// Port numbers that may be bound; RTP takes the even ones.
    pub ports: RangeInclusive<u16>,
    /// Bound pairs that each worker keeps ready per address.
    pub reserve: usize,
    /// How long a port number rests after use.
    pub quarantine: Duration,
    /// When a peer that should be heard is reported silent.
    pub rtp_timeout: Duration,
    /// When a peer that should not be heard is: no packet and no report.
    pub hold_timeout: Duration,
    /// DiffServ code point of every packet, 0 to 63 (RFC 4594 §4.1: 46 for telephony).
    pub dscp: u8,
    /// Commands that may wait for a worker.
    pub commands_max: usize,
    /// What can be played.
    pub prompts: Arc<PromptLibrary>,
    /// From the system's random source: port numbers, sources and first numbers follow from it, and
    /// must not be guessed (RFC 3550 §9.1, §B).
    pub seed: [u8; 32],
}

impl EngineConfig {
    /// One worker on these addresses, ports 16384 to 32767, 32 in reserve.
    pub fn new(addresses: Vec<IpAddr>, prompts: Arc<PromptLibrary>, seed: [u8; 32]) -> Self {
        Self {
            workers: 1,
            addresses,
            ports: 16_384..=32_767,
            reserve: 32,
            quarantine: Duration::from_secs(10),
            rtp_timeout: Duration::from_secs(60),
            hold_timeout: Duration::from_secs(30 * 60),
            dscp: 46,
            commands_max: 4096,
            prompts,
            seed,
        }
    }
}

/// Why an engine cannot start: the configuration, or the machine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A number of workers that makes no sense.
    #[error("{0} media workers: 1 to {WORKERS_MAX} are possible")]
    Workers(u16),
    /// There is no address to bind.
    #[error("no media address is configured")]
    NoAddress,
    /// The range does not hold one pair.
    #[error("media ports {}-{} hold no pair of an even and an odd number", .0.start(), .0.end())]
    Ports(RangeInclusive<u16>),
    /// The address is not one of this machine's.
    #[error("media address {address} cannot be bound: {source}")]
    Bind {
        /// Which.
        address: IpAddr,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused a thread or a descriptor.
    #[error("media engine cannot start: {0}")]
    Kernel(#[from] io::Error),
}

/// A running engine. Dropping it says goodbye on every line and ends its threads.
#[derive(Debug)]
pub struct Engine {
    workers: Vec<WorkerHandle>,
    reserve: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    metrics: Arc<EngineMetrics>,
}

struct WorkerHandle {
    commands: SyncSender<MediaCommand>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerHandle").finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the threads. [`MediaEvent::Ready`] follows when ports are bound.
    ///
    /// `sink` takes events on the workers' own threads: it must neither block nor lock, and gives an
    /// event back when there is no room. Then it is offered again within 5 ms; only
    /// [`MediaEvent::Latched`] may be lost, and is counted.
    ///
    /// # Errors
    /// [`EngineError`] names what in the configuration, or on this machine, stands in the way.
    pub fn start<S>(config: EngineConfig, sink: S) -> Result<Self, EngineError>
    where
        S: FnMut(MediaEvent) -> Result<(), MediaEvent> + Clone + Send + 'static,
    {
        check(&config)?;
        let clock = Clock::start();
        let wall_at_zero = clock::wall();
        let stop = Arc::new(AtomicBool::new(false));
        let metrics = Arc::new(EngineMetrics::new(config.workers, config.commands_max));
        let pools: Vec<_> = config.addresses.iter().map(|_| PortPool::new(&config.ports)).collect();
        let pairs_max = pools.iter().map(PortPool::free).sum::<usize>();
        let (notice_sender, notices) = sync_channel(2 * pairs_max);
        let mut engine = Self {
            workers: Vec::new(),
            reserve: None,
            stop: Arc::clone(&stop),
            metrics: Arc::clone(&metrics),
        };
        let mut customers = Vec::new();
        for number in 0..config.workers {
            let (commands, command_receiver) = sync_channel(config.commands_max);
            let (bound, bound_receiver) = sync_channel(config.reserve * config.addresses.len());
            let wake = Arc::new(Wake::new()?);
            let worker = Worker::new(WorkerConfig {
                number,
                silence: SilenceLimits { rtp: config.rtp_timeout, hold: config.hold_timeout },
                prompts: Arc::clone(&config.prompts),
                seed: config.seed,
                wall_at_zero,
            });
            let thread = WorkerThread::new(Parts {
                number,
                clock,
                worker,
                wake: Arc::clone(&wake),
                stop: Arc::clone(&stop),
                commands: command_receiver,
                bound: bound_receiver,
                notices: notice_sender.clone(),
                metrics: Arc::clone(&metrics),
                sink: sink.clone(),
            })?;
            let thread = Builder::new().name(format!("media-{number}")).spawn(move || thread.run())?;
            customers.push(Customer { bound, wake: Arc::clone(&wake) });
            engine.workers.push(WorkerHandle { commands, wake, thread: Some(thread) });
        }
        let mut random = ChaCha12Rng::from_seed(config.seed);
        random.set_stream(u64::from(u16::MAX));
        let reserve = Reserve {
            clock,
            pools,
            held: vec![vec![0; config.addresses.len()]; usize::from(config.workers)],
            exhausted: vec![false; config.addresses.len()],
            addresses: config.addresses,
            customers,
            wanted: config.reserve,
            quarantine: config.quarantine,
            dscp: config.dscp,
            random,
            notices,
            metrics,
        };
        engine.reserve = Some(Builder::new().name("media-reserve".into()).spawn(move || reserve.run())?);
        Ok(engine)
    }

    /// Queues a command for its worker. One for a worker that does not exist is ignored, like any
    /// for a port that is gone.
    ///
    /// # Errors
    /// Gives the command back when the worker's ring is full.
    // It is the caller's own value that comes back; boxing it would cost every command that does not.
    #[allow(clippy::result_large_err)]
    pub fn send(&self, command: MediaCommand) -> Result<(), MediaCommand> {
        let number = command.worker();
        let Some(worker) = self.workers.get(usize::from(number)) else { return Ok(()) };
        // Counted before it is queued, so that the worker never takes the count below zero.
        let queued = &self.metrics.worker(number).commands_queued;
        queued.fetch_add(1, Ordering::Relaxed);
        match worker.commands.try_send(command) {
            Ok(()) => {
                worker.wake.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                queued.fetch_sub(1, Ordering::Relaxed);
                Err(command)
            }
        }
    }

    /// What the engine counts; stays readable after it has ended.
    pub fn metrics(&self) -> &Arc<EngineMetrics> {
        &self.metrics
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.wake.wake();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker survives its panics; there is nothing to learn from its end.
                let _ = thread.join();
            }
        }
        // The reserve ends when the last worker has dropped its end of the notices.
        if let Some(reserve) = self.reserve.take() {
            let _ = reserve.join();
        }
    }
}

/// What can be known before the first thread runs.
fn check(config: &EngineConfig) -> Result<(), EngineError> {
    if !(1..=WORKERS_MAX).contains(&config.workers) {
        return Err(EngineError::Workers(config.workers));
    }
    if config.addresses.is_empty() {
        return Err(EngineError::NoAddress);
    }
    if PortPool::new(&config.ports).free() == 0 {
        return Err(EngineError::Ports(config.ports.clone()));
    }
    for &address in &config.addresses {
        reserve::socket(SocketAddr::new(address, 0), config.dscp)
            .map_err(|source| EngineError::Bind { address, source })?;
    }
    Ok(())
}
