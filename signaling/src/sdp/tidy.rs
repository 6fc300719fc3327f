//! Makes a body from the wire fit for `rtc-sdp`, which is stricter than phones are: session lines in the
//! RFC's order, missing `s=` and `t=` filled in, lines that mean nothing to us left out.

use super::{BODY_MAX, LINE_FORMATS_MAX, LINE_MAX, LINES_MAX, MEDIA_MAX, SdpError};

/// The session lines that are kept, in their order (RFC 4566 §5). Left out are those about people, keys
/// and calendars: `i u e p r z k`.
const ORDER: &str = "voscbta";
/// Every type letter; a body with another is refused (RFC 4566 §5).
const LETTERS: &str = "vosiuepcbtrzkam";
/// The media that `rtc-sdp` knows.
const MEDIA: [&str; 6] = ["audio", "video", "text", "application", "message", "image"];

/// A body that `rtc-sdp` understands, and what it was not told.
pub(super) struct Tidy {
    /// The body.
    pub(super) text: String,
    /// Each m-line as it was written.
    pub(super) media: Vec<MediaLine>,
}

/// The fields of an m-line.
pub(super) struct MediaLine {
    /// What kind of media.
    pub(super) kind: String,
    /// Payload types or other formats; may be none.
    pub(super) formats: Vec<String>,
}

/// Bounds and tidies a body. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn tidy(body: &[u8]) -> Result<Tidy, SdpError> {
    if body.len() > BODY_MAX {
        return Err(SdpError::BodyTooLong(body.len()));
    }
    let text = String::from_utf8_lossy(body);
    let lines = read(&text)?;
    let media_at = lines.iter().position(|(letter, _)| *letter == 'm').unwrap_or(lines.len());
    let (session, media) = lines.split_at(media_at);
    let mut out = Tidy { text: String::with_capacity(text.len() + 64), media: Vec::new() };
    write_session(session, &mut out.text)?;
    for (letter, value) in media {
        match letter {
            'm' => write_media(value, &mut out)?,
            'b' if !is_bandwidth(value) => {}
            'c' | 'b' | 'a' => push(&mut out.text, *letter, value),
            _ => {}
        }
    }
    Ok(out)
}

/// The lines as letter and value.
fn read(text: &str) -> Result<Vec<(char, &str)>, SdpError> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // A bare CR would be kept by one reader and end a line for another.
        let line = line.trim_end_matches(['\r', '\0', ' ', '\t']);
        if line.is_empty() {
            continue;
        }
        if lines.len() == LINES_MAX || line.len() > LINE_MAX {
            return Err(SdpError::Lines);
        }
        let wrong = SdpError::Line(number + 1);
        let (letter, value) = line.split_once('=').ok_or(wrong.clone())?;
        let letter = letter.parse().ok().filter(|letter| LETTERS.contains(*letter)).ok_or(wrong.clone())?;
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong);
        }
        lines.push((letter, value.trim()));
    }
    Ok(lines)
}

fn write_session(lines: &[(char, &str)], out: &mut String) -> Result<(), SdpError> {
    let all = |wanted| lines.iter().filter(move |(letter, _)| *letter == wanted).map(|(_, value)| *value);
    for letter in ORDER.chars() {
        match letter {
            'v' => push(out, 'v', all('v').next().ok_or(SdpError::Line(1))?),
            'o' => push(out, 'o', all('o').find(|o| is_origin(o)).unwrap_or("- 0 0 IN IP4 0.0.0.0")),
            's' => push(out, 's', all('s').next().unwrap_or("-")),
            // Several are for multicast layers alone (RFC 4566 §5.7).
            'c' => all('c').take(1).for_each(|value| push(out, 'c', value)),
            't' => push(out, 't', all('t').find(|t| is_timing(t)).unwrap_or("0 0")),
            'b' => all('b').filter(|value| is_bandwidth(value)).for_each(|value| push(out, 'b', value)),
            other => all(other).for_each(|value| push(out, other, value)),
        }
    }
    Ok(())
}

/// Writes an m-line with a kind that `rtc-sdp` knows and at least one format, which rejected streams
/// often lack.
fn write_media(value: &str, out: &mut Tidy) -> Result<(), SdpError> {
    let mut fields = value.split_ascii_whitespace();
    let syntax = || SdpError::Syntax(format!("m={value}"));
    let kind = fields.next().ok_or_else(syntax)?.to_owned();
    let (port, proto) = fields.next().zip(fields.next()).ok_or_else(syntax)?;
    let formats: Vec<String> = fields.map(str::to_owned).collect();
    if out.media.len() == MEDIA_MAX || formats.len() > LINE_FORMATS_MAX {
        return Err(SdpError::Media);
    }
    let known = if MEDIA.contains(&kind.as_str()) { &kind } else { "application" };
    push(&mut out.text, 'm', &format!("{known} {port} {proto} 0"));
    out.media.push(MediaLine { kind, formats });
    Ok(())
}

fn push(out: &mut String, letter: char, value: &str) {
    out.push(letter);
    out.push('=');
    out.push_str(value);
    out.push_str("\r\n");
}

/// Six fields with numbers where `rtc-sdp` wants them; others are written by phones whose ids overflow.
fn is_origin(value: &str) -> bool {
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    match fields[..] {
        [_, id, version, net, address, _] => {
            id.parse::<u64>().is_ok()
                && version.parse::<u64>().is_ok()
                && net == "IN"
                && ["IP4", "IP6"].contains(&address)
        }
        _ => false,
    }
}

fn is_timing(value: &str) -> bool {
    let mut fields = value.split_ascii_whitespace().map(|field| field.parse::<u64>().is_ok());
    matches!((fields.next(), fields.next()), (Some(true), Some(true)))
}

fn is_bandwidth(value: &str) -> bool {
    let parsed = value.split_once(':').map(|(_, number)| number.parse::<u64>().is_ok());
    parsed == Some(true)
}
