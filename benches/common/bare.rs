//! The least that a relay does: a loop of epoll, recvmmsg and sendmmsg, without latch, header, statistics or time.

#![allow(unsafe_code, reason = "what it is compared with makes these calls too")]

use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

const BATCH: usize = 16;

pub fn run(legs: &[(UdpSocket, SocketAddr)], stop: &AtomicBool) {
    let names: Vec<libc::sockaddr_in> = legs.iter().map(|(_, to)| name(*to)).collect();
    let mut buffers = vec![[0u8; 1500]; BATCH];
    // SAFETY: all zeros is a valid value of each of these plain structures.
    let (mut sources, mut messages): ([libc::sockaddr_in; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut parts: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 1500 })
        .collect();
    let mut ready = [libc::epoll_event { events: 0, u64: 0 }; 64];
    // SAFETY: descriptors are those of open sockets; every pointer given to the kernel is to one of
    // the values above, which live until the end of this function and are not moved.
    unsafe {
        let epoll = libc::epoll_create1(0);
        for (index, (socket, _)) in legs.iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event);
        }
        while !stop.load(Ordering::Relaxed) {
            let count = libc::epoll_wait(epoll, ready.as_mut_ptr(), 64, 100);
            for event in &ready[..count.max(0) as usize] {
                let index = event.u64 as usize;
                for (at, message) in messages.iter_mut().enumerate() {
                    parts[at].iov_len = 1500;
                    message.msg_hdr.msg_iov = &mut parts[at];
                    message.msg_hdr.msg_iovlen = 1;
                    message.msg_hdr.msg_name = ptr::from_mut(&mut sources[at]).cast();
                    message.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
                }
                let socket = legs[index].0.as_raw_fd();
                let (batch, flags) = (BATCH as u32, libc::MSG_DONTWAIT);
                let received = libc::recvmmsg(socket, messages.as_mut_ptr(), batch, flags, ptr::null_mut());
                let received = received.max(0) as usize;
                let partner = index ^ 1;
                for (at, message) in messages[..received].iter_mut().enumerate() {
                    parts[at].iov_len = message.msg_len as usize;
                    message.msg_hdr.msg_name = ptr::from_ref(&names[partner]).cast_mut().cast();
                }
                if received > 0 {
                    let socket = legs[partner].0.as_raw_fd();
                    libc::sendmmsg(socket, messages.as_mut_ptr(), received as u32, flags);
                }
            }
        }
        libc::close(epoll);
    }
}

fn name(to: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(to) = to else { unreachable!("the bench runs on 127.0.0.1") };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
