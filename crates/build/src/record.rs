//! What was built: found again by the image's key, and told to whoever loads it.

use std::fs;
use std::path::PathBuf;

use kasmforge_digest::{Digest, StepKey};
use kasmforge_plan::explain::StepChange;
use kasmforge_store::{Error, Store};
use serde::{Deserialize, Serialize};

use crate::former::Hold;
use crate::normalise::Applied;
use crate::pack::Part;

/// An image that stands in one archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The workspace.
    pub workspace: String,
    /// Debian's name of its architecture.
    pub architecture: String,
    /// Its canonical names; the first is the one to run.
    pub references: Vec<String>,
    /// The manifest's digest: what registries and the containerd store call the image.
    pub manifest: Digest,
    /// The configuration's digest: what the classic store calls the image.
    pub config: Digest,
    /// The image's time, in seconds since 1970.
    pub created: i64,
    /// Its layers, lowest first.
    pub layers: Vec<BuiltLayer>,
    /// The archive, below the store's folder of the workspace.
    pub archive: PathBuf,
    /// The archive's length in bytes.
    pub length: u64,
    /// The archive's entries.
    pub parts: Vec<Part>,
    /// What was normalised, by stage.
    pub normalised: Vec<(String, Vec<Applied>)>,
    /// Whether all of it was there already.
    #[serde(skip)]
    pub reused: bool,
    /// What differed from the workspace's last build; `None` if there was none.
    #[serde(skip)]
    pub differences: Option<Vec<StepChange>>,
    /// Keeps the archive as it is while this is in use.
    #[serde(skip)]
    pub hold: Hold,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The length of its tar.
    pub size: u64,
    /// What made it.
    pub created_by: String,
    /// The stage it belongs to.
    pub stage: String,
    /// The packages in it.
    pub packages: Vec<String>,
    /// Whether it was made by an earlier build.
    #[serde(skip)]
    pub reused: bool,
}

/// The image built under a key, if its archive is still there and whole.
pub(crate) fn find(store: &Store, workspace: &str, key: &StepKey) -> Result<Option<Built>, Error> {
    let Some(mut built) = store.outcome::<Built>(key)? else {
        return Ok(None);
    };
    built.archive = store.image_folder(workspace)?.join(&built.archive);
    let Some(hold) = Hold::on(&built.archive, built.length) else {
        return Ok(None);
    };
    built.hold = hold;
    built.reused = true;
    for layer in &mut built.layers {
        layer.reused = true;
    }
    Ok(Some(built))
}

/// Records an image, its archive named relative to the workspace's folder.
pub(crate) fn keep(store: &Store, key: &StepKey, built: &Built) -> Result<(), Error> {
    let mut record = built.clone();
    record.archive = built
        .archive
        .file_name()
        .map(PathBuf::from)
        .unwrap_or_default();
    store.record(key, &record)
}

/// The file of a workspace's folder that names what was built last.
const LATEST: &str = "latest.json";

/// Notes that this is what the workspace's last build made.
///
/// # Errors
/// When the store cannot be written.
pub fn remember(store: &Store, built: &Built) -> Result<(), Error> {
    let path = store.image_folder(&built.workspace)?.join(LATEST);
    let bytes = serde_json::to_vec(built).map_err(|error| Error::Write {
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    store.write_file(&path, &bytes)
}

/// What a workspace's last build made, if its archive is still there and whole.
#[must_use]
pub fn latest(store: &Store, workspace: &str) -> Option<Built> {
    let mut built = last(store, workspace)?;
    built.hold = Hold::on(&built.archive, built.length)?;
    Some(built)
}

/// The record of a workspace's last build, whatever became of its archive.
pub(crate) fn last(store: &Store, workspace: &str) -> Option<Built> {
    let folder = store.root().join("images").join(workspace);
    serde_json::from_slice(&fs::read(folder.join(LATEST)).ok()?).ok()
}

/// The records of every workspace's last build.
pub(crate) fn all(store: &Store) -> Vec<Built> {
    let entries = fs::read_dir(store.root().join("images"));
    let names = entries.into_iter().flatten().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    names
        .iter()
        .filter_map(|name| last(store, name.to_str()?))
        .collect()
}

/// What is known of a layer that was made once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The digest of its tar.
    pub(crate) diff_id: Digest,
    /// The length of its tar.
    pub(crate) size: u64,
    /// Whether there is nothing in it, so that no image has it.
    pub(crate) empty: bool,
    /// The packages in it.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// What was normalised in the stage whose state it is.
    #[serde(default)]
    pub(crate) normalised: Vec<Applied>,
}
