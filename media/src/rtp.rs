//! The RTP fixed header (RFC 3550 §5.1): read from a packet without copying it, and written anew.
//!
//! A relayed packet leaves with a plain 12-byte header: contributing sources, header extensions and
//! padding belong to the session that the packet came from (RFC 3550 §7.1, RFC 8285 §5) and are not
//! carried into the other one.

use std::ops::Range;

/// Bytes of the header that we write.
pub const HEADER_LEN: usize = 12;

/// Bytes of the longest datagram that is taken in; longer ones are dropped as truncated. An Ethernet
/// frame cannot hold more.
pub const DATAGRAM_MAX: usize = 1500;

/// The bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its header does.
    #[error("the packet ends within its header")]
    Short,
    /// Not RTP version 2.
    #[error("the version is {0}, not 2")]
    Version(u8),
    /// The padding count is zero or larger than the payload.
    #[error("the padding count {0} does not fit the payload")]
    Padding(u8),
}

/// What a relay needs to know of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker: for voice, the first packet after silence (RFC 3551 §4.1).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Wraps at 65536.
    pub sequence: u16,
    /// In units of the codec's RTP clock; wraps.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
    /// Where in the packet the payload lies, without padding. It may be empty (RFC 6263 §4.1).
    pub payload: Range<usize>,
}

/// Reads the header of a received packet.
///
/// # Errors
/// [`Malformed`] when the bytes cannot be RTP; nothing of such a packet may be used.
pub fn peek(packet: &[u8]) -> Result<Header, Malformed> {
    let (fixed, _) = packet.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Short)?;
    if fixed[0] >> 6 != 2 {
        return Err(Malformed::Version(fixed[0] >> 6));
    }
    let mut start = HEADER_LEN + 4 * usize::from(fixed[0] & 0x0F);
    if fixed[0] & 0x10 != 0 {
        let length = packet.get(start + 2..start + 4).ok_or(Malformed::Short)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    let mut end = packet.len();
    if start > end {
        return Err(Malformed::Short);
    }
    if fixed[0] & 0x20 != 0 {
        let padding = packet[end - 1];
        // RFC 3550 §5.1: the count includes itself, so zero is as wrong as too many.
        if padding == 0 || usize::from(padding) > end - start {
            return Err(Malformed::Padding(padding));
        }
        end -= usize::from(padding);
    }
    Ok(Header {
        marker: fixed[1] & 0x80 != 0,
        payload_type: fixed[1] & 0x7F,
        sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
        timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        payload: start..end,
    })
}

/// The fields of a header that we write: no padding, extension or contributing source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// See [`Header::marker`].
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// See [`Header::sequence`].
    pub sequence: u16,
    /// See [`Header::timestamp`].
    pub timestamp: u32,
    /// See [`Header::ssrc`].
    pub ssrc: u32,
}

impl Fixed {
    /// The bytes on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 0x80;
        bytes[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7F);
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtc_rtp::packet::Packet;
    use rtc_shared::marshal::Marshal;

    use super::*;

    const PLAIN: [u8; 14] = [0x80, 0x88, 0x12, 0x34, 0, 0, 0, 0xA0, 0xDE, 0xAD, 0xBE, 0xEF, 1, 2];

    fn with(first: u8, tail: &[u8]) -> Vec<u8> {
        let mut packet = PLAIN[..HEADER_LEN].to_vec();
        packet[0] = first;
        packet.extend_from_slice(tail);
        packet
    }

    #[test]
    fn a_plain_packet_is_read_and_written_back() {
        let header = peek(&PLAIN).unwrap();
        assert_eq!(
            header,
            Header {
                marker: true,
                payload_type: 8,
                sequence: 0x1234,
                timestamp: 160,
                ssrc: 0xDEAD_BEEF,
                payload: 12..14
            }
        );
        let Header { marker, payload_type, sequence, timestamp, ssrc, .. } = header;
        assert_eq!(Fixed { marker, payload_type, sequence, timestamp, ssrc }.to_bytes(), PLAIN[..12]);
    }

    #[test]
    fn only_the_payload_is_left_of_a_decorated_packet() {
        type Case = (u8, &'static [u8], Result<Range<usize>, Malformed>);
        let cases: [Case; 10] = [
            (0x80, &[], Ok(12..12)),
            (0x82, &[0; 9], Ok(20..21)),
            (0x82, &[0; 7], Err(Malformed::Short)),
            (0x90, &[0xBE, 0xDE, 0, 1, 0, 0, 0, 0, 9], Ok(20..21)),
            (0x90, &[0xBE, 0xDE, 0, 1, 0, 0, 0], Err(Malformed::Short)),
            (0x90, &[0xBE, 0xDE, 0], Err(Malformed::Short)),
            (0xA0, &[9, 9, 0, 2], Ok(12..14)),
            (0xA0, &[9, 0], Err(Malformed::Padding(0))),
            (0xA0, &[9, 3], Err(Malformed::Padding(3))),
            (0x40, &[9], Err(Malformed::Version(1))),
        ];
        for (first, tail, expected) in cases {
            assert_eq!(
                peek(&with(first, tail)).map(|header| header.payload),
                expected,
                "{first:x} {tail:x?}"
            );
        }
        assert_eq!(peek(&PLAIN[..11]), Err(Malformed::Short));
        // Padding without any payload: the last byte of the header must not be taken for the count.
        assert!(peek(&with(0xA0, &[])).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = peek(&bytes) {
                prop_assert!(header.payload.start >= HEADER_LEN && header.payload.end <= bytes.len());
            }
        }

        #[test]
        fn we_read_what_another_implementation_writes(
            marker: bool,
            payload_type in 0u8..128,
            sequence: u16,
            timestamp: u32,
            ssrc: u32,
            csrc in proptest::collection::vec(any::<u32>(), 0..15),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let packet = Packet {
                header: rtc_rtp::header::Header {
                    version: 2, marker, payload_type, sequence_number: sequence, timestamp, ssrc, csrc,
                    ..Default::default()
                },
                payload: Bytes::from(payload.clone()),
            };
            let bytes = packet.marshal().unwrap();
            let header = peek(&bytes).unwrap();
            prop_assert_eq!(&bytes[header.payload.clone()], &payload[..]);
            prop_assert_eq!(
                (header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc),
                (marker, payload_type, sequence, timestamp, ssrc)
            );
        }
    }
}
