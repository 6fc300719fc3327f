//! A TOML file whose every value knows its line, read so that all its mistakes are found at once:
//! syntax errors are gathered by the parser, and each key is tried alone before the whole is built.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::problem::{Place, Problem};

/// One key of a file, or of the environment, with its value.
pub(crate) struct Setting<'t> {
    /// Table by table down to the key.
    pub path: Vec<String>,
    /// Where it stands.
    pub place: Place,
    /// What it is set to.
    pub value: Spanned<DeValue<'t>>,
}

/// A parsed file.
pub struct Document<'t> {
    file: PathBuf,
    text: &'t str,
    root: DeTable<'t>,
}

impl<'t> Document<'t> {
    /// Parses; what cannot be understood is reported and left out.
    pub fn parse(file: &Path, text: &'t str, problems: &mut Vec<Problem>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { file: file.to_path_buf(), text, root: root.into_inner() };
        for error in errors {
            problems.push(Problem {
                place: document.place(error.span().map_or(0, |span| span.start)),
                key: String::new(),
                what: format!("this is not TOML: {}", error.message()),
                fix: "correct the line".into(),
            });
        }
        document
    }

    /// The tables and keys of the file.
    pub(crate) fn root(&self) -> &DeTable<'t> {
        &self.root
    }

    /// The line of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place::Line(self.file.clone(), 1 + before.filter(|byte| **byte == b'\n').count())
    }

    /// The keys of `table`, going down into tables `depth` times.
    pub(crate) fn settings(&self, table: &DeTable<'t>, depth: usize) -> Vec<Setting<'t>> {
        let mut found = Vec::new();
        for (key, value) in table {
            match value.get_ref() {
                DeValue::Table(inner) if depth > 0 => {
                    for mut setting in self.settings(inner, depth - 1) {
                        setting.path.insert(0, key.get_ref().to_string());
                        found.push(setting);
                    }
                }
                _ => found.push(Setting {
                    path: vec![key.get_ref().to_string()],
                    place: self.place(key.span().start),
                    value: value.clone(),
                }),
            }
        }
        found
    }
}

/// Builds a `T` from the settings that fit; each one that does not is a problem of its own. `prefix`
/// goes before the key in the problem's text.
pub(crate) fn assemble<T: DeserializeOwned + Default>(
    settings: &[Setting<'_>],
    prefix: &str,
    problems: &mut Vec<Problem>,
) -> T {
    let mut accepted = DeTable::new();
    for setting in settings {
        let mut alone = DeTable::new();
        insert(&mut alone, &setting.path, &setting.value);
        match deserialize::<T>(alone) {
            Ok(_) => insert(&mut accepted, &setting.path, &setting.value),
            Err(error) => problems.push(Problem {
                place: setting.place.clone(),
                key: format!("{prefix}{}", setting.path.join(".")),
                fix: fix(error.message()).into(),
                what: error.message().trim_end().into(),
            }),
        }
    }
    // No key depends on another here, so what each passed alone they pass together.
    deserialize(accepted).unwrap_or_default()
}

fn deserialize<T: DeserializeOwned>(table: DeTable<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(Deserializer::from(Spanned::new(0..0, table)))
}

fn insert<'t>(table: &mut DeTable<'t>, path: &[String], value: &Spanned<DeValue<'t>>) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = Spanned::new(value.span(), first.clone().into());
    if rest.is_empty() {
        table.insert(key, value.clone());
        return;
    }
    let inner =
        table.entry(key).or_insert_with(|| Spanned::new(value.span(), DeValue::Table(DeTable::new())));
    if let DeValue::Table(inner) = inner.get_mut() {
        insert(inner, rest, value);
    }
}

fn fix(message: &str) -> &'static str {
    match message {
        text if text.starts_with("unknown field") => "correct the name or remove the key",
        text if text.starts_with("unknown variant") => "write one of the values named",
        _ => "correct the value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        name: String,
    }

    #[test]
    fn every_bad_key_is_named_with_its_line_and_the_good_ones_are_kept() {
        let text = "prot = 1\nname = \"x\"\nport = \"y\"\n";
        let mut problems = Vec::new();
        let document = Document::parse(Path::new("a.toml"), text, &mut problems);
        let settings = document.settings(document.root(), 0);
        let sample: Sample = assemble(&settings, "", &mut problems);
        assert_eq!(sample, Sample { port: 0, name: "x".into() });
        problems.sort();
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "a.toml:1: prot: unknown field `prot`, expected `port` or `name`; correct the name or remove the key",
                "a.toml:3: port: invalid type: string \"y\", expected u16; correct the value",
            ]
        );
    }

    #[test]
    fn syntax_errors_are_all_reported() {
        let mut problems = Vec::new();
        Document::parse(Path::new("a.toml"), "a = \nb = 1\nc ==\n", &mut problems);
        let places: Vec<_> = problems.iter().map(|problem| problem.place.to_string()).collect();
        assert!(places.contains(&"a.toml:1".to_string()), "{places:?}");
        assert!(places.contains(&"a.toml:3".to_string()), "{places:?}");
    }
}
