//! Indexes as the resolver has them, kept in their binary form by the digest of their text; and the
//! universes made of them, one for all workspaces with the same archives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use anyhow::Context as _;
use kasmforge_archive::VerifiedRelease;
use kasmforge_digest::{Digest, KeyHasher, StepKey};
use kasmforge_lock::ArchiveState;
use kasmforge_resolve::{Archive, INDEX_FORMAT, Index, Universe};
use kasmforge_spec::Debian;
use kasmforge_store::Store;
use serde::{Deserialize, Serialize};

use super::unavailable::Absences;
use crate::fetching::WantedSuite;

/// The universes that were made in this run, by what their archives are; and what could not be had.
#[derive(Default)]
pub(crate) struct Universes {
    made: RefCell<BTreeMap<String, Made>>,
    pub(super) absences: Absences,
}

/// A universe, and the states of its archives.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) universe: Rc<Universe>,
    pub(super) states: Vec<ArchiveState>,
}

impl Universes {
    pub(super) fn get(&self, key: &str) -> Option<Made> {
        self.made.borrow().get(key).cloned()
    }

    pub(super) fn put(&self, key: String, made: Made) {
        self.made.borrow_mut().insert(key, made);
    }
}

/// What the store remembers of the binary form of an index.
#[derive(Serialize, Deserialize)]
struct Kept {
    digest: Digest,
}

/// Takes up an index that was read before, or reads its text and keeps what was read.
///
/// What is kept is checked by its digest; where it is damaged, it is made again.
pub(super) fn index(
    store: &Store,
    text: &kasmforge_archive::Index,
    archive: &str,
) -> anyhow::Result<Index> {
    let key = key(text.digest);
    if let Some(Kept { digest }) = store.outcome(&key)? {
        let bytes = fs::read(store.blob_path(&digest)).unwrap_or_default();
        if Digest::of(&bytes) == digest
            && let Some(index) = Index::decode(&bytes)
        {
            return Ok(index);
        }
        store.remove_blob(&digest)?;
    }
    let read = fs::read_to_string(&text.path)
        .with_context(|| format!("cannot read {}", text.path.display()))?;
    let index = Index::read(&read, archive)?;
    drop(read);
    let digest = store.keep_bytes(&index.encode())?;
    store.record(&key, &Kept { digest })?;
    Ok(index)
}

/// What tells one universe from another.
pub(super) fn key_of(debian: &Debian, architecture: &str) -> String {
    let archives: Vec<_> = debian
        .archives
        .iter()
        .map(|archive| {
            format!(
                "{} {} {} {} {:?} {:?}",
                archive.name,
                archive.uri.value,
                archive.suite,
                archive.components.join(","),
                archive.priority,
                archive.keyring.as_ref().map(|keyring| &keyring.value),
            )
        })
        .collect();
    format!(
        "{architecture} {} {} {} {} {} {} {archives:?}",
        debian.suite.value,
        debian.components.join(","),
        debian.security,
        debian.updates,
        debian.backports,
        debian.foreign_architectures.join(","),
    )
}

fn key(text: Digest) -> StepKey {
    KeyHasher::new("read index 1")
        .field("format", INDEX_FORMAT.to_string())
        .digest("text", text)
        .key()
}

/// How much an archive's versions count: as the definition says, else as its Release file does.
pub(super) fn priority(wanted: &WantedSuite, verified: &VerifiedRelease) -> i32 {
    match wanted.priority.map(i32::try_from) {
        Some(Ok(priority)) => priority,
        _ if verified.release.automatic => Archive::AUTOMATIC,
        _ if verified.release.but_automatic_upgrades => Archive::BUT_AUTOMATIC_UPGRADES,
        _ => Archive::NOT_AUTOMATIC,
    }
}
