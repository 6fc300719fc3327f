//! Any bytes as a session description: no panic, and our answer to whatever parses is one itself.

#![no_main]

use dialtone_signaling::sdp::{Origin, SdpWriter, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(remote) = parse(data) else { return };
    let Some(local) = remote.description() else { return };
    let mut writer = SdpWriter::new(Origin { session_id: 1, version: 1 });
    let answer = parse(&writer.answer(local, &remote)).expect("our answer is a description");
    assert_eq!(answer.description().map(|found| found.rtp), Some(local.rtp));
    let again = parse(&writer.offer(local)).expect("our offer is a description");
    assert_eq!(again, answer);
});
