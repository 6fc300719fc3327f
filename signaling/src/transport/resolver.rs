//! DNS: questions go out, answers come back as events. What they mean is [`crate::locate`]'s affair, and so is how
//! long they are believed: nothing is kept here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::timeout;

use super::hub::Hub;
use super::sink::Class;
use crate::locate::{Answer, Kind, Question, RECORDS_MAX, Record, Reply};
use crate::wire::TransportEvent;

/// Who is asked, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// The servers, in this order; empty for those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one is waited for.
    pub timeout: Duration,
    /// How often each is asked.
    pub attempts: usize,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig { servers: Vec::new(), timeout: Duration::from_secs(2), attempts: 2 }
    }
}

/// The servers that are asked; `None` when the system names none that can be understood.
pub(super) struct Names {
    resolver: Option<TokioResolver>,
    /// After which no answer is waited for.
    patience: Duration,
}

impl Names {
    pub(super) fn new(config: &DnsConfig) -> Names {
        let resolver = build(config)
            .inspect_err(|error| tracing::warn!(%error, "no DNS: names of SIP servers will not be found"));
        let servers = u32::try_from(config.servers.len().max(3)).unwrap_or(u32::MAX);
        let attempts = u32::try_from(config.attempts).unwrap_or(u32::MAX).saturating_add(1);
        let patience = config.timeout.saturating_mul(servers.saturating_mul(attempts));
        Names { resolver: resolver.ok(), patience }
    }
}

fn build(config: &DnsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if config.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = config.servers.iter().map(|server| {
            let mut named = NameServerConfig::udp_and_tcp(server.ip());
            named.connections.iter_mut().for_each(|connection| connection.port = server.port());
            named
        });
        let servers = ResolverConfig::from_name_servers(servers.collect());
        Resolver::builder_with_config(servers, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = config.timeout;
    options.attempts = config.attempts;
    options.cache_size = 0;
    builder.build()
}

/// Asks, and tells the stack, in a task of its own.
pub(super) fn look_up(hub: &Arc<Hub>, question: Question) {
    let task = {
        let hub = Arc::clone(hub);
        async move {
            let reply = match &hub.names.resolver {
                Some(resolver) => timeout(hub.names.patience, ask(resolver, &question)).await,
                None => Ok(Reply::FAILED),
            };
            let reply = reply.unwrap_or(Reply::FAILED);
            if reply == Reply::FAILED {
                tracing::debug!(%question, "DNS does not answer");
            }
            hub.deliver(Class::Kept, TransportEvent::LookedUp { question, reply }).await;
        }
    };
    // When it is not taken on, everything ends, and whoever waits with it.
    hub.spawn(task);
}

async fn ask(resolver: &TokioResolver, question: &Question) -> Reply {
    let Ok(mut name) = Name::from_ascii(&*question.name) else {
        // No name that DNS can have.
        return Reply { answer: Answer::Nothing, ttl: None };
    };
    name.set_fqdn(true);
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    match resolver.lookup(name, kind).await {
        Ok(lookup) => read(&lookup),
        Err(NetError::Dns(DnsError::NoRecordsFound(denial))) => {
            let ttl = denial.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
            Reply { answer: Answer::Nothing, ttl }
        }
        Err(_) => Reply::FAILED,
    }
}

fn read(lookup: &Lookup) -> Reply {
    let answers = lookup.answers();
    // An alias on the way counts too.
    let ttl = answers.iter().map(|record| record.ttl).min();
    let records: Vec<Record> =
        answers.iter().filter_map(|record| record_of(&record.data)).take(RECORDS_MAX).collect();
    let answer = if records.is_empty() { Answer::Nothing } else { Answer::Records(records.into()) };
    Reply { answer, ttl: ttl.map(|ttl| Duration::from_secs(ttl.into())) }
}

fn record_of(data: &RData) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    match data {
        RData::A(address) => Some(Record::Address(address.0.into())),
        RData::AAAA(address) => Some(Record::Address(address.0.into())),
        RData::SRV(srv) => Some(Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: plain(&srv.target),
        }),
        RData::NAPTR(naptr) if naptr.regexp.is_empty() => Some(Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            replacement: plain(&naptr.replacement),
        }),
        _ => None,
    }
}

/// A name without the dot at its end; the root is empty.
fn plain(name: &Name) -> Arc<str> {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).into()
}
