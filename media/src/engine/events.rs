//! Events on their way out of a worker.
//!
//! The sink may be full, and a tick cannot wait for it. Then events queue here and are offered again
//! at every turn. What a call depends on is never dropped; what only informs is, beyond the limit.
//! While the queue is at its limit the worker takes no commands, so the bounded command ring bounds
//! what can still be added.

use std::collections::VecDeque;

use dialtone_core::media::MediaEvent;

/// Events that wait before commands wait too.
pub const PENDING_MAX: usize = 1024;

/// A worker's way out.
pub struct EventQueue<S> {
    sink: S,
    pending: VecDeque<MediaEvent>,
    dropped: u64,
}

impl<S: FnMut(MediaEvent) -> Result<(), MediaEvent>> EventQueue<S> {
    pub fn new(sink: S) -> Self {
        // Twice the limit: what one turn may add to a full queue must not allocate in a tick.
        Self { sink, pending: VecDeque::with_capacity(2 * PENDING_MAX), dropped: 0 }
    }

    /// Hands an event out, or keeps it for later.
    pub fn push(&mut self, event: MediaEvent) {
        let refused = if self.pending.is_empty() { (self.sink)(event).err() } else { Some(event) };
        let Some(event) = refused else { return };
        if self.is_blocked() && !is_critical(&event) {
            self.dropped += 1;
        } else {
            self.pending.push_back(event);
        }
    }

    /// Offers what waits, oldest first.
    pub fn retry(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            if let Err(event) = (self.sink)(event) {
                return self.pending.push_front(event);
            }
        }
    }

    /// How many wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing that makes events should be begun.
    pub fn is_blocked(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }
}

/// Whether a call hangs, or a port leaks, when this is lost.
fn is_critical(event: &MediaEvent) -> bool {
    match event {
        MediaEvent::Ready { .. }
        | MediaEvent::Released { .. }
        | MediaEvent::PlayEnded { .. }
        | MediaEvent::Silent { .. } => true,
        MediaEvent::Latched { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use dialtone_core::PortId;

    use super::*;

    fn latched(number: u32) -> MediaEvent {
        let source = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        MediaEvent::Latched { port: PortId { worker: 0, number }, source }
    }

    #[test]
    fn a_full_sink_costs_only_what_informs() {
        let (room, taken) = (Cell::new(1), RefCell::new(Vec::new()));
        let mut queue = EventQueue::new(|event| {
            if room.get() == 0 {
                return Err(event);
            }
            room.set(room.get() - 1);
            taken.borrow_mut().push(event);
            Ok(())
        });
        for number in 0..=PENDING_MAX as u32 + 5 {
            queue.push(latched(number));
        }
        assert_eq!((queue.pending(), queue.dropped()), (PENDING_MAX, 5));
        assert!(queue.is_blocked());
        queue.push(MediaEvent::Ready { ports: Vec::new() });
        assert_eq!((queue.pending(), queue.dropped()), (PENDING_MAX + 1, 5));
        room.set(3);
        queue.retry();
        assert_eq!(queue.pending(), PENDING_MAX - 2);
        room.set(usize::MAX);
        queue.retry();
        assert_eq!(queue.pending(), 0);
        let taken = taken.borrow();
        assert_eq!(taken[..3], [latched(0), latched(1), latched(2)], "in order");
        assert!(matches!(taken.last(), Some(MediaEvent::Ready { .. })));
    }
}
