//! Content on disk by digest, finished steps by key.
//!
//! A [`Store`] is one directory that several builds may share at once:
//!
//! ```text
//! format              the number of this layout
//! lock                held shared by whoever uses the store, alone by whoever collects garbage
//! blobs/sha256/ab/…   files named by their SHA-256: .debs, indexes, downloads; read-only
//! partial/            downloads that were cut off, by the digest they will have
//! steps/ab/<key>      outcomes of finished steps, small JSON
//! trees/<key>/        files of unpacked packages and of configured stages
//! images/<name>/      what each workspace's builds made, and what that was made of
//! roots/              links to links that lead to images
//! tmp/                whatever is not finished
//! ```
//!
//! Things appear under their final name by one rename, so a kill at any instant leaves the store
//! valid. Small records are synced to disk before they are renamed; large content is not, because
//! every reader of it checks a digest or a size: after a power cut it is found wrong, and made
//! again, rather than trusted.

mod collect;
mod generations;
mod report;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kasmforge_digest::{Digest, StepKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::{NamedTempFile, TempDir};

pub use collect::{Collected, Keep, Removed};
pub use generations::{Generation, Uses};
pub use report::{Kind, Sizes, Space};

/// The number of the layout above. A store of another number is refused, never guessed at.
const FORMAT: &str = "1";

/// Something that could not be done to the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of the store could not be made.
    #[error("cannot make the store's folder {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store is of another version of kasmforge.
    #[error(
        "the store {} has format {found}, this kasmforge writes format {FORMAT}; name another \
         with --store, or remove it",
        path.display()
    )]
    Format {
        /// The store.
        path: PathBuf,
        /// The number found.
        found: String,
    },
    /// The store's lock could not be taken.
    #[error("cannot lock the store {}", path.display())]
    Lock {
        /// The store.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the store could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something could not be removed from the store.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the store could not be written.
    #[error("cannot write {}{}", path.display(), space(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A word on full disks, where that is the cause.
fn space(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (the disk is full: make room, or name another place with --store; the next build \
             continues where this one stopped)"
        }
        _ => "",
    }
}

