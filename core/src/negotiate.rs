//! Which formats two legs can share (RFC 3264), as pure functions over descriptions.
//!
//! Nothing is transcoded here: what one leg may send, the other must be able to receive. Payload types
//! are per leg; only the codec's meaning crosses.

use smallvec::SmallVec;

use crate::codec::Codec;
use crate::description::{Description, Direction, Format, Formats};
use crate::media::{ReadyPort, Stream};

/// The codecs that our generators (tones, prompts) can produce.
pub const GENERATED: &[Codec] = &[Codec::Pcmu, Codec::Pcma];

/// Which RFC 4733 events we take when nobody says: the sixteen keys.
const TELEPHONE_EVENT_FMTP: &str = "0-15";

/// Packet length when a description does not ask for one, milliseconds (RFC 3551 §4.2).
const PTIME_MS: u8 = 20;

/// What we offer of our own accord: `codecs` and keys, under our own payload types.
pub fn own_offer(codecs: &[Codec]) -> Formats {
    let voice = codecs.iter().map(|&codec| Format {
        codec,
        payload_type: codec.default_payload_type(),
        fmtp: String::new(),
    });
    voice.chain([telephone_event(TELEPHONE_EVENT_FMTP)]).collect()
}

/// What we offer to a branch on behalf of a caller: what the caller offered and `allowed` has, in the
/// caller's order with `first` in front, under our own payload types.
pub fn forwarded_offer(caller: &[Format], allowed: &[Codec], first: Option<Codec>) -> Formats {
    let mut voice: SmallVec<[&Format; 4]> =
        caller.iter().filter(|format| allowed.contains(&format.codec)).collect();
    voice.sort_by_key(|format| Some(format.codec) != first);
    let mut formats: Formats = voice
        .into_iter()
        .map(|format| Format {
            codec: format.codec,
            payload_type: format.codec.default_payload_type(),
            fmtp: format.fmtp.clone(),
        })
        .collect();
    if !formats.is_empty()
        && let Some(keys) = caller.iter().find(|format| format.codec == Codec::TelephoneEvent)
    {
        formats.push(telephone_event(&keys.fmtp));
    }
    formats
}

/// Our answer to `offer`: the formats that `agreed` has too, in `agreed`'s order, under the offer's
/// payload types (RFC 3264 §6.1). Empty when no voice codec is shared.
pub fn answer(offer: &[Format], agreed: &[Format]) -> Formats {
    let formats: Formats = agreed
        .iter()
        .filter_map(|theirs| {
            let ours = offer.iter().find(|format| format.codec == theirs.codec)?;
            Some(Format { payload_type: ours.payload_type, ..theirs.clone() })
        })
        .collect();
    if formats.iter().any(|format| format.codec.is_voice()) { formats } else { Formats::new() }
}

/// What is left of `ours`, in its order and under its payload types, when the far end has only `theirs`.
/// Empty when no voice codec is shared.
pub fn shared(ours: &[Format], theirs: &[Format]) -> Formats {
    let has = |format: &&Format| theirs.iter().any(|other| other.codec == format.codec);
    let formats: Formats = ours.iter().filter(has).cloned().collect();
    if formats.iter().any(|format| format.codec.is_voice()) { formats } else { Formats::new() }
}

/// Our answer to a caller that will hear a generator: every offered codec of `wanted`, in the caller's
/// order, and keys. Empty when there is none.
pub fn answer_from(offer: &[Format], wanted: &[Codec]) -> Formats {
    if !offer.iter().any(|format| wanted.contains(&format.codec)) {
        return Formats::new();
    }
    let keeps = |format: &&Format| wanted.contains(&format.codec) || !format.codec.is_voice();
    offer.iter().filter(keeps).cloned().collect()
}

/// Whether packets can be relayed between a leg that agreed to `a` and one that agreed to `b`, as each
/// will send its first choice.
pub fn can_relay(a: &[Format], b: &[Format]) -> bool {
    let first = |formats: &[Format]| formats.iter().map(|f| f.codec).find(|codec| codec.is_voice());
    let has = |formats: &[Format], codec| formats.iter().any(|format| format.codec == codec);
    match (first(a), first(b)) {
        (Some(from_a), Some(from_b)) => has(b, from_a) && has(a, from_b),
        (None, _) | (_, None) => false,
    }
}

/// Our description of a leg's stream on `port`.
pub fn describe(
    port: &ReadyPort,
    formats: Formats,
    direction: Direction,
    ptime_ms: Option<u8>,
) -> Description {
    Description { rtp: port.rtp, rtcp: port.rtcp, formats, direction, ptime_ms }
}

