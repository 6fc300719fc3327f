//! Ears: WAV files, and what is in them.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Mono sound, −1 to 1.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Samples a second.
    pub rate: u32,
    pub samples: Vec<f64>,
}

/// The strongest frequency of a sound.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    pub hz: f64,
    /// Level of that sine, decibels below a full-scale sine.
    pub dbfs: f64,
    /// Its part of all the power, 0 to 1.
    pub purity: f64,
}

impl Sound {
    /// A sine of half the full scale.
    pub fn tone(rate: u32, hz: f64, length: Duration) -> Sound {
        let count = (length.as_secs_f64() * f64::from(rate)) as usize;
        let sample = |index: usize| 0.5 * (TAU * hz * index as f64 / f64::from(rate)).sin();
        Sound { rate, samples: (0..count).map(sample).collect() }
    }

    /// The first channel of a file of 16-bit PCM, even while it is still being written.
    pub fn read(path: &Path) -> Option<Sound> {
        let bytes = fs::read(path).ok()?;
        let number = |at: usize, size: usize| {
            let bytes = bytes.get(at..at + size)?;
            Some(bytes.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)))
        };
        let (mut at, mut format) = (12, None);
        loop {
            let size = number(at + 4, 4)? as usize;
            match bytes.get(at..at + 4)? {
                b"fmt " => format = Some((number(at + 10, 2)? as usize, number(at + 12, 4)?)),
                b"data" => break,
                _ => {}
            }
            at += 8 + size + size % 2;
        }
        let (channels, rate) = format?;
        let sample = |frame: &[u8]| f64::from(i16::from_le_bytes([frame[0], frame[1]])) / 32_768.0;
        let samples = bytes[at + 8..].chunks_exact(2 * channels).map(sample).collect();
        Some(Sound { rate, samples })
    }

    /// Writes it as 16-bit PCM, the same in every channel.
    pub fn write(&self, path: &Path, channels: u16) {
        let size = self.samples.len() as u32 * u32::from(channels) * 2;
        let mut bytes = Vec::with_capacity(44 + size as usize);
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&(36 + size).to_le_bytes());
        bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
        bytes.extend_from_slice(&channels.to_le_bytes());
        bytes.extend_from_slice(&self.rate.to_le_bytes());
        bytes.extend_from_slice(&(self.rate * u32::from(channels) * 2).to_le_bytes());
        bytes.extend_from_slice(&(channels * 2).to_le_bytes());
        bytes.extend_from_slice(b"\x10\0data");
        bytes.extend_from_slice(&size.to_le_bytes());
        for sample in &self.samples {
            let sample = ((sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).to_le_bytes();
            (0..channels).for_each(|_| bytes.extend_from_slice(&sample));
        }
        fs::write(path, bytes).unwrap();
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate))
    }

    /// A part of it.
    pub fn part(&self, from: Duration, length: Duration) -> Sound {
        let at =
            |time: Duration| ((time.as_secs_f64() * f64::from(self.rate)) as usize).min(self.samples.len());
        Sound { rate: self.rate, samples: self.samples[at(from)..at(from + length)].to_vec() }
    }

    /// Its last part.
    pub fn last(&self, length: Duration) -> Sound {
        self.part(self.length().saturating_sub(length), length)
    }

    /// Root mean square, decibels below that of a full-scale sine; −∞ for silence.
    pub fn dbfs(&self) -> f64 {
        let power: f64 = self.samples.iter().map(|sample| sample * sample).sum();
        10.0 * (2.0 * power / self.samples.len().max(1) as f64).log10()
    }

    /// Its strongest frequency, to a fraction of a hertz.
    pub fn peak(&self) -> Peak {
        let size = 1 << self.samples.len().ilog2();
        let window = |index: usize| 0.5 - 0.5 * (TAU * index as f64 / size as f64).cos();
        let mut real: Vec<f64> =
            self.samples[..size].iter().enumerate().map(|(at, sample)| sample * window(at)).collect();
        let mut imaginary = vec![0.0; size];
        transform(&mut real, &mut imaginary);
        let power = |bin: usize| real[bin].powi(2) + imaginary[bin].powi(2);
        let top = (4..size / 2 - 1).max_by(|a, b| power(*a).total_cmp(&power(*b))).unwrap();
        // The main lobe of a Hann window is four bins wide; interpolation on its logarithm.
        let [before, here, after] = [top - 1, top, top + 1].map(|bin| power(bin).ln());
        let shift = 0.5 * (before - after) / (before - 2.0 * here + after);
        let lobe: f64 = (top.saturating_sub(3)..=(top + 3).min(size / 2 - 1)).map(power).sum();
        let all: f64 = (1..size / 2).map(power).sum();
        // A sine of amplitude a has the power (a/2)² Σw² / size in its lobe, and Σw² is 3/8 size.
        let amplitude = (lobe * 4.0 / (size as f64 * size as f64 * 0.375)).sqrt();
        Peak {
            hz: (top as f64 + shift) * f64::from(self.rate) / size as f64,
            dbfs: 20.0 * amplitude.log10(),
            purity: lobe / all,
        }
    }
}

/// A fast Fourier transform in place; the length is a power of two.
fn transform(real: &mut [f64], imaginary: &mut [f64]) {
    let size = real.len();
    let shift = usize::BITS - size.trailing_zeros();
    for index in 0..size {
        let mirrored = index.reverse_bits() >> shift;
        if index < mirrored {
            real.swap(index, mirrored);
            imaginary.swap(index, mirrored);
        }
    }
    let mut half = 1;
    while half < size {
        for offset in 0..half {
            let (sine, cosine) = (-TAU * offset as f64 / (2 * half) as f64).sin_cos();
            for low in (offset..size).step_by(2 * half) {
                let high = low + half;
                let product = (
                    real[high] * cosine - imaginary[high] * sine,
                    real[high] * sine + imaginary[high] * cosine,
                );
                (real[high], imaginary[high]) = (real[low] - product.0, imaginary[low] - product.1);
                (real[low], imaginary[low]) = (real[low] + product.0, imaginary[low] + product.1);
            }
        }
        half *= 2;
    }
}

/// A prompt that is shipped.
pub fn prompt(name: &str) -> Sound {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prompts").join(name);
    Sound::read(&file.with_extension("wav")).unwrap()
}

/// Correlation of two sounds at the delay of `heard` where they agree best, 1 for the same shape, and the
/// delay in samples. `said` is slid over all of `heard`.
pub fn correlation(said: &Sound, heard: &Sound) -> (f64, usize) {
    let norm = |samples: &[f64]| samples.iter().map(|sample| sample * sample).sum::<f64>().sqrt();
    let (said, size) = (&said.samples, said.samples.len());
    let own = norm(said);
    (0..=heard.samples.len().saturating_sub(size))
        .map(|delay| {
            let part = &heard.samples[delay..delay + size];
            let product: f64 = said.iter().zip(part).map(|(a, b)| a * b).sum();
            (product / (own * norm(part)).max(f64::MIN_POSITIVE), delay)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
}

#[test]
fn a_peak_is_found_with_its_frequency_and_level() {
    for hz in [425.0, 440.0, 1004.0, 1004.7] {
        let peak = Sound::tone(8000, hz, Duration::from_secs(2)).peak();
        assert!((peak.hz - hz).abs() < 0.2, "{peak:?} for {hz}");
        assert!((peak.dbfs + 6.02).abs() < 0.1, "{peak:?}");
        assert!(peak.purity > 0.99, "{peak:?}");
    }
}
