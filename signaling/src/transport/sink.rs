//! Where events go: the control thread's bounded queue, whatever its make.

use crate::wire::TransportEvent;

/// What an event is worth when the stack is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// New work: a request outside a dialog. May be refused.
    New,
    /// What calls in progress and transactions need: responses, ACK, CANCEL, requests inside dialogs, flow
    /// changes and failures. A share of the queue is kept for it.
    Kept,
}

/// Takes events from the transport's tasks; called from many threads.
pub trait Sink: Send + Sync + 'static {
    /// Takes the event, or gives it back when the queue has no room for its class. Never blocks.
    ///
    /// # Errors
    /// The event, untouched; boxed so that only a refusal pays for its size.
    fn offer(&self, class: Class, event: TransportEvent) -> Result<(), Box<TransportEvent>>;
}

impl<F> Sink for F
where
    F: Fn(Class, TransportEvent) -> Result<(), Box<TransportEvent>> + Send + Sync + 'static,
{
    fn offer(&self, class: Class, event: TransportEvent) -> Result<(), Box<TransportEvent>> {
        self(class, event)
    }
}
