//! See [`dialtone_fuzz::rtp`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::rtp(data));
