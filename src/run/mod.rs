//! The server as a process: starts the shells, runs the control thread, drains, stops.
//!
//! ```text
//!  tokio: SIP sockets ─┐                    ┌─▶ SIP sockets
//!  media threads ──────┼─▶ control thread ──┼─▶ media threads
//!  admin socket, state ┘    (control.rs)    ├─▶ state writer
//!                                           └─▶ record keeper (keeper.rs) ─▶ CDRs, traces, view
//! ```

mod control;
mod effects;
mod keeper;
mod metrics;
mod restore;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dialtone_api::{
    AdminSocket, Health, Limits as HttpLimits, PageFacts, Public, Registry, Status, View, admin_router,
    public_router, serve as serve_http,
};
use dialtone_core::command::Command;
use dialtone_core::event::Fact;
use dialtone_core::pbx::Limits;
use dialtone_core::{Cause, NodeId};
use dialtone_media::{Engine, EngineConfig, EngineError, MediaAddress, PromptError, PromptLibrary};
use dialtone_signaling::auth::{Accounts, Algorithm, NonceKey, ThrottlePolicy};
use dialtone_signaling::message::Host;
use dialtone_signaling::registrar::{ContactPolicy as Contacts, ExpiryPolicy};
use dialtone_signaling::stack::{SipInput, Socket, StackConfig, Subscriber, Subscribers};
use dialtone_signaling::transaction::Timing;
use dialtone_signaling::transport::{Clock, StartError, TransportConfig, TransportHandle, Transports};
use dialtone_signaling::ua::Identity;
use dialtone_signaling::wire::{FlowId, Transport};
use dialtone_store::records::RecordSettings;
use dialtone_store::{DataDir, DataDirError, RecordReader, Records, SledStore, StateError, StateWriter};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::control::{Control, ControlQueue, Replies};
use self::effects::Shell;
use self::keeper::{Keeper, LiveTraces};
use crate::clock::ProcessClock;
use crate::config::Config;
use crate::site::{ContactPolicy, Digest, Loaded};
use crate::switch::{Input, Switch, SwitchCounts};

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The live state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The media engine.
    #[error(transparent)]
    Media(#[from] EngineError),
    /// A SIP socket.
    #[error(transparent)]
    Sip(#[from] StartError),
    /// An HTTP socket.
    #[error("cannot bind HTTP {0}: {1}")]
    Http(SocketAddr, #[source] io::Error),
    /// A thread, a file, a signal.
    #[error("cannot {0}: {1}")]
    Io(&'static str, #[source] io::Error),
}

/// How long BYEs and their answers may take when everything is to end.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often the drain looks whether the last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// Calls beside the running ones that the view may show while they settle.
const VIEW_SPARE: usize = 1000;

/// Runs the server until SIGTERM or SIGINT; then drains: no new calls, and the running ones have
/// `calls.drain_timeout` to end. A second signal ends them at once.
///
/// # Errors
/// [`ServeError`] says what stood in the way of starting. Nothing runs then.
pub fn serve(config: Config, loaded: Loaded) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| ServeError::Io("start the runtime", error))?;
    runtime.block_on(run(config, loaded))
}

async fn run(config: Config, loaded: Loaded) -> Result<(), ServeError> {
    let clock = ProcessClock::start();
    let data = DataDir::claim(&config.data.dir, clock.now().wall)?;
    let status = Arc::new(AtomicU8::new(Status::Starting as u8));
    let counts = Arc::new(Mutex::new(SwitchCounts::default()));
    let congested = Arc::new(AtomicBool::new(false));

    let (inputs, received) = sync_channel(config.limits.control_queue);
    let queue = ControlQueue::new(inputs, config.limits.control_queue);

    let opened = SledStore::open(&data.state(), clock.now().wall)?;
    let writers = Arc::new(metrics::Writers::default());
    writers.moved_aside.store(opened.moved_aside.is_some(), Ordering::Relaxed);
    let bindings = restore::bindings(&opened.store, clock.reading())?;
    let state = {
        let queue = queue.clone();
        let notify = move |notice| queue.noticed(notice);
        StateWriter::spawn(opened.store, config.limits.state_queue, notify)
            .map_err(|error| ServeError::Io("start the state writer", error))?
    };
    let records = Records::open(record_settings(&config, &data), |_| {})
        .map_err(|error| ServeError::Io("open the records", error))?;

    let (site, subscribers) = (Arc::new(loaded.site.clone()), Arc::new(subscribers(&loaded)));
    let nonce_key =
        NonceKey::new(nonce_secret(&config, data.boot())?).with_lifetime(config.auth.nonce_lifetime);
    let engine = start_media(&config, &queue)?;
    let transports = start_sip(&config, clock, &queue, &subscribers, &nonce_key).await?;

    let view = Arc::new(View::new(config.calls.max_calls as usize + VIEW_SPARE));
    let live = LiveTraces::new(RecordReader::in_data_dir(data.path()));
    let (keeper, kept) = sync_channel(config.limits.event_queue);
    let keeper_thread = Keeper {
        received: kept,
        records,
        view: Arc::clone(&view),
        live: live.clone(),
        congested: Arc::clone(&congested),
        clock,
        writers: Arc::clone(&writers),
    }
    .spawn()
    .map_err(|error| ServeError::Io("start the record keeper", error))?;

    let stack = stack_config(&config, &data, nonce_key)?;
    let limits = Limits {
        calls_max: config.calls.max_calls as usize,
        branches_max: config.calls.max_branches as usize,
    };
    let mut switch = Switch::new(stack, limits, site, subscribers);
    let replies = Arc::new(Replies::default());
    let media_metrics = Arc::clone(engine.metrics());
    let shell = Shell::new(transports.handle(), engine, keeper, state, clock, Arc::clone(&replies));
    let turns = Arc::new(metrics::Turns::default());
    let control = Control {
        clock,
        received,
        queue: queue.clone(),
        shell,
        counts: Arc::clone(&counts),
        congested: Arc::clone(&congested),
        turns: Arc::clone(&turns),
        writers: Arc::clone(&writers),
    };
    let boot = first_inputs(&data, &transports.handle(), bindings);
    let control_thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || or_die("control", || control.run(&mut switch, boot)))
        .map_err(|error| ServeError::Io("start the control thread", error))?;

    let (stop, stopped) = watch::channel(false);
    let registry = metrics::registry(metrics::Sources {
        counts: Arc::clone(&counts),
        queue: queue.clone(),
        turns,
        writers,
        transport: transports.handle().metrics(),
        media: media_metrics,
        view: Arc::clone(&view),
        clock,
    });
    let http = start_http(&config, &loaded, registry, (Arc::clone(&status), clock), &stopped).await?;
    let admin_path = data.admin_socket();
    let (admin_socket, listener) =
        AdminSocket::bind(&admin_path).map_err(|error| ServeError::Io("bind the admin socket", error))?;
    let commands = replies.commands(queue.clone());
    let admin = tokio::spawn(serve_http(
        listener,
        admin_router(VERSION, view, commands.clone(), live),
        http_limits(&config),
        stopped,
    ));

    status.store(Status::Ok as u8, Ordering::Release);
    tracing::info!(udp = ?config.sip.udp, tcp = ?config.sip.tcp, http = ?config.http.bind, "dialtone runs");

    let signals = Signals::new().map_err(|error| ServeError::Io("listen for signals", error))?;
    drain(&config, signals, &commands, &counts, &status).await;

    status.store(Status::Stopping as u8, Ordering::Release);
    queue.stop();
    // The control thread ends its media, its writers' queues and the keeper with it.
    let ended = tokio::task::spawn_blocking(move || (control_thread.join(), keeper_thread.join())).await;
    if !matches!(ended, Ok((Ok(()), Ok(())))) {
        tracing::error!("a thread ended with a panic");
    }
    transports.shutdown().await;
    // Nobody listens any more when this fails.
    let _ = stop.send(true);
    for server in http {
        let _ = server.await;
    }
    let _ = admin.await;
    drop(admin_socket);
    tracing::info!("dialtone has stopped");
    Ok(())
}

