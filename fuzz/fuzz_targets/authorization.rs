//! See [`dialtone_fuzz::authorization`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::authorization(data));
