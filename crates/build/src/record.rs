//! What was built: found again by the image's key, and told to whoever loads it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

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

/// The file of a workspace's folder that names what was built last, by whatever project.
const LATEST: &str = "latest.json";
/// How the names of those files begin that name what one project built last.
const LATEST_OF: &str = "latest-";

/// The file of a workspace's folder that names what this project built last: projects that share a
/// store may have workspaces of one name, and what is loaded must be one's own.
fn latest_of(project: &Path) -> String {
    let project = fs::canonicalize(project).unwrap_or_else(|_| project.to_owned());
    let digest = Digest::of(project.as_os_str().as_bytes());
    format!("{LATEST_OF}{}.json", digest.short())
}

/// Notes that this is what a project's last build of the workspace made.
///
/// # Errors
/// When the store cannot be written.
pub fn remember(store: &Store, project: &Path, built: &Built) -> Result<(), Error> {
    let folder = store.image_folder(&built.workspace)?;
    let bytes = serde_json::to_vec(built).map_err(|error| Error::Write {
        path: folder.join(LATEST),
        source: std::io::Error::other(error),
    })?;
    store.write_file(&folder.join(LATEST), &bytes)?;
    store.write_file(&folder.join(latest_of(project)), &bytes)
}

/// What a project's last build of a workspace made, if its archive is still there and whole.
#[must_use]
pub fn latest(store: &Store, project: &Path, workspace: &str) -> Option<Built> {
    let folder = store.root().join("images").join(workspace);
    let own = folder.join(latest_of(project));
    let mut built: Built = match fs::read(&own) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok()?,
        // Earlier versions noted one for all projects.
        Err(_) if !has_projects(&folder) => last(store, workspace)?,
        Err(_) => return None,
    };
    built.hold = Hold::on(&built.archive, built.length)?;
    Some(built)
}

fn has_projects(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.as_bytes().starts_with(LATEST_OF.as_bytes()))
}

/// The record of a workspace's last build, by whatever project, whatever became of its archive.
fn last(store: &Store, workspace: &str) -> Option<Built> {
    noted(&store.root().join("images").join(workspace).join(LATEST))
}

/// The record of a project's last build of a workspace, or else of any project's.
pub(crate) fn last_of(store: &Store, project: &Path, workspace: &str) -> Option<Built> {
    let folder = store.root().join("images").join(workspace);
    let own = noted(&folder.join(latest_of(project)));
    own.filter(|built| built.archive.exists())
        .or_else(|| last(store, workspace))
}

fn noted(path: &Path) -> Option<Built> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The records of every workspace's last build, and of this project's.
pub(crate) fn all(store: &Store, project: &Path) -> Vec<Built> {
    let entries = fs::read_dir(store.root().join("images"));
    let folders = entries.into_iter().flatten().flatten();
    let mut folders: Vec<_> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    let own = latest_of(project);
    let mut all: Vec<Built> = Vec::new();
    for folder in folders {
        for name in [&own, LATEST] {
            let built = noted(&folder.join(name));
            all.extend(built.filter(|built| all.iter().all(|one| one.archive != built.archive)));
        }
    }
    all
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

#[cfg(test)]
mod tests {
    use kasmforge_store::Store;
    use serde_json::json;

    use super::*;

    fn built(store: &Store, content: &str) -> Built {
        let digest = Digest::of(content.as_bytes());
        let archive = store
            .image_folder("desktop")
            .expect("a folder")
            .join(format!("{}.tar", digest.hex()));
        fs::write(&archive, content).expect("an archive");
        serde_json::from_value(json!({
            "workspace": "desktop", "architecture": "amd64", "references": [], "manifest": digest,
            "config": digest, "created": 0, "layers": [], "archive": archive,
            "length": content.len(), "parts": [], "normalised": [],
        }))
        .expect("a record")
    }

    #[test]
    fn projects_that_share_a_store_have_what_they_built_themselves() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let [here, there, elsewhere] = ["here", "there", "elsewhere"].map(Path::new);
        let (one, other) = (built(&store, "one"), built(&store, "other"));
        let last = |project| latest(&store, project, "desktop").map(|built| built.manifest);
        assert_eq!(last(here), None);
        // As an earlier version noted it.
        let noted = serde_json::to_vec(&one).expect("a record");
        let folder = store.image_folder("desktop").expect("a folder");
        store
            .write_file(&folder.join(LATEST), &noted)
            .expect("room");
        assert_eq!(last(here), Some(one.manifest));

        remember(&store, here, &one).expect("room");
        remember(&store, there, &other).expect("room");
        assert_eq!(last(here), Some(one.manifest));
        assert_eq!(last(there), Some(other.manifest));
        assert_eq!(last(elsewhere), None);
    }
}
