//! A self-signed certificate of our own, for installations that have no other: phones can be told to trust
//! its file, and what goes over the wire is protected from whoever only listens.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dialtone_core::Wall;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::{Pair, TlsError};
use crate::config::Config;

const DAY: Duration = Duration::from_secs(86_400);
/// Phones keep a certificate that they were told to trust: it is not changed without need.
const LIFETIME: Duration = Duration::from_secs(5 * 366 * 86_400);
/// A new one is made at a start so long before the end.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// See the module.
pub(super) struct Own {
    folder: PathBuf,
    /// Whom it must be for.
    names: Vec<String>,
}

impl Own {
    pub fn new(config: &Config) -> Own {
        Own { folder: config.data.dir.join("tls"), names: names(config, host_name()) }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("private_key.pem")
    }

    /// The pair in the data directory; a new one when there is none, when it will soon be over, or when it
    /// is not for everything that we are called.
    pub fn read_or_make(&self, now: Wall) -> Result<Pair, TlsError> {
        let (certificate, key) = (self.certificate(), self.key());
        if certificate.exists() {
            let pair = Pair::read(&certificate, &key)?;
            let lacks = self.names.iter().find(|name| !pair.facts.names.contains(name));
            let soon_over = pair.facts.is_expired(later(now, RENEW_BEFORE));
            match lacks {
                None if !soon_over => return Ok(pair),
                None => tracing::warn!(not_after = %pair.facts.not_after, "our certificate is soon over"),
                Some(name) => {
                    tracing::warn!(%name, "our certificate is not for everything that we are called")
                }
            }
            tracing::warn!(
                "a new certificate of our own is made: phones that trust the one before must get it"
            );
        }
        self.make(now)?;
        let pair = Pair::read(&certificate, &key)?;
        tracing::info!(file = %certificate.display(), facts = %pair.facts, "made a self-signed certificate");
        Ok(pair)
    }

    fn make(&self, now: Wall) -> Result<(), TlsError> {
        let (key, certificate) =
            self_signed(&self.names, now).map_err(|error| TlsError::Own(error.to_string()))?;
        let failed = |at: &Path| {
            let at = at.to_path_buf();
            move |error| TlsError::Io(at, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed(&self.folder))?;
        // A certificate without its key would not be looked at twice: it goes first and comes last.
        match fs::remove_file(self.certificate()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&self.certificate())(error));
            }
            _ => {}
        }
        write(&self.key(), &key, 0o600).map_err(failed(&self.key()))?;
        write(&self.certificate(), &certificate, 0o644).map_err(failed(&self.certificate()))
    }
}

/// Private key and certificate, PEM.
fn self_signed(names: &[String], now: Wall) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    let since_1970 = Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0));
    // Clocks of phones are not exact.
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970 + LIFETIME;
    params.distinguished_name = DistinguishedName::new();
    let name = names.first().map_or("dialtone", String::as_str);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    Ok((key.serialize_pem(), certificate.pem()))
}

fn later(now: Wall, by: Duration) -> Wall {
    Wall::from_micros(now.as_micros().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

/// The whole file or the one before, whatever happens meanwhile.
fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let fresh = file.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new().create_new(true).write(true).mode(mode).open(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&fresh, file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// What phones and browsers may call us: the domain, the host, the addresses, localhost.
fn names(config: &Config, host: Option<String>) -> Vec<String> {
    let sip = &config.sip;
    let bound = sip.tls.iter().chain(&config.http.tls_bind).map(|address| address.ip());
    let bound = bound.filter(|ip| !ip.is_unspecified()).map(|ip: IpAddr| ip.to_string());
    let mut names = vec![sip.domain.clone()];
    names.extend(host);
    names.extend(config.net.fixed().map(|ip| ip.to_string()));
    names.extend(bound);
    names.push("localhost".into());
    let mut seen = Vec::new();
    for name in names.into_iter().map(|name| name.to_ascii_lowercase()).filter(|name| !name.is_empty()) {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// The name of this machine, if it can stand in a certificate.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_all_that_we_are_called_once() {
        let mut config = Config::default();
        config.sip.tls = vec!["192.0.2.1:5061".parse().unwrap(), "[2001:db8::1]:5061".parse().unwrap()];
        config.http.tls_bind = vec!["192.0.2.1:8443".parse().unwrap(), "0.0.0.0:9443".parse().unwrap()];
        config.sip.domain = "PBX.example".into();
        config.net.external_address = vec!["198.51.100.1".parse().unwrap()];
        let names = names(&config, Some("box".into()));
        assert_eq!(names, ["pbx.example", "box", "198.51.100.1", "192.0.2.1", "2001:db8::1", "localhost"]);
    }
}
