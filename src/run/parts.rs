//! From the configuration to the parts that run.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dialtone_api::{
    Health, Limits as HttpLimits, PageFacts, Public, Registry, Status, TurnSource, public_router,
    serve as serve_http, serve_tls as serve_https,
};
use dialtone_core::NodeId;
use dialtone_media::{Engine, EngineConfig, PromptLibrary};
use dialtone_signaling::auth::{Accounts, Algorithm, NonceKey, ThrottlePolicy};
use dialtone_signaling::registrar::{ContactPolicy as Contacts, ExpiryPolicy, GruuKey};
use dialtone_signaling::stack::{StackConfig, Subscriber, Subscribers};
use dialtone_signaling::transaction::Timing;
use dialtone_signaling::transport::{Clock, GuardPolicy, TransportConfig, Transports};
use dialtone_signaling::ua::{CallPolicy, Identity};
use dialtone_store::DataDir;
use dialtone_store::records::RecordSettings;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::control::ControlQueue;
use super::{ServeError, VERSION};
use crate::clock::ProcessClock;
use crate::config::Config;
use crate::site::{AccountSpec, ContactPolicy, Digest, Loaded, facts};
use crate::tls::{Certificates, TlsError};

pub(super) fn record_settings(config: &Config, data: &DataDir) -> RecordSettings {
    RecordSettings {
        queue: config.limits.record_queue,
        cdr_file_bytes: config.data.cdr_file_bytes,
        trace_file_bytes: config.data.trace_file_bytes,
        trace_files: config.data.trace_files,
        ..RecordSettings::in_folder(data.records())
    }
}

pub(super) fn subscribers(loaded: &Loaded) -> Subscribers {
    let passwords = loaded.accounts.iter().map(|account| (account.number.clone(), account.password.reveal()));
    // Whoever does not exist is challenged as the site's extensions are.
    let mut accounts = Accounts::new(&loaded.realm, &algorithms(&loaded.algorithms), passwords);
    for account in &loaded.accounts {
        accounts.set_algorithms(&account.number, &algorithms(&account.algorithms));
    }
    let subscriber = |account: &AccountSpec| {
        let name = loaded.site.extensions.get(&account.number).map(|extension| extension.name.clone());
        let contacts = Contacts {
            contacts_max: account.max_contacts as usize,
            replaces_oldest: account.contact_policy == ContactPolicy::ReplaceOldest,
        };
        (
            account.number.clone(),
            Subscriber {
                name: name.unwrap_or_default(),
                contacts,
                reliability: account.reliability,
                reach: account.reach.clone(),
                identity: account.identity,
            },
        )
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

pub(super) fn stack_config(
    config: &Config,
    data: &DataDir,
    nonce_key: NonceKey,
    gruu_key: GruuKey,
) -> Result<StackConfig, ServeError> {
    let sip = &config.sip;
    Ok(StackConfig {
        identity: Identity {
            domain: sip.domain.clone(),
            aliases: sip.aliases.clone(),
            product: format!("Dialtone/{VERSION}").into(),
            net: config.net.known(),
        },
        dns: config.dns.policy(),
        timing: Timing { t1: sip.t1, ..Timing::default() },
        calls: CallPolicy { session_expires: sip.session_expires, min_se: sip.min_se, timer_c: sip.timer_c },
        expiry: ExpiryPolicy { min: sip.expires_min, max: sip.expires_max, default: sip.expires_default },
        transactions_max: sip.max_transactions,
        legs_max: sip.max_dialogs,
        node: NodeId(1),
        boot: data.boot(),
        seed: random_bytes()?,
        nonce_key,
        gruu_key,
    })
}

pub(super) fn random_bytes() -> Result<[u8; 32], ServeError> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| ServeError::Io("read random bytes", error))?;
    Ok(bytes)
}

/// The configured secret and the boot, stretched to a key; random without a secret. A key must not
/// outlive the process: what was used of a nonce is forgotten with it, and could be replayed.
pub(super) fn nonce_secret(config: &Config, boot: u32) -> Result<[u8; 32], ServeError> {
    let secret = config.auth.nonce_secret.reveal();
    if secret.is_empty() {
        return random_bytes();
    }
    let digest = Algorithm::Sha256.hash(&[secret.as_bytes(), &boot.to_be_bytes()]);
    Ok(std::array::from_fn(|index| digest.as_bytes().get(index).copied().unwrap_or(0)))
}

