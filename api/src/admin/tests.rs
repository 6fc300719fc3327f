//! The admin socket as its client sees it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::*;
use crate::view::tests::{call_id, feed, started};
use crate::{AdminClient, ClientError, Limits, serve};

/// Notes what was commanded; knows one call.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<Command>>>);

impl Control for Desk {
    async fn command(&self, command: Command) -> Result<Reply, Unavailable> {
        self.0.lock().unwrap().push(command.clone());
        match command {
            Command::HangUp { call, .. } if call != call_id(1) => Ok(Reply::NoSuchCall { call }),
            Command::HangUp { .. } => Ok(Reply::Done),
            Command::Drain => Err(Unavailable::Busy),
            // Never answers: for the longest time of a request.
            Command::HangUpAll { .. } => std::future::pending().await,
        }
    }
}

impl Traces for Desk {
    async fn trace(&self, call: CallId) -> Option<CallText> {
        match call.number() {
            1 => Some(CallText {
                ladder: "alma ──INVITE──▶ dialtone\n".into(),
                messages: "INVITE sip:1002@dialtone SIP/2.0\n".into(),
            }),
            2 => std::future::pending().await,
            _ => None,
        }
    }
}

impl Certificates for Desk {
    fn reload(&self) -> Result<String, String> {
        match self.0.lock().unwrap().is_empty() {
            true => Ok("certificate for pbx.example, good until 2031-01-01".into()),
            false => Err("cert.pem: there is none; the one before stays in force".into()),
        }
    }
}

struct Rig {
    data: PathBuf,
    desk: Desk,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn start() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dialtone-admin-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Longer than a socket address may be.
        let data = std::env::temp_dir().join(name).join("x".repeat(100));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("admin.sock"), "left behind").unwrap();
        let (socket, listener) = AdminSocket::bind(&data.join("admin.sock")).unwrap();
        let view = Arc::new(View::new(10));
        feed(&view, [started(1), started(2)]);
        let desk = Desk::default();
        let turns = Arc::new(|| LongestTurns { turns: 5, longest: Vec::new() });
        let router = admin_router("1.2.3", view, desk.clone(), desk.clone(), Box::new(desk.clone()), turns);
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(async move {
            serve(listener, router, limits, stopped).await;
            drop(socket);
        });
        Rig { data, desk, stop, server }
    }

    fn client(&self) -> AdminClient {
        AdminClient::new(&self.data)
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.server.await.unwrap();
        assert!(!self.data.join("admin.sock").exists());
        std::fs::remove_dir_all(self.data.parent().unwrap()).unwrap();
    }
}

fn status(error: ClientError) -> u16 {
    match error {
        ClientError::Refused(problem) => problem.status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn calls_are_listed_shown_traced_and_hung_up() {
    let rig = Rig::start();
    let client = rig.client();
    assert_eq!(client.get::<Version>("/version").await.unwrap().version, "1.2.3");
    let page: CallPage = client.get("/calls?limit=1").await.unwrap();
    assert_eq!((page.calls.len(), page.total), (1, 2));
    let page: CallPage = client.get(&format!("/calls?cursor={}", page.next.unwrap())).await.unwrap();
    assert_eq!((page.calls[0].call, page.next), (call_id(2), None));
    let call: CallView = client.get("/calls/c1-00000001-1").await.unwrap();
    assert_eq!(call.dialed, "1002");
    assert_eq!(client.text("/calls/c1-00000001-1/trace").await.unwrap(), "alma ──INVITE──▶ dialtone\n");
    let turns: LongestTurns = client.get("/debug/longest-turns").await.unwrap();
    assert_eq!(turns, LongestTurns { turns: 5, longest: Vec::new() });
    let reply: Reply = client.post("/calls/c1-00000001-1/hangup").await.unwrap();
    assert_eq!(reply, Reply::Done);
    let cause = Cause::NormalClearing;
    assert_eq!(*rig.desk.0.lock().unwrap(), [Command::HangUp { call: call_id(1), cause }]);
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_as_a_problem() {
    let rig = Rig::start();
    let client = rig.client();
    for (path, expected) in [
        ("/calls/c1-00000001-9", 404),
        ("/calls/c1-00000001-9/trace", 404),
        ("/calls/nonsense", 400),
        ("/calls?limit=0", 400),
        ("/calls?limit=many", 400),
        ("/calls?colour=blue", 400),
        ("/nothing", 404),
        ("/drain", 405),
    ] {
        assert_eq!(status(client.get::<Version>(path).await.unwrap_err()), expected, "{path}");
    }
    assert_eq!(status(client.post::<Reply>("/calls/c1-00000001-9/hangup").await.unwrap_err()), 404);
    let busy = client.post::<Reply>("/drain").await.unwrap_err();
    assert_eq!((busy.to_string().as_str(), status(busy)), ("the server is too busy; try again", 503));
    rig.stop().await;
}

#[tokio::test]
async fn certificates_are_read_again_and_a_refusal_says_why() {
    let rig = Rig::start();
    let client = rig.client();
    let reloaded: Reloaded = client.post("/certificates/reload").await.unwrap();
    assert_eq!(reloaded.certificate, "certificate for pbx.example, good until 2031-01-01");
    rig.desk.0.lock().unwrap().push(Command::Drain);
    let refused = client.post::<Reloaded>("/certificates/reload").await.unwrap_err();
    assert_eq!(refused.to_string(), "cert.pem: there is none; the one before stays in force");
    assert_eq!(status(refused), 409);
    rig.stop().await;
}

#[tokio::test]
async fn a_request_without_an_answer_is_ended() {
    let rig = Rig::with(Limits { timeout: Duration::from_millis(200), ..Limits::default() });
    let stuck = rig.client().text("/calls/c1-00000001-2/trace").await.unwrap_err();
    assert_eq!((stuck.to_string().as_str(), status(stuck)), ("the request took too long", 503));
    // A peer that never finishes its head is cut off.
    let mut idle = reachable(&rig.data.join("admin.sock"), |path| {
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    })
    .unwrap();
    idle.write_all(b"GET /calls HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = Vec::new();
    idle.read_to_end(&mut answer).await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    let rig = Rig::start();
    let mode = std::fs::metadata(rig.data.join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = AdminClient::new(&rig.data.join("elsewhere"));
    assert!(matches!(client.text("/version").await, Err(ClientError::NotRunning(_))));
    rig.stop().await;
}
