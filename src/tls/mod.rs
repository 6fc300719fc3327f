//! Certificates and trust: what SIP over TLS and HTTPS show of us, and whom we believe.
//!
//! Both take the certificate that is in force when a handshake begins. So it is exchanged while the server
//! runs, and a connection that is up does not notice. A certificate that is no good never takes the place of
//! one that is.

mod own;
mod pair;
mod trust;

pub(crate) use pair::{CertificateFacts, Pair};

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dialtone_core::Wall;
use dialtone_signaling::transport::TlsConfig;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use crate::config::{Config, Place, Places, Problem};
use own::Own;
use trust::Trust;

/// A certificate, its key or the certificates that we believe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The disk or its permissions.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It is not what it should be.
    #[error("{0} holds no {1} in PEM: {2}")]
    NotPem(PathBuf, &'static str, String),
    /// The certificate cannot be understood, or TLS has no use for it or its key.
    #[error("{0}: {1}")]
    Unusable(PathBuf, String),
    /// The private key is not the certificate's.
    #[error("the private key {key} is not that of the certificate {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// It is over.
    #[error("the certificate {0} expired on {1}")]
    Expired(PathBuf, Wall),
    /// A pair of our own could not be made.
    #[error("a certificate of our own cannot be made: {0}")]
    Own(String),
}

/// Where the certificate comes from.
enum Source {
    /// Made by us, in the data directory.
    Own(Own),
    /// Files of the operator's.
    Files { certificate: PathBuf, key: PathBuf },
}

impl Source {
    fn of(config: &Config) -> Source {
        let tls = &config.tls;
        match tls.certificate.as_os_str().is_empty() {
            true => Source::Own(Own::new(config)),
            false => Source::Files { certificate: tls.certificate.clone(), key: tls.private_key.clone() },
        }
    }

    fn read(&self, now: Wall) -> Result<Pair, TlsError> {
        match self {
            Source::Own(own) => own.read_or_make(now),
            Source::Files { certificate, key } => Pair::read(certificate, key),
        }
    }
}

/// The certificate in force, and trust; read again on request.
pub(crate) struct Certificates {
    source: Source,
    trust: Trust,
    sip: watch::Sender<Arc<ServerConfig>>,
    web: watch::Sender<Arc<ServerConfig>>,
    client: watch::Sender<Arc<ClientConfig>>,
    facts: Mutex<CertificateFacts>,
    reloads: AtomicU64,
    reloads_failed: AtomicU64,
}

impl Certificates {
    /// Reads what the configuration names; without a name, reads a pair of our own and makes it when it is
    /// missing. One that has expired is used all the same, and said so: telephones that do not look at it go
    /// on working.
    ///
    /// # Errors
    /// What is to be used cannot be.
    pub fn load(config: &Config, now: Wall) -> Result<Certificates, TlsError> {
        let (source, trust) = (Source::of(config), Trust::of(config));
        let pair = source.read(now)?;
        if pair.facts.is_expired(now) {
            tracing::error!(not_after = %pair.facts.not_after, "the TLS certificate has expired");
        }
        Ok(Certificates {
            sip: watch::Sender::new(server_config(&pair, &[])?),
            web: watch::Sender::new(server_config(&pair, &[b"http/1.1"])?),
            client: watch::Sender::new(trust.config()?),
            facts: Mutex::new(pair.facts),
            source,
            trust,
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        })
    }

