//! A certificate of our own making, and what both ends of TLS need of it.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;

use crate::transport::TlsConfig;

/// See the module.
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) server: watch::Sender<Arc<ServerConfig>>,
    /// Whom the transport believes: this identity alone.
    pub(super) believed: watch::Sender<Arc<ClientConfig>>,
}

impl Identity {
    pub(super) fn new() -> Identity {
        Identity::of(&["127.0.0.1", "::1", "pbx.example"])
    }

    /// One that its certificate calls so.
    pub(super) fn of(names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone();
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], secret)
            .unwrap();
        let client = believing(&[&certificate], rustls::ALL_VERSIONS);
        Identity {
            certificate,
            server: watch::Sender::new(Arc::new(server)),
            believed: watch::Sender::new(client),
        }
    }

    /// What the transport is started with.
    pub(super) fn config(&self) -> TlsConfig {
        TlsConfig { server: self.server.subscribe(), client: self.believed.subscribe() }
    }

    /// A client that believes this identity.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        believing(&[&self.certificate], rustls::ALL_VERSIONS)
    }
}

/// A client that believes these certificates.
pub(super) fn believing(
    certificates: &[&CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    certificates.iter().for_each(|one| roots.add((*one).clone()).unwrap());
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
