//! A certificate with its private key, read and understood.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dialtone_core::Wall;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, read};

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// Whom it is for: host names and addresses.
    pub names: Vec<String>,
    /// It is good until then.
    pub not_after: Wall,
}

impl CertificateFacts {
    /// Whether it is over.
    pub fn is_expired(&self, now: Wall) -> bool {
        now > self.not_after
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate for {}, good until {}", self.names.join(", "), self.not_after)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The certificate's file.
    pub file: PathBuf,
    /// The certificate, and those that vouch for it.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub facts: CertificateFacts,
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// One cannot be read or understood, or they do not belong together. Being expired is none.
    pub fn read(certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
        let not_pem = |file: &Path, what| {
            let file = file.to_path_buf();
            move |error: rustls::pki_types::pem::Error| TlsError::NotPem(file, what, error.to_string())
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(not_pem(certificate, "certificate"))?;
        let unusable = |why: String| TlsError::Unusable(certificate.to_path_buf(), why);
        let Some(first) = chain.first() else {
            return Err(TlsError::NotPem(certificate.into(), "certificate", "there is none".into()));
        };
        let facts = facts(first).ok_or_else(|| unusable("it is no X.509 certificate".into()))?;
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(not_pem(key, "private key"))?;
        match CertifiedKey::from_der(chain.clone(), secret.clone_key(), &Arc::new(default_provider())) {
            Ok(_) => Ok(Pair { file: certificate.into(), chain, key: secret, facts }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TlsError::Mismatch { certificate: certificate.into(), key: key.into() })
            }
            Err(Error::General(why)) => Err(TlsError::Unusable(key.into(), why)),
            Err(error) => Err(unusable(error.to_string())),
        }
    }
}

fn facts(certificate: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
    let seconds = parsed.validity().not_after.timestamp();
    Some(CertificateFacts {
        names: names.unwrap_or_default(),
        not_after: Wall::from_micros(seconds.saturating_mul(1_000_000)),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