/// Runs a thread without which the server must not go on: a phone system that looks alive and decides
/// nothing is worse than one that its supervisor starts again. Registrations are safe on disk by then.
fn or_die(name: &str, run: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
        tracing::error!(thread = name, "a thread that must not end has panicked; the server ends with it");
        std::process::abort();
    }
}

fn first_inputs(data: &DataDir, transport: &TransportHandle, bindings: Vec<SipInput>) -> Vec<Input> {
    let sockets = transport.locals().into_iter().scan(0, |flow, (kind, local)| {
        // UDP sockets are flows 1, 2 … in the order of their binding; listeners are none.
        let udp = kind == Transport::Udp;
        *flow += u64::from(udp);
        Some(Socket { transport: kind, flow: FlowId(if udp { *flow } else { 0 }), local })
    });
    let sockets = Input::Sip(SipInput::Sockets(sockets.collect()));
    let started = Input::Process(Fact::Started { version: VERSION.into(), boot: data.boot() });
    [started, sockets].into_iter().chain(bindings.into_iter().map(Input::Sip)).collect()
}

/// Waits for the signal to stop, then until the last call has ended, time is up, or it is said twice.
async fn drain(
    config: &Config,
    mut signals: Signals,
    commands: &control::Commands,
    counts: &Mutex<SwitchCounts>,
    status: &AtomicU8,
) {
    use dialtone_api::Control as _;
    signals.next().await;
    status.store(Status::Draining as u8, Ordering::Release);
    let calls = || counts.lock().unwrap_or_else(PoisonError::into_inner).calls;
    let busy = || {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.calls + counts.stack.legs > 0
    };
    tracing::info!(calls = calls(), timeout_s = config.calls.drain_timeout.as_secs(), "draining");
    let _ = commands.command(Command::Drain).await;
    tokio::select! {
        () = until(|| calls() == 0) => {}
        () = pause(config.calls.drain_timeout) => {}
        () = signals.next() => {}
    }
    if calls() > 0 {
        tracing::info!(calls = calls(), "ending the calls that are left");
        let _ = commands.command(Command::HangUpAll { cause: Cause::NormalUnspecified }).await;
    }
    // BYEs that nobody answers are not worth waiting for long.
    let _ = tokio::time::timeout(FAREWELL, until(|| !busy())).await;
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        pause(DRAIN_LOOK).await;
    }
}

