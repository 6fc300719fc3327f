//! Certificates are read again when the owner asks for it: SIGHUP, or the admin socket.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::ProcessClock;
use crate::tls::Certificates;

/// See the module.
#[derive(Clone)]
pub(super) struct Reload {
    /// `None` when nothing listens with TLS.
    pub certificates: Option<Arc<Certificates>>,
    pub clock: ProcessClock,
}

impl dialtone_api::Certificates for Reload {
    fn reload(&self) -> Result<String, String> {
        let Some(certificates) = &self.certificates else {
            return Err("nothing listens with TLS: set sip.tls or http.tls_bind".into());
        };
        let reloaded = certificates.reload(self.clock.now().wall);
        let kept = |error| format!("{error}; the certificate before stays in force");
        reloaded.map(|facts| facts.to_string()).map_err(kept)
    }
}

impl Reload {
    /// Reads again at each SIGHUP. From now on the signal does not end the process.
    pub fn on_hangup(self) -> io::Result<impl Future<Output = ()>> {
        let mut hangup = signal(SignalKind::hangup())?;
        Ok(async move {
            while hangup.recv().await.is_some() {
                let reload = self.clone();
                // What came of it is in the metrics and, where there are certificates, in the log.
                let _ =
                    tokio::task::spawn_blocking(move || dialtone_api::Certificates::reload(&reload)).await;
            }
        })
    }
}
