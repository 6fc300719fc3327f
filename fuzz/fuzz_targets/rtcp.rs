//! See [`dialtone_fuzz::rtcp`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::rtcp(data));
