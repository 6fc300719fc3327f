//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760) and its throttle. Pure: told the time.
//!
//! ```text
//! request ──▶ Claim::find ──▶ Throttle::check ──▶ Claim::verify ──▶ Verdict
//!             nonce ours?     before hashing      constant time
//! ```
//!
//! The transport worker does this much without memory of its peers. What needs memory, the count of each
//! nonce's uses, is [`NonceWindow`], which the control thread asks. Whether an account may do what a
//! request asks, or may call itself what its From says, is decided by the stack.
//!
//! Only qop=auth is spoken: auth-int breaks at every ALG, and without a qop there is no count to stop a replay.

mod accounts;
mod challenge;
mod digest;
mod nonce;
mod recent;
mod throttle;
mod verify;
mod window;

pub use accounts::Accounts;
pub use challenge::challenge;
pub use digest::{Algorithm, Exchange, Hash, Hex};
pub use nonce::{NONCE_LEN, NONCE_LIFETIME, NonceKey};
pub(crate) use recent::Recent;
pub(crate) use throttle::network;
pub use throttle::{
    ACCOUNT_FAILURE_LIMIT, FAILURE_TABLE_LIMIT, PROOF_LIFETIME, PROOF_TABLE_LIMIT, SOURCE_FAILURE_LIMIT,
    THROTTLE_MINUTE, Throttle, ThrottleCounts, ThrottlePolicy,
};
pub use verify::{Claim, Verdict, verify};
pub use window::{NONCE_WINDOW_LIMIT, NonceWindow, NonceWindowCounts};
