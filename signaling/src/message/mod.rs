//! SIP messages: lossless, bounded, tolerant (RFC 3261 §7, §25).
