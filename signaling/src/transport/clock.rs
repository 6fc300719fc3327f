//! The time that the transport stamps nonces and counts failures with: injected, so that it is the control
//! thread's own and tests turn it by hand. Deadlines of sockets run on tokio's timer instead.

use std::fmt;
use std::sync::Arc;

use dialtone_core::Now;

/// Reads the clocks. Must be the stack's, which may issue nonces too.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// From whatever samples both clocks; called from many threads, once per message or batch of them.
    pub fn new(read: impl Fn() -> Now + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    pub(super) fn now(&self) -> Now {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
