//! Garbage collection: what no image that is kept was made of goes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::report::{Kind, Sizes, length_of};
use crate::{Error, Generation, Store, Uses, open_and_remove};

/// What is kept.
#[derive(Debug, Clone)]
pub struct Keep {
    /// So many images of each workspace, the newest; never less than one.
    pub generations: usize,
    /// Whatever is younger than this.
    pub younger_than: Option<SystemTime>,
    /// As much as fits: beyond this many bytes older images go as well, and then downloads, which
    /// the unpacked packages stand for until something is unpacked anew.
    pub most: Option<u64>,
}

/// Something that was, or would be, removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removed {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// What went.
    pub removed: Vec<Removed>,
    /// How many bytes are left.
    pub left: u64,
}

impl Store {
    /// Removes what is not to be kept. With `dry`, only tells.
    ///
    /// The store must have been opened by [`Store::open_alone`], so that nobody is at work in it:
    /// what a running build uses is not yet anybody's.
    ///
    /// # Errors
    /// When something cannot be listed or removed; what was removed by then stays so, and the
    /// store is valid.
    pub fn collect(&self, keep: &Keep, dry: bool) -> Result<Collected, Error> {
        let generations = self.generations()?;
        let mut kept: Vec<&Generation> = Vec::new();
        let mut going: Vec<&Generation> = Vec::new();
        let mut last = ("", 0);
        for one in &generations {
            last = if last.0 == one.workspace {
                (last.0, last.1 + 1)
            } else {
                (&one.workspace, 0)
            };
            let young = keep.younger_than.is_some_and(|time| one.built > time);
            let stays = last.1 < keep.generations.max(1) || !one.links.is_empty() || young;
            if stays { &mut kept } else { &mut going }.push(one);
        }
        let everything = self.everything()?;
        let mut gone = unused(&everything, &kept, keep.younger_than);
        let total: u64 = everything.iter().map(|one| one.bytes).sum();
        let bytes = |gone: &BTreeSet<Removed>| gone.iter().map(|one| one.bytes).sum::<u64>();
        if let Some(most) = keep.most {
            // The oldest of those that are neither a workspace's last nor linked.
            let mut spare: Vec<&Generation> = kept
                .iter()
                .copied()
                .filter(|one| !one.latest && one.links.is_empty())
                .collect();
            spare.sort_by_key(|one| one.built);
            for one in spare {
                if total - bytes(&gone) <= most {
                    break;
                }
                kept.retain(|other| other.archive != one.archive);
                gone = unused(&everything, &kept, None);
            }
            let downloads = everything.iter().filter(|one| one.kind == Kind::Downloads);
            for one in downloads {
                if total - bytes(&gone) <= most {
                    break;
                }
                gone.insert(one.clone());
            }
        }
        let left = total - bytes(&gone);
        if !dry {
            for one in &gone {
                self.remove(&one.path)?;
            }
        }
        Ok(Collected {
            removed: gone.into_iter().collect(),
            left,
        })
    }

    /// Everything that could go, each with what it is.
    fn everything(&self) -> Result<Vec<Removed>, Error> {
        let mut all = Vec::new();
        for (kind, path) in self.parts()? {
            let bytes = length_of(&path);
            all.push(Removed { kind, path, bytes });
        }
        all.sort();
        Ok(all)
    }

    /// Sizes of all there is, by what it is.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let mut sizes = Sizes::default();
        for one in self.everything()? {
            let size = sizes.entry(one.kind).or_default();
            // What is written about an image is no image.
            let counts = one.kind != Kind::Images
                || one
                    .path
                    .extension()
                    .is_some_and(|extension| extension == "tar");
            size.0 += u64::from(counts);
            size.1 += one.bytes;
        }
        Ok(sizes)
    }

    /// Takes something away: a tree by one rename first, so that it is there whole or not at all.
    fn remove(&self, path: &Path) -> Result<(), Error> {
        let remove = || -> io::Result<()> {
            if !path.symlink_metadata()?.is_dir() {
                return fs::remove_file(path);
            }
            let aside = tempfile::TempDir::new_in(self.root().join("tmp"))?;
            let there = aside.path().join("going");
            if path.starts_with(self.root().join("tmp")) {
                return open_and_remove(path);
            }
            fs::rename(path, &there)?;
            open_and_remove(&there)
        };
        match remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Remove {
                path: path.into(),
                source: error,
            }),
            _ => Ok(()),
        }
    }
}

