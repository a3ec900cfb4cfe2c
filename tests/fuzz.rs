//! The fuzz targets without a fuzzer: their corpora, and mutations of them from a fixed seed.
//!
//! `KASMFORGE_FUZZ_RUNS` is how many mutations each target gets, `KASMFORGE_FUZZ_SEED` another
//! beginning. What fails is kept beside the build, and named.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

/// Mutations for each target: a few seconds for all of them in a build that is not optimised.
const RUNS: u64 = 20_000;

/// Where the numbers begin.
const SEED: u64 = 0x6b61_736d;

/// Longer inputs are not made: what is wrong with long ones is told by tests of limits.
const LONGEST: usize = 64 << 10;

/// Pieces that mean something to some parser.
const PIECES: [&str; 24] = [
    "\n",
    "\n\n",
    " ",
    ":",
    "(",
    ")",
    "|",
    ",",
    ">= ",
    "<<",
    "~",
    "-",
    "999999999999999999999",
    "[",
    "]",
    "\"",
    "=",
    "`\n",
    "../",
    "\u{0}",
    "é",
    "Package: ",
    "[[package]]\n",
    "%",
];

/// Numbers that look like chance and are the same each time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("it fits");
        usize::try_from(self.next() % limit).expect("it is below an usize")
    }
}

/// Changes an input in one to four ways.
fn mutate(chance: &mut Chance, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) {
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let length = chance.below(24).min(bytes.len() - at);
        match chance.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).expect("a byte"),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = PIECES[chance.below(PIECES.len())].as_bytes().to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let piece = bytes[at..at + length].repeat(1 + chance.below(8));
                bytes.splice(at..at, piece);
            }
            5 => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(LONGEST);
    }
}

fn number(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is `{text}`, no number")),
        Err(_) => usual,
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}

#[test]
fn no_input_breaks_a_law() {
    let (runs, seed) = (
        number("KASMFORGE_FUZZ_RUNS", RUNS),
        number("KASMFORGE_FUZZ_SEED", SEED),
    );
    for (at, (target, entry)) in (1..).zip(entries::TARGETS) {
        let corpus = corpus(target);
        let mut chance = Chance(seed.wrapping_mul(at) | 1);
        let check = |bytes: &[u8], what: &str| {
            if panic::catch_unwind(|| entry(bytes)).is_err() {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
                fs::write(&path, bytes).expect("room for what failed");
                panic!(
                    "{what} breaks a law of `{target}`; it is kept in {}",
                    path.display()
                );
            }
        };
        for (at, bytes) in corpus.iter().enumerate() {
            check(bytes, &format!("file {at} of the corpus"));
        }
        for run in 0..runs {
            let mut bytes = corpus[chance.below(corpus.len())].clone();
            mutate(&mut chance, &corpus, &mut bytes);
            check(&bytes, &format!("mutation {run} of seed {seed}"));
        }
    }
}

#[test]
fn every_target_is_one_of_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    for (target, _) in entries::TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        let text = fs::read_to_string(root.join(format!("fuzz_targets/{target}.rs")));
        assert!(
            text.expect("a target")
                .contains(&format!("entries::{target}(")),
            "{target}"
        );
    }
    let listed = fs::read_dir(root.join("corpus"))
        .expect("the corpora")
        .count();
    assert_eq!(listed, entries::TARGETS.len());
}
