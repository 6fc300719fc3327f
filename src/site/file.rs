//! What may stand in `site.toml`.

use std::path::PathBuf;
use std::time::Duration;

use dialtone_core::Codec;
use dialtone_core::site::{Ringback, Step};
use dialtone_signaling::registrar::Nat;
use dialtone_signaling::ua::{Reliability, SendIdentity};
use serde::{Deserialize, Deserializer};

use super::{ContactPolicy, Digest, Secret, TransportName};
use crate::config::duration;

/// A duration such as `"30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        duration::deserialize(deserializer).map(Span)
    }
}

/// The keys outside every table: the defaults of the whole site.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Head {
    pub name: String,
    pub digest: Option<Vec<Digest>>,
    pub codecs: Option<Vec<Codec>>,
    pub ring_timeout: Option<Span>,
    pub max_contacts: Option<u32>,
    pub contact_policy: Option<ContactPolicy>,
    pub reliable_provisional: Option<Reliability>,
    pub nat: Option<Nat>,
    pub transports: Option<Vec<TransportName>>,
    pub qualify: Option<Span>,
}

/// `[[extension]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExtensionEntry {
    pub number: Option<String>,
    pub name: String,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub digest: Option<Vec<Digest>>,
    pub codecs: Option<Vec<Codec>>,
    pub ring_timeout: Option<Span>,
    pub max_contacts: Option<u32>,
    pub contact_policy: Option<ContactPolicy>,
    pub reliable_provisional: Option<Reliability>,
    pub nat: Option<Nat>,
    pub transports: Option<Vec<TransportName>>,
    pub qualify: Option<Span>,
    pub trust_identity: bool,
    pub send_identity: Option<SendIdentity>,
    pub pickup_groups: Vec<String>,
}

/// `[[ring_group]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RingGroupEntry {
    pub number: Option<String>,
    pub name: String,
    pub members: Option<Vec<String>>,
    pub ring_timeout: Option<Span>,
    pub ringback: Ringback,
}

/// `[[flow]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FlowEntry {
    pub number: Option<String>,
    pub name: String,
    pub steps: Option<Vec<StepEntry>>,
}

/// A step as people write it: `"answer"`, `{ play = "welcome" }`, `{ wait = "2s" }`,
/// `{ tone = { hz = 1004 } }`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepEntry {
    Answer,
    Echo,
    HangUp,
    Play(String),
    Wait(Span),
    Tone(ToneEntry),
}

/// The sine of a `tone` step.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToneEntry {
    pub hz: u16,
    #[serde(default = "tone_level")]
    pub level_dbm0: i8,
}

/// Loud enough to be heard, far from clipping.
const fn tone_level() -> i8 {
    -10
}

impl StepEntry {
    /// The step that calls run.
    pub fn step(&self) -> Step {
        match self {
            StepEntry::Answer => Step::Answer,
            StepEntry::Echo => Step::Echo,
            StepEntry::HangUp => Step::HangUp { cause: dialtone_core::Cause::NormalClearing },
            StepEntry::Play(prompt) => Step::Play { prompt: prompt.clone() },
            StepEntry::Wait(Span(wait)) => {
                Step::Wait { ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) }
            }
            StepEntry::Tone(tone) => Step::Tone { hz: tone.hz, level_dbm0: tone.level_dbm0 },
        }
    }
}
