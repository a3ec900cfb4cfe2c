//! Archives of earlier builds, and what the next one may have of them.
//!
//! A layer that an earlier archive holds is copied from there and hashed on its way, sooner than it
//! can be made from thousands of files. And where the next archive begins as the workspace's
//! last one does (a changed file changes only the end), the last one is *taken over*: it is given
//! the new end, and the new name, and nothing of the beginning is touched. Projects that share a store
//! each have a last one of their own.
//!
//! An archive is taken over only if nobody can miss it: no build or load holds it ([`Hold`]), no
//! process at all has it open, and no link that a build made points to it, but for the one that is
//! about to point to the new archive. Otherwise its layers are copied. It is moved away under its
//! old name first, so that a kill in between leaves no archive that is not what its name says; the
//! build it belonged to can be made again from the store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kasmforge_digest::{Digest, Hasher};
use kasmforge_image::BLOCK;
use kasmforge_store::Store;
use tempfile::TempDir;

use crate::record::{self, Built};

/// Keeps an archive as it is for as long as this is held.
#[derive(Debug, Clone, Default)]
pub struct Hold(Option<Arc<File>>);

/// Two records of an image are equal whoever holds its archive.
impl PartialEq for Hold {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Hold {}

impl Hold {
    /// Holds a file that is open.
    pub(crate) fn of(file: File) -> Self {
        Self(file.lock_shared().is_ok().then(|| Arc::new(file)))
    }

    /// Holds an archive, if it is there with this length.
    pub(crate) fn on(path: &Path, length: u64) -> Option<Self> {
        let file = File::open(path).ok()?;
        file.lock_shared().ok()?;
        // Whoever had it alone may have moved it away meanwhile.
        let same = is_at(&file, path) && file.metadata().is_ok_and(|found| found.len() == length);
        same.then(|| Self(Some(Arc::new(file))))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else {
        return false;
    };
    fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (open.dev(), open.ino()))
}

/// Where a layer's bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    file: &'a File,
    /// The archive's path; none of what has no name any more.
    pub(crate) archive: Option<&'a Path>,
    offset: u64,
}

/// The archives of every workspace's last build, and of this project's, held.
#[derive(Debug, Default)]
pub(crate) struct Former {
    files: Vec<(Hold, Option<PathBuf>)>,
    layers: BTreeMap<Digest, (usize, u64, u64)>,
}

impl Former {
    /// Finds them.
    pub(crate) fn find(store: &Store, project: &Path) -> Self {
        let mut former = Self::default();
        for built in record::all(store, project) {
            let Some(hold) = Hold::on(&built.archive, built.length) else {
                continue;
            };
            let index = former.files.len();
            former.files.push((hold, Some(built.archive.clone())));
            for part in &built.parts {
                if let Some(digest) = part.digest {
                    let offset = part.offset + BLOCK;
                    let room = part.length - BLOCK;
                    former.layers.entry(digest).or_insert((index, offset, room));
                }
            }
        }
        former
    }

    /// Lets go of an archive: its layers cannot be had from here any more.
    pub(crate) fn let_go(&mut self, path: &Path) {
        let here = |hold: &Hold| hold.0.as_deref().is_some_and(|file| is_at(file, path));
        for (hold, _) in self.files.iter_mut().filter(|(hold, _)| here(hold)) {
            *hold = Hold::default();
        }
        let files = &self.files;
        self.layers
            .retain(|_, (index, _, _)| files[*index].0.0.is_some());
    }

    /// Sets layers aside that only this build's archive has, into a file of their own; `None` where
    /// that fails.
    pub(crate) fn set_aside(
        &mut self,
        store: &Store,
        built: &Built,
        layers: impl Iterator<Item = (Digest, u64)>,
    ) -> Option<()> {
        let layers: Vec<_> = layers
            .filter(|(digest, size)| !self.has(digest, *size))
            .collect();
        if layers.is_empty() {
            return Some(());
        }
        let archive = File::open(&built.archive).ok()?;
        let aside = store.temporary_file().ok()?.into_file();
        let mut end = 0;
        for (digest, size) in layers {
            let part = built
                .parts
                .iter()
                .find(|part| part.digest == Some(digest))?;
            let source = Source {
                file: &archive,
                archive: Some(&built.archive),
                offset: part.offset + BLOCK,
            };
            // A damaged one is told when it is copied from where it is.
            if copy(&source, &aside, end, size).ok()? != digest {
                return None;
            }
            self.layers.insert(digest, (self.files.len(), end, size));
            end += size;
        }
        self.files.push((Hold(Some(Arc::new(aside))), None));
        Some(())
    }

    /// Where a layer of this size can be had.
    pub(crate) fn source(&self, digest: &Digest, size: u64) -> Option<Source<'_>> {
        let (index, offset, room) = *self.layers.get(digest)?;
        let (hold, path) = &self.files[index];
        let file = hold.0.as_deref()?;
        (size <= room).then_some(Source {
            file,
            archive: path.as_deref(),
            offset,
        })
    }

    /// Whether a layer of this size can be had.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        self.source(digest, size).is_some()
    }
}

/// Copies a layer's bytes to a place of another archive; gives their digest. They are read anyway, and
/// what was damaged since must not go from archive to archive.
pub(crate) fn copy(source: &Source<'_>, to: &File, at: u64, size: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    while done < size {
        let most = buffer
            .len()
            .min(usize::try_from(size - done).unwrap_or(usize::MAX));
        let count = source
            .file
            .read_at(&mut buffer[..most], source.offset + done)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..count]);
        to.write_all_at(&buffer[..count], at + done)?;
        done += count as u64;
    }
    Ok(hasher.finish())
}

/// An archive taken over: open, alone, and moved out of the way.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) file: File,
    folder: TempDir,
}

impl Taken {
    /// Where it is now.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("archive")
    }
}

/// Takes over the archive of a build, if nobody can miss it. `link` is about to point elsewhere.
pub(crate) fn take(store: &Store, built: &Built, link: Option<&Path>) -> Option<Taken> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(&built.archive)
        .ok()?;
    file.try_lock().ok()?;
    let whole = file
        .metadata()
        .is_ok_and(|found| found.len() == built.length && found.nlink() == 1);
    if !whole || !is_at(&file, &built.archive) || is_linked(store, built, link) {
        return None;
    }
    let folder = store.temporary_folder().ok()?;
    let taken = Taken { file, folder };
    fs::rename(&built.archive, taken.path()).ok()?;
    // Nobody can open it any more; whoever did so before keeps it.
    if kasmforge_sandbox::is_open_elsewhere(&taken.file) {
        // If this fails the archive is gone, and made again when it is asked for.
        drop(fs::rename(taken.path(), &built.archive));
        return None;
    }
    // What says what the old image was made of keeps nothing any more, and stays: from it the garbage
    // collection knows which steps nobody wants now.
    Some(taken)
}

/// Whether a link, another than this one, leads to a build's archive.
fn is_linked(store: &Store, built: &Built, but: Option<&Path>) -> bool {
    // What cannot be told is taken for a yes.
    store.generations().map_or(true, |generations| {
        generations
            .iter()
            .filter(|generation| generation.archive == built.archive)
            .flat_map(|generation| &generation.links)
            .any(|link| Some(link.as_path()) != but)
    })
}