    /// Reads everything again, for handshakes from now on.
    ///
    /// # Errors
    /// Something is no good. Everything stays as it was.
    pub fn reload(&self, now: Wall) -> Result<CertificateFacts, TlsError> {
        let replaced = self.replace(now);
        match &replaced {
            Ok(facts) => {
                self.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!(%facts, "TLS certificates read again");
            }
            Err(error) => {
                self.reloads_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "TLS certificates not replaced; the ones before stay in force");
            }
        }
        replaced
    }

    fn replace(&self, now: Wall) -> Result<CertificateFacts, TlsError> {
        let pair = self.source.read(now)?;
        if pair.facts.is_expired(now) {
            return Err(TlsError::Expired(pair.file, pair.facts.not_after));
        }
        let (sip, web) = (server_config(&pair, &[])?, server_config(&pair, &[b"http/1.1"])?);
        let client = self.trust.config()?;
        // New configurations carry no sessions: nobody resumes past the new certificate.
        self.sip.send_replace(sip);
        self.web.send_replace(web);
        self.client.send_replace(client);
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = pair.facts.clone();
        Ok(pair.facts)
    }

    /// What SIP handshakes go by.
    pub fn sip(&self) -> TlsConfig {
        TlsConfig { server: self.sip.subscribe(), client: self.client.subscribe() }
    }

    /// What HTTPS handshakes go by.
    pub fn web(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.web.subscribe()
    }

    /// What is known of the certificate in force.
    pub fn facts(&self) -> CertificateFacts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often reading again succeeded, and how often it did not.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Ordering::Relaxed), self.reloads_failed.load(Ordering::Relaxed))
    }
}

/// TLS 1.2 and 1.3, with this certificate whatever name the peer asks for.
fn server_config(pair: &Pair, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |error: rustls::Error| TlsError::Unusable(pair.file.clone(), error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(pair.chain.clone(), pair.key.clone_key())
        .map_err(unusable)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Reports everything about the configured certificates that cannot work.
pub(crate) fn check(config: &Config, file: &std::path::Path, places: &Places, problems: &mut Vec<Problem>) {
    let tls = &config.tls;
    let mut report = |key: &str, what: String, fix: &str| {
        let place = places.get(key).cloned().unwrap_or_else(|| Place::File(file.to_path_buf()));
        problems.push(Problem { place, key: key.into(), what, fix: fix.into() });
    };
    match (tls.certificate.as_os_str().is_empty(), tls.private_key.as_os_str().is_empty()) {
        (true, true) => {}
        (false, true) => {
            report(
                "tls.private_key",
                "tls.certificate is set and this is not".into(),
                "name its private key",
            );
        }
        (true, false) => {
            report(
                "tls.certificate",
                "tls.private_key is set and this is not".into(),
                "name its certificate",
            );
        }
        (false, false) => match Pair::read(&tls.certificate, &tls.private_key) {
            Ok(_) => {}
            Err(error) if error.is_about(&tls.private_key) => {
                report("tls.private_key", error.to_string(), "write the key there, as PEM");
            }
            Err(error @ TlsError::Mismatch { .. }) => {
                report(
                    "tls.private_key",
                    error.to_string(),
                    "name the key that the certificate was made for",
                );
            }
            Err(error) => report("tls.certificate", error.to_string(), "write the certificate there, as PEM"),
        },
    }
    if let Err(error) = Trust::of(config).own_roots() {
        report("tls.ca_file", error.to_string(), "write the certificates to believe there, as PEM");
    }
}

/// Reports a configured certificate that is over. The server starts with it all the same: most telephones
/// do not look.
pub(crate) fn check_validity(
    config: &Config,
    file: &std::path::Path,
    now: Wall,
    problems: &mut Vec<Problem>,
) {
    let tls = &config.tls;
    let Ok(pair) = Pair::read(&tls.certificate, &tls.private_key) else { return };
    if pair.facts.is_expired(now) {
        problems.push(Problem {
            place: Place::File(file.to_path_buf()),
            key: "tls.certificate".into(),
            what: TlsError::Expired(pair.file, pair.facts.not_after).to_string(),
            fix: "put a new one there".into(),
        });
    }
}

impl TlsError {
    fn is_about(&self, file: &std::path::Path) -> bool {
        match self {
            TlsError::Io(about, _)
            | TlsError::NotPem(about, ..)
            | TlsError::Unusable(about, _)
            | TlsError::Expired(about, _) => about == file,
            TlsError::Mismatch { .. } | TlsError::Own(_) => false,
        }
    }
}

/// A file's bytes, with its name in the error.
fn read(file: &std::path::Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| TlsError::Io(file.to_path_buf(), error))
}

#[cfg(test)]
mod tests;
