//! The server as a process: starts the shells, runs the control thread, drains, stops.
//!
//! ```text
//!  tokio: SIP sockets ─┐                    ┌─▶ SIP sockets
//!  media threads ──────┼─▶ control thread ──┼─▶ media threads
//!  admin socket, state ┘    (control.rs)    ├─▶ state writer
//!                                           └─▶ record keeper (keeper.rs) ─▶ CDRs, traces, view
//! ```

mod addresses;
mod certificates;
mod control;
mod drain;
mod effects;
mod files;
mod held;
mod journal;
mod keeper;
mod lag;
mod metrics;
mod notes;
mod parts;
mod queues;
mod restore;
mod turns;
mod waiting;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use dialtone_api::{AdminSocket, Status, TurnSource, View, admin_router, serve as serve_http};
use dialtone_core::event::Fact;
use dialtone_core::pbx::Limits;
use dialtone_media::{EngineError, PromptError};
use dialtone_signaling::auth::NonceKey;
use dialtone_signaling::stack::{SipInput, Socket};
use dialtone_signaling::transport::{StartError, TransportHandle};
use dialtone_signaling::wire::{FlowId, Transport};
use dialtone_store::{DataDir, DataDirError, RecordReader, Records, SledStore, StateError, StateWriter};
use tokio::sync::watch;

use self::addresses::Watch;
use self::certificates::Reload;
use self::control::{Control, ControlQueue, Replies};
use self::drain::{Signals, drain};
use self::effects::Shell;
use self::held::Held;
use self::journal::{Journal, Left};
use self::keeper::{Keeper, LiveTraces};
use self::lag::Lag;
use self::notes::Notes;
use self::parts::{
    Shown, certificates, http_limits, nonce_secret, random_bytes, record_settings, stack_config, start_http,
    start_media, start_sip, subscribers,
};
use self::queues::Bounds;
use self::turns::Turns;
use crate::clock::ProcessClock;
use crate::config::Config;
use crate::site::Loaded;
use crate::switch::{Input, Switch, SwitchCounts};
use crate::tls::TlsError;

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
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
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

/// Calls beside the running ones that the view may show while they settle.
const VIEW_SPARE: usize = 1000;

/// Part of the keeper's queue that may wait before new calls are refused: the rest is for the calls that go on.
const KEEPER_SHARE: usize = 4;

/// Runs the server until SIGTERM or SIGINT; then drains: no new calls, and the running ones have
/// `calls.drain_timeout` to end. A second signal ends them at once. `runs` is called when everything is bound.
///
/// # Errors
/// [`ServeError`] says what stood in the way of starting. Nothing runs then.
pub fn serve(config: Config, loaded: Loaded, runs: impl FnOnce()) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| ServeError::Io("start the runtime", error))?;
    runtime.block_on(run(config, loaded, runs))
}

