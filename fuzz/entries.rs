//! What is run with any bytes: by libFuzzer, and by `tests/fuzz.rs` with bounded mutations.
//!
//! An entry panics when a law does not hold. Refusing is always right.

use std::io::Read as _;

use kasmforge_deb::archive::{DebError, DebReader};
use kasmforge_deb::stanza::Stanzas;
use kasmforge_deb::{PackageStanza, Release, Version};
use kasmforge_lock::Lock;
use kasmforge_resolve::{Archive, Universe};

/// A target's name and its entry.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
#[allow(dead_code, reason = "each of libFuzzer's programs runs one")]
pub(crate) const TARGETS: [Target; 8] = [
    ("versions", versions),
    ("relations", relations),
    ("stanzas", stanzas),
    ("release", release),
    ("control", control),
    ("index", index),
    ("ar", ar),
    ("lock", lock),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Two versions, a line each: what is read is kept, and the order is one.
pub(crate) fn versions(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (left, right) = text.split_once('\n').unwrap_or((text, text));
    let (Ok(a), Ok(b)) = (left.parse::<Version>(), right.parse::<Version>()) else {
        return;
    };
    assert_eq!(a.as_str(), left);
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert_eq!(a == b, a.cmp(&b).is_eq());
    assert!(a == a.clone());
}

/// A relation field: what it says, written again, says the same.
pub(crate) fn relations(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(clauses) = kasmforge_deb::relations(text) else {
        return;
    };
    let written: Vec<String> = clauses
        .iter()
        .map(|clause| {
            let atoms: Vec<String> = clause.iter().map(ToString::to_string).collect();
            atoms.join(" | ")
        })
        .collect();
    let again = kasmforge_deb::relations(&written.join(", ")).expect("our own text");
    assert_eq!(again, clauses);
}

/// Stanzas: each is a slice of the text, at the place it tells.
pub(crate) fn stanzas(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut end = 0;
    for stanza in Stanzas::new(text) {
        let Ok(stanza) = stanza else { return };
        assert!(stanza.offset() >= end, "stanzas do not overlap");
        end = stanza.offset() + stanza.text().len();
        assert_eq!(&text[stanza.offset()..end], stanza.text());
        assert_eq!(
            stanza.line(),
            text[..stanza.offset()].matches('\n').count() + 1
        );
        for field in stanza.fields() {
            assert!(!field.name.is_empty());
            // What is found by its name is there.
            assert!(stanza.get(field.name).is_some());
            let _ = field.value();
        }
    }
}

/// A Release file.
pub(crate) fn release(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(release) = text.parse::<Release>() else {
        return;
    };
    for path in release.sha256.keys() {
        assert!(!path.split('/').any(|part| part == ".."), "{path}");
        let _ = release.by_hash(path);
    }
}

/// The stanza of one package: its name can become part of a path.
pub(crate) fn control(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(package) = text.parse::<PackageStanza>() else {
        return;
    };
    for word in [&package.name, &package.architecture] {
        assert!(!word.is_empty() && !word.contains('/') && !word.starts_with('.'));
    }
}

/// An index, as the resolver takes it.
pub(crate) fn index(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut universe = Universe::new("amd64");
    let archive = universe.add_archive(Archive {
        name: "fuzz".into(),
        suite: "trixie".into(),
        priority: kasmforge_resolve::Archive::AUTOMATIC,
    });
    if universe.add_index(archive, text).is_ok() {
        let fields = text.to_ascii_lowercase().matches("package:").count();
        assert!(universe.len() <= fields);
    }
}

/// A whole `.deb`: no entry leads out of it.
pub(crate) fn ar(data: &[u8]) {
    /// What mutations unpack is small; a bomb is stopped here as builds stop it elsewhere.
    const MOST: u64 = 16 << 20;
    let Ok(reader) = DebReader::open(data) else {
        return;
    };
    let mut total = 0;
    let _ = reader.data(|entry| -> Result<(), DebError> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        assert!(!path.starts_with('/'), "{path}");
        assert!(
            !path.split('/').any(|part| part == ".." || part == "."),
            "{path}"
        );
        let size = entry.size;
        let read = std::io::copy(&mut entry.by_ref().take(MOST), &mut std::io::sink());
        total += read.map_err(|source| entry.damaged(source))?.min(size);
        if total > MOST {
            return Err(DebError::ControlTooLong);
        }
        Ok(())
    });
}

/// A lock: what is read means itself.
pub(crate) fn lock(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Lock::parse(text) {
        Ok(lock) => assert_eq!(Lock::parse(&lock.render()), Ok(lock)),
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1);
            assert!(!error.message.is_empty());
        }
    }
}