#[allow(clippy::disallowed_methods)] // the shell's own waiting, outside of any machine
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn record_settings(config: &Config, data: &DataDir) -> RecordSettings {
    RecordSettings {
        queue: config.limits.record_queue,
        cdr_file_bytes: config.data.cdr_file_bytes,
        trace_file_bytes: config.data.trace_file_bytes,
        trace_files: config.data.trace_files,
        ..RecordSettings::in_folder(data.records())
    }
}

fn subscribers(loaded: &Loaded) -> Subscribers {
    let passwords = loaded.accounts.iter().map(|account| (account.number.clone(), account.password.reveal()));
    // Whoever does not exist is challenged as the site's extensions are.
    let mut accounts = Accounts::new(&loaded.realm, &algorithms(&loaded.algorithms), passwords);
    for account in &loaded.accounts {
        accounts.set_algorithms(&account.number, &algorithms(&account.algorithms));
    }
    let subscriber = |account: &crate::site::AccountSpec| {
        let name = loaded.site.extensions.get(&account.number).map(|extension| extension.name.clone());
        let contacts = Contacts {
            contacts_max: account.max_contacts as usize,
            replaces_oldest: account.contact_policy == ContactPolicy::ReplaceOldest,
        };
        (account.number.clone(), Subscriber { name: name.unwrap_or_default(), contacts })
    };
    Subscribers { accounts: Arc::new(accounts), by_number: loaded.accounts.iter().map(subscriber).collect() }
}

fn algorithms(configured: &[Digest]) -> Vec<Algorithm> {
    let algorithm = |digest: &Digest| match digest {
        Digest::Md5 => Algorithm::Md5,
        Digest::Sha256 => Algorithm::Sha256,
    };
    configured.iter().map(algorithm).collect()
}

fn stack_config(config: &Config, data: &DataDir, nonce_key: NonceKey) -> Result<StackConfig, ServeError> {
    let sip = &config.sip;
    Ok(StackConfig {
        identity: Identity {
            domain: sip.domain.clone(),
            product: format!("Dialtone/{VERSION}"),
            public_host: Host::parse(&sip.public_host),
        },
        timing: Timing { t1: sip.t1, ..Timing::default() },
        expiry: ExpiryPolicy { min: sip.expires_min, max: sip.expires_max, default: sip.expires_default },
        transactions_max: sip.max_transactions,
        legs_max: sip.max_dialogs,
        node: NodeId(1),
        boot: data.boot(),
        seed: random_bytes()?,
        nonce_key,
    })
}

fn random_bytes() -> Result<[u8; 32], ServeError> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| ServeError::Io("read random bytes", error))?;
    Ok(bytes)
}

/// The configured secret and the boot, stretched to a key; random without a secret. A key must not
/// outlive the process: what was used of a nonce is forgotten with it, and could be replayed.
fn nonce_secret(config: &Config, boot: u32) -> Result<[u8; 32], ServeError> {
    let secret = config.auth.nonce_secret.reveal();
    if secret.is_empty() {
        return random_bytes();
    }
    let digest = Algorithm::Sha256.hash(&[secret.as_bytes(), &boot.to_be_bytes()]);
    Ok(std::array::from_fn(|index| digest.as_bytes().get(index).copied().unwrap_or(0)))
}

