//! RTCP as far as two parties need it (RFC 3550 §6): reports, a CNAME, a farewell.
//!
//! What comes in is read within its bounds or refused as a whole; other packet types are stepped over.

/// Bytes of the longest compound packet that we write: a sender report with one block, a CNAME, a BYE.
pub const COMPOUND_MAX: usize = 28 + 24 + 8 + 2 + CNAME_LEN + 2 + 8;
/// Bytes of our CNAMEs: 96 bits in base64 (RFC 7022 §4.2).
pub const CNAME_LEN: usize = 16;
/// Seconds between the epoch of NTP (1900) and that of Unix (1970).
const NTP_EPOCH_S: u64 = 2_208_988_800;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// The bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compound RTCP packet: {0}")]
pub struct Malformed(&'static str);

/// What a receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source it is about.
    pub about: u32,
    /// Lost since the last report, of 256.
    pub fraction_lost: u8,
    /// Lost in all; 24 bits, signed.
    pub lost: i32,
    /// Extended highest sequence number.
    pub highest: u32,
    /// Clock units.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0: none came.
    pub last_report: u32,
    /// Since that report, 1/65536 s.
    pub delay: u32,
}

/// What a sender says of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall time as NTP's 32.32 bits.
    pub ntp: u64,
    /// The same instant on the RTP clock.
    pub timestamp: u32,
    /// Packets sent in all; wraps.
    pub packets: u32,
    /// Payload sent in all, bytes; wraps.
    pub octets: u32,
}

/// What a compound packet says that concerns us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerReport {
    /// Middle 32 bits of the NTP time of a sender report.
    pub sender_report: Option<u32>,
    /// What the peer says of our stream.
    pub about_us: Option<ReportBlock>,
    /// Whether the peer says goodbye. Signaling ends calls, not this.
    pub goodbye: bool,
}

/// Reads a compound packet; `ours` is the source that we send as.
///
/// # Errors
/// [`Malformed`] when it fails the validity checks of RFC 3550 §A.2; nothing of it may be used.
pub fn parse(bytes: &[u8], ours: u32) -> Result<PeerReport, Malformed> {
    let mut report = PeerReport::default();
    let mut rest = bytes;
    let mut first = true;
    // Each turn takes at least four bytes, so a datagram bounds the loop.
    while !rest.is_empty() {
        let [flags, kind, high, low] = *rest.first_chunk::<4>().ok_or(Malformed("a header is cut off"))?;
        if flags >> 6 != 2 {
            return Err(Malformed("the version is not 2"));
        }
        if first && !matches!(kind, SENDER_REPORT | RECEIVER_REPORT) {
            return Err(Malformed("it does not start with a report"));
        }
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let (packet, next) = rest.split_at_checked(length).ok_or(Malformed("a packet is cut off"))?;
        if flags & 0x20 != 0 && (first || !next.is_empty()) {
            return Err(Malformed("padding before the last packet"));
        }
        let count = usize::from(flags & 0x1F);
        match kind {
            SENDER_REPORT => {
                let info = packet.get(8..28).ok_or(Malformed("a sender report is cut off"))?;
                report.sender_report = Some(word(info, 2));
                blocks(packet, 28, count, ours, &mut report)?;
            }
            RECEIVER_REPORT => blocks(packet, 8, count, ours, &mut report)?,
            GOODBYE => report.goodbye = true,
            _ => {}
        }
        (rest, first) = (next, false);
    }
    if first { Err(Malformed("it is empty")) } else { Ok(report) }
}

fn blocks(
    packet: &[u8],
    at: usize,
    count: usize,
    ours: u32,
    report: &mut PeerReport,
) -> Result<(), Malformed> {
    let bytes = packet.get(at..at + 24 * count).ok_or(Malformed("a report block is cut off"))?;
    for block in bytes.chunks_exact(24).filter(|block| word(block, 0) == ours) {
        let lost = word(block, 4) & 0xFF_FFFF;
        report.about_us = Some(ReportBlock {
            about: ours,
            fraction_lost: block[4],
            lost: (lost << 8).cast_signed() >> 8,
            highest: word(block, 8),
            jitter: word(block, 12),
            last_report: word(block, 16),
            delay: word(block, 20),
        });
    }
    Ok(())
}

/// Four bytes from `at`; the caller has checked the length.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What a compound packet of ours says.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    /// Our source.
    pub ssrc: u32,
    /// Present when we have sent since the report before the last: then it is a sender report.
    pub sender: Option<SenderInfo>,
    /// Present when there is something to report on.
    pub block: Option<ReportBlock>,
    /// Who we are, the same for the leg's life.
    pub cname: &'a [u8; CNAME_LEN],
    /// Whether the stream ends.
    pub goodbye: bool,
}

