//! ITU-T G.711: the two logarithmic laws, bit exact, by table.
//!
//! Samples are 16-bit linear with the law's own resolution in the upper bits (14 for µ-law, 13 for
//! A-law), as in the ITU-T software tools (G.191), whose rounding of negative values is kept.

/// One of the two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// PCMU, North America and Japan.
    Mu,
    /// PCMA, elsewhere.
    A,
}

impl Law {
    /// One sample's code.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => MU_ENCODE[usize::from(sample as u16 >> 2)],
            Law::A => A_ENCODE[usize::from(sample as u16 >> 4)],
        }
    }

    /// One code's sample.
    pub fn decode(self, code: u8) -> i16 {
        match self {
            Law::Mu => MU_DECODE[usize::from(code)],
            Law::A => A_DECODE[usize::from(code)],
        }
    }

    /// Encodes as many samples as both slices hold.
    pub fn encode_into(self, samples: &[i16], codes: &mut [u8]) {
        for (code, sample) in codes.iter_mut().zip(samples) {
            *code = self.encode(*sample);
        }
    }

    /// The amplitude of a sine of 0 dBm0. G.711 §5 puts a sine at the load capacity (4096 in 13-bit
    /// units for A-law, 8159 in 14-bit units for µ-law) at +3.14 and +3.17 dBm0.
    pub fn zero_dbm0_amplitude(self) -> f64 {
        let (capacity, hundredths_db) = match self {
            Law::Mu => (8159.0 * 4.0, 317.0),
            Law::A => (4096.0 * 8.0, 314.0),
        };
        capacity / 10f64.powf(hundredths_db / 2000.0)
    }
}

static MU_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_decode(code as u8);
        code += 1;
    }
    table
};

static A_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_decode(code as u8);
        code += 1;
    }
    table
};

/// By the upper 14 bits of the sample: µ-law looks at no more.
#[allow(long_running_const_eval)]
static MU_ENCODE: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = mu_encode(((index as u16) << 2) as i16);
        index += 1;
    }
    table
};

/// By the upper 12 bits of the sample: A-law folds the sign first and then looks at no more.
#[allow(long_running_const_eval)]
static A_ENCODE: [u8; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        table[index] = a_encode(((index as u16) << 4) as i16);
        index += 1;
    }
    table
};

const fn mu_encode(sample: i16) -> u8 {
    // One's complement for negative values, so that −1 and 0 fall into the same interval.
    let magnitude = ((if sample < 0 { !sample } else { sample }) >> 2) as u16 + 33;
    let magnitude = if magnitude > 0x1FFF { 0x1FFF } else { magnitude };
    // The bias of 33 puts the first segment at 33..64: its leading one is bit 5.
    let segment = 11 - magnitude.leading_zeros() as u16;
    let step = (magnitude >> segment) & 0x0F;
    let code = (((8 - segment) << 4) | (0x0F - step)) as u8;
    if sample < 0 { code } else { code | 0x80 }
}

const fn mu_decode(code: u8) -> i16 {
    let bits = !code as i16;
    let (exponent, mantissa) = ((bits >> 4) & 7, bits & 0x0F);
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if code < 0x80 { -magnitude } else { magnitude }
}

const fn a_encode(sample: i16) -> u8 {
    let magnitude = ((if sample < 0 { !sample } else { sample }) >> 4) as u16;
    let code = if magnitude < 32 {
        // The first two segments have the same step.
        magnitude
    } else {
        let exponent = 12 - magnitude.leading_zeros() as u16;
        (exponent << 4) | ((magnitude >> (exponent - 1)) & 0x0F)
    };
    // Every second bit is inverted on the line, so that silence is not a run of zeros.
    (if sample < 0 { code } else { code | 0x80 }) as u8 ^ 0x55
}

const fn a_decode(code: u8) -> i16 {
    let bits = (code ^ 0x55) as i16;
    let (exponent, mantissa) = ((bits >> 4) & 7, bits & 0x0F);
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loops of the ITU-T software tool library (G.191), written out.
    fn textbook_mu(sample: i16) -> u8 {
        let sample = i32::from(sample);
        let absolute = (if sample < 0 { (!sample >> 2) + 33 } else { (sample >> 2) + 33 }).min(0x1FFF);
        let (mut rest, mut segment) = (absolute >> 6, 1);
        while rest != 0 {
            segment += 1;
            rest >>= 1;
        }
        let code = ((8 - segment) << 4) | (0x0F - ((absolute >> segment) & 0x0F));
        (if sample >= 0 { code | 0x80 } else { code }) as u8
    }

    fn textbook_a(sample: i16) -> u8 {
        let sample = i32::from(sample);
        let mut code = if sample < 0 { !sample >> 4 } else { sample >> 4 };
        if code > 15 {
            let mut exponent = 1;
            while code > 16 + 15 {
                code >>= 1;
                exponent += 1;
            }
            code += (exponent << 4) - 16;
        }
        ((if sample >= 0 { code | 0x80 } else { code }) ^ 0x55) as u8
    }

    fn textbook_mu_decode(code: u8) -> i16 {
        let sign = if code < 0x80 { -1 } else { 1 };
        let mantissa = i32::from(!code);
        let exponent = (mantissa >> 4) & 7;
        let step = 4 << (exponent + 1);
        (sign * ((0x80 << exponent) + step * (mantissa & 0x0F) + step / 2 - 4 * 33)) as i16
    }

    fn textbook_a_decode(code: u8) -> i16 {
        let bits = i32::from(code ^ 0x55) & 0x7F;
        let (exponent, mut mantissa) = (bits >> 4, bits & 0x0F);
        if exponent > 0 {
            mantissa += 16;
        }
        mantissa = (mantissa << 4) + 8;
        if exponent > 1 {
            mantissa <<= exponent - 1;
        }
        (if code > 127 { mantissa } else { -mantissa }) as i16
    }

    #[test]
    fn every_sample_and_every_code_agree_with_the_textbook() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(Law::Mu.encode(sample), textbook_mu(sample), "{sample}");
            assert_eq!(Law::A.encode(sample), textbook_a(sample), "{sample}");
        }
        for code in 0..=255 {
            assert_eq!(Law::Mu.decode(code), textbook_mu_decode(code), "{code}");
            assert_eq!(Law::A.decode(code), textbook_a_decode(code), "{code}");
        }
    }

    #[test]
    fn decoding_and_encoding_again_changes_nothing() {
        for code in 0..=255 {
            assert_eq!(Law::A.encode(Law::A.decode(code)), code);
            // µ-law has two zeros; both decode to 0, which encodes to the positive one.
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(code)), expected);
        }
    }

    #[test]
    fn the_digital_milliwatt_is_zero_dbm0() {
        // G.711 tables 5 and 6: 1 kHz at 0 dBm0, one period.
        let cases = [
            (Law::A, [0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4]),
            (Law::Mu, [0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E]),
        ];
        for (law, period) in cases {
            let power: f64 =
                period.iter().map(|code| f64::from(law.decode(*code)).powi(2)).sum::<f64>() / 8.0;
            let level = 20.0 * ((2.0 * power).sqrt() / law.zero_dbm0_amplitude()).log10();
            assert!(level.abs() < 0.05, "{law:?} {level}");
        }
    }
}