fn start_media(config: &Config, queue: &ControlQueue) -> Result<Engine, ServeError> {
    let rtp = &config.rtp;
    let mut prompts = PromptLibrary::embedded()?;
    if config.site.prompts.is_dir() {
        prompts.add_folder(&config.site.prompts)?;
    }
    let advertise = |bind: &std::net::IpAddr| MediaAddress {
        bind: *bind,
        advertise: rtp
            .public_addresses
            .iter()
            .copied()
            .find(|public| public.is_ipv4() == bind.is_ipv4())
            .unwrap_or(*bind),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let media = EngineConfig {
        workers: if rtp.workers == 0 { u16::try_from(cores).unwrap_or(u16::MAX) } else { rtp.workers },
        ports: rtp.port_min..=rtp.port_max,
        reserve: usize::from(rtp.reserve),
        quarantine: rtp.quarantine,
        rtp_timeout: rtp.timeout,
        hold_timeout: rtp.hold_timeout,
        commands_max: config.limits.media_queue,
        ..EngineConfig::new(rtp.bind.iter().map(advertise).collect(), Arc::new(prompts), random_bytes()?)
    };
    let queue = queue.clone();
    Ok(Engine::start(media, move |event| queue.media(event))?)
}

async fn start_sip(
    config: &Config,
    clock: ProcessClock,
    queue: &ControlQueue,
    subscribers: &Subscribers,
    key: &NonceKey,
) -> Result<Transports, ServeError> {
    let limits = dialtone_signaling::transport::Limits {
        message_bytes: config.sip.max_message_bytes,
        connections: config.sip.max_connections,
        connections_per_source: config.sip.max_connections_per_source,
        idle_deadline: config.sip.connection_idle,
        throttle: ThrottlePolicy {
            per_account: config.auth.failures_per_account as usize,
            per_source: config.auth.failures_per_source as usize,
            window: config.auth.failure_window,
        },
        datagram_queue: config.limits.send_queue,
        ..Default::default()
    };
    let transport = TransportConfig {
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        limits,
        key: key.clone(),
        clock: Clock::new(move || clock.now()),
    };
    let queue = queue.clone();
    let sink = move |class, event| queue.transport(class, event).map_err(Box::new);
    Ok(Transports::start(transport, Arc::clone(&subscribers.accounts), sink).await?)
}

fn http_limits(config: &Config) -> HttpLimits {
    HttpLimits {
        body_bytes: config.http.max_body_bytes,
        timeout: config.http.timeout,
        ..HttpLimits::default()
    }
}

async fn start_http(
    config: &Config,
    loaded: &Loaded,
    registry: Registry,
    (status, clock): (Arc<AtomicU8>, ProcessClock),
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, ServeError> {
    let health = move || Health {
        status: match status.load(Ordering::Acquire) {
            value if value == Status::Starting as u8 => Status::Starting,
            value if value == Status::Ok as u8 => Status::Ok,
            value if value == Status::Draining as u8 => Status::Draining,
            _ => Status::Stopping,
        },
        version: VERSION.into(),
        uptime_s: clock.now().mono.as_nanos() / 1_000_000_000,
    };
    let register =
        config.sip.udp.iter().chain(&config.sip.tcp).map(SocketAddr::to_string).collect::<Vec<_>>();
    let page = PageFacts {
        version: VERSION.into(),
        site: loaded.site.name.clone(),
        facts: vec![
            ("Register phones at".into(), register.join(", ")),
            ("SIP domain".into(), config.sip.domain.clone()),
            ("Extensions".into(), loaded.site.extensions.len().to_string()),
            ("Echo test".into(), "*43".into()),
        ],
    };
    let router = public_router(Public { health: Box::new(health), metrics: registry, page });
    let mut servers = Vec::new();
    for address in &config.http.bind {
        let listener =
            tokio::net::TcpListener::bind(address).await.map_err(|e| ServeError::Http(*address, e))?;
        servers.push(tokio::spawn(serve_http(
            listener,
            router.clone(),
            http_limits(config),
            stopped.clone(),
        )));
    }
    Ok(servers)
}

/// Sends to a bounded queue that only a stopped server leaves unread.
fn offer<T>(sender: &SyncSender<T>, value: T) -> Result<(), T> {
    use std::sync::mpsc::TrySendError;
    sender.try_send(value).map_err(|error| match error {
        TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
    })
}
