//! Accepts connections within bounds and answers them until told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

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

/// Serves until `stop` turns true or its sender is gone; then lets running requests end, for
/// `limits.timeout` at most.
pub async fn serve(
    mut listener: impl Listener,
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
            let (io, _) = listener.accept().await;
            while connections.try_join_next().is_some() {}
            let connection = connection(io, router.clone(), limits, each.clone());
            connections.spawn(async move {
                connection.await;
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

async fn connection(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.timeout).max_buf_size(64 * 1024);
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
