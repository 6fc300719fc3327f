//! What a scenario works with: a private network, the server, phones, and ears.

mod baresip;
mod dns;
mod firewall;
mod lab;
mod linphone;
mod load;
mod pesq;
mod place;
mod poll;
mod process;
mod proxy;
mod record;
mod scripted;
mod server;
mod sipp;
pub mod sipsak;
mod sound;
pub mod sys;

pub use baresip::{Baresip, Phone, Voice};
pub use dns::Dns;
pub use firewall::{Firewall, break_connections};
pub use lab::{Lab, scenario};
pub use linphone::Linphone;
pub use load::{Load, Stage};
pub use pesq::pesq;
pub use place::{Place, default_route, nft};
pub use poll::{PATIENCE, eventually};
pub use process::Process;
pub use proxy::Proxy;
pub use record::{answered, heard_both_ways, only};
pub use scripted::Flow;
pub use server::{Server, Setup};
pub use sipp::{Run, Sipp, Transport};
pub use sound::{Sound, correlation, prompt};
