//! The HTTP port. What is here needs no login and changes nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use crate::serve::Peer;
use crate::{LongestTurns, Problem, Registry, TurnSource};

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does not take calls yet.
    Starting,
    /// It takes calls.
    Ok,
    /// It takes no new calls and waits for the last one to end.
    Draining,
    /// It ends.
    Stopping,
}

/// What `/healthz` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What it is doing.
    pub status: Status,
    /// The version of the program.
    pub version: String,
    /// Seconds since the process started.
    pub uptime_s: u64,
}

impl Health {
    /// 200 while calls are served, 503 before and after.
    fn code(&self) -> StatusCode {
        match self.status {
            Status::Ok | Status::Draining => StatusCode::OK,
            Status::Starting | Status::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What the page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageFacts {
    /// The version of the program.
    pub version: String,
    /// The name of the site.
    pub site: String,
    /// Names and values: where to register, what to dial.
    pub facts: Vec<(String, String)>,
}

/// What the HTTP port shows.
pub struct Public {
    /// Asked for at each look.
    pub health: Box<dyn Fn() -> Health + Send + Sync>,
    /// Asked for at each look.
    pub metrics: Registry,
    /// Asked for at each look, by who is on this machine.
    pub turns: TurnSource,
    /// Fixed while the server runs.
    pub page: PageFacts,
}

const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", "default-src 'self'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// The routes of the HTTP port.
pub fn public_router(public: Public) -> Router {
    let page = page(&public.page);
    Router::new()
        .route("/", get(move || async move { Html(page) }))
        .route("/style.css", get(style))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/debug/longest-turns", get(longest_turns))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn(with_headers))
        .with_state(Arc::new(public))
}

async fn not_allowed(method: Method) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} has no meaning here"))
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn healthz(State(public): State<Arc<Public>>) -> Response {
    let health = (public.health)();
    (health.code(), axum::Json(health)).into_response()
}

async fn metrics(State(public): State<Arc<Public>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], public.metrics.render())
        .into_response()
}

/// Headers by which a proxy on this machine says that somebody else asks.
const FORWARDED: [&str; 2] = ["forwarded", "x-forwarded-for"];

async fn longest_turns(
    State(public): State<Arc<Public>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<axum::Json<LongestTurns>, Problem> {
    let here = peer.and_then(|Extension(Peer(address))| address).is_some_and(|address| address.is_loopback());
    if here && !FORWARDED.iter().any(|name| headers.contains_key(*name)) {
        return Ok(axum::Json((public.turns)()));
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "this is shown on the machine that the server runs on"))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../ui/style.css")).into_response()
}

fn page(facts: &PageFacts) -> String {
    let rows =
        facts.facts.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", text(name), text(value)));
    let rows: Vec<String> = rows.collect();
    // Each piece of the template is filled on its own, so that a value never acts as a placeholder.
    include_str!("../../ui/index.html")
        .split("{{")
        .map(|piece| match piece.split_once("}}") {
            Some(("version", rest)) => text(&facts.version) + rest,
            Some(("site", rest)) => text(&facts.site) + rest,
            Some(("facts", rest)) => rows.join("\n") + rest,
            Some(_) | None => piece.to_string(),
        })
        .collect()
}

/// Text as HTML shows it.
fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::MetricFamily;

    async fn get(status: Status, method: &str, path: &str) -> (StatusCode, String, String) {
        ask(status, Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    async fn ask(status: Status, request: Request) -> (StatusCode, String, String) {
        let public = Public {
            health: Box::new(move || Health { status, version: "1.2.3".into(), uptime_s: 7 }),
            metrics: Registry::default().with(|| vec![MetricFamily::gauge("dialtone_up", "Up.").value(1.0)]),
            turns: Arc::new(|| LongestTurns { turns: 3, longest: Vec::new() }),
            page: PageFacts {
                version: "1.2.3".into(),
                site: "<b>{{facts}} & co".into(),
                facts: vec![("Registrar".into(), "127.0.0.1:5060".into())],
            },
        };
        let response = public_router(public).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-security-policy"], "default-src 'self'");
        let code = response.status();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_string();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_is_200_only_while_calls_are_served() {
        for (status, code, name) in [
            (Status::Starting, 503, "starting"),
            (Status::Ok, 200, "ok"),
            (Status::Draining, 200, "draining"),
            (Status::Stopping, 503, "stopping"),
        ] {
            let (found, kind, body) = get(status, "GET", "/healthz").await;
            assert_eq!((found.as_u16(), kind.as_str()), (code, "application/json"));
            assert_eq!(body, format!("{{\"status\":\"{name}\",\"version\":\"1.2.3\",\"uptime_s\":7}}"));
        }
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let (code, kind, body) = get(Status::Ok, "GET", "/metrics").await;
        assert_eq!((code.as_u16(), kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(body, "# HELP dialtone_up Up.\n# TYPE dialtone_up gauge\ndialtone_up 1\n");
    }

    #[tokio::test]
    async fn long_turns_are_shown_on_this_machine_alone() {
        let from = |peer: Option<&str>, forwarded: bool| {
            let mut request = Request::get("/debug/longest-turns");
            if forwarded {
                request = request.header("x-forwarded-for", "192.0.2.1");
            }
            let mut request = request.body(Body::empty()).unwrap();
            if let Some(peer) = peer {
                request.extensions_mut().insert(Peer(Some(peer.parse().unwrap())));
            }
            ask(Status::Ok, request)
        };
        for (peer, forwarded, code) in [
            (Some("127.0.0.1"), false, 200),
            (Some("127.0.0.1"), true, 403),
            (Some("::1"), false, 200),
            (Some("::ffff:127.0.0.1"), false, 403),
            (Some("192.0.2.1"), false, 403),
            (None, false, 403),
        ] {
            let (found, _, body) = from(peer, forwarded).await;
            assert_eq!(found.as_u16(), code, "{peer:?}: {body}");
            assert_eq!(body == "{\"turns\":3,\"longest\":[]}", code == 200, "{body}");
        }
    }

    #[tokio::test]
    async fn the_page_says_where_to_register_and_nothing_in_it_is_markup() {
        let (code, kind, body) = get(Status::Ok, "GET", "/").await;
        assert_eq!((code.as_u16(), kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(body.contains("<dt>Registrar</dt><dd>127.0.0.1:5060</dd>"), "{body}");
        assert!(body.contains("<strong>&lt;b&gt;{{facts}} &amp; co</strong>"), "{body}");
        assert!(body.contains("href=\"/healthz\"") && body.contains("href=\"/metrics\""));
        assert!(!body.contains("://"), "nothing is fetched from elsewhere");
        assert_eq!(get(Status::Ok, "GET", "/style.css").await.0, 200);
    }

    #[tokio::test]
    async fn errors_are_problem_details() {
        let (code, kind, body) = get(Status::Ok, "GET", "/nothing").await;
        assert_eq!((code.as_u16(), kind.as_str()), (404, "application/problem+json"));
        assert!(body.starts_with("{\"status\":404,\"title\":\"Not Found\",\"detail\":"), "{body}");
        let (code, kind, _) = get(Status::Ok, "POST", "/metrics").await;
        assert_eq!((code.as_u16(), kind.as_str()), (405, "application/problem+json"));
    }
}
