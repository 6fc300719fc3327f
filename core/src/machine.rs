//! The one shape that every state machine has.

use crate::time::Mono;

/// A machine is told what happened and what time it is, and pushes what must be done.
///
/// `handle` cannot fail: a peer's nonsense is an output (a refusal) and an event. A panic is a bug.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it may ask for.
    type Output;

    /// Runs to completion; pushes what must be done.
    fn handle(&mut self, now: Mono, input: Self::Input, out: &mut Vec<Self::Output>);

    /// Fires every timer that is due.
    fn expire(&mut self, now: Mono, out: &mut Vec<Self::Output>);

    /// The next instant at which `expire` has work; `None` when idle, never "far future".
    fn deadline(&self) -> Option<Mono>;
}
