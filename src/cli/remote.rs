//! `dialtone calls`, `trace` and `reload-certificates`: the running server, or else the records.

use std::io::Write;
use std::path::Path;

use dialtone_api::admin::Reloaded;
use dialtone_api::view::{CallPage, CallState, CallView};
use dialtone_api::{AdminClient, CallText, ClientError};
use dialtone_core::cdr::Cdr;
use dialtone_core::event::Routed;
use dialtone_core::{CallId, Party};
use dialtone_store::{RecordReader, Stream, TraceRecord};
use serde::Serialize;

use super::CliError;
use super::table::table;

/// Calls that one request to the server asks for.
const PAGE: usize = 1000;

/// Shows at most `limit` calls.
pub(super) fn calls(data: &Path, limit: usize, json: bool) -> Result<(), CliError> {
    match running(data, limit) {
        Ok((calls, total)) => {
            print(&calls, json, || live_table(&calls))?;
            if total > calls.len() && !json {
                eprintln!("{} of {total} calls", calls.len());
            }
            Ok(())
        }
        Err(CliError::Client(ClientError::NotRunning(_))) => {
            let page = RecordReader::in_data_dir(data).page::<Cdr>(Stream::Cdr, limit, None)?;
            if !json {
                eprintln!("no server is running on {}; the last calls, newest first:", data.display());
            }
            print(&page.records, json, || record_table(&page.records))
        }
        Err(error) => Err(error),
    }
}

/// Has the running server read its certificates again.
pub(super) fn reload_certificates(data: &Path) -> Result<(), CliError> {
    let client = AdminClient::new(data);
    let reloaded: Reloaded = runtime()?.block_on(client.post("/certificates/reload"))?;
    write(&format!("{}\n", reloaded.certificate))
}

/// Prints the ladder of a call, and its messages when they are wanted.
pub(super) fn trace(data: &Path, call: CallId, messages: bool) -> Result<(), CliError> {
    let client = AdminClient::new(data);
    let asked = runtime()?.block_on(client.text(&format!("/calls/{call}/trace?messages={messages}")));
    let ladder = match asked {
        Ok(ladder) => ladder,
        Err(ClientError::NotRunning(_)) => recorded(data, call, messages)?,
        Err(ClientError::Refused(problem)) if problem.status == 404 => recorded(data, call, messages)?,
        Err(error) => return Err(error.into()),
    };
    write(&ladder)
}

fn recorded(data: &Path, call: CallId, messages: bool) -> Result<String, CliError> {
    let reader = RecordReader::in_data_dir(data);
    let name = call.to_string();
    let trace = reader.find(Stream::Trace, |trace: &TraceRecord| trace.call == name)?;
    let text =
        |trace: TraceRecord| CallText { ladder: trace.ladder, messages: trace.messages }.print(messages);
    trace.map(text).ok_or_else(|| CliError::NoSuchCall { call, data: data.into() })
}

/// The calls of the running server, and how many there are.
fn running(data: &Path, limit: usize) -> Result<(Vec<CallView>, usize), CliError> {
    let client = AdminClient::new(data);
    runtime()?.block_on(async {
        let mut calls = Vec::new();
        let mut cursor = None;
        loop {
            let want = limit.saturating_sub(calls.len()).clamp(1, PAGE);
            let after = cursor.map_or_else(String::new, |cursor: CallId| format!("&cursor={cursor}"));
            let page: CallPage = client.get(&format!("/calls?limit={want}{after}")).await?;
            calls.extend(page.calls);
            calls.truncate(limit);
            if page.next.is_none() || calls.len() >= limit {
                return Ok((calls, page.total));
            }
            cursor = page.next;
        }
    })
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

pub(super) fn print<T: Serialize>(
    items: &[T],
    json: bool,
    table: impl FnOnce() -> String,
) -> Result<(), CliError> {
    if !json {
        return write(&format!("{}\n", table()));
    }
    let mut lines = String::new();
    for item in items {
        // What came from JSON goes back to it.
        lines.push_str(&serde_json::to_string(item).unwrap_or_default());
        lines.push('\n');
    }
    write(&lines)
}

/// Writes to standard output; a reader that has seen enough, such as `head`, is no error.
fn write(text: &str) -> Result<(), CliError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn live_table(calls: &[CallView]) -> String {
    let row = |call: &CallView| {
        let state = match call.state {
            CallState::Routing => "routing",
            CallState::Ringing => "ringing",
            CallState::Answered => "answered",
        };
        let to = match &call.to {
            Some(Routed::Extension(number) | Routed::RingGroup(number) | Routed::Flow(number)) => {
                number.as_str()
            }
            Some(Routed::Nowhere) => "nowhere",
            None => "",
        };
        [
            call.call.to_string(),
            state.into(),
            party(&call.from),
            call.dialed.clone(),
            to.into(),
            call.started.clone(),
        ]
    };
    table(["CALL", "STATE", "FROM", "DIALED", "TO", "SINCE"], &calls.iter().map(row).collect::<Vec<_>>())
}

fn record_table(records: &[Cdr]) -> String {
    let row = |cdr: &Cdr| {
        let talk = format!("{}.{}s", cdr.talk_ms / 1000, cdr.talk_ms / 100 % 10);
        let result = serde_json::to_value(cdr.disposition).ok();
        let result = result.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_string();
        let by = cdr.answered_by.clone().unwrap_or_default();
        let cause = cdr.cause.to_string();
        [
            cdr.call.to_string(),
            cdr.started.clone(),
            party(&cdr.from),
            cdr.dialed.clone(),
            by,
            talk,
            result,
            cause,
        ]
    };
    let header = ["CALL", "STARTED", "FROM", "DIALED", "ANSWERED BY", "TALK", "RESULT", "CAUSE"];
    table(header, &records.iter().map(row).collect::<Vec<_>>())
}

fn party(party: &Party) -> String {
    if party.name.is_empty() { party.number.clone() } else { format!("{} {}", party.number, party.name) }
}
