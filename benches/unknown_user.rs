//! Whether the time of a refusal tells that an account exists: a wrong password for accounts that exist against the
//! same for accounts that do not. `cargo bench --bench unknown_user`
//!
//! Twice: the digest check alone, and a REGISTER over UDP to a running transport until its 401 is back. Samples of
//! all kinds are taken in random order, so that the machine's mood falls on all alike. Welch's t-test compares the
//! means; beyond 4.5 either way a difference is as good as certain. The same accounts against themselves show what
//! the test says when there is none. Not criterion's kind of measurement, which takes one kind after the other.

#![allow(clippy::unwrap_used, missing_docs)]
// What is measured is time.
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dialtone_core::{Mono, Now, Wall};
use dialtone_signaling::auth::{Accounts, Algorithm, Exchange, NonceKey, ThrottlePolicy, Verdict, verify};
use dialtone_signaling::message::{Message, Request};
use dialtone_signaling::transport::{Clock, Limits, TransportConfig, Transports};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const REALM: &str = "dialtone.example";
const TARGET: &str = "sip:dialtone.example";
const NOW: Now = Now { mono: Mono::from_millis(1000), wall: Wall::from_micros(1_795_361_388_000_000) };
/// Accounts of a kind: enough that none stays in the processor's caches because it is asked for so often.
const ACCOUNTS: usize = 1000;
/// Of the slowest samples, this part is left out: they tell of the machine.
const CROPPED: f64 = 0.05;

/// Who is asked for. The numbers of all have the same length.
const KINDS: [(&str, usize); 3] = [("exists", 10_000), ("exists too", 20_000), ("unknown", 30_000)];

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let smoke = !std::env::args().any(|argument| argument == "--bench");
    let key = NonceKey::new([7; 32]);
    let existing = KINDS[..2].iter().flat_map(|(_, from)| *from..from + ACCOUNTS);
    let accounts = Arc::new(Accounts::new(REALM, &[], existing.map(|number| (number.to_string(), "right"))));
    for algorithm in Algorithm::ALL {
        let texts = KINDS.map(|(_, from)| registers(&key, algorithm, from));
        let samples = if smoke { 100 } else { 300_000 };
        report(&format!("{} check", algorithm.token()), samples, &mut check(&texts, &accounts, &key));
        let samples = if smoke { 100 } else { 60_000 };
        over_udp(&texts, &accounts, &key, |refuse| {
            report(&format!("{} over UDP", algorithm.token()), samples, refuse);
        });
    }
}

/// A REGISTER with a wrong password for each account of a kind.
fn registers(key: &NonceKey, algorithm: Algorithm, from: usize) -> Vec<String> {
    let nonce = key.issue(SOURCE, REALM, NOW.wall, 1);
    let text = |number: usize| {
        let user = number.to_string();
        let exchange = Exchange {
            method: "REGISTER",
            uri: TARGET,
            nonce: &nonce,
            nonce_count: "00000001",
            cnonce: "abcd",
        };
        let response = exchange.response(algorithm, &algorithm.ha1(&user, REALM, "wrong")).hex();
        format!(
            "REGISTER {TARGET} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{user}\r\n\
             From: <sip:{user}@{REALM}>;tag=f1\r\nTo: <sip:{user}@{REALM}>\r\nCall-ID: {user}\r\nCSeq: 1 REGISTER\r\n\
             Authorization: Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{TARGET}\", \
             response=\"{response}\", algorithm={}, cnonce=\"abcd\", qop=auth, nc=00000001\r\n\
             Content-Length: 0\r\n\r\n",
            algorithm.token()
        )
    };
    (from..from + ACCOUNTS).map(text).collect()
}

