//! What is dropped without an answer costs no memory: counted by an allocator that watches one thread.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::Arc;

use dialtone_core::{Mono, Now, Wall};
use dialtone_signaling::auth::{Accounts, NonceKey};
use dialtone_signaling::transport::{
    Class, Clock, Count, GuardPolicy, Limits, Metrics, TransportConfig, Transports,
};
use dialtone_signaling::wire::TransportEvent;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that are not given back.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells without a
// destructor, so they may be touched at any time of the thread's life.
#[allow(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A transport and its only client, on one thread.
struct Wire {
    transports: Transports,
    client: UdpSocket,
    metrics: Arc<Metrics>,
}

impl Wire {
    async fn start(limits: Limits) -> Wire {
        let config = TransportConfig {
            udp: vec!["127.0.0.1:0".parse().unwrap()],
            tcp: vec![],
            tls: vec![],
            tls_config: None,
            dns: Default::default(),
            limits,
            key: NonceKey::new([3; 32]),
            clock: Clock::new(|| Now {
                mono: Mono::from_millis(1000),
                wall: Wall::from_micros(1_795_361_388_000_000),
            }),
        };
        let accounts = Arc::new(Accounts::new("pbx", &[], [("1001", "secret")]));
        let sink = |_: Class, _: TransportEvent| Ok(());
        let transports = Transports::start(config, accounts, sink).await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(transports.handle().locals()[0].1).unwrap();
        let metrics = transports.handle().metrics();
        Wire { transports, client, metrics }
    }

    /// Sends a datagram so often, and waits until the server has counted each; what that allocated, and held.
    async fn repeat(&self, datagram: &[u8], times: u64, count: impl Fn(&Metrics) -> &Count) -> (u64, i64) {
        let (allocations, held) = (ALLOCATIONS.get(), HELD.get());
        for _ in 0..times {
            let before = count(&self.metrics).get();
            self.client.send(datagram).unwrap();
            while count(&self.metrics).get() == before {
                tokio::task::yield_now().await;
            }
        }
        (ALLOCATIONS.get() - allocations, HELD.get() - held)
    }
}

fn register(agent: &str, padding: usize) -> Vec<u8> {
    let padding = "x".repeat(padding);
    format!(
        "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKr;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@pbx>;tag=r\r\nTo: <sip:1001@pbx>\r\nCall-ID: r\r\n\
         CSeq: 1 REGISTER\r\nUser-Agent: {agent}\r\nContact: <sip:1001@127.0.0.1:5062>\r\nX-Pad: {padding}\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

const TIMES: u64 = 200;

#[tokio::test]
async fn what_is_dropped_allocates_nothing() {
    let guard = GuardPolicy { trusted: vec![], ..GuardPolicy::default() };
    let limits = Limits { guard, challenges_per_second: 5, ..Limits::default() };
    let wire = Wire::start(limits).await;
    let scanner = register("friendly-scanner", 400);
    let junk = [0x80; 300];
    // The first of each kind may fill what lasts: the runtime's own, the log's.
    wire.repeat(&scanner, 20, |metrics| &metrics.scanners).await;
    wire.repeat(&register("phone", 0), 5, |metrics| &metrics.udp_sent).await;
    let dropped = [
        ("scanner", wire.repeat(&scanner, TIMES, |metrics| &metrics.scanners).await),
        ("junk", wire.repeat(&junk, TIMES, |metrics| &metrics.junk).await),
        ("keep-alive", wire.repeat(b"\r\n\r\n", TIMES, |metrics| &metrics.keepalives).await),
        (
            "challenged enough",
            wire.repeat(&register("phone", 4000), TIMES, |metrics| &metrics.refusals_suppressed).await,
        ),
    ];
    for (what, (allocations, held)) in dropped {
        assert_eq!((allocations, held), (0, 0), "{what}");
    }
    wire.transports.shutdown().await;
}

#[tokio::test]
async fn a_flood_allocates_nothing() {
    let wire = Wire::start(Limits { datagrams_per_second: 5, ..Limits::default() }).await;
    let datagram = register("phone", 100);
    wire.repeat(&datagram, 5, |metrics| &metrics.udp_sent).await;
    wire.repeat(&datagram, 20, |metrics| &metrics.flooded).await;
    assert_eq!(wire.repeat(&datagram, TIMES, |metrics| &metrics.flooded).await, (0, 0));
    wire.transports.shutdown().await;
}

/// A challenge costs a bounded number of small allocations, however long the request is, and keeps none.
#[tokio::test]
async fn a_challenge_keeps_nothing() {
    let wire = Wire::start(Limits::default()).await;
    for padding in [0, 4000] {
        let datagram = register("phone", padding);
        wire.repeat(&datagram, 20, |metrics| &metrics.udp_sent).await;
        let (allocations, held) = wire.repeat(&datagram, TIMES, |metrics| &metrics.udp_sent).await;
        assert!(allocations <= 200 * TIMES, "{allocations} for {TIMES} challenges");
        assert_eq!(held, 0, "after {allocations} allocations");
    }
    wire.transports.shutdown().await;
}
