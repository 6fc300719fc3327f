//! Holds `conf/dialtone.toml` to the types: every key is there, and shows its default.

use super::{Config, Environment, load};
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dialtone.toml")
}

/// The file with every `#key = value` line in force.
fn uncommented() -> String {
    let text = std::fs::read_to_string(sample()).unwrap();
    let key = |line: &str| {
        let rest = line.strip_prefix('#')?;
        let name = rest.split(" = ").next().filter(|_| rest.contains(" = "))?;
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_').then_some(())
    };
    text.lines()
        .map(|line| if key(line).is_some() { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_file_as_it_is_means_the_defaults() {
    let config = load(&sample(), &Environment::new()).unwrap();
    let folder = sample().parent().unwrap().canonicalize().unwrap();
    assert_eq!(config.site.file, folder.join("site.toml"));
    assert_eq!(config.data.dir, folder.parent().unwrap().join("data"));
    let text: Config = toml::from_str(&std::fs::read_to_string(sample()).unwrap()).unwrap();
    assert_eq!(text, Config::default());
}

#[test]
fn every_key_is_documented_with_its_default() {
    let shown: toml::Table = toml::from_str(&uncommented()).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let mut wrong = Vec::new();
    for (section, keys) in &defaults {
        let Some(keys) = keys.as_table() else {
            wrong.extend((shown.get(section) != Some(keys)).then(|| section.clone()));
            continue;
        };
        for (key, value) in keys {
            let documented = shown.get(section).and_then(|table| table.get(key));
            let same = match (documented, key.as_str(), value.as_str()) {
                // "1m" and "60s" are the same time.
                (Some(toml::Value::String(a)), _, Some(b)) => {
                    a == b || super::duration::parse(a).is_ok_and(|a| Ok(a) == super::duration::parse(b))
                }
                (documented, _, _) => documented == Some(value),
            };
            wrong.extend((!same).then(|| format!("{section}.{key}")));
        }
    }
    assert!(wrong.is_empty(), "missing in conf/dialtone.toml, or shown with another default: {wrong:?}");
    // The other direction: nothing is shown that does not exist.
    toml::from_str::<Config>(&uncommented()).unwrap();
}

#[test]
fn every_section_and_key_has_a_comment() {
    let text = std::fs::read_to_string(sample()).unwrap();
    let mut explained = false;
    for line in text.lines() {
        match line {
            "" => explained = false,
            line if line.starts_with("# ") => explained = true,
            line if line.starts_with('#') => assert!(explained, "no comment above {line}"),
            _ => {}
        }
    }
}
