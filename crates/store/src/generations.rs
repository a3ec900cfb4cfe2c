//! What keeps things in a store: the images that were built, and the links that lead to them.
//!
//! ```text
//! images/<workspace>/<manifest>.tar    an image
//! images/<workspace>/<manifest>.uses   what it was made of: downloads, steps, trees; without the
//!                                      image, what may be forgotten
//! images/<workspace>/latest.json       what was built last
//! images/<workspace>/latest-<id>.json  what one project built last
//! images/<workspace>/steps.json        the steps of the last build, for what explains the next
//! roots/<name>                         a link to a link (`result`) that leads to an image
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kasmforge_digest::{Digest, StepKey};
use serde::{Deserialize, Serialize};

use crate::{Error, Store};

/// What an image was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Finished steps, by their keys in hexadecimal digits.
    pub steps: BTreeSet<String>,
    /// Downloads.
    pub blobs: BTreeSet<Digest>,
}

impl Uses {
    /// Adds a step.
    pub fn step(&mut self, key: &StepKey) {
        self.steps.insert(key.hex());
    }
}

/// An image in a store.
#[derive(Debug, Clone)]
pub struct Generation {
    /// The workspace it was built of.
    pub workspace: String,
    /// The hexadecimal digits of its manifest's digest.
    pub manifest: String,
    /// Its archive.
    pub archive: PathBuf,
    /// The archive's length in bytes.
    pub length: u64,
    /// When it was built last, or found built.
    pub built: SystemTime,
    /// What it was made of; nothing if an older kasmforge built it.
    pub uses: Uses,
    /// The links that lead to it.
    pub links: Vec<PathBuf>,
    /// Whether it is what its workspace's last build made.
    pub latest: bool,
}

impl Store {
    /// Notes what an image was made of, and that it was wanted now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_uses(&self, workspace: &str, archive: &Path, uses: &Uses) -> Result<(), Error> {
        let path = self.uses_path(workspace, archive)?;
        let bytes = serde_json::to_vec(uses).map_err(|error| Error::Write {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        self.write_file(&path, &bytes)
    }

    fn uses_path(&self, workspace: &str, archive: &Path) -> Result<PathBuf, Error> {
        let folder = self.image_folder(workspace)?;
        let name = archive.file_name().unwrap_or_default();
        Ok(folder.join(Path::new(name).with_extension("uses")))
    }

    /// Notes a link that leads to an image: as long as it does, the image is kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_link(&self, link: &Path) -> Result<(), Error> {
        let folder = self.root().join("roots");
        fs::create_dir_all(&folder).map_err(|source| Error::Create {
            path: folder.clone(),
            source,
        })?;
        let name = Digest::of(link.as_os_str().as_encoded_bytes())
            .short()
            .to_owned();
        let at = folder.join(name);
        if fs::read_link(&at).is_ok_and(|target| target == link) {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            let aside = tempfile::TempDir::new_in(self.root().join("tmp"))?;
            let new = aside.path().join("link");
            std::os::unix::fs::symlink(link, &new)?;
            fs::rename(&new, &at)
        };
        write().map_err(|source| Error::Write {
            path: at.clone(),
            source,
        })
    }

    /// All images, by workspace, the newest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn generations(&self) -> Result<Vec<Generation>, Error> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Read { path, source }
        };
        let links = self.links();
        let images = self.root().join("images");
        let mut all = Vec::new();
        for folder in fs::read_dir(&images).map_err(read(&images))? {
            let folder = folder.map_err(read(&images))?.path();
            if !folder.is_dir() {
                continue;
            }
            let workspace = name_of(&folder);
            let latest = fs::read_to_string(folder.join("latest.json")).unwrap_or_default();
            for entry in fs::read_dir(&folder).map_err(read(&folder))? {
                let archive = entry.map_err(read(&folder))?.path();
                if archive
                    .extension()
                    .is_none_or(|extension| extension != "tar")
                {
                    continue;
                }
                let found = archive.metadata().map_err(read(&archive))?;
                let uses = archive.with_extension("uses");
                let manifest = name_of(&archive.with_extension(""));
                // A build that finds its image notes what it used anew.
                let noted = uses.metadata().and_then(|found| found.modified());
                let built = noted
                    .or_else(|_| found.modified())
                    .map_err(read(&archive))?;
                all.push(Generation {
                    latest: latest.contains(&manifest),
                    workspace: workspace.clone(),
                    manifest,
                    length: found.len(),
                    built,
                    uses: fs::read(&uses)
                        .ok()
                        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                        .unwrap_or_default(),
                    links: links
                        .iter()
                        .filter(|(_, target)| *target == archive)
                        .map(|(link, _)| link.clone())
                        .collect(),
                    archive,
                });
            }
        }
        all.sort_by(|a, b| {
            let by_workspace = a.workspace.cmp(&b.workspace);
            by_workspace
                .then(b.latest.cmp(&a.latest))
                .then(b.built.cmp(&a.built))
                .then(a.manifest.cmp(&b.manifest))
        });
        Ok(all)
    }

    /// Links that lead into the store, and where to. What leads elsewhere is forgotten.
    fn links(&self) -> Vec<(PathBuf, PathBuf)> {
        let entries = fs::read_dir(self.root().join("roots"));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let link = fs::read_link(entry.path()).ok()?;
                let target = fs::read_link(&link).ok()?;
                Some((link, target))
            })
            .collect()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into()
}
