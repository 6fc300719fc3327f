//! Session descriptions: SDP to and from [`dialtone_core::Description`] (RFC 3264, RFC 4566).
