//! Whom we believe when it is we who connect: the authorities of the system, or those of a file, or anybody.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsError, read};
use crate::config::Config;

/// See the module.
pub(super) struct Trust {
    verify: bool,
    /// Empty for the system's.
    ca_file: PathBuf,
}

impl Trust {
    pub fn of(config: &Config) -> Trust {
        Trust { verify: config.tls.verify_peers, ca_file: config.tls.ca_file.clone() }
    }

    /// What handshakes with peers that we connect to go by.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let unusable = |error: Error| TlsError::Unusable(self.ca_file.clone(), error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match self.verify {
            true => builder.with_root_certificates(self.roots()?).with_no_client_auth(),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(default_provider())))
                .with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        if let Some(own) = self.own_roots()? {
            return Ok(own);
        }
        let system = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (believed, ignored) = roots.add_parsable_certificates(system.certs);
        if believed == 0 {
            let errors = system.errors.len() + ignored;
            tracing::warn!(
                errors,
                "the system names no certificate authority: no peer that we connect to is believed"
            );
        }
        Ok(roots)
    }

    /// The authorities of the file, if one is named.
    pub fn own_roots(&self) -> Result<Option<RootCertStore>, TlsError> {
        let file = &self.ca_file;
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let not_pem = |why: String| TlsError::NotPem(file.clone(), "certificate", why);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&read(file)?) {
            let certificate = certificate.map_err(|error| not_pem(error.to_string()))?;
            roots.add(certificate).map_err(|error| TlsError::Unusable(file.clone(), error.to_string()))?;
        }
        match roots.is_empty() {
            true => Err(not_pem("there is none".into())),
            false => Ok(Some(roots)),
        }
    }
}

/// Believes every certificate, but still that the peer has its key.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
