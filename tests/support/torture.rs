//! The messages of `tests/data/torture`, each with what it is owed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

/// One message; its fields are explained in `cases.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub file: String,
    pub rfc: String,
    pub about: String,
    pub message: String,
    pub udp: String,
    pub tcp: String,
    pub known: Option<String>,
    #[serde(default)]
    pub ipv6: bool,
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

impl Case {
    /// What is sent.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(folder().join(&self.file)).unwrap()
    }
}

/// Every case of the table, which has every file of the folder and no other.
pub fn cases() -> Vec<Case> {
    let table = fs::read_to_string(folder().join("cases.toml")).unwrap();
    let cases = toml::from_str::<Table>(&table).unwrap().case;
    let named: BTreeSet<String> = cases.iter().map(|case| case.file.clone()).collect();
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = files.filter(|file| file.ends_with(".sip")).collect();
    assert_eq!(named, there, "cases and files differ");
    assert_eq!(named.len(), cases.len(), "a file has two cases");
    cases
}

/// The case of this file, without `.sip`.
pub fn case(name: &str) -> Case {
    let found = cases().into_iter().find(|case| case.file.strip_suffix(".sip") == Some(name));
    found.unwrap_or_else(|| panic!("no case {name}"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/torture")
}
