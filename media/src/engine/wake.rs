//! Wakes a worker that waits in epoll, with one system call however many ask for it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::sys::EventFd;

pub struct Wake {
    event: EventFd,
    asked: AtomicBool,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: EventFd::new()?, asked: AtomicBool::new(false) })
    }

    /// There is something to take. To be called after it was put.
    pub fn wake(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.event.wake();
        }
    }

    /// The worker is awake. To be called before it takes what there is.
    pub fn clear(&self) {
        self.event.clear();
        self.asked.swap(false, Ordering::AcqRel);
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
