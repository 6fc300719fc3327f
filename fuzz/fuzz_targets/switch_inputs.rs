//! See [`dialtone_fuzz::switch_inputs`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialtone_fuzz::switch_inputs(data));
