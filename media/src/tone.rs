//! Tones as samples: a sine, and the ringing tone of a European network.

use crate::g711::Law;

/// Samples in a second of telephone sound.
pub const SAMPLE_RATE: u32 = 8000;

/// The ringing tone of ETSI TR 101 041: 425 Hz, one second in five.
pub const RINGBACK_HZ: u16 = 425;
/// Level of the ringing tone, dBm0.
pub const RINGBACK_LEVEL_DBM0: i8 = -13;
/// Samples of sound in a period of the ringing tone.
pub const RINGBACK_ON: u32 = SAMPLE_RATE;
/// Samples in a period of the ringing tone.
pub const RINGBACK_PERIOD: u32 = 5 * SAMPLE_RATE;

/// A sine that runs on from frame to frame.
///
/// The sine is a unit vector that turns by one sample's angle at each sample: two multiplications
/// and two additions, and no table.
#[derive(Clone, Debug)]
pub struct Tone {
    level_dbm0: f64,
    turn: (f64, f64),
    vector: (f64, f64),
}

impl Tone {
    /// A sine of `hz`, held within 50 to 3400, at `level_dbm0`, held within −60 to 0.
    pub fn new(hz: u16, level_dbm0: i8) -> Self {
        let angle = std::f64::consts::TAU * f64::from(hz.clamp(50, 3400)) / f64::from(SAMPLE_RATE);
        Self {
            level_dbm0: f64::from(level_dbm0.clamp(-60, 0)),
            turn: (angle.cos(), angle.sin()),
            vector: (1.0, 0.0),
        }
    }

    /// The next samples, at the level as `law` counts it.
    pub fn fill(&mut self, law: Law, samples: &mut [i16]) {
        let amplitude = law.zero_dbm0_amplitude() * 10f64.powf(self.level_dbm0 / 20.0);
        let (cosine, sine) = self.turn;
        let (mut x, mut y) = self.vector;
        for sample in samples {
            *sample = (amplitude * y).round() as i16;
            (x, y) = (x * cosine - y * sine, x * sine + y * cosine);
        }
        // Rounding would let the length drift over hours.
        let length = x.hypot(y);
        self.vector = (x / length, y / length);
    }
}

/// The ringing tone, from the start of its sound.
#[derive(Clone, Debug)]
pub struct Ringback {
    tone: Tone,
    position: u32,
}

impl Default for Ringback {
    fn default() -> Self {
        Self { tone: Tone::new(RINGBACK_HZ, RINGBACK_LEVEL_DBM0), position: 0 }
    }
}

impl Ringback {
    /// The next samples.
    pub fn fill(&mut self, law: Law, samples: &mut [i16]) {
        let mut rest = samples;
        while !rest.is_empty() {
            let on = self.position < RINGBACK_ON;
            let until = if on { RINGBACK_ON } else { RINGBACK_PERIOD };
            let length = rest.len().min((until - self.position) as usize);
            let (now, later) = rest.split_at_mut(length);
            if on {
                self.tone.fill(law, now);
            } else {
                now.fill(0);
            }
            self.position = (self.position + length as u32) % RINGBACK_PERIOD;
            rest = later;
        }
    }
}

/// The level of a sine in a stretch of samples, dBm0 as `law` counts it: Goertzel's filter.
#[cfg(test)]
pub(crate) fn level_dbm0(law: Law, samples: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / f64::from(SAMPLE_RATE)).cos();
    let (mut s1, mut s2) = (0.0, 0.0);
    for sample in samples {
        (s1, s2) = (f64::from(*sample) + coefficient * s1 - s2, s1);
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    let amplitude = 2.0 * power.sqrt() / samples.len() as f64;
    20.0 * (amplitude / law.zero_dbm0_amplitude()).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_has_its_frequency_and_its_level_in_both_laws() {
        for law in [Law::Mu, Law::A] {
            for (hz, level) in [(1004, 0), (1004, -10), (425, -13), (3400, -3), (50, -30), (2600, -40)] {
                let mut samples = [0; 8000];
                let mut tone = Tone::new(hz, level);
                samples.chunks_mut(160).for_each(|frame| tone.fill(law, frame));
                let coded: Vec<i16> = samples.iter().map(|s| law.decode(law.encode(*s))).collect();
                let measured = level_dbm0(law, &coded, f64::from(hz));
                assert!((measured - f64::from(level)).abs() < 0.3, "{law:?} {hz} Hz {level}: {measured}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_held_within_it() {
        let mut samples = [0; 8000];
        Tone::new(60_000, 100).fill(Law::A, &mut samples);
        assert!((level_dbm0(Law::A, &samples, 3400.0)).abs() < 0.1);
    }

    #[test]
    fn a_tone_does_not_drift_in_an_hour() {
        let (mut samples, mut tone) = ([0; 8000], Tone::new(1004, -10));
        for _ in 0..3600 {
            tone.fill(Law::A, &mut samples);
        }
        let measured = level_dbm0(Law::A, &samples, 1004.0);
        assert!((measured + 10.0).abs() < 0.01, "{measured}");
    }

    #[test]
    fn the_ringing_tone_sounds_one_second_in_five() {
        let mut ringback = Ringback::default();
        let mut samples = vec![0; 80_000];
        // A frame length that does not divide a second.
        samples.chunks_mut(240).for_each(|frame| ringback.fill(Law::A, frame));
        for (second, samples) in samples.chunks(8000).enumerate() {
            if second % 5 == 0 {
                let measured = level_dbm0(Law::A, samples, 425.0);
                assert!((measured + 13.0).abs() < 0.1, "second {second}: {measured}");
            } else {
                assert!(samples.iter().all(|sample| *sample == 0), "second {second}");
            }
        }
    }
}
