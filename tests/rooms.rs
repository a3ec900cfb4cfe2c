//! The walls of the house: which crate may use which, and what only one of them may do.
//!
//! A new edge or a new heavy dependency is a decision. It is made here, with a line of reason, and
//! not by the way in some `Cargo.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each room, and the rooms it may use. The command line may use them all.
const ROOMS: [(&str, &[&str]); 16] = [
    // Formats and names.
    ("digest", &[]),
    ("deb", &["digest"]),
    ("tree", &["digest"]),
    // What people write, what is promised, what is made.
    ("spec", &[]),
    ("lock", &["deb", "digest"]),
    ("image", &["digest"]),
    // Pure functions.
    ("resolve", &["deb", "digest"]),
    ("plan", &["digest", "lock", "spec"]),
    // The kernel, and one folder.
    ("sandbox", &[]),
    ("store", &["digest"]),
    // How others are reached.
    ("connection", &[]),
    // What touches the world.
    ("archive", &["connection", "deb", "digest", "store"]),
    (
        "build",
        &[
            "deb", "digest", "image", "lock", "plan", "sandbox", "spec", "store", "tree",
        ],
    ),
    ("deploy", &["digest"]),
    ("distribution", &["connection", "digest"]),
    ("kasm", &["connection", "digest"]),
];

/// Outside crates that are held in few rooms, and why.
const HELD: [(&str, &[&str], &str); 16] = [
    ("notify", &["kasmforge"], "`run --watch`"),
    ("bollard", &["deploy"], "only the engine is spoken to so"),
    ("tokio", &["deploy"], "everything else is synchronous"),
    (
        "futures-util",
        &["deploy"],
        "everything else is synchronous",
    ),
    (
        "sequoia-openpgp",
        &["archive"],
        "signatures are checked at one door",
    ),
    (
        "ureq",
        &["archive", "connection", "deploy", "distribution", "kasm"],
        "fetching; asking a desktop whether it is healthy; registries; Kasm's API",
    ),
    (
        "rustls",
        &["kasm"],
        "others verify as usual; a server of Kasm may be pinned",
    ),
    (
        "signal-hook",
        &["kasmforge"],
        "who is asked to end is the command",
    ),
    ("libc", &["sandbox"], "what it has is unsafe to call"),
    (
        "rustix",
        &["build", "kasmforge", "sandbox", "store"],
        "the kernel is asked by few; a terminal, by `exec`",
    ),
    (
        "resolvo",
        &["resolve"],
        "the solver stays behind our own words",
    ),
    (
        "oci-spec",
        &["image"],
        "the format of images is written in one place",
    ),
    ("toml", &["kasmforge", "lock", "spec"], "who reads TOML"),
    (
        "schemars",
        &["spec"],
        "the definition alone is described to editors",
    ),
    ("clap", &["kasmforge"], "arguments are the command's matter"),
    (
        "anyhow",
        &["kasmforge"],
        "rooms say exactly what can go wrong",
    ),
];

/// Words that only some folders' sources may hold, and why.
const WORDS: [(&str, &[&str], &str); 5] = [
    (
        "unsafe",
        &["crates/sandbox"],
        "unsafe code stands in the sandbox alone",
    ),
    // The solver's tables reach no output; the engine's and the image format's types want maps,
    // which are sorted when they are written.
    (
        "HashMap",
        &["crates/deploy", "crates/image", "crates/resolve"],
        "an order by chance must never reach an output: use a BTreeMap",
    ),
    (
        "HashSet",
        &["crates/resolve"],
        "an order by chance must never reach an output: use a BTreeSet",
    ),
    // What scripts have just made is told from what they left alone by the clock they saw; how old an
    // image is that is to go counts from today.
    (
        "SystemTime::now",
        &["crates/build", "src/commands/gc.rs"],
        "the time of an image is the lock's, never the clock's",
    ),
    (
        "env::var",
        &["src"],
        "the environment is read once, by the command, and handed on as a value",
    ),
];

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, dependencies) in &rooms {
        if room == "kasmforge" {
            continue;
        }
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.push(format!("the room `{room}` is not in the table"));
            continue;
        };
        let ours = dependencies
            .iter()
            .filter_map(|name| name.strip_prefix("kasmforge-"));
        wrong.extend(
            ours.filter(|other| !may.contains(other))
                .map(|other| format!("`{room}` must not use `{other}`")),
        );
    }
    let gone = allowed.keys().filter(|room| !rooms.contains_key(**room));
    wrong.extend(gone.map(|room| format!("the table has `{room}`, which is no room")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    // Each room stands below those that use it, so a walk down ends.
    fn height(room: &str, below: usize) -> usize {
        assert!(below <= ROOMS.len(), "`{room}` is part of a circle");
        let (_, uses) = ROOMS
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("`{room}` is not in the table"));
        let heights = uses.iter().map(|other| height(other, below + 1) + 1);
        heights.max().unwrap_or(0)
    }
    for (room, _) in ROOMS {
        height(room, 0);
    }
}

#[test]
fn heavy_crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (room, dependencies) in rooms() {
        for (name, held_in, why) in HELD {
            if dependencies.iter().any(|other| other == name) && !held_in.contains(&room.as_str()) {
                wrong.push(format!(
                    "`{room}` must not depend on {name}: it is held in {} ({why})",
                    held_in.join(", ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sources_hold_no_word_their_room_may_not_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![PathBuf::from("src")];
    folders.extend(
        ROOMS
            .iter()
            .map(|(room, _)| format!("crates/{room}").into()),
    );
    let mut wrong = Vec::new();
    for folder in folders {
        let sources = match folder.as_os_str() == "src" {
            true => root.join(&folder),
            false => root.join(&folder).join("src"),
        };
        let files = rust_files(&sources);
        assert!(!files.is_empty(), "{} has no sources", sources.display());
        for file in files {
            let text = fs::read_to_string(&file).expect("a source is text");
            for (index, line) in text.lines().enumerate() {
                for (word, may, why) in WORDS {
                    let inside = file.strip_prefix(root).expect("below the root");
                    let may = may.iter().any(|other| inside.starts_with(other));
                    if !may && says(line, word) {
                        wrong.push(format!("{}:{}: `{word}`: {why}", file.display(), index + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_keeps_the_lints_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifests = vec![root.join("Cargo.toml")];
    manifests.extend(ROOMS.map(|(room, _)| root.join("crates").join(room).join("Cargo.toml")));
    for manifest in manifests {
        let text = fs::read_to_string(&manifest)
            .unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
        let value: toml::Table = text.parse().expect("a manifest is TOML");
        let inherits = value
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(
            inherits,
            Some(true),
            "{} must have `[lints] workspace = true`",
            manifest.display()
        );
    }
}

/// The crates of the workspace by the names of their rooms, with what their code depends on; what
/// only their tests need is their own matter.
fn rooms() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs: it has just built this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let name = text(&package["name"]);
            let room = name.strip_prefix("kasmforge-").unwrap_or(&name).to_owned();
            let dependencies = list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (room, dependencies)
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Whether a line of code, and no comment, has a word. Longer words that begin or end so, such as
/// the lint `unsafe_code`, are others.
fn says(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

#[test]
fn words_are_found_in_code_only() {
    assert!(says("let x = unsafe { f() };", "unsafe"));
    assert!(says("std::env::var(name)", "env::var"));
    assert!(!says("// nothing unsafe", "unsafe"));
    assert!(!says("#![expect(unsafe_code)]", "unsafe"));
    assert!(!says("std::env::vars()", "env::var"));
}