/// Checks the credentials of an account of a kind, and says how long it took.
fn check(
    texts: &[Vec<String>; 3],
    accounts: &Accounts,
    key: &NonceKey,
) -> impl FnMut(usize, usize) -> Duration {
    let request = |text: &String| match Message::parse(text.clone().into()) {
        Ok(Message::Request(request)) => request,
        _ => unreachable!("the sample is a request"),
    };
    let requests = texts.each_ref().map(|texts| texts.iter().map(request).collect::<Vec<Request>>());
    move |kind, account| {
        let start = Instant::now();
        let verdict = verify(black_box(&requests[kind][account]), SOURCE, accounts, key, NOW.wall);
        let taken = start.elapsed();
        assert!(matches!(verdict, Verdict::Bad { .. }), "{verdict:?}");
        taken
    }
}

/// A transport whose clock stands still, and that slows nobody down.
fn over_udp(
    texts: &[Vec<String>; 3],
    accounts: &Arc<Accounts>,
    key: &NonceKey,
    measure: impl FnOnce(&mut dyn FnMut(usize, usize) -> Duration),
) {
    let throttle =
        ThrottlePolicy { per_account: 1 << 30, per_source: 1 << 30, window: Duration::from_secs(60) };
    let (datagrams_per_second, challenges_per_second) = (u32::MAX, u32::MAX);
    let limits = Limits { throttle, datagrams_per_second, challenges_per_second, ..Limits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig {
        udp: vec![SocketAddr::from((SOURCE, 0))],
        tcp: Vec::new(),
        tls: Vec::new(),
        tls_config: None,
        dns: Default::default(),
        limits,
        key: key.clone(),
        clock: Clock::new(|| NOW),
    };
    let transports = runtime.block_on(Transports::start(config, accounts.clone(), |_, _| Ok(()))).unwrap();
    let socket = UdpSocket::bind((SOURCE, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(transports.handle().locals()[0].1).unwrap();
    let mut answer = [0; 2048];
    measure(&mut |kind, account| {
        let text = texts[kind][account].as_bytes();
        let start = Instant::now();
        socket.send(text).unwrap();
        let length = socket.recv(&mut answer).unwrap();
        let taken = start.elapsed();
        assert!(answer[..length].starts_with(b"SIP/2.0 401 "), "a wrong password is refused");
        taken
    });
    runtime.block_on(transports.shutdown());
}

/// Takes so many samples of each kind, and compares them.
fn report(what: &str, samples: usize, refuse: &mut dyn FnMut(usize, usize) -> Duration) {
    // The first round makes the tables know every name.
    for account in 0..ACCOUNTS {
        for kind in 0..KINDS.len() {
            refuse(kind, account);
        }
    }
    let mut taken_ns = KINDS.map(|_| Vec::with_capacity(samples));
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    while taken_ns.iter().any(|taken| taken.len() < samples) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (kind, account) = (random as usize % KINDS.len(), (random >> 32) as usize % ACCOUNTS);
        if taken_ns[kind].len() < samples {
            taken_ns[kind].push(refuse(kind, account).as_nanos() as f64);
        }
    }
    let mut all = taken_ns.concat();
    all.sort_by(f64::total_cmp);
    let bound = all[((all.len() - 1) as f64 * (1.0 - CROPPED)) as usize];
    taken_ns.iter_mut().for_each(|taken| taken.retain(|ns| *ns <= bound));
    let [exists, too, unknown] = taken_ns.map(|taken| Moments::of(&taken));
    println!(
        "{what}: {samples} samples of each kind\n  \
         exists {:.1} ns, unknown {:.1} ns: difference {:+.1} ns, t = {:+.2}\n  \
         exists {:.1} ns, exists too {:.1} ns: difference {:+.1} ns, t = {:+.2}",
        exists.mean,
        unknown.mean,
        unknown.mean - exists.mean,
        unknown.t(&exists),
        exists.mean,
        too.mean,
        too.mean - exists.mean,
        too.t(&exists),
    );
}

/// Of one kind's samples, nanoseconds.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(samples: &[f64]) -> Moments {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|ns| (ns - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Moments { count, mean, variance }
    }

    /// Welch's t.
    fn t(&self, other: &Moments) -> f64 {
        (self.mean - other.mean) / (self.variance / self.count + other.variance / other.count).sqrt()
    }
}
