//! The calls of the kernel that the standard library does not offer.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives this thread, and every process that it starts, a network of its own.
pub fn leave_the_network() -> io::Result<()> {
    // SAFETY: no pointers; a network namespace belongs to the thread alone.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Puts this thread into a network that was opened as `/proc/…/ns/net`.
pub fn enter_network(network: &File) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is open.
    check(unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Gives this thread, and every process that it starts, mounts of its own.
pub fn leave_the_mounts() -> io::Result<()> {
    // SAFETY: no pointers; with the mounts a thread leaves what it shares of folders and masks with the others.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })
}

/// Allows a process so many open files from now on; gives how many it was allowed before.
pub fn limit_files(pid: u32, files: u64) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both pointers are to a structure of the right type, or null, which asks for nothing.
    check(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) })?;
    let before = limit.rlim_cur;
    limit.rlim_cur = files;
    // SAFETY: as above.
    check(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) })?;
    Ok(before)
}

/// Sends a signal to a process that we started and have not waited for.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid, signal) })
}

/// Lets the process end with the thread that starts it, however that ends.
pub fn die_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)));
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
