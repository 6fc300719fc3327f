//! WAV files of telephone sound: 8 kHz, one channel; 16-bit PCM, µ-law or A-law.
//!
//! Read here and not with hound, which refuses the two laws and stumbles over chunks of odd length,
//! such as the comments that sound editors leave.

use crate::g711::Law;
use crate::tone::SAMPLE_RATE;

const FORMAT_PCM: u16 = 1;
const FORMAT_A_LAW: u16 = 6;
const FORMAT_MU_LAW: u16 = 7;
/// The format proper follows in the first two bytes of a longer chunk.
const FORMAT_EXTENSIBLE: u16 = 0xFFFE;

/// A file that cannot be played as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// Not a WAV file, or one that is cut off before its sound.
    #[error("not a WAV file, or one without a complete {0:?} chunk")]
    Chunk(&'static str),
    /// Sound of another form.
    #[error(
        "format {format}, {rate} Hz, {channels} channel(s), {bits} bit: 8000 Hz, 1 channel, and 16 bit \
         PCM (format 1) or 8 bit A-law (6) or µ-law (7) is needed"
    )]
    Form {
        /// The format tag.
        format: u16,
        /// Samples per second.
        rate: u32,
        /// Channels.
        channels: u16,
        /// Bits per sample.
        bits: u16,
    },
    /// It holds no sound.
    #[error("the file holds no samples")]
    Empty,
}

/// The samples of a file.
///
/// # Errors
/// [`WavError`] says what is wrong with the file; nothing is resampled or mixed down.
pub fn decode(bytes: &[u8]) -> Result<Vec<i16>, WavError> {
    let head = chunk(bytes, b"fmt ").filter(|head| head.len() >= 16).ok_or(WavError::Chunk("fmt "))?;
    let format = match short(head, 0) {
        FORMAT_EXTENSIBLE if head.len() >= 26 => short(head, 24),
        format => format,
    };
    let (channels, rate, bits) = (short(head, 2), long(head, 4), short(head, 14));
    let data = chunk(bytes, b"data").ok_or(WavError::Chunk("data"))?;
    let samples: Vec<i16> = match (format, channels, rate, bits) {
        (FORMAT_PCM, 1, SAMPLE_RATE, 16) => {
            data.chunks_exact(2).map(|sample| short(sample, 0).cast_signed()).collect()
        }
        (FORMAT_A_LAW, 1, SAMPLE_RATE, 8) => data.iter().map(|code| Law::A.decode(*code)).collect(),
        (FORMAT_MU_LAW, 1, SAMPLE_RATE, 8) => data.iter().map(|code| Law::Mu.decode(*code)).collect(),
        _ => return Err(WavError::Form { format, rate, channels, bits }),
    };
    if samples.is_empty() { Err(WavError::Empty) } else { Ok(samples) }
}

/// The content of the first chunk of this name. A data chunk may claim more than the file holds, when
/// its writer died: what is there counts.
fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut rest = &bytes[12..];
    // Each turn takes at least the eight bytes of a chunk's header.
    while rest.len() >= 8 {
        let (header, body) = rest.split_at(8);
        let length = long(header, 4) as usize;
        if &header[..4] == name {
            return Some(&body[..length.min(body.len())]);
        }
        // Chunks start at even offsets.
        rest = body.get(length.checked_add(length & 1)?..)?;
    }
    None
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A WAV file of this form.
    pub(crate) fn file(format: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        let frame = channels * bits / 8;
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&channels.to_le_bytes());
        bytes.extend_from_slice(&rate.to_le_bytes());
        bytes.extend_from_slice(&(rate * u32::from(frame)).to_le_bytes());
        bytes.extend_from_slice(&frame.to_le_bytes());
        bytes.extend_from_slice(&bits.to_le_bytes());
        // An odd chunk in between, as sound editors leave them.
        bytes.extend_from_slice(b"LIST\x03\0\0\0abc\0data");
        bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
        bytes.extend_from_slice(data);
        let length = (bytes.len() - 8) as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(decode(&file(1, 1, 8000, 16, &[1, 0, 0xFF, 0xFF])).unwrap(), [1, -1]);
        assert_eq!(decode(&file(7, 1, 8000, 8, &[0x80, 0x00])).unwrap(), [32_124, -32_124]);
        assert_eq!(decode(&file(6, 1, 8000, 8, &[0xAA, 0x2A])).unwrap(), [32_256, -32_256]);
    }

    #[test]
    fn what_hound_writes_is_read() {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        [3, -4, i16::MAX].iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        assert_eq!(decode(&bytes.into_inner()).unwrap(), [3, -4, i16::MAX]);
    }

    #[test]
    fn what_cannot_be_played_is_named() {
        let cases = [
            (file(1, 1, 16_000, 16, &[0, 0]), "16000 Hz"),
            (file(1, 2, 8000, 16, &[0; 4]), "2 channel"),
            (file(1, 1, 8000, 8, &[0]), "8 bit"),
            (file(7, 2, 8000, 8, &[0, 0]), "2 channel"),
            (file(1, 1, 8000, 16, &[]), "no samples"),
            (b"not a wav".to_vec(), "not a WAV"),
            (Vec::new(), "not a WAV"),
        ];
        for (bytes, expected) in cases {
            let text = decode(&bytes).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(edits in proptest::collection::vec((0usize..64, any::<u8>()), 0..6), cut in 0usize..64) {
            for format in [1, 7] {
                let mut bytes = file(format, 1, 8000, 16, &[0; 8]);
                for (at, to) in &edits {
                    let at = at % bytes.len();
                    bytes[at] = *to;
                }
                let _ = decode(&bytes[..cut.min(bytes.len())]);
                let _ = decode(&bytes);
            }
        }
    }
}
