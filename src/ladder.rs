//! The picture that a telephone engineer draws of a call: who sent what to whom, and what followed.
//!
//! ```text
//! 1001 ──INVITE──▶ dialtone                        +0.000
//!                  dialtone ──INVITE──▶ 1002       +0.001
//! event  leg_state_changed leg=2 state=ringing     +0.200
//! ```
//!
//! The same printer serves `dialtone trace` and the golden tests.

use std::fmt::Write as _;
use std::time::Duration;

use dialtone_core::event::Side;
use serde::{Deserialize, Serialize};

/// One line of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Microseconds since the ladder began.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A SIP message.
    Message {
        /// Which way its leg was set up: decides on which side of the picture the peer stands.
        side: Side,
        /// The peer's number.
        peer: String,
        /// Whether we sent it.
        sent: bool,
        /// `INVITE`, or `180 Ringing`.
        summary: String,
        /// The whole message with its secrets hidden; empty in tests.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// An event.
    Event {
        /// Its name and fields.
        text: String,
    },
}

const US: &str = "dialtone";
/// Where the times stand.
const TIMES: usize = 78;

/// Draws it.
pub fn draw(rungs: &[Rung]) -> String {
    let inbound = rungs.iter().filter_map(|rung| match &rung.what {
        What::Message { side: Side::Inbound, peer, summary, .. } => Some(width(peer) + width(summary) + 7),
        What::Message { .. } | What::Event { .. } => None,
    });
    let indent = inbound.max().unwrap_or(0);
    let mut picture = String::new();
    for rung in rungs {
        let line = match &rung.what {
            What::Event { text } => format!("event  {text}"),
            What::Message { side: Side::Inbound, peer, sent, summary, .. } => {
                let line = format!("{peer} {} {US}", arrow(!sent, summary));
                format!("{}{line}", " ".repeat((indent + width(US)).saturating_sub(width(&line))))
            }
            What::Message { side: Side::Outbound, peer, sent, summary, .. } => {
                format!("{}{US} {} {peer}", " ".repeat(indent), arrow(*sent, summary))
            }
        };
        let gap = TIMES.saturating_sub(width(&line)).max(2);
        let at = Duration::from_micros(rung.at_us);
        // Numbers, phrases and names are a peer's bytes: a terminal must not obey them, nor a line end early.
        let line: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let _ = writeln!(picture, "{line}{}+{}.{:03}", " ".repeat(gap), at.as_secs(), at.subsec_millis());
    }
    picture
}

/// The messages whole, each under its line of the ladder.
pub fn messages(rungs: &[Rung]) -> String {
    let mut all = String::new();
    for rung in rungs {
        if let What::Message { text, .. } = &rung.what {
            let _ = writeln!(all, "{}\n{text}\n", draw(std::slice::from_ref(rung)).trim());
        }
    }
    all
}

fn arrow(to_the_right: bool, summary: &str) -> String {
    if to_the_right { format!("──{summary}──▶") } else { format!("◀──{summary}──") }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_looks_as_an_engineer_draws_it() {
        let message = |at_us, side, peer: &str, sent, summary: &str| Rung {
            at_us,
            what: What::Message {
                side,
                peer: peer.into(),
                sent,
                summary: summary.into(),
                text: String::new(),
            },
        };
        let rungs = [
            message(0, Side::Inbound, "1001", false, "INVITE"),
            message(0, Side::Inbound, "1001", true, "100 Trying"),
            message(1000, Side::Outbound, "1002", true, "INVITE"),
            message(200_000, Side::Outbound, "1002", false, "180 Ringing"),
            Rung {
                at_us: 200_000,
                what: What::Event { text: "leg_state_changed leg=2 state=ringing".into() },
            },
        ];
        let expected = "\
       1001 ──INVITE──▶ dialtone                                              +0.000
   1001 ◀──100 Trying── dialtone                                              +0.000
                        dialtone";
        let drawn = draw(&rungs);
        assert!(drawn.lines().all(|line| line.contains("+0.")), "{drawn}");
        assert!(drawn.contains("1001 ──INVITE──▶ dialtone"), "{drawn}");
        assert!(drawn.contains("dialtone ◀──180 Ringing── 1002"), "{drawn}");
        let columns: Vec<usize> = drawn
            .lines()
            .filter(|line| !line.starts_with("event"))
            .map(|line| line.find(US).map_or(0, |at| line[..at].chars().count()))
            .collect();
        assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{expected}\n{drawn}");
    }

    #[test]
    fn a_peers_control_characters_stay_in_their_line() {
        let text = "route_taken dialed=\u{1b}]0;x\u{7}\nevent  call_ended".to_owned();
        let drawn = draw(&[Rung { at_us: 0, what: What::Event { text } }]);
        assert_eq!(drawn.lines().count(), 1);
        assert!(!drawn.trim_end().chars().any(char::is_control), "{drawn:?}");
    }
}
