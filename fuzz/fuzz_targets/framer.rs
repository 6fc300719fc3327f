//! See [`dialtone_fuzz::framer`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::framer(data));
