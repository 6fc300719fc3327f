//! `dialtone turns`: what kept the control thread of the running server longest.

use std::path::Path;

use dialtone_api::{AdminClient, LongTurn, LongestTurns};

use super::CliError;
use super::remote::{print, runtime};
use super::table::table;

/// Shows the longest turns since the start, the longest first.
pub(super) fn turns(data: &Path, json: bool) -> Result<(), CliError> {
    let client = AdminClient::new(data);
    let turns: LongestTurns = runtime()?.block_on(client.get("/debug/longest-turns"))?;
    if !json {
        eprintln!("the longest of {} turns since the start", turns.turns);
    }
    print(&turns.longest, json, || turn_table(&turns.longest))
}

fn turn_table(turns: &[LongTurn]) -> String {
    let ms = |us: u64| format!("{}.{:03} ms", us / 1000, us % 1000);
    let row = |turn: &LongTurn| {
        let status = turn.status.map(|status| format!("{status} to ")).unwrap_or_default();
        [
            ms(turn.took_us),
            ms(turn.decided_us),
            turn.at.clone(),
            turn.kind.clone(),
            format!("{status}{}", turn.what),
            turn.effects.to_string(),
            turn.call.map(|call| call.to_string()).unwrap_or_default(),
        ]
    };
    let header = ["TOOK", "DECIDED", "WHEN", "KIND", "WHAT", "EFFECTS", "CALL"];
    table(header, &turns.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_shown_with_what_they_were() {
        let turn = LongTurn {
            took_us: 12_034,
            decided_us: 900,
            at: "2026-11-22T15:29:48.724Z".into(),
            kind: "sip_response".into(),
            what: "INVITE".into(),
            status: Some(200),
            call: Some("c1-00000001-7".parse().unwrap()),
            leg: None,
            effects: 9,
        };
        let lines = "TOOK       DECIDED   WHEN                      KIND          WHAT           EFFECTS  CALL\n\
            12.034 ms  0.900 ms  2026-11-22T15:29:48.724Z  sip_response  200 to INVITE  9        c1-00000001-7";
        assert_eq!(turn_table(&[turn]), lines);
    }
}