/// What no kept image needs.
fn unused(
    everything: &[Removed],
    kept: &[&Generation],
    younger_than: Option<SystemTime>,
) -> BTreeSet<Removed> {
    let steps: BTreeSet<&str> = kept
        .iter()
        .flat_map(|one| one.uses.steps.iter().map(String::as_str))
        .collect();
    // Of other records nobody knows whether they are still wanted: some remember what must not be
    // forgotten, the newest state of an archive that was ever seen.
    let ever = everything
        .iter()
        .filter(|one| one.kind == Kind::Images && one.path.extension() == Some("uses".as_ref()));
    let forgotten: BTreeSet<String> = ever
        .filter_map(|one| serde_json::from_slice::<Uses>(&fs::read(&one.path).ok()?).ok())
        .flat_map(|uses| uses.steps)
        .filter(|key| !steps.contains(key.as_str()))
        .collect();
    let blobs: BTreeSet<String> = kept
        .iter()
        .flat_map(|one| one.uses.blobs.iter().map(|blob| blob.hex()))
        .collect();
    let manifests: BTreeSet<&str> = kept.iter().map(|one| one.manifest.as_str()).collect();
    let is_young = |path: &Path| {
        let changed = path.symlink_metadata().and_then(|found| found.modified());
        younger_than.is_some_and(|time| changed.is_ok_and(|changed| changed > time))
    };
    // What one project built last, in words: worth nothing when the image is gone.
    let names_kept = |path: &Path| {
        fs::read_to_string(path).map_or(true, |text| {
            manifests.iter().any(|name| text.contains(name))
        })
    };
    let used = |one: &Removed| {
        let name = one.path.file_name().unwrap_or_default().to_string_lossy();
        // The first two digits of a name are its folder's.
        let folder = one
            .path
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let whole = format!("{}{name}", folder.to_string_lossy());
        match one.kind {
            Kind::Images if name.starts_with("latest-") => names_kept(&one.path),
            Kind::Images => {
                let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
                // What is written about a workspace's last build is none of an image's.
                extension == "json" || manifests.contains(stem)
            }
            Kind::Downloads => blobs.contains(&whole) || is_young(&one.path),
            Kind::Records => !forgotten.contains(&whole) || is_young(&one.path),
            Kind::Unpacked | Kind::Configured => {
                steps.contains(name.as_ref()) || is_young(&one.path)
            }
            Kind::Unfinished => is_young(&one.path),
        }
    };
    everything
        .iter()
        .filter(|one| !used(one))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::{Digest, KeyHasher, StepKey};
    use tempfile::TempDir;

    fn key(name: &str) -> StepKey {
        KeyHasher::new(name).key()
    }

    /// An image of one tree and one download of its own; gives the download's digest.
    fn image(store: &Store, workspace: &str, name: &str) -> Digest {
        let blob = store.keep_bytes(name.as_bytes()).expect("room");
        let tree = store.temporary_folder().expect("room");
        fs::write(tree.path().join("package.json"), name).expect("room");
        store.keep_tree(tree, &key(name)).expect("room");
        let folder = store.image_folder(workspace).expect("room");
        let archive = folder.join(format!("{name}.tar"));
        fs::write(&archive, name).expect("room");
        store.record(&key(name), &name).expect("room");
        let mut uses = Uses::default();
        uses.step(&key(name));
        uses.blobs.insert(blob);
        store.note_uses(workspace, &archive, &uses).expect("room");
        let latest = format!("{{\"manifest\":\"{name}\"}}");
        fs::write(folder.join("latest.json"), &latest).expect("room");
        fs::write(folder.join("steps.json"), &latest).expect("room");
        fs::write(folder.join(format!("latest-{name}.json")), &latest).expect("room");
        blob
    }

    fn keep(generations: usize) -> Keep {
        Keep {
            generations,
            younger_than: None,
            most: None,
        }
    }

    #[test]
    fn what_no_kept_image_uses_goes() {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open_alone(&folder.path().join("store"), &mut || {}).expect("a store");
        let blobs = ["one", "two", "three"].map(|name| image(&store, "desktop", name));
        let other = image(&store, "other", "four");
        let stray = store.keep_bytes(b"stray").expect("room");
        // Something that is remembered beside what images are made of.
        store.record(&key("memory"), &"memory").expect("room");
        let recorded = |name: &str| store.outcome::<String>(&key(name)).expect("read").is_some();
        let noted = |name: &str| {
            let path = format!("images/desktop/latest-{name}.json");
            store.root().join(path).exists()
        };
        let there = |blob: &Digest| store.has_blob(blob, None);

        let told = store.collect(&keep(1), true).expect("a list");
        assert!(
            !told.removed.is_empty() && there(&stray),
            "dry: nothing goes"
        );

        // An image that became another one, and left only what it was made of.
        let mut uses = Uses::default();
        uses.step(&key("taken"));
        uses.step(&key("three"));
        store.record(&key("taken"), &"taken").expect("room");
        let gone = store.root().join("images/desktop/taken.tar");
        store.note_uses("desktop", &gone, &uses).expect("room");

        // A link keeps what it leads to.
        let link = folder.path().join("result");
        let first = store.root().join("images/desktop/one.tar");
        std::os::unix::fs::symlink(&first, &link).expect("a link");
        store.note_link(&link).expect("room");
        store.collect(&keep(1), false).expect("a collection");
        assert_eq!(blobs.map(|blob| there(&blob)), [true, false, true]);
        assert!(there(&other) && !there(&stray));
        assert!(store.tree_path(&key("three")).is_dir() && !store.tree_path(&key("two")).is_dir());
        assert!(first.exists());
        assert_eq!(["one", "two", "three"].map(recorded), [true, false, true]);
        assert_eq!(["one", "two", "three"].map(noted), [true, false, true]);
        assert!(store.root().join("images/desktop/steps.json").exists());
        assert!(!recorded("taken") && !gone.with_extension("uses").exists());
        assert_eq!(
            told.left,
            told.left
                .min(store.sizes().expect("sizes").values().map(|s| s.1).sum())
        );

        fs::remove_file(&link).expect("the link");
        store.collect(&keep(1), false).expect("a collection");
        assert!(!there(&blobs[0]) && there(&blobs[2]) && !first.exists());
        assert!(!recorded("one") && recorded("three") && recorded("memory"));

        // Down to a size: downloads go, the last images stay.
        let small = Keep {
            most: Some(0),
            ..keep(3)
        };
        store.collect(&small, false).expect("a collection");
        assert!(!there(&blobs[2]) && store.root().join("images/desktop/three.tar").exists());
        assert!(store.tree_path(&key("three")).is_dir());
        assert!(
            store
                .collect(&keep(1), false)
                .expect("again")
                .removed
                .is_empty()
        );
    }

    #[test]
    fn damage_is_found() {
        let folder = TempDir::new().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let blob = store.keep_bytes(b"content").expect("room");
        assert!(store.damaged().expect("a list").is_empty());
        let path = store.blob_path(&blob);
        fs::remove_file(&path).expect("the blob");
        fs::write(&path, b"other").expect("another");
        assert_eq!(
            store.damaged().expect("a list"),
            std::slice::from_ref(&path)
        );
        store.discard(&path).expect("it is ours");
        assert!(store.damaged().expect("a list").is_empty());
    }
}