async fn run(config: Config, loaded: Loaded, runs: impl FnOnce()) -> Result<(), ServeError> {
    // From here on a signal is kept until somebody waits for it: one that comes while the server starts stops it well.
    let signals = Signals::new().map_err(|error| ServeError::Io("listen for signals", error))?;
    let clock = ProcessClock::start();
    files::raise_limit(&config);
    let data = DataDir::claim(&config.data.dir, clock.now().wall)?;
    let status = Arc::new(AtomicU8::new(Status::Starting as u8));
    let counts = Arc::new(Mutex::new(SwitchCounts::default()));
    let congested = Arc::new(AtomicBool::new(false));

    let (inputs, received) = sync_channel(config.limits.control_queue);
    let lag = Lag::new(config.guard.shed_lag, config.limits.event_queue / KEEPER_SHARE);
    let queue = ControlQueue::new(inputs, config.limits.control_queue, clock, lag);

    let opened = SledStore::open(&data.state(), clock.now().wall)?;
    let writers = Arc::new(metrics::Writers::default());
    writers.moved_aside.store(opened.moved_aside.is_some(), Ordering::Relaxed);
    let bindings = restore::bindings(&opened.store, clock.reading())?;
    let mut store = opened.store;
    let left = Left::find(&mut store, data.path())?;
    let gruu_key = restore::gruu_key(&mut store, random_bytes()?)?;
    let state = Arc::new({
        let queue = queue.clone();
        let notify = move |notice| queue.noticed(notice);
        StateWriter::spawn(store, config.limits.state_queue, notify)
            .map_err(|error| ServeError::Io("start the state writer", error))?
    });
    let safe = Arc::new(AtomicU64::new(0));
    let records = {
        let safe = Arc::clone(&safe);
        Records::open(record_settings(&config, &data), move |notice| Journal::notice(&safe, notice))
            .map_err(|error| ServeError::Io("open the records", error))?
    };

    let (site, subscribers) = (Arc::new(loaded.site.clone()), Arc::new(subscribers(&loaded)));
    let nonce_key =
        NonceKey::new(nonce_secret(&config, data.boot())?).with_lifetime(config.auth.nonce_lifetime);
    let engine = start_media(&config, &queue)?;
    let certificates = certificates(&config, clock)?.map(Arc::new);
    let transports =
        start_sip(&config, clock, &queue, &subscribers, &nonce_key, certificates.as_deref()).await?;

    let view = Arc::new(View::new(config.calls.max_calls as usize + VIEW_SPARE));
    let live = LiveTraces::new(RecordReader::in_data_dir(data.path()));
    let held = Held::default();
    let (keeper, kept) = sync_channel(config.limits.event_queue);
    let keeper_thread = Keeper {
        received: kept,
        waiting: queue.lag().keeper(),
        records,
        journal: Journal::new(Arc::clone(&state), safe, Notes::new(data.path())),
        transport: transports.handle(),
        released: held.released(),
        left,
        view: Arc::clone(&view),
        live: live.clone(),
        congested: Arc::clone(&congested),
        clock,
        writers: Arc::clone(&writers),
    }
    .spawn()
    .map_err(|error| ServeError::Io("start the record keeper", error))?;

    let stack = stack_config(&config, &data, nonce_key, gruu_key)?;
    let limits = Limits {
        calls_max: config.calls.max_calls as usize,
        branches_max: config.calls.max_branches as usize,
        redirections_max: config.calls.max_redirections,
    };
    let mut switch = Switch::new(stack, limits, site, subscribers);
    let replies = Arc::new(Replies::default());
    let media_metrics = Arc::clone(engine.metrics());
    let keeper = (keeper, queue.lag().keeper());
    let shell = Shell::new(transports.handle(), engine, keeper, held, state, clock, Arc::clone(&replies));
    let turns = Arc::new(Turns::default());
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
    let watch = Watch::new(&config, transports.handle(), queue.clone());
    let boot = first_inputs(&data, &transports.handle(), &watch, bindings);
    let control_thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || or_die("control", || control.run(&mut switch, boot)))
        .map_err(|error| ServeError::Io("start the control thread", error))?;

    let (stop, stopped) = watch::channel(false);
    let registry = metrics::registry(metrics::Sources {
        counts: Arc::clone(&counts),
        queue: queue.clone(),
        turns: Arc::clone(&turns),
        writers,
        transport: transports.handle(),
        media: media_metrics,
        bounds: Bounds::of(&config.limits),
        certificates: certificates.clone(),
        stun: watch.answers(),
        view: Arc::clone(&view),
        clock,
    });
    let longest: TurnSource = Arc::new(move || turns.longest());
    let shown = Shown { status: Arc::clone(&status), clock, registry, turns: Arc::clone(&longest) };
    let http = start_http(&config, &loaded, shown, certificates.as_deref(), &stopped).await?;
    let reload = Reload { certificates, clock };
    let on_hangup =
        reload.clone().on_hangup().map_err(|error| ServeError::Io("listen for signals", error))?;
    let on_hangup = tokio::spawn(on_hangup);
    let admin_path = data.admin_socket();
    let (admin_socket, listener) =
        AdminSocket::bind(&admin_path).map_err(|error| ServeError::Io("bind the admin socket", error))?;
    let commands = replies.commands(queue.clone());
    let admin = tokio::spawn(serve_http(
        listener,
        admin_router(VERSION, view, commands.clone(), live, Box::new(reload.clone()), longest),
        http_limits(&config),
        stopped,
    ));

    let watching = watch.start().await;

    status.store(Status::Ok as u8, Ordering::Release);
    tracing::info!(udp = ?config.sip.udp, tcp = ?config.sip.tcp, tls = ?config.sip.tls, http = ?config.http.bind, https = ?config.http.tls_bind, "dialtone runs");
    runs();

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
    on_hangup.abort();
    watching.abort();
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

fn first_inputs(
    data: &DataDir,
    transport: &TransportHandle,
    watch: &Watch,
    mut bindings: Vec<SipInput>,
) -> Vec<Input> {
    for restored in &mut bindings {
        if let SipInput::Restore { binding, .. } = restored {
            binding.path = transport.renewed(binding.path);
        }
    }
    let sockets = transport.locals().into_iter().scan(0, |flow, (kind, local)| {
        // UDP sockets are flows 1, 2 … in the order of their binding; listeners are none.
        let udp = kind == Transport::Udp;
        *flow += u64::from(udp);
        Some(Socket { transport: kind, flow: FlowId(if udp { *flow } else { 0 }), local })
    });
    let sockets = Input::Sip(SipInput::Sockets(sockets.collect()));
    let started = Input::Process(Fact::Started { version: VERSION.into(), boot: data.boot() });
    [started, watch.first(), sockets].into_iter().chain(bindings.into_iter().map(Input::Sip)).collect()
}

/// Sends to a bounded queue that only a stopped server leaves unread.
fn offer<T>(sender: &SyncSender<T>, value: T) -> Result<(), T> {
    use std::sync::mpsc::TrySendError;
    sender.try_send(value).map_err(|error| match error {
        TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
    })
}
