//! What waits to be sent, for metrics.

use std::net::SocketAddr;

use tokio::sync::mpsc::Sender;

use super::handle::TransportHandle;

/// One queue now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// `sip_datagrams`: of one UDP socket. `sip_stream`: the fullest of all connections. `sip_connects`: peers to whom
    /// a connection is being opened. `sip_reports`: failures and flow changes on their way to the stack.
    pub queue: &'static str,
    /// The socket.
    pub local: Option<SocketAddr>,
    /// What waits.
    pub depth: usize,
    /// What may wait.
    pub bound: usize,
}

impl TransportHandle {
    /// Every queue of the transport. Looks at each connection: for somebody who asks now and then.
    pub fn queues(&self) -> Vec<QueueDepth> {
        let hub = &self.0;
        let datagrams = hub.udp.iter().map(|port| QueueDepth {
            queue: "sip_datagrams",
            local: Some(port.local),
            depth: depth(port.waiting()),
            bound: hub.limits.datagram_queue,
        });
        let mut queues: Vec<QueueDepth> = datagrams.collect();
        let (fullest, opening) = {
            let flows = hub.flows();
            (flows.queues().map(depth).max().unwrap_or(0), flows.opening())
        };
        let all = [
            ("sip_stream", fullest, hub.limits.write_queue),
            ("sip_connects", opening, hub.limits.pending_connects),
            ("sip_reports", depth(&hub.reports), hub.limits.report_queue),
        ];
        queues.extend(all.map(|(queue, depth, bound)| QueueDepth { queue, local: None, depth, bound }));
        queues
    }
}

fn depth<T>(queue: &Sender<T>) -> usize {
    queue.max_capacity() - queue.capacity()
}