/// The direction of our answer to a peer's offer: its mirror image, or silence towards the unspecified
/// address (RFC 3264 §8.4).
pub fn answer_direction(offer: &Description) -> Direction {
    let peer_receives = offer.direction.receives() && !offer.rtp.ip().is_unspecified();
    Direction::new(peer_receives, offer.direction.sends())
}

/// How packets look once both descriptions stand.
pub fn stream(local: &Description, remote: &Description, relatch: bool) -> Stream {
    let ours = |codec: Codec| local.formats.iter().any(|format| format.codec == codec);
    let peer_receives = remote.direction.receives() && !remote.rtp.ip().is_unspecified();
    Stream {
        rtp: remote.rtp,
        rtcp: remote.rtcp,
        receive: local.formats.iter().map(|format| (format.payload_type, format.codec)).collect(),
        send: remote
            .formats
            .iter()
            .filter(|format| ours(format.codec))
            .map(|format| (format.codec, format.payload_type))
            .collect(),
        direction: local.direction.and(Direction::new(peer_receives, remote.direction.sends())),
        ptime_ms: remote.ptime_ms.unwrap_or(PTIME_MS),
        relatch,
    }
}

fn telephone_event(fmtp: &str) -> Format {
    Format {
        codec: Codec::TelephoneEvent,
        payload_type: Codec::TelephoneEvent.default_payload_type(),
        fmtp: if fmtp.is_empty() { TELEPHONE_EVENT_FMTP.into() } else { fmtp.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(list: &[(Codec, u8)]) -> Formats {
        list.iter()
            .map(|&(codec, payload_type)| Format { codec, payload_type, fmtp: String::new() })
            .collect()
    }

    fn types(formats: &[Format]) -> Vec<(Codec, u8)> {
        formats.iter().map(|format| (format.codec, format.payload_type)).collect()
    }

    use Codec::{G722, Opus, Pcma, Pcmu, TelephoneEvent};

    #[test]
    fn a_forwarded_offer_keeps_the_callers_order_and_our_numbers() {
        let caller = formats(&[(Opus, 111), (Pcma, 8), (Pcmu, 0), (TelephoneEvent, 126)]);
        let offer = forwarded_offer(&caller, &[Pcmu, Opus], None);
        assert_eq!(types(&offer), [(Opus, 107), (Pcmu, 0), (TelephoneEvent, 101)]);
        let offer = forwarded_offer(&caller, &[Pcmu, Opus], Some(Pcmu));
        assert_eq!(types(&offer), [(Pcmu, 0), (Opus, 107), (TelephoneEvent, 101)]);
        assert!(forwarded_offer(&caller, &[G722], None).is_empty(), "keys alone are no call");
    }

    #[test]
    fn an_answer_uses_the_offers_numbers_and_the_callees_order() {
        let offer = formats(&[(Opus, 111), (Pcmu, 0), (TelephoneEvent, 126)]);
        let callee = formats(&[(Pcmu, 0), (Opus, 107), (TelephoneEvent, 101)]);
        assert_eq!(types(&answer(&offer, &callee)), [(Pcmu, 0), (Opus, 111), (TelephoneEvent, 126)]);
        assert!(answer(&offer, &formats(&[(G722, 9), (TelephoneEvent, 101)])).is_empty());
    }

    #[test]
    fn relay_needs_each_sides_first_choice_on_the_other() {
        let pcmu = formats(&[(Pcmu, 0)]);
        let both = formats(&[(Opus, 107), (Pcmu, 0)]);
        assert!(can_relay(&pcmu, &formats(&[(Pcmu, 0), (Opus, 107)])));
        assert!(!can_relay(&pcmu, &both), "the other side would send Opus");
        assert!(!can_relay(&pcmu, &formats(&[(TelephoneEvent, 101)])));
    }

    #[test]
    fn hold_is_mirrored_in_both_dialects() {
        let mut offer = Description {
            rtp: "192.0.2.1:4000".parse().unwrap(),
            rtcp: "192.0.2.1:4001".parse().unwrap(),
            formats: formats(&[(Pcmu, 0)]),
            direction: Direction::SendOnly,
            ptime_ms: None,
        };
        assert_eq!(answer_direction(&offer), Direction::RecvOnly);
        offer.direction = Direction::SendRecv;
        offer.rtp = "0.0.0.0:4000".parse().unwrap();
        assert_eq!(answer_direction(&offer), Direction::RecvOnly);
        offer.direction = Direction::Inactive;
        assert_eq!(answer_direction(&offer), Direction::Inactive);
    }
}
