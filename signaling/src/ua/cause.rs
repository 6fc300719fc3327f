//! Q.850 causes and SIP statuses (after RFC 3398 §7.2.4 and §8.2.6), and the Reason header (RFC 3326).

use dialtone_core::Cause;

use crate::message::{Headers, Name, push_number};

/// The status with which a call is refused.
pub fn status_of(cause: Cause) -> u16 {
    match cause {
        Cause::UnallocatedNumber => 404,
        Cause::UserBusy => 486,
        Cause::CallRejected => 603,
        Cause::NumberChanged => 410,
        Cause::DestinationOutOfOrder => 502,
        Cause::InvalidNumberFormat => 484,
        Cause::NoCircuit | Cause::NetworkOutOfOrder | Cause::TemporaryFailure | Cause::Congestion => 503,
        Cause::BearerNotAuthorized => 403,
        Cause::FacilityNotImplemented => 501,
        Cause::IncompatibleDestination => 488,
        Cause::RecoveryOnTimer => 504,
        Cause::ProtocolError | Cause::Interworking => 500,
        Cause::NormalClearing
        | Cause::NoUserResponding
        | Cause::NoAnswer
        | Cause::SubscriberAbsent
        | Cause::AnsweredElsewhere
        | Cause::NormalUnspecified => 480,
    }
}

/// What a refusal means. The peer's own Q.850 Reason says it best.
pub fn cause_of(status: u16, headers: &Headers) -> Cause {
    reason(headers).unwrap_or(cause_of_status(status))
}

fn cause_of_status(status: u16) -> Cause {
    match status {
        404 | 604 => Cause::UnallocatedNumber,
        401..=403 | 407 => Cause::BearerNotAuthorized,
        408 | 480 => Cause::NoUserResponding,
        410 | 301 | 302 => Cause::NumberChanged,
        484 => Cause::InvalidNumberFormat,
        486 | 600 => Cause::UserBusy,
        487 => Cause::NormalClearing,
        415 | 488 | 606 => Cause::IncompatibleDestination,
        405 | 420 | 501 => Cause::FacilityNotImplemented,
        500 | 503 => Cause::TemporaryFailure,
        502 => Cause::DestinationOutOfOrder,
        504 => Cause::RecoveryOnTimer,
        603 => Cause::CallRejected,
        400..=499 => Cause::ProtocolError,
        _ => Cause::Interworking,
    }
}

/// The cause of a Reason header, when there is one that we know: Q.850 says it best, a SIP status is
/// translated (RFC 3326 §2).
pub fn reason(headers: &Headers) -> Option<Cause> {
    let code = |protocol: &str| {
        headers.tokens(&Name::Reason).find_map(|reason| {
            let mut parts = reason.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(protocol) {
                return None;
            }
            parts.find_map(|part| {
                let (name, value) = part.split_once('=')?;
                name.trim().eq_ignore_ascii_case("cause").then(|| value.trim().parse::<u16>().ok())?
            })
        })
    };
    let q850 = code("Q.850").and_then(|code| u8::try_from(code).ok()).and_then(Cause::from_code);
    q850.or_else(|| match code("SIP")? {
        // The call was completed elsewhere.
        200..=299 => Some(Cause::AnsweredElsewhere),
        status @ 300..=699 => Some(cause_of_status(status)),
        _ => None,
    })
}

/// The Reason header for a cause; for a branch that lost the race SIP's own reason says more
/// (RFC 3326 §2: it keeps the phone from showing a missed call).
pub fn reason_value(cause: Cause) -> String {
    match cause {
        Cause::AnsweredElsewhere => "SIP;cause=200;text=\"Call completed elsewhere\"".to_owned(),
        other => {
            let mut value = String::with_capacity(64);
            value.push_str("Q.850;cause=");
            push_number(&mut value, other.code());
            value.push_str(";text=\"");
            value.push_str(other.text());
            value.push('"');
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3326 §2.
    #[test]
    fn a_sip_status_in_a_reason_is_a_cause_too() {
        let mut headers = Headers::new();
        headers.push(Name::Reason, "SIP ;cause=200 ;text=\"Call completed elsewhere\"");
        assert_eq!(reason(&headers), Some(Cause::AnsweredElsewhere));
        headers.set(Name::Reason, "SIP;cause=486");
        assert_eq!(reason(&headers), Some(Cause::UserBusy));
        for odd in ["SIP;cause=99", "SIP", "SIP;cause=x", "Q.850", "preemption;cause=1"] {
            headers.set(Name::Reason, odd);
            assert_eq!(reason(&headers), None, "{odd}");
        }
    }

    #[test]
    fn the_peers_reason_wins_over_its_status() {
        let mut headers = Headers::new();
        assert_eq!(cause_of(480, &headers), Cause::NoUserResponding);
        headers.push(Name::Reason, "SIP;cause=480, Q.850 ;cause=19 ;text=\"no answer\"");
        assert_eq!(cause_of(480, &headers), Cause::NoAnswer);
        headers.set(Name::Reason, "Q.850;cause=999");
        assert_eq!(cause_of(486, &headers), Cause::UserBusy);
    }

    #[test]
    fn refusals_that_a_phone_shows_survive_the_way_through() {
        let none = Headers::new();
        for cause in
            [Cause::UserBusy, Cause::CallRejected, Cause::UnallocatedNumber, Cause::IncompatibleDestination]
        {
            assert_eq!(cause_of(status_of(cause), &none), cause);
        }
    }
}
