//! See [`dialtone_fuzz::stun`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::stun(data));
