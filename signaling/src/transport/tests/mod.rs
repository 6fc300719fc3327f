//! The transport against real sockets on loopback, and its gate and connections without any.

mod digest;
mod gate;
mod phone;
mod streams;
mod udp;
mod world;
