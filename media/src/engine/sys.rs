//! The kernel's calls, each behind a safe function: epoll, eventfd, timerfd, recvmmsg, sendmmsg and
//! the monotonic clock. All `unsafe` of the crate is here.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::rtp::DATAGRAM_MAX;

/// Sockets that one wait reports.
const READY_MAX: usize = 64;
/// Datagrams that one receive or send moves.
pub const BATCH_MAX: usize = 16;

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = checked(fd)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A set of descriptors to wait on, level-triggered.
pub struct Epoll {
    fd: OwnedFd,
    ready: [libc::epoll_event; READY_MAX],
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self { fd, ready: [libc::epoll_event { events: 0, u64: 0 }; READY_MAX] })
    }

    /// Waits on `fd` too. Closing it ends that.
    pub fn add(&self, fd: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open, as their owners are borrowed; `event` is valid.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) };
        checked(result).map(drop)
    }

    /// Waits until something can be read, at most `timeout_ms`; −1 waits without end. Returns how
    /// many tokens [`Epoll::token`] knows; an interrupted wait returns none.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        // SAFETY: `ready` has room for READY_MAX events.
        let result = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.ready.as_mut_ptr(), READY_MAX as i32, timeout_ms)
        };
        match checked(result) {
            Ok(count) => Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The token of one descriptor that the last wait found ready.
    pub fn token(&self, index: usize) -> u64 {
        self.ready[index].u64
    }
}

/// Wakes a thread that waits in [`Epoll::wait`].
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Self)
    }

    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight valid bytes. The only failure, a full counter, means that the
        // thread is being woken already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes back all wake-ups.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is eight writable bytes; a failure means that there was nothing to take.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A timer on the monotonic clock, to nanoseconds where epoll's own timeout knows milliseconds.
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        owned(fd).map(Self)
    }

    /// Becomes readable at this instant, or never. Setting it takes back what was readable before.
    pub fn set(&self, at_ns: Option<u64>) -> io::Result<()> {
        // An instant of zero would disarm it.
        let at_ns = at_ns.map_or(0, |at_ns| at_ns.max(1));
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: (at_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (at_ns % 1_000_000_000) as libc::c_long,
        };
        let spec = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: `spec` is valid, and the old value is not asked for.
        let result = unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, ptr::null_mut())
        };
        checked(result).map(drop)
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A socket address as the kernel takes it; an IPv4 one uses the front part.
type Name = libc::sockaddr_in6;

fn empty_name() -> Name {
    // SAFETY: all zeros is a valid sockaddr_in6.
    unsafe { mem::zeroed() }
}

fn empty_message() -> libc::mmsghdr {
    // SAFETY: all zeros is a valid mmsghdr: no name, no buffers, no control data.
    unsafe { mem::zeroed() }
}

/// Room for a batch of received datagrams.
pub struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM_MAX + 1]; BATCH_MAX]>,
    names: [Name; BATCH_MAX],
    lengths: [usize; BATCH_MAX],
}

impl ReceiveBatch {
    pub fn new() -> Self {
        Self {
            buffers: Box::new([[0; DATAGRAM_MAX + 1]; BATCH_MAX]),
            names: [empty_name(); BATCH_MAX],
            lengths: [0; BATCH_MAX],
        }
    }

    /// Takes the datagrams that wait on a socket, at most [`BATCH_MAX`]; does not block. Returns how
    /// many.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH_MAX];
        let mut messages = [empty_message(); BATCH_MAX];
        for (index, message) in messages.iter_mut().enumerate() {
            let buffer = &mut self.buffers[index];
            parts[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            message.msg_hdr.msg_iov = &mut parts[index];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = ptr::from_mut(&mut self.names[index]).cast();
            message.msg_hdr.msg_namelen = mem::size_of::<Name>() as libc::socklen_t;
        }
        // SAFETY: every message points to a name and a buffer of the stated sizes that outlive the
        // call and that nothing else touches during it.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = checked(result)? as usize;
        for (length, message) in self.lengths.iter_mut().zip(&messages[..count]) {
            *length = message.msg_len as usize;
        }
        Ok(count)
    }

    /// One datagram of the last receive. `None` for a source that is no IP address. A datagram
    /// longer than [`DATAGRAM_MAX`] is one byte longer than that.
    pub fn datagram(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let source = from_name(&self.names[index])?;
        Some((source, &self.buffers[index][..self.lengths[index].min(DATAGRAM_MAX + 1)]))
    }
}

