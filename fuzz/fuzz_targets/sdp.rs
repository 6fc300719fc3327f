//! See [`dialtone_fuzz::sdp`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::sdp(data));
