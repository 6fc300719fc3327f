//! The files that an administrator writes.

use std::path::Path;

use dialtone::config::{self, Config, Environment, Place, Problems};
use dialtone::site::{self, MEMBERS_MAX, NAME_MAX, NUMBER_MAX};
use dialtone_core::site::STEPS_MAX;

/// Nothing is there.
const FILE: &str = "/nowhere/dialtone.toml";
const TEXT_MAX: usize = 16_384;

/// Whatever stands in `dialtone.toml` is either refused, with a place and a remedy for each mistake, or a configuration
/// that is the same when it is written down and read again.
pub fn configuration(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let config = match config::parse(text, Path::new(FILE), &Environment::new()) {
        Ok(config) => config,
        Err(problems) => return helpful(&problems, text),
    };
    // A secret is not shown.
    let before =
        Config { auth: config::AuthConfig { nonce_secret: Default::default(), ..config.auth }, ..config };
    let written = toml::to_string(&before).expect("a configuration can be written");
    let after = config::parse(&written, Path::new(FILE), &Environment::new());
    assert_eq!(after, Ok(before), "{written}");
}

/// The same of `site.toml`: what is not refused keeps to the limits, and names nobody who is not there.
pub fn site(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut config = Config::default();
    config.site.file = "/nowhere/site.toml".into();
    config.site.prompts = "/nowhere/prompts".into();
    let loaded = match site::parse(text, &config) {
        Ok(loaded) => loaded,
        Err(problems) => return helpful(&problems, text),
    };
    let site = &loaded.site;
    assert_eq!(loaded.accounts.len(), site.extensions.len());
    assert!(
        loaded.accounts.iter().zip(site.extensions.keys()).all(|(account, number)| account.number == *number)
    );
    assert!(
        loaded.accounts.iter().all(|account| !account.password.is_empty() && !account.algorithms.is_empty())
    );
    let numbers = site.extensions.keys().chain(site.ring_groups.keys()).chain(site.flows.keys());
    let mut numbers: Vec<_> = numbers.collect();
    assert!(numbers.iter().all(|number| !number.is_empty() && number.chars().count() <= NUMBER_MAX));
    numbers.sort();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
    assert!(site.extensions.values().all(|extension| extension.name.chars().count() <= NAME_MAX));
    for group in site.ring_groups.values() {
        assert!((1..=MEMBERS_MAX).contains(&group.members.len()));
        assert!(group.members.iter().all(|member| site.extensions.contains_key(member)));
    }
    assert!(site.flows.values().all(|flow| (1..=STEPS_MAX).contains(&flow.steps.len())));
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|text| text.len() <= TEXT_MAX)
}

/// Each mistake says where it is, what it is and what to do.
fn helpful(Problems(problems): &Problems, text: &str) {
    assert!(!problems.is_empty());
    let lines = text.split('\n').count();
    for problem in problems {
        if let Place::Line(_, line) = &problem.place {
            assert!((1..=lines).contains(line), "line {line} of {lines}: {problem}");
        }
        assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem:?}");
    }
}