impl Compound<'_> {
    /// Writes it and returns its length.
    pub fn write(&self, out: &mut [u8; COMPOUND_MAX]) -> usize {
        let mut writer = Writer { out, at: 0 };
        let count = u8::from(self.block.is_some());
        let words = 1 + if self.sender.is_some() { 5 } else { 0 } + 6 * u16::from(count);
        let kind = if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        writer.header(count, kind, words);
        writer.word(self.ssrc);
        if let Some(info) = self.sender {
            writer.word((info.ntp >> 32) as u32);
            writer.word(info.ntp as u32);
            writer.word(info.timestamp);
            writer.word(info.packets);
            writer.word(info.octets);
        }
        if let Some(block) = self.block {
            writer.word(block.about);
            writer.word((u32::from(block.fraction_lost) << 24) | (block.lost.cast_unsigned() & 0xFF_FFFF));
            writer.word(block.highest);
            writer.word(block.jitter);
            writer.word(block.last_report);
            writer.word(block.delay);
        }
        // RFC 3550 §6.5: an item's type and length, the text, and zeros to the next word, at least one.
        writer.header(1, SOURCE_DESCRIPTION, (4 + 2 + CNAME_LEN as u16 + 2) / 4);
        writer.word(self.ssrc);
        writer.put(&[1, CNAME_LEN as u8]);
        writer.put(self.cname);
        writer.put(&[0, 0]);
        if self.goodbye {
            writer.header(1, GOODBYE, 1);
            writer.word(self.ssrc);
        }
        writer.at
    }
}

struct Writer<'a> {
    out: &'a mut [u8; COMPOUND_MAX],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_be_bytes());
    }

    fn header(&mut self, count: u8, kind: u8, words: u16) {
        let [high, low] = words.to_be_bytes();
        self.put(&[0x80 | count, kind, high, low]);
    }
}

/// An instant since 1970, microseconds, as NTP's 32.32 bits (RFC 3550 §4).
pub fn ntp(wall_us: u64) -> u64 {
    let seconds = (wall_us / 1_000_000).wrapping_add(NTP_EPOCH_S) & 0xFFFF_FFFF;
    (seconds << 32) | (((wall_us % 1_000_000) << 32) / 1_000_000)
}

/// The middle 32 bits of an NTP time: units of 1/65536 s.
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CNAME: &[u8; CNAME_LEN] = b"0123456789abcdef";

    fn write(compound: &Compound<'_>) -> Vec<u8> {
        let mut out = [0; COMPOUND_MAX];
        let length = compound.write(&mut out);
        out[..length].to_vec()
    }

    fn full() -> Compound<'static> {
        let block = ReportBlock {
            about: 7,
            fraction_lost: 3,
            lost: -2,
            highest: 70_000,
            jitter: 12,
            last_report: 0xAABB_CCDD,
            delay: 65_536,
        };
        let sender = SenderInfo { ntp: 0x1111_2222_3333_4444, timestamp: 9, packets: 10, octets: 1600 };
        Compound { ssrc: 5, sender: Some(sender), block: Some(block), cname: CNAME, goodbye: true }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(&full());
        assert_eq!(bytes.len(), COMPOUND_MAX);
        let report = parse(&bytes, 7).unwrap();
        assert_eq!(report.sender_report, Some(0x2222_3333));
        assert_eq!(report.about_us, full().block);
        assert!(report.goodbye);
        assert_eq!(parse(&bytes, 8).unwrap().about_us, None);
        let quiet = write(&Compound { sender: None, block: None, goodbye: false, ..full() });
        assert_eq!(parse(&quiet, 7), Ok(PeerReport::default()));
    }

    #[test]
    fn what_fails_the_checks_is_refused() {
        let whole = write(&full());
        for cut in 0..whole.len() {
            // Cut between two packets it is a valid compound packet of fewer.
            let complete = [52, 80].contains(&cut);
            assert_eq!(parse(&whole[..cut], 7).is_ok(), complete, "{cut}");
        }
        let edit = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            parse(&bytes, 7)
        };
        assert!(edit(0, 0x41).is_err(), "version 1");
        assert!(edit(0, 0xA1).is_err(), "padding in the first packet");
        assert!(edit(1, 203).is_err(), "a goodbye first");
        assert!(edit(0, 0x9F).is_err(), "31 blocks in the room of one");
        assert!(edit(3, 200).is_err(), "longer than the datagram");
        assert!(edit(53, 77).is_ok(), "an unknown packet type is stepped over");
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(ntp(0), 2_208_988_800 << 32);
        assert_eq!(ntp(1_500_000), (2_208_988_801 << 32) | 0x8000_0000);
        assert_eq!(middle(0x1111_2222_3333_4444), 0x2222_3333);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), ours: u32) {
            let _ = parse(&bytes, ours);
        }

        /// Damage to a real packet reaches further into the parser than noise does.
        #[test]
        fn damaged_packets_never_panic(edits in proptest::collection::vec((0usize..88, any::<u8>()), 0..8)) {
            let mut bytes = write(&full());
            for (at, to) in edits {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            let _ = parse(&bytes, 7);
        }
    }
}
