//! A tree made real: folders, hard links to stored contents, symbolic links.
//!
//! It is what scripts see as the lower of an overlay, which never writes to its lower; so one
//! stored inode may stand in any number of farms.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kasmforge_tree::{Entry, Node, Tree, TreePath};

use crate::content::{Pool, set_time};
use crate::parallel;

/// A path of a farm that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {}", path.display())]
pub struct FarmError {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Makes a tree real below an empty folder.
///
/// Folders are given their modes and times last, and are always open to their owner.
pub(crate) fn plant(tree: &Tree, pool: &Pool, root: &Path) -> Result<(), FarmError> {
    let failed = |path: &TreePath| {
        let path = root.join(path.as_path());
        move |source| FarmError { path, source }
    };
    let (folders, rest): (Vec<_>, Vec<_>) = tree
        .iter()
        .partition::<Vec<(&TreePath, &Entry)>, _>(|(_, entry)| entry.is_folder());
    for (path, _) in &folders {
        fs::create_dir(root.join(path.as_path())).map_err(failed(path))?;
    }
    parallel::try_each(&rest, |(path, entry)| {
        make(entry, pool, &root.join(path.as_path())).map_err(failed(path))
    })?;
    parallel::try_each(&folders, |(path, entry)| {
        let at = root.join(path.as_path());
        fs::set_permissions(&at, Permissions::from_mode(entry.mode | 0o700))
            .and_then(|()| set_time(&at, entry.mtime))
            .map_err(failed(path))
    })
}

fn make(entry: &Entry, pool: &Pool, at: &Path) -> io::Result<()> {
    match &entry.node {
        Node::File { .. } => pool.place(entry, at),
        Node::Symlink(target) => {
            symlink(std::ffi::OsStr::from_bytes(target), at)?;
            set_time(at, entry.mtime)
        }
        Node::Fifo => {
            let mode = rustix::fs::Mode::from_raw_mode(entry.mode);
            rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0)?;
            Ok(())
        }
        // Nobody but root makes devices. No script of a desktop looks at one that a package ships.
        Node::Character { .. } | Node::Block { .. } => File::create_new(at).map(drop),
        Node::Directory | Node::Whiteout => Ok(()),
    }
}

/// Opens every folder below a path to its owner, so that it can be read and removed whatever
/// modes a script left.
pub(crate) fn open_folders(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}
