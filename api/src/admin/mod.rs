//! HTTP for the owner of the data directory, on a Unix socket inside it. Whoever can open the socket may
//! do all of this: there is no login.
//!
//! | request | answer |
//! |---|---|
//! | `GET /version` | version of the program |
//! | `GET /calls?limit=&cursor=` | calls now, oldest first |
//! | `GET /contacts?limit=&cursor=` | registered contacts, oldest first |
//! | `GET /calls/{id}` | one call |
//! | `GET /calls/{id}/trace?messages=` | its ladder as text; with `messages=true` its SIP messages too |
//! | `GET /debug/longest-turns` | what kept the control thread longest |
//! | `POST /calls/{id}/hangup` | ends it |
//! | `POST /drain` | no new calls from now on |
//! | `POST /certificates/reload` | reads the TLS certificates again; says what is in force |

mod socket;
#[cfg(test)]
mod tests;

pub use socket::AdminSocket;
pub(crate) use socket::reachable;

use std::future::Future;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use dialtone_core::command::{Command, Reply};
use dialtone_core::{CallId, Cause, ContactId};
use serde::{Deserialize, Serialize};

use crate::view::{CallPage, ContactPage};
use crate::{CallView, LongestTurns, Problem, TurnSource, View};

/// The control thread did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too much waits for it.
    #[error("the server is too busy; try again")]
    Busy,
    /// It has ended.
    #[error("the server is stopping")]
    Stopped,
}

/// The way to the control thread.
pub trait Control: Send + Sync + 'static {
    /// Hands a command over and waits for what came of it.
    fn command(&self, command: Command) -> impl Future<Output = Result<Reply, Unavailable>> + Send;
}

/// The trace of a call, ready to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallText {
    /// Who sent what to whom, and what followed.
    pub ladder: String,
    /// The SIP messages whole, their secrets hidden.
    pub messages: String,
}

impl CallText {
    /// The ladder, and the messages below it when they are wanted.
    pub fn print(self, messages: bool) -> String {
        if messages { self.ladder + "\n" + &self.messages } else { self.ladder }
    }
}

/// Where the traces of calls are, running ones and ended ones.
pub trait Traces: Send + Sync + 'static {
    /// The trace of a call; `None` when nothing is known of it.
    fn trace(&self, call: CallId) -> impl Future<Output = Option<CallText>> + Send;
}

/// What handshakes of TLS go by.
pub trait Certificates: Send + Sync + 'static {
    /// Reads certificates and trust again; what is in force now, for people.
    ///
    /// # Errors
    /// Why not; then everything stays as it was.
    fn reload(&self) -> Result<String, String>;
}

/// `POST /certificates/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whom the certificate is for, and how long it is good.
    pub certificate: String,
}

/// `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version of the program that runs.
    pub version: String,
}

struct Admin<C, T> {
    version: String,
    certificates: Box<dyn Certificates>,
    turns: TurnSource,
    view: Arc<View>,
    control: C,
    traces: T,
}

impl<C: Control, T> Admin<C, T> {
    async fn command(&self, command: Command) -> Result<Json<Reply>, Problem> {
        match self.control.command(command).await {
            Ok(Reply::NoSuchCall { call }) => Err(no_such_call(call)),
            Ok(reply @ Reply::Done) => Ok(Json(reply)),
            Err(error) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }
}

/// Calls or contacts of a page when nobody says.
const PAGE_DEFAULT: usize = 100;
/// The same at most.
const PAGE_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery<Id> {
    limit: Option<usize>,
    cursor: Option<Id>,
}

impl<Id> PageQuery<Id> {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if (1..=PAGE_MAX).contains(&limit) {
            return Ok(limit);
        }
        let detail = format!("limit is {limit}; choose 1 to {PAGE_MAX}");
        Err(Problem::new(StatusCode::BAD_REQUEST, detail))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceQuery {
    #[serde(default)]
    messages: bool,
}

/// The routes of the admin socket.
pub fn admin_router<C: Control, T: Traces>(
    version: &str,
    view: Arc<View>,
    control: C,
    traces: T,
    certificates: Box<dyn Certificates>,
    turns: TurnSource,
) -> Router {
    Router::new()
        .route("/version", get(version_of::<C, T>))
        .route("/calls", get(calls::<C, T>))
        .route("/contacts", get(contacts::<C, T>))
        .route("/calls/{id}", get(call::<C, T>))
        .route("/calls/{id}/trace", get(trace::<C, T>))
        .route("/debug/longest-turns", get(longest_turns::<C, T>))
        .route("/calls/{id}/hangup", post(hang_up::<C, T>))
        .route("/drain", post(drain::<C, T>))
        .route("/certificates/reload", post(reload_certificates::<C, T>))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} has no meaning here"))
        })
        .with_state(Arc::new(Admin { version: version.into(), certificates, turns, view, control, traces }))
}

type Shared<C, T> = State<Arc<Admin<C, T>>>;

async fn version_of<C: Control, T: Traces>(State(admin): Shared<C, T>) -> Json<Version> {
    Json(Version { version: admin.version.clone() })
}

async fn calls<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
    query: Result<Query<PageQuery<CallId>>, QueryRejection>,
) -> Result<Json<CallPage>, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(Json(admin.view.page(query.limit()?, query.cursor)))
}

async fn contacts<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
    query: Result<Query<PageQuery<ContactId>>, QueryRejection>,
) -> Result<Json<ContactPage>, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(Json(admin.view.contacts(query.limit()?, query.cursor)))
}

async fn call<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
    Path(id): Path<String>,
) -> Result<Json<CallView>, Problem> {
    let id = call_id(&id)?;
    admin.view.get(id).map(Json).ok_or_else(|| no_such_call(id))
}

async fn trace<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
    Path(id): Path<String>,
    query: Result<Query<TraceQuery>, QueryRejection>,
) -> Result<String, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let id = call_id(&id)?;
    let trace = admin.traces.trace(id).await.ok_or_else(|| no_such_call(id))?;
    Ok(trace.print(query.messages))
}

async fn longest_turns<C: Control, T: Traces>(State(admin): Shared<C, T>) -> Json<LongestTurns> {
    Json((admin.turns)())
}

async fn hang_up<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
    Path(id): Path<String>,
) -> Result<Json<Reply>, Problem> {
    admin.command(Command::HangUp { call: call_id(&id)?, cause: Cause::NormalClearing }).await
}

async fn drain<C: Control, T: Traces>(State(admin): Shared<C, T>) -> Result<Json<Reply>, Problem> {
    admin.command(Command::Drain).await
}

async fn reload_certificates<C: Control, T: Traces>(
    State(admin): Shared<C, T>,
) -> Result<Json<Reloaded>, Problem> {
    // Files are read; nobody else is to wait for the disk.
    let reloaded = tokio::task::spawn_blocking(move || admin.certificates.reload()).await;
    match reloaded {
        Ok(Ok(certificate)) => Ok(Json(Reloaded { certificate })),
        Ok(Err(why)) => Err(Problem::new(StatusCode::CONFLICT, why)),
        Err(error) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn call_id(text: &str) -> Result<CallId, Problem> {
    text.parse().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{error}")))
}

fn no_such_call(call: CallId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no call {call}"))
}
