//! Every seed of every fuzz target, and damaged copies of it: what `cargo fuzz` tries for hours, for a moment, on
//! the toolchain that ships. An input that once failed is kept as a seed, so it is tried for ever.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;

/// Bytes of one seed: larger ones slow everybody down and show no more.
const SEED_MAX: usize = 8192;

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The seeds of a target, and what else there is of its kind.
fn seed_files(target: &str) -> Vec<PathBuf> {
    let mut found = files(&fuzz("seeds").join(target));
    if target == "sip_message" {
        let torture = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torture"));
        found.extend(torture.into_iter().filter(|file| file.extension().is_some_and(|end| end == "sip")));
    }
    found
}

fn seeds(files: &[PathBuf]) -> Vec<Vec<u8>> {
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_target_has_seeds_and_is_tried_here() {
    let names = |folder: &str| -> BTreeSet<String> {
        files(&fuzz(folder))
            .iter()
            .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let known: BTreeSet<String> = checks::CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("seeds"), known);
    for (name, _) in checks::CHECKS {
        let seeds = seeds(&files(&fuzz("seeds").join(name)));
        assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
        assert!(
            seeds.iter().all(|seed| seed.len() <= SEED_MAX),
            "{name} has a seed of more than {SEED_MAX} bytes"
        );
    }
}

#[test]
fn seeds_hold() {
    for (name, check) in checks::CHECKS {
        for file in seed_files(name) {
            // The name of the file is what the reader of a panic wants to know.
            println!("{}", file.display());
            check(&fs::read(file).unwrap());
        }
    }
}

/// The seeds reach behind the password: those that are right are let in, and no others.
#[test]
fn right_credentials_are_let_in() {
    for file in files(&fuzz("seeds/authorization")) {
        let right = file.file_name().unwrap().to_str().unwrap().starts_with("good_");
        assert_eq!(checks::is_let_in(&fs::read(&file).unwrap()), right, "{}", file.display());
    }
}

/// The seeds reach calls that were answered; the others are there for what happens without.
#[test]
fn calls_are_answered() {
    let all = files(&fuzz("seeds/switch_inputs"));
    let answered = all.iter().filter(|file| checks::answered(&fs::read(file).unwrap()) > 0).count();
    assert!(answered >= 10, "in {answered} of {} seeds", all.len());
}

/// What happens to a seed: bytes overwritten, a part repeated, the end cut off.
#[derive(Clone, Debug)]
struct Damage {
    seed: Index,
    overwritten: Vec<(Index, u8)>,
    repeated: Option<(Index, Index)>,
    cut: Option<Index>,
}

impl Damage {
    fn to(&self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.seed.get(seeds).clone();
        for (at, to) in &self.overwritten {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
        }
        if let Some((from, to)) = &self.repeated {
            let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, part);
        }
        if let Some(cut) = &self.cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let overwritten = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    (any::<Index>(), overwritten, any::<Option<(Index, Index)>>(), any::<Option<Index>>())
        .prop_map(|(seed, overwritten, repeated, cut)| Damage { seed, overwritten, repeated, cut })
}

proptest! {
    #[test]
    fn damaged_seeds_hold(damage in prop::collection::vec(damage(), 16)) {
        for (name, check) in checks::CHECKS {
            let seeds = seeds(&seed_files(name));
            // A whole day of telephoning takes longer than a packet.
            let some = if name == "switch_inputs" { 1 } else { damage.len() };
            for damage in &damage[..some] {
                check(&damage.to(&seeds));
            }
        }
    }
}
