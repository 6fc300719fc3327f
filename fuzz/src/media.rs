//! Media: RTP and RTCP packets, and the files that are played.

use dialtone_media::rtcp::{COMPOUND_MAX, Compound, PeerReport, SenderInfo};
use dialtone_media::rtp::{self, DATAGRAM_MAX, Fixed, HEADER_LEN, Header};
use dialtone_media::{rtcp as control, wav as sound};

/// Samples of the longest file that is tried: what matters lies in its head.
const WAV_BYTES_MAX: usize = 1 << 16;

/// A packet that is read lies within its datagram, and what is relayed of it is read alike.
pub fn rtp(data: &[u8]) {
    if data.len() > DATAGRAM_MAX {
        return;
    }
    let Ok(header) = rtp::peek(data) else { return };
    let Header { marker, payload_type, sequence, timestamp, ssrc, payload } = header.clone();
    assert!(HEADER_LEN <= payload.start && payload.start <= payload.end && payload.end <= data.len());
    assert!(payload_type < 128);
    let fixed = Fixed { marker, payload_type, sequence, timestamp, ssrc }.to_bytes();
    let relayed = [&fixed[..], &data[payload.clone()]].concat();
    assert!(relayed.len() <= data.len(), "a relay never makes a packet longer");
    let again = rtp::peek(&relayed).expect("what we write is a packet");
    assert_eq!(again, Header { payload: HEADER_LEN..HEADER_LEN + payload.len(), ..header });
}

/// What is understood of a compound packet is understood again when we say it.
pub fn rtcp(data: &[u8]) {
    if data.len() > DATAGRAM_MAX {
        return;
    }
    // Whose packets a peer reports on: its first report block says, so that blocks are not all passed over.
    for at in [4, 8, 28] {
        let Some(ours) = data.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { continue };
        let ours = u32::from_be_bytes(*ours);
        let Ok(report) = control::parse(data, ours) else { continue };
        assert!(
            data.len() >= 8 && data.len().is_multiple_of(4),
            "whole words, at least a report without blocks"
        );
        assert_eq!(control::parse(data, ours), Ok(report));
        said_again(report, ours);
    }
}

fn said_again(report: PeerReport, ours: u32) {
    let PeerReport { sender_report, about_us, goodbye } = report;
    if let Some(block) = about_us {
        assert_eq!(block.about, ours);
        assert!((-(1 << 23)..1 << 23).contains(&block.lost), "24 bits, signed: {}", block.lost);
    }
    let info = |middle: u32| SenderInfo { ntp: u64::from(middle) << 16, timestamp: 0, packets: 0, octets: 0 };
    let (sender, cname) = (sender_report.map(info), b"dialtone-fuzzing");
    let mut bytes = [0; COMPOUND_MAX];
    let length = Compound { ssrc: 1, sender, block: about_us, cname, goodbye }.write(&mut bytes);
    assert_eq!(control::parse(&bytes[..length], ours), Ok(report));
}

/// A file gives no more samples than it has bytes, and they come out of a plain file as they went in.
pub fn wav(data: &[u8]) {
    if data.len() > WAV_BYTES_MAX {
        return;
    }
    match sound::decode(data) {
        Ok(samples) => {
            assert!(!samples.is_empty() && samples.len() <= data.len());
            assert!(
                samples.capacity() <= data.len(),
                "memory is taken for what is there, not for what is claimed"
            );
            assert_eq!(sound::decode(&plain(&samples)), Ok(samples));
        }
        Err(error) => assert!(error.to_string().len() < 300),
    }
}

/// A file of 16-bit PCM, 8 kHz, one channel.
fn plain(samples: &[i16]) -> Vec<u8> {
    let size = u32::try_from(2 * samples.len()).expect("the input was short");
    let mut bytes =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    bytes.extend_from_slice(&size.to_le_bytes());
    samples.iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
    bytes
}
