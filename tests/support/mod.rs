//! A network on virtual time around the switch: phones that do what a test says, ports, a store, and
//! checks after every step. Nothing sleeps and nothing reads a clock.

pub mod acts;
mod checks;
mod hostile;
mod phone;
mod picture;
mod sdp;
mod sent;
mod set;
mod site;
pub mod torture;
mod world;
mod zone;

pub use phone::Phone;
pub use sdp::{Sdp, description, ours, sdp};
pub use site::sample;
pub use world::World;
pub use zone::Mood;
