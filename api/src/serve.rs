//! Accepts connections within bounds, with or without TLS, and answers them until told to stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Layer;

use crate::Problem;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait in the kernel.
    pub connections: usize,
    /// Largest request body.
    pub body_bytes: usize,
    /// Longest time for a request's head to arrive, and longest time to answer.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, body_bytes: 64 * 1024, timeout: Duration::from_secs(10) }
    }
}

/// Who asks, as an extension of each request; `None` over a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

/// The peer of a connection, as its listener names it.
pub trait PeerAddress {
    /// The address that a request says to come from.
    fn peer(&self) -> Peer;
}

impl PeerAddress for SocketAddr {
    fn peer(&self) -> Peer {
        Peer(Some(self.ip().to_canonical()))
    }
}

impl PeerAddress for tokio::net::unix::SocketAddr {
    fn peer(&self) -> Peer {
        Peer(None)
    }
}

/// The certificate of connections; each handshake takes the one that is in force when it begins.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Serves until `stop` turns true or its sender is gone; then lets running requests end, for
/// `limits.timeout` at most.
pub async fn serve(
    listener: impl Listener<Addr: PeerAddress>,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    serve_over(listener, None, router, limits, stop).await;
}

/// The same over TLS; a handshake may take `limits.timeout` and holds one of `limits.connections`.
pub async fn serve_tls(
    listener: impl Listener<Addr: PeerAddress>,
    tls: Tls,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    serve_over(listener, Some(tls), router, limits, stop).await;
}

async fn serve_over(
    mut listener: impl Listener<Addr: PeerAddress>,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let router = bounded(router, limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let each = stop.clone();
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let (io, peer) = listener.accept().await;
            let peer = peer.peer();
            while connections.try_join_next().is_some() {}
            let (tls, router, stop) = (tls.clone(), router.clone(), each.clone());
            connections.spawn(async move {
                match tls {
                    None => connection(io, peer, router, limits, stop).await,
                    Some(tls) => protected(io, tls, peer, router, limits, stop).await,
                }
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stopped(&mut stop) => {}
    }
    drop(listener);
    // Too late for whoever is not done by then: the set ends its tasks when it is dropped.
    let _ = tokio::time::timeout(limits.timeout, async { while connections.join_next().await.is_some() {} })
        .await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and then everything is to end too.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn protected(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Tls,
    peer: Peer,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let config = tls.borrow().clone();
    let handshake = tokio::time::timeout(limits.timeout, TlsAcceptor::from(config).accept(io));
    let io = tokio::select! {
        io = handshake => io,
        () = stopped(&mut stop) => return,
    };
    match io {
        Ok(Ok(io)) => connection(io, peer, router, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake on an HTTP connection"),
        Err(_) => tracing::debug!("a TLS handshake on an HTTP connection took too long"),
    }
}

async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.timeout).max_buf_size(64 * 1024);
    let router = Extension(peer).layer(router);
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A peer that goes away in the middle is nothing an operator can act on.
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// Puts the bounds of a request around a router.
fn bounded(router: Router, limits: Limits) -> Router {
    let in_time = move |request: Request, next: Next| in_time(request, next, limits.timeout);
    router.layer(DefaultBodyLimit::max(limits.body_bytes)).layer(middleware::from_fn(in_time))
}

async fn in_time(request: Request, next: Next, timeout: Duration) -> Response {
    tokio::time::timeout(timeout, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the request took too long").into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// A certificate for `[::1]` and its key, in force.
    fn identity() -> (CertificateDer<'static>, Arc<ServerConfig>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["::1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], secret)
            .unwrap();
        (certificate, Arc::new(config))
    }

    #[tokio::test]
    async fn https_answers_who_shakes_hands_and_lets_nobody_else_hold_a_place() {
        let (certificate, config) = identity();
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "hello"));
        let limits = Limits { connections: 1, timeout: Duration::from_millis(500), ..Limits::default() };
        let (stop, stopped) = watch::channel(false);
        let tls = watch::channel(config).1;
        let server = tokio::spawn(serve_tls(listener, tls, router, limits, stopped));

        // One says nothing, one speaks HTTP: both are closed, and the only place is free again.
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(silent.read(&mut [0]).await, Ok(1..)));
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let mut stream = connector.connect(ServerName::from(address.ip()), stream).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        stop.send(true).unwrap();
        server.await.unwrap();
    }
}
