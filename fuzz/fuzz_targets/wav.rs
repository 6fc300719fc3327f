//! See [`dialtone_fuzz::wav`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::wav(data));
