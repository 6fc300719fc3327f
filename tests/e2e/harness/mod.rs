//! What a scenario works with: a private network, the server, phones, and ears.

mod lab;
mod poll;
mod process;
mod server;
mod sipp;
mod sys;

pub use lab::{Lab, scenario};
pub use poll::{eventually, until};
pub use process::Process;
pub use server::{Server, Setup};
pub use sipp::{Run, Sipp, Transport};
