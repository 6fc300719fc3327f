//! Why a leg or a call ended: ITU-T Q.850 cause values, the one vocabulary that SIP's Reason header
//! (RFC 3326), AMI and CDRs share.

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A Q.850 cause.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// Every cause we know, by rising code.
            pub const ALL: &'static [Cause] = &[$(Cause::$name),*];

            /// The Q.850 value, 1 to 127.
            pub const fn code(self) -> u8 {
                match self { $(Cause::$name => $code),* }
            }

            /// The Q.850 text.
            pub const fn text(self) -> &'static str {
                match self { $(Cause::$name => $text),* }
            }

            /// The cause with this Q.850 value, when we know it.
            pub const fn from_code(code: u8) -> Option<Cause> {
                match code { $($code => Some(Cause::$name),)* _ => None }
            }
        }
    };
}

causes! {
    /// The number is not assigned to anyone.
    UnallocatedNumber = 1, "Unallocated (unassigned) number";
    /// The ordinary end of a call.
    NormalClearing = 16, "Normal call clearing";
    /// The called party is on another call.
    UserBusy = 17, "User busy";
    /// The called party's device does not react: unregistered, or it timed out.
    NoUserResponding = 18, "No user responding";
    /// It rang and nobody answered.
    NoAnswer = 19, "No answer from user (user alerted)";
    /// The subscriber is known but not here.
    SubscriberAbsent = 20, "Subscriber absent";
    /// The called party declined.
    CallRejected = 21, "Call rejected";
    /// The number has moved.
    NumberChanged = 22, "Number changed";
    /// Another branch of the same call was answered.
    AnsweredElsewhere = 26, "Non-selected user clearing";
    /// The destination's side is broken.
    DestinationOutOfOrder = 27, "Destination out of order";
    /// Too few digits, or a malformed number.
    InvalidNumberFormat = 28, "Invalid number format (address incomplete)";
    /// Nothing more precise is known.
    NormalUnspecified = 31, "Normal, unspecified";
    /// No channel, port or trunk is free.
    NoCircuit = 34, "No circuit/channel available";
    /// The far network is broken.
    NetworkOutOfOrder = 38, "Network out of order";
    /// A failure that may pass.
    TemporaryFailure = 41, "Temporary failure";
    /// We are too busy.
    Congestion = 42, "Switching equipment congestion";
    /// Not allowed for this caller.
    BearerNotAuthorized = 57, "Bearer capability not authorized";
    /// A facility that we, or they, do not have.
    FacilityNotImplemented = 69, "Requested facility not implemented";
    /// No codec in common.
    IncompatibleDestination = 88, "Incompatible destination";
    /// A timer ran out where the protocol owed an answer (also: the audio went silent).
    RecoveryOnTimer = 102, "Recovery on timer expiry";
    /// The peer broke the protocol.
    ProtocolError = 111, "Protocol error, unspecified";
    /// Something else, outside this network.
    Interworking = 127, "Interworking, unspecified";
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_round_trip() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), Some(*cause));
        }
        assert!(Cause::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }
}