pub(super) fn start_media(config: &Config, queue: &ControlQueue) -> Result<Engine, ServeError> {
    let rtp = &config.rtp;
    let mut prompts = PromptLibrary::embedded()?;
    if config.site.prompts.is_dir() {
        prompts.add_folder(&config.site.prompts)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let media = EngineConfig {
        workers: if rtp.workers == 0 { u16::try_from(cores).unwrap_or(u16::MAX) } else { rtp.workers },
        ports: rtp.port_min..=rtp.port_max,
        reserve: usize::from(rtp.reserve),
        quarantine: rtp.quarantine,
        rtp_timeout: rtp.timeout,
        hold_timeout: rtp.hold_timeout,
        commands_max: config.limits.media_queue,
        ..EngineConfig::new(rtp.bind.clone(), Arc::new(prompts), random_bytes()?)
    };
    let queue = queue.clone();
    Ok(Engine::start(media, move |event| queue.media(event))?)
}

pub(super) async fn start_sip(
    config: &Config,
    clock: ProcessClock,
    queue: &ControlQueue,
    subscribers: &Subscribers,
    key: &NonceKey,
    certificates: Option<&Certificates>,
) -> Result<Transports, ServeError> {
    let limits = dialtone_signaling::transport::Limits {
        message_bytes: config.sip.max_message_bytes,
        connections: config.sip.max_connections,
        connections_per_source: config.sip.max_connections_per_source,
        idle_deadline: config.sip.connection_idle,
        handshake_deadline: config.tls.handshake_timeout,
        throttle: ThrottlePolicy {
            per_account: config.auth.failures_per_account as usize,
            per_source: config.auth.failures_per_source as usize,
            window: config.auth.failure_window,
        },
        datagram_queue: config.limits.send_queue,
        datagrams_per_second: config.guard.datagrams_per_second,
        challenges_per_second: config.guard.challenges_per_second,
        refusals_per_second: config.guard.refusals_per_second,
        requests_per_account: config.guard.requests_per_account,
        guard: GuardPolicy {
            scanners: config.guard.scanners.clone(),
            scanner_hosts: config.guard.scanner_hosts.clone(),
            trusted: config.guard.trusted.clone(),
            accounts_tried: config.guard.accounts_tried as usize,
            window: config.auth.failure_window,
            silence: config.guard.silence,
        },
        ..Default::default()
    };
    let transport = TransportConfig {
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        tls: config.sip.tls.clone(),
        dns: config.dns.servers(),
        tls_config: certificates.map(Certificates::sip),
        limits,
        key: key.clone(),
        clock: Clock::new(move || clock.now()),
    };
    Ok(Transports::start(transport, Arc::clone(&subscribers.accounts), queue.clone()).await?)
}

pub(super) fn http_limits(config: &Config) -> HttpLimits {
    HttpLimits {
        body_bytes: config.http.max_body_bytes,
        timeout: config.http.timeout,
        ..HttpLimits::default()
    }
}

/// What the HTTP port shows of the running server.
pub(super) struct Shown {
    pub status: Arc<AtomicU8>,
    pub clock: ProcessClock,
    pub registry: Registry,
    pub turns: TurnSource,
}

pub(super) async fn start_http(
    config: &Config,
    loaded: &Loaded,
    Shown { status, clock, registry, turns }: Shown,
    certificates: Option<&Certificates>,
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
    // The page needs no login: it does not say where passwords stand.
    let public = |(name, _): &(String, String)| name != "Password" && name != "Web";
    let page = PageFacts {
        version: VERSION.into(),
        site: loaded.site.name.clone(),
        facts: facts(config, loaded).into_iter().filter(public).collect(),
    };
    let router = public_router(Public { health: Box::new(health), metrics: registry, turns, page });
    let mut servers = Vec::new();
    let limits = http_limits(config);
    for address in &config.http.bind {
        let listener = listen(address).await?;
        servers.push(tokio::spawn(serve_http(listener, router.clone(), limits, stopped.clone())));
    }
    let protected = certificates.map(|certificates| (&config.http.tls_bind, certificates));
    for (address, certificates) in
        protected.iter().flat_map(|(list, certificates)| list.iter().map(move |one| (one, certificates)))
    {
        let listener = listen(address).await?;
        let served = serve_https(listener, certificates.web(), router.clone(), limits, stopped.clone());
        servers.push(tokio::spawn(served));
    }
    Ok(servers)
}

async fn listen(address: &SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Http(*address, error))
}

/// Our certificate, if anything listens with TLS.
pub(super) fn certificates(config: &Config, clock: ProcessClock) -> Result<Option<Certificates>, TlsError> {
    let wanted = !config.sip.tls.is_empty() || !config.http.tls_bind.is_empty();
    wanted.then(|| Certificates::load(config, clock.now().wall)).transpose()
}
