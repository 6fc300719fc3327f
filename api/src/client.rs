//! A client of the admin socket, for the command line.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::header;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::Problem;
use crate::admin::reachable;

/// A larger answer is refused.
const ANSWER_MAX: usize = 64 << 20;

/// The server gave no answer, or another one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server runs on this data directory.
    #[error("no server is running on {0}")]
    NotRunning(PathBuf),
    /// The socket belongs to somebody else.
    #[error("{0} belongs to another user: ask as the user that runs the server")]
    NotAllowed(PathBuf),
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The connection failed.
    #[error("the server did not answer: {0}")]
    Io(#[from] io::Error),
    /// The answer makes no sense.
    #[error("the server gave an answer that cannot be understood: {0}")]
    BadAnswer(String),
}

/// Asks the server that runs on a data directory.
#[derive(Clone, Debug)]
pub struct AdminClient {
    data_dir: PathBuf,
}

impl AdminClient {
    /// For the server on `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.into() }
    }

    /// `GET`, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.ask(Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    /// `GET`, as text.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.ask(Method::GET, path).await?;
        String::from_utf8(body.to_vec()).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    /// `POST`, as JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.ask(Method::POST, path).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::BadAnswer(error.to_string()))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Bytes, ClientError> {
        let bad = |error: &dyn std::fmt::Display| ClientError::BadAnswer(error.to_string());
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "dialtone")
            .body(Empty::<Bytes>::new())
            .map_err(|error| bad(&error))?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| bad(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| bad(&error))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let path = self.data_dir.join("admin.sock");
        let connected = reachable(&path, |path| std::os::unix::net::UnixStream::connect(path));
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.data_dir.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(path.clone()),
            _ => error.into(),
        })?;
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_std(stream)?)
    }
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let problem = serde_json::from_slice(body);
    ClientError::Refused(
        problem.unwrap_or_else(|_| Problem::new(status, format!("the server said {status}"))),
    )
}
