//! What a scenario works with: a private network, the server, phones, and ears.

mod lab;
mod poll;
mod process;
mod record;
mod server;
mod sipp;
pub mod sipsak;
mod sys;

pub use lab::{Lab, scenario};
pub use poll::{eventually, until};
pub use record::{answered, heard_both_ways, only};
pub use server::{Server, Setup};
pub use sipp::{Run, Sipp, Transport};
