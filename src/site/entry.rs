//! One table of the site file while it is read: its keys, their lines, and the checks that every kind
//! of number shares.

use std::time::Duration;

use dialtone_core::Codec;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::{Digest, GROUPS_MAX, NAME_MAX, NUMBER_MAX, TransportName};
use crate::config::document::{Setting, assemble};
use crate::config::{Document, Place, Problem};

/// The keys of one table.
pub(super) struct Entry<'t> {
    /// `extension 1001`, or `extension` alone when it has no number; empty for the head of the file.
    label: String,
    settings: Vec<Setting<'t>>,
    place: Place,
}

impl<'t> Entry<'t> {
    /// A table of the kind `kind` that begins at the byte `start`.
    pub fn new(document: &Document<'t>, kind: &str, start: usize, table: &DeTable<'t>) -> Self {
        let settings = document.settings(table, 0);
        let number = table.get("number").and_then(|number| number.get_ref().as_str());
        let label = number.map_or_else(|| kind.to_string(), |number| format!("{kind} {number}"));
        Self { label, settings, place: document.place(start) }
    }

    /// The keys outside every table.
    pub fn head(document: &Document<'t>) -> Self {
        let mut settings = document.settings(document.root(), 0);
        settings.retain(|setting| !super::read::KINDS.contains(&setting.path[0].as_str()));
        Self { label: String::new(), settings, place: document.place(0) }
    }

    /// Its keys as a `T`.
    pub fn assemble<T: DeserializeOwned + Default>(&self, problems: &mut Vec<Problem>) -> T {
        assemble(&self.settings, &self.prefix(), problems)
    }

    fn prefix(&self) -> String {
        if self.label.is_empty() { String::new() } else { format!("{}.", self.label) }
    }

    /// Where `key` stands, or the table when it does not.
    pub fn place(&self, key: &str) -> Place {
        let setting = self.settings.iter().find(|setting| setting.path == [key]);
        setting.map_or_else(|| self.place.clone(), |setting| setting.place.clone())
    }

    /// A problem of `key`.
    pub fn problem(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) -> Problem {
        let (place, key) = (self.place(key), format!("{}{key}", self.prefix()));
        Problem { place, key, what: what.into(), fix: fix.into() }
    }

    /// The number, when it is one.
    pub fn number(&self, number: Option<String>, problems: &mut Vec<Problem>) -> Option<String> {
        let Some(number) = number else {
            if !self.settings.iter().any(|setting| setting.path == ["number"]) {
                problems.push(self.problem("number", "it is missing", "write number = \"…\""));
            }
            return None;
        };
        if !is_number(&number) {
            problems.push(self.problem(
                "number",
                format!("{number:?} cannot be dialed"),
                format!("use 1 to {NUMBER_MAX} letters, digits and the characters * # + - _ ."),
            ));
            return None;
        }
        Some(number)
    }

    /// A list that must be there and have something in it. One that could not be read has its problem
    /// already.
    pub fn list<'l, T>(
        &self,
        key: &str,
        list: &'l Option<Vec<T>>,
        problems: &mut Vec<Problem>,
    ) -> Option<&'l [T]> {
        let written = self.settings.iter().any(|setting| setting.path == [key]);
        match list {
            Some(list) if !list.is_empty() => return Some(list),
            None if written => {}
            _ => problems.push(self.problem(key, "it is missing or empty", format!("write {key} = [\"…\"]"))),
        }
        None
    }

    /// Checks a name that people see.
    pub fn name(&self, name: &str, problems: &mut Vec<Problem>) {
        if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            problems.push(self.problem(
                "name",
                "it is too long or has control characters",
                format!("write at most {NAME_MAX} characters"),
            ));
        }
    }

    /// Checks a ring time.
    pub fn ring_timeout(&self, timeout: Duration, problems: &mut Vec<Problem>) {
        if timeout < Duration::from_secs(1) || timeout > Duration::from_secs(3600) {
            problems.push(self.problem("ring_timeout", "it is out of range", "choose 1s to 1h"));
        }
    }

    /// Checks a list of codecs.
    pub fn codecs(&self, codecs: &[Codec], problems: &mut Vec<Problem>) {
        if codecs.contains(&Codec::TelephoneEvent) {
            problems.push(self.problem(
                "codecs",
                "telephone-event is not a voice codec",
                "remove it: keys are always understood",
            ));
        }
        self.choice("codecs", codecs, problems);
    }

    /// Checks a list of digest algorithms.
    pub fn digest(&self, digest: &[Digest], problems: &mut Vec<Problem>) {
        self.choice("digest", digest, problems);
    }

    /// Checks a list of transports.
    pub fn transports(&self, transports: &[TransportName], problems: &mut Vec<Problem>) {
        self.choice("transports", transports, problems);
    }

    /// Checks the names of groups.
    pub fn groups(&self, groups: &[String], problems: &mut Vec<Problem>) {
        if groups.is_empty() {
            return;
        }
        self.choice("pickup_groups", groups, problems);
        let odd = |name: &String| {
            name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control)
        };
        if groups.len() > GROUPS_MAX || groups.iter().any(odd) {
            let fix = format!("name at most {GROUPS_MAX} groups, of at most {NAME_MAX} characters each");
            problems.push(self.problem("pickup_groups", "it is too long, or a name is empty", fix));
        }
    }

    /// Checks how often contacts are asked whether they are there.
    pub fn qualify(&self, every: Duration, problems: &mut Vec<Problem>) {
        let range = Duration::from_secs(1)..=Duration::from_secs(3600);
        if !every.is_zero() && !range.contains(&every) {
            problems.push(self.problem("qualify", "it is out of range", "choose 1s to 1h, or 0s for never"));
        }
    }

    fn choice<T: PartialEq>(&self, key: &str, list: &[T], problems: &mut Vec<Problem>) {
        if list.is_empty() {
            problems.push(self.problem(key, "the list is empty", "name one at least, or remove the key"));
        }
        if list.iter().enumerate().any(|(index, item)| list[..index].contains(item)) {
            problems.push(self.problem(key, "something stands there twice", "remove the second"));
        }
    }
}

/// The tables of one kind, each with the byte at which it begins.
pub(super) fn tables<'d, 't>(
    document: &'d Document<'t>,
    kind: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(usize, &'d DeTable<'t>)> {
    let Some((key, value)) = document.root().get_key_value(kind) else { return Vec::new() };
    let mut found = Vec::new();
    let mut wrong = |start| {
        problems.push(Problem {
            place: document.place(start),
            key: kind.into(),
            what: "it is not a list of tables".into(),
            fix: format!("begin each one with the line [[{kind}]]"),
        });
    };
    match value.get_ref().as_array() {
        None => wrong(key.span().start),
        Some(items) => {
            for item in items {
                match item.get_ref() {
                    DeValue::Table(table) => found.push((item.span().start, table)),
                    _ => wrong(item.span().start),
                }
            }
        }
    }
    found
}

/// What can be dialed, and be the user part of a SIP address without escapes.
pub(super) fn is_number(text: &str) -> bool {
    (1..=NUMBER_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*#+-_.".contains(&byte))
}
