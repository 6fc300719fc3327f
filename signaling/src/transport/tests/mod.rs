//! The transport against real sockets on loopback, and its gate and connections without any.

mod digest;
mod gate;
mod guard;
mod identity;
mod phone;
mod shed;
mod streams;
mod tls;
mod udp;
mod world;