/// A directory of content and outcomes.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held shared as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens a store, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, is of another format, or cannot be locked.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_as(root, false, &mut || {})
    }

    /// Opens a store for oneself alone, as soon as nobody else has it open; `waiting` is told if
    /// that is not at once. Builds that start meanwhile wait in turn.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_alone(root: &Path, waiting: &mut dyn FnMut()) -> Result<Self, Error> {
        Self::open_as(root, true, waiting)
    }

    fn open_as(root: &Path, alone: bool, waiting: &mut dyn FnMut()) -> Result<Self, Error> {
        let create = |path: PathBuf| {
            fs::create_dir_all(&path).map_err(|source| Error::Create { path, source })
        };
        create(root.to_owned())?;
        let root = fs::canonicalize(root).map_err(|source| Error::Read {
            path: root.to_owned(),
            source,
        })?;
        // Unpacked packages hold set-user-id programs: nobody else may reach them here.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(|source| {
            Error::Write {
                path: root.clone(),
                source,
            }
        })?;
        for folder in ["blobs/sha256", "partial", "steps", "trees", "images", "tmp"] {
            create(root.join(folder))?;
        }
        let failed = |source| Error::Lock {
            path: root.clone(),
            source,
        };
        let lock = File::options()
            .create(true)
            .append(true)
            .open(root.join("lock"));
        let lock = lock.map_err(failed)?;
        // Alone in the store, nobody is at work on what lies in tmp: a killed build left it.
        if lock.try_lock().is_ok() {
            clear(&root.join("tmp"));
            lock.unlock().map_err(failed)?;
        }
        if alone {
            if lock.try_lock().is_err() {
                waiting();
                lock.lock().map_err(failed)?;
            }
        } else {
            lock.lock_shared().map_err(failed)?;
        }
        let store = Self { root, _lock: lock };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), Error> {
        let path = self.root.join("format");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == FORMAT => Ok(()),
            Ok(found) => Err(Error::Format {
                path: self.root.clone(),
                found: found.trim().into(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write_file(&path, format!("{FORMAT}\n").as_bytes())
            }
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of this digest is, or will be.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root
            .join("blobs/sha256")
            .join(&hex[..2])
            .join(&hex[2..])
    }

    /// Whether the blob is there, with the size it must have if one is given.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest, size: Option<u64>) -> bool {
        fs::symlink_metadata(self.blob_path(digest))
            .is_ok_and(|found| found.is_file() && size.is_none_or(|size| size == found.len()))
    }

    /// Removes a blob whose content was found wrong, so that it is made again.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        remove(&self.blob_path(digest))
    }

    /// A temporary file on the store's file system, removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary_file(&self) -> Result<NamedTempFile, Error> {
        let folder = self.root.join("tmp");
        NamedTempFile::new_in(&folder).map_err(|source| Error::Write {
            path: folder,
            source,
        })
    }

    /// A temporary folder on the store's file system, removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary_folder(&self) -> Result<TempDir, Error> {
        let folder = self.root.join("tmp");
        TempDir::new_in(&folder).map_err(|source| Error::Write {
            path: folder,
            source,
        })
    }

    /// Where a download with this digest gathers its bytes until it is whole.
    #[must_use]
    pub fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    /// Gives a finished file, anywhere on the store's file system, its name as a blob.
    ///
    /// The caller has computed the digest from the bytes it wrote.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn keep_blob(&self, file: &Path, digest: &Digest) -> Result<PathBuf, Error> {
        let path = self.blob_path(digest);
        let kept = (|| {
            fs::create_dir_all(path.parent().expect("blobs have a folder"))?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o444))?;
            fs::rename(file, &path)
        })();
        kept.map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Keeps some bytes as a blob.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if !self.has_blob(&digest, Some(bytes.len() as u64)) {
            let mut file = self.temporary_file()?;
            file.write_all(bytes).map_err(|source| Error::Write {
                path: file.path().into(),
                source,
            })?;
            self.keep_blob(&file.into_temp_path(), &digest)?;
        }
        Ok(digest)
    }

    /// The recorded outcome of a finished step, if it was finished.
    ///
    /// A record that cannot be understood counts as absent: the step is done again.
    ///
    /// # Errors
    /// When the record is there and cannot be read.
    pub fn outcome<T: DeserializeOwned>(&self, key: &StepKey) -> Result<Option<T>, Error> {
        let path = self.step_path(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Records the outcome of a finished step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record<T: Serialize>(&self, key: &StepKey, outcome: &T) -> Result<(), Error> {
        let path = self.step_path(key);
        let bytes = serde_json::to_vec(outcome).map_err(|error| Error::Write {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        self.write_file(&path, &bytes)
    }

    /// Forgets a step, so that it is done again.
    ///
    /// # Errors
    /// When its record cannot be removed.
    pub fn forget(&self, key: &StepKey) -> Result<(), Error> {
        remove(&self.step_path(key))
    }

    fn step_path(&self, key: &StepKey) -> PathBuf {
        let hex = key.hex();
        self.root.join("steps").join(&hex[..2]).join(&hex[2..])
    }

    /// Where the tree made by this step is, or will be.
    #[must_use]
    pub fn tree_path(&self, key: &StepKey) -> PathBuf {
        self.root.join("trees").join(key.hex())
    }

    /// Gives a finished folder its name as a tree.
    ///
    /// When another build was quicker, its tree stays and this one is dropped: equal keys promise
    /// equal trees.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn keep_tree(&self, folder: TempDir, key: &StepKey) -> Result<PathBuf, Error> {
        let path = self.tree_path(key);
        match fs::rename(folder.path(), &path) {
            Ok(()) => {
                // Renamed away: there is nothing left for the guard to remove.
                let _ = folder.keep();
                Ok(path)
            }
            Err(_) if path.is_dir() => Ok(path),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// Removes a tree whose content was found wrong, so that it is made again.
    ///
    /// # Errors
    /// When it cannot be moved out of the way.
    pub fn remove_tree(&self, key: &StepKey) -> Result<(), Error> {
        let path = self.tree_path(key);
        let aside = self.temporary_folder()?;
        match fs::rename(&path, aside.path().join("tree")) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// The folder of a workspace's builds; made if absent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn image_folder(&self, workspace: &str) -> Result<PathBuf, Error> {
        let path = self.root.join("images").join(workspace);
        fs::create_dir_all(&path).map_err(|source| Error::Create {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Writes a small file whole: to a temporary, synced, renamed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.temporary_file()?;
        let written = (|| {
            file.write_all(bytes)?;
            file.as_file().sync_data()?;
            fs::create_dir_all(path.parent().expect("files of a store have a folder"))
        })();
        let failed = |source| Error::Write {
            path: path.into(),
            source,
        };
        written.map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// Removes what is in a folder, as far as that can be done.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_and_remove(&path),
            _ => fs::remove_file(&path),
        };
        // What cannot be removed now takes room, and does no other harm.
        drop(removed);
    }
}

/// Removes a folder whose own folders may be closed to their owner, as scripts leave them.
fn open_and_remove(folder: &Path) -> io::Result<()> {
    if fs::remove_dir_all(folder).is_ok() {
        return Ok(());
    }
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(folder)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Write {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::KeyHasher;

    fn store() -> (TempDir, Store) {
        let folder = TempDir::new().expect("a temporary folder");
        let store = Store::open(&folder.path().join("store")).expect("a new store");
        (folder, store)
    }

    #[test]
    fn keeps_blobs_by_digest() {
        let (_folder, store) = store();
        let digest = store.keep_bytes(b"abc").expect("room for three bytes");
        assert_eq!(
            fs::read(store.blob_path(&digest)).expect("the blob"),
            b"abc"
        );
        assert!(store.has_blob(&digest, Some(3)));
        assert!(!store.has_blob(&digest, Some(4)));
        store.remove_blob(&digest).expect("it is ours");
        assert!(!store.has_blob(&digest, None));
    }

    #[test]
    fn records_outcomes_and_forgets_what_it_cannot_read() {
        let (_folder, store) = store();
        let key = KeyHasher::new("test 1").key();
        assert_eq!(store.outcome::<Vec<u32>>(&key).expect("readable"), None);
        store.record(&key, &vec![1_u32, 2]).expect("writable");
        assert_eq!(
            store.outcome::<Vec<u32>>(&key).expect("readable"),
            Some(vec![1, 2])
        );
        fs::write(store.step_path(&key), "[1, ").expect("writable");
        assert_eq!(store.outcome::<Vec<u32>>(&key).expect("readable"), None);
    }

    #[test]
    fn the_first_of_two_equal_trees_stays() {
        let (_folder, store) = store();
        let key = KeyHasher::new("test 1").key();
        for name in ["first", "second"] {
            let folder = store.temporary_folder().expect("room");
            fs::write(folder.path().join(name), "").expect("writable");
            store.keep_tree(folder, &key).expect("kept");
        }
        assert!(store.tree_path(&key).join("first").exists());
        store.remove_tree(&key).expect("removable");
        assert!(!store.tree_path(&key).exists());
    }

    #[test]
    fn what_a_killed_build_left_is_cleared() {
        let (_folder, store) = store();
        let left = store.root().join("tmp/left");
        fs::create_dir_all(left.join("closed/inner")).expect("made");
        fs::set_permissions(left.join("closed"), fs::Permissions::from_mode(0o000))
            .expect("closed");
        let root = store.root().to_owned();
        // Somebody else may be at work on it.
        let _second = Store::open(&root).expect("opened twice");
        assert!(left.exists());
        drop((store, _second));
        Store::open(&root).expect("opened alone");
        assert!(!left.exists());
    }

    #[test]
    fn refuses_another_format() {
        let (_folder, store) = store();
        fs::write(store.root().join("format"), "0\n").expect("writable");
        let error = Store::open(store.root()).expect_err("another format");
        assert!(error.to_string().contains("has format 0"), "{error}");
    }
}
