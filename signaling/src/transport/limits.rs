//! Every bound of the transport, by name.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::guard::GuardPolicy;
use crate::auth::ThrottlePolicy;
use crate::message::MESSAGE_MAX;

/// Bounds of sockets, connections and queues. [`Limits::default`] suits a site of some thousand phones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message on a stream.
    pub message_bytes: usize,
    /// From the first byte of a message on a stream to its last.
    pub half_read_deadline: Duration,
    /// From an accepted connection to its first whole message.
    pub first_message_deadline: Duration,
    /// Silence, pings included, after which a connection is closed. Longer than registrations last: a phone
    /// behind TCP may say nothing between two of them.
    pub idle_deadline: Duration,
    /// Connections in all, either way.
    pub connections: usize,
    /// Accepted connections of one IP address.
    pub connections_per_source: usize,
    /// Accepted connections whose TLS handshake goes on.
    pub handshakes: usize,
    /// For a TLS handshake with a peer that connected.
    pub handshake_deadline: Duration,
    /// Messages waiting to be written to one connection; one more closes it.
    pub write_queue: usize,
    /// For one message to leave through a connection.
    pub write_deadline: Duration,
    /// Connections being opened.
    pub pending_connects: usize,
    /// Those of them that are for answers whose own connection is gone.
    pub answer_connects: usize,
    /// Those of them to one host.
    pub answer_connects_per_host: usize,
    /// Messages waiting for one connection to open.
    pub pending_queue: usize,
    /// For a connection to open, its TLS handshake included.
    pub connect_deadline: Duration,
    /// Datagrams waiting for a socket whose buffer is full.
    pub datagram_queue: usize,
    /// Failures and flow changes waiting for room in the sink.
    pub report_queue: usize,
    /// Datagrams per second from one source, which may be a trunk; of the rest, what shows that it is not forged has as much again.
    pub datagrams_per_second: u32,
    /// Stateless refusals per second (400, 503 …; not 401) to one source.
    pub refusals_per_second: u32,
    /// Stateless challenges per second to one source, which may be a NAT with many phones.
    pub challenges_per_second: u32,
    /// 503s per second to all sources together of what the stack is too far behind for; the rest is dropped silently.
    pub sheds_per_second: u32,
    /// New requests per second of one account from one address.
    pub requests_per_account: u32,
    /// Retry-After of what is shed, seconds: spread, so that not all come again at once.
    pub shed_retry_after: RangeInclusive<u64>,
    /// Who is not answered.
    pub guard: GuardPolicy,
    /// When guessing passwords is slowed down.
    pub throttle: ThrottlePolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes: MESSAGE_MAX,
            half_read_deadline: Duration::from_secs(10),
            first_message_deadline: Duration::from_secs(30),
            idle_deadline: Duration::from_secs(2 * 3600),
            connections: 8192,
            connections_per_source: 1024,
            handshakes: 512,
            handshake_deadline: Duration::from_secs(10),
            write_queue: 256,
            write_deadline: Duration::from_secs(10),
            pending_connects: 256,
            answer_connects: 32,
            answer_connects_per_host: 4,
            pending_queue: 16,
            connect_deadline: Duration::from_secs(5),
            datagram_queue: 4096,
            report_queue: 4096,
            datagrams_per_second: 20_000,
            refusals_per_second: 50,
            challenges_per_second: 10_000,
            sheds_per_second: 2000,
            requests_per_account: 1000,
            shed_retry_after: 5..=30,
            guard: GuardPolicy::default(),
            throttle: ThrottlePolicy::default(),
        }
    }
}
