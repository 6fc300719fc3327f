//! Session descriptions.

use dialtone_signaling::sdp::{Origin, SdpWriter, parse};

/// No panic, and our answer to whatever parses is a description itself.
pub fn sdp(data: &[u8]) {
    let Ok(remote) = parse(data) else { return };
    let Some(local) = remote.description() else { return };
    let mut writer = SdpWriter::new(Origin { session_id: 1, version: 1 });
    let answer = parse(&writer.answer(local, &remote)).expect("our answer is a description");
    assert_eq!(answer.description().map(|found| found.rtp), Some(local.rtp));
    let again = parse(&writer.offer(local)).expect("our offer is a description");
    assert_eq!(again, answer);
}
