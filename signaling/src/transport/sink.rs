//! Where events go: the control thread's bounded queue, whatever its make.

use dialtone_core::Mono;

use crate::wire::TransportEvent;

/// What an event is worth when the stack is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A registration in a conversation that we do not know: the first to be refused.
    Registration,
    /// New work: any other request outside a dialog.
    New,
    /// A registration to be renewed: refused last, or a phone that is there cannot be called.
    Renewal,
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

    /// Whether work of this class is taken on at all; asked before anything is spent on a request.
    fn is_open(&self, class: Class, now: Mono) -> bool {
        let _ = (class, now);
        true
    }
}

impl<F> Sink for F
where
    F: Fn(Class, TransportEvent) -> Result<(), Box<TransportEvent>> + Send + Sync + 'static,
{
    fn offer(&self, class: Class, event: TransportEvent) -> Result<(), Box<TransportEvent>> {
        self(class, event)
    }
}
