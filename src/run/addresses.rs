//! Keeps signaling told which addresses of ours peers can use: what the kernel would use, and what a STUN server
//! sees. Both may change while we run.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dialtone_api::MetricFamily;
use dialtone_signaling::net::Addresses;
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::transport::{TransportHandle, external_address};
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::control::ControlQueue;
use super::parts::random_bytes;
use crate::config::Config;
use crate::switch::Input;

/// How long a start waits for the first answer of a STUN server.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// How often STUN servers answered.
#[derive(Default)]
pub(super) struct Answers {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Answers {
    pub fn families(&self) -> Vec<MetricFamily> {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let asked = MetricFamily::counter("dialtone_stun_total", "Questions for our external address")
            .labelled([("result", "answered")], now(&self.answered))
            .labelled([("result", "failed")], now(&self.failed));
        vec![asked]
    }
}

/// See the module.
pub(super) struct Watch {
    /// Host and port.
    server: Option<(String, u16)>,
    /// From where to ask: one address of each family that has no fixed one.
    sources: Vec<IpAddr>,
    interval: Duration,
    transport: TransportHandle,
    queue: ControlQueue,
    answers: Arc<Answers>,
    external: Addresses,
    default: Addresses,
    /// Whether the last question found no answer: that is said once.
    failing: bool,
}

impl Watch {
    pub fn new(config: &Config, transport: TransportHandle, queue: ControlQueue) -> Watch {
        let external = config.net.known().external;
        let bound = transport.locals().into_iter().map(|(_, local)| local.ip());
        let mut sources: Vec<IpAddr> = Vec::new();
        for ip in bound.filter(|ip| external.of_family(*ip).is_none()) {
            if sources.iter().all(|known| known.is_ipv4() != ip.is_ipv4()) {
                sources.push(ip);
            }
        }
        let default = transport.default_addresses();
        Watch {
            server: config.net.stun_servers().next().map(|(host, port)| (host.to_owned(), port)),
            sources,
            interval: config.net.stun_interval,
            transport,
            queue,
            answers: Arc::default(),
            external,
            default,
            failing: false,
        }
    }

    /// What is known already.
    pub fn first(&self) -> Input {
        if self.external != Addresses::default() {
            tracing::info!(external = %list(self.external), "peers outside are told the external address");
        }
        Input::Sip(SipInput::Addresses { external: self.external, default: self.default })
    }

    pub fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers)
    }

    /// Runs for ever. Returns when the server has been asked, or has let us wait.
    pub async fn start(self) -> tokio::task::JoinHandle<()> {
        let waits = self.server.is_some();
        let (asked, first) = oneshot::channel();
        let task = tokio::spawn(self.run(asked));
        if waits {
            // It goes on asking when nothing came until then.
            let _ = timeout(FIRST_ANSWER, first).await;
        }
        task
    }

    async fn run(mut self, asked: oneshot::Sender<()>) {
        let mut asked = Some(asked);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let default = self.transport.default_addresses();
            let external = self.ask().await;
            self.tell(external, default);
            if let Some(asked) = asked.take() {
                // The start may have gone on without us.
                let _ = asked.send(());
            }
        }
    }

    /// The external addresses as the server sees them now; what was known before where it says nothing.
    async fn ask(&mut self) -> Addresses {
        let mut external = self.external;
        let Some((host, port)) = self.server.clone() else { return external };
        let found = self.ask_server(&host, port).await;
        match &found {
            Ok(found) => {
                self.answers.answered.fetch_add(1, Ordering::Relaxed);
                found.iter().for_each(|ip| external.set(*ip));
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%host, "the STUN server answers again");
                }
            }
            Err(error) => {
                self.answers.failed.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%host, %error, kept = %list(external), "the STUN server does not tell our external address");
                }
            }
        }
        external
    }

    /// One address at least, or why there is none.
    async fn ask_server(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
        let servers: Vec<SocketAddr> =
            lookup_host((host, port)).await.map_err(|error| error.to_string())?.collect();
        let (mut found, mut why) = (Vec::new(), "no address of a family that we have".to_owned());
        for &from in &self.sources {
            let Some(server) = servers.iter().find(|server| server.is_ipv4() == from.is_ipv4()) else {
                continue;
            };
            let random = random_bytes().map_err(|error| error.to_string())?;
            let id = std::array::from_fn(|at| random.get(at).copied().unwrap_or(0));
            match external_address(*server, from, id).await {
                Ok(ip) => found.push(ip),
                Err(error) => why = error.to_string(),
            }
        }
        if found.is_empty() { Err(why) } else { Ok(found) }
    }

    /// Tells signaling what has changed.
    fn tell(&mut self, external: Addresses, default: Addresses) {
        if (external, default) == (self.external, self.default) {
            return;
        }
        if !self.queue.addresses(external, default) {
            return; // Next time.
        }
        if external != self.external {
            let (before, now) = (list(self.external), list(external));
            tracing::info!(%before, %now, "our external address has changed");
        }
        if default != self.default {
            let (before, now) = (list(self.default), list(default));
            tracing::info!(%before, %now, "the address of this machine has changed");
        }
        (self.external, self.default) = (external, default);
    }
}

fn list(addresses: Addresses) -> String {
    let all: Vec<String> = addresses.all().map(|ip| ip.to_string()).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}
