//! Counts what parsing looks at, so that a test can hold it to a bound. Not in the program.

use std::cell::Cell;

thread_local! {
    static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// So many bytes are looked at.
pub(super) fn look(bytes: usize) {
    LOOKED_AT.set(LOOKED_AT.get() + bytes);
}

/// How many bytes were looked at meanwhile, each as often as it was.
pub(super) fn looked_at(meanwhile: impl FnOnce()) -> usize {
    LOOKED_AT.set(0);
    meanwhile();
    LOOKED_AT.get()
}
