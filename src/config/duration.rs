//! Durations as people write them: a whole number and one unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Units from long to short, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write a whole number and a unit, such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"1d\""
)]
pub struct BadDuration(String);

/// Reads `500ms`, `30s`, `5m`, `1h` or `1d`.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.chars().take(32).collect());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(bad)?.1;
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(bad)
}

/// The shortest text that [`parse`] reads back; what is below a millisecond is lost.
pub fn print(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |unit_ms: &u64| millis.is_multiple_of(*unit_ms) && millis >= *unit_ms;
    let (unit, unit_ms) = UNITS.into_iter().find(|(_, unit_ms)| fits(unit_ms)).unwrap_or(("s", 1000));
    format!("{}{unit}", millis / unit_ms)
}

/// For `#[serde(with = "duration")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print(*duration))
}

/// For `#[serde(with = "duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_round_trip() {
        let cases = [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
            assert_eq!(print(Duration::from_millis(millis)), text);
        }
        assert_eq!(print(Duration::from_millis(90_000)), "90s");
        assert_eq!(print(Duration::ZERO), "0s");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "30", "s", "-1s", "1.5s", "1h30m", "30 parsecs", "99999999999999999999s", "99999999999999d"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
