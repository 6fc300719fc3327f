//! TLS 1.2 and 1.3 around a connection. Certificates and trust are the caller's: they may be exchanged while
//! connections are up, and each handshake takes what is in force when it begins.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::flows::Goal;

/// What handshakes go by.
#[derive(Clone)]
pub struct TlsConfig {
    /// Of connections that we accept: our certificate.
    pub server: watch::Receiver<Arc<ServerConfig>>,
    /// Of connections that we open: whom we believe.
    pub client: watch::Receiver<Arc<ClientConfig>>,
}

impl TlsConfig {
    /// With a peer that connected.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let config = self.server.borrow().clone();
        TlsAcceptor::from(config).accept(stream).await
    }

    /// With a peer that we connected to. Its certificate must name the domain of the URI that led there
    /// (RFC 5922 §7.3), or its address when that is all we have of it.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        goal: &Goal,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let config = self.client.borrow().clone();
        let name = match &goal.domain {
            Some(domain) => ServerName::try_from(domain.to_string()).map_err(io::Error::other)?,
            None => ServerName::from(goal.remote.1.ip()),
        };
        TlsConnector::from(config).connect(name, stream).await
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}
