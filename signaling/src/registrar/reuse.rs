//! A phone that is back over another connection and says at which address it listens (RFC 5923 §6): requests to
//! that address take the connection.
//!
//! Anybody can write any address into a Via. So the claim counts for contacts of the account alone that has
//! proved itself with the same request, and over the transport of the contact: nobody draws another's calls to
//! themselves, and nothing leaves TLS.

use super::{Registrar, enter, leave};
use crate::message::Via;
use crate::wire::Path;

impl Registrar {
    /// The account `endpoint` sent a request with this Via over `path`. `stands` says whether a binding's own way
    /// is still there: then it needs no other.
    pub(crate) fn reuse(&mut self, endpoint: &str, via: &Via, path: Path, stands: impl Fn(Path) -> bool) {
        let listens = via.host.ip().map(|ip| (ip, via.port.unwrap_or(path.transport.default_port())));
        let (Some((ip, port)), true) = (listens, path.transport.is_reliable() && via.params.has("alias"))
        else {
            return;
        };
        let Some(account) = self.accounts.get_mut(endpoint) else { return };
        for binding in &mut account.bindings {
            let address = binding.uri.parse().ok().and_then(|uri| path.transport.address_of(&uri));
            let same = binding.path.transport == path.transport && address == Some((ip, port).into());
            if same && !stands(binding.path) {
                // What is kept on the disk stays: no connection outlives the process.
                leave(&mut self.by_flow, binding);
                binding.path = path;
                enter(&mut self.by_flow, endpoint, binding);
            }
        }
    }
}