/// Sends datagrams from one socket in as few calls as possible.
pub struct SendBatch {
    names: [Name; BATCH_MAX],
}

impl SendBatch {
    pub fn new() -> Self {
        Self { names: [empty_name(); BATCH_MAX] }
    }

    /// Hands up to [`BATCH_MAX`] datagrams to the kernel; does not block. Returns how many it took,
    /// or why it did not take the first.
    pub fn send<'a>(
        &mut self,
        socket: &impl AsRawFd,
        datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
    ) -> io::Result<usize> {
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH_MAX];
        let mut messages = [empty_message(); BATCH_MAX];
        let mut count = 0;
        for (to, bytes) in datagrams.take(BATCH_MAX) {
            let length = to_name(to, &mut self.names[count]);
            // The kernel only reads through this pointer, whatever its type says.
            parts[count] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let header = &mut messages[count].msg_hdr;
            header.msg_iov = &mut parts[count];
            header.msg_iovlen = 1;
            header.msg_name = ptr::from_mut(&mut self.names[count]).cast();
            header.msg_namelen = length;
            count += 1;
        }
        // SAFETY: the first `count` messages point to names and bytes of the stated sizes that
        // outlive the call; the kernel writes to none of them but `msg_len`.
        let result = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        checked(result).map(|sent| sent as usize)
    }
}

fn from_name(name: &Name) -> Option<SocketAddr> {
    match i32::from(name.sin6_family) {
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            // Two packets of one source must compare equal: the flow label is no part of an address.
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        libc::AF_INET => {
            // SAFETY: sockaddr_in is smaller than sockaddr_in6, both are plain old data, and the
            // family says that it is one.
            let name: libc::sockaddr_in = unsafe { ptr::from_ref(name).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(name.sin_port))))
        }
        _ => None,
    }
}

/// Returns the length of the name.
fn to_name(to: SocketAddr, name: &mut Name) -> libc::socklen_t {
    match to {
        SocketAddr::V6(to) => {
            *name = empty_name();
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = to.port().to_be();
            name.sin6_addr.s6_addr = to.ip().octets();
            name.sin6_scope_id = to.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
        SocketAddr::V4(to) => {
            let short = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_in6 is larger than a sockaddr_in and as strictly aligned.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in>().write(short) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn names_round_trip() {
        for text in ["127.0.0.1:5004", "[2001:db8::1]:40000", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = empty_name();
            to_name(address, &mut name);
            assert_eq!(from_name(&name), Some(address));
        }
        assert_eq!(from_name(&empty_name()), None);
    }

    #[test]
    fn batches_arrive_and_long_datagrams_are_told() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = b.local_addr().unwrap();
        let long = vec![7; DATAGRAM_MAX + 100];
        let datagrams: [&[u8]; 3] = [b"one", &long, b""];
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&b, 42).unwrap();
        let sent = SendBatch::new().send(&a, datagrams.iter().map(|bytes| (to, *bytes))).unwrap();
        assert_eq!(sent, 3);
        assert_eq!((epoll.wait(1000).unwrap(), epoll.token(0)), (1, 42));
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&b).unwrap(), 3);
        let from = a.local_addr().unwrap();
        assert_eq!(batch.datagram(0), Some((from, &b"one"[..])));
        assert_eq!(batch.datagram(1).unwrap().1.len(), DATAGRAM_MAX + 1);
        assert_eq!(batch.datagram(2), Some((from, &b""[..])));
        assert_eq!(batch.receive(&b).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_timer_and_a_wake_up_end_a_wait() {
        let mut epoll = Epoll::new().unwrap();
        let (timer, wake) = (Timer::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&timer, 1).unwrap();
        epoll.add(&wake, 2).unwrap();
        assert_eq!(epoll.wait(0).unwrap(), 0);
        wake.wake();
        wake.wake();
        assert_eq!((epoll.wait(1000).unwrap(), epoll.token(0)), (1, 2));
        wake.clear();
        assert_eq!(epoll.wait(0).unwrap(), 0);
        timer.set(Some(monotonic_ns() + 1_000_000)).unwrap();
        assert_eq!((epoll.wait(1000).unwrap(), epoll.token(0)), (1, 1));
        timer.set(None).unwrap();
        assert_eq!(epoll.wait(0).unwrap(), 0);
    }
}
