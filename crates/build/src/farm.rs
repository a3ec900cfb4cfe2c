//! A tree made real: folders, hard links to stored contents, symbolic links.
//!
//! It is what scripts see as the lower of an overlay, which never writes to its lower; so one
//! stored inode may stand in any number of farms.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kasmforge_tree::{Entry, Node, Tree, TreePath};
use tempfile::TempDir;

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

/// A tree that was made real.
///
/// Stages stand on each other, so the farm of one becomes that of the next: only what differs is
/// made.
#[derive(Debug)]
pub(crate) struct Farm {
    room: TempDir,
    tree: Tree,
}

impl Farm {
    /// Begins with a folder that is empty.
    pub(crate) fn begin(room: TempDir) -> Self {
        let tree = Tree::new();
        Self { room, tree }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.room.path()
    }

    /// What it is.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Gives up the tree; what is left is to be removed.
    pub(crate) fn into_room(self) -> TempDir {
        self.room
    }

    /// Makes it another tree. Nothing may be mounted on it.
    ///
    /// Folders are given their modes and times last, and are always open to their owner.
    pub(crate) fn grow(self, tree: Tree, pool: &Pool) -> Result<Self, FarmError> {
        let root = self.room.path();
        let failed = |path: &TreePath| {
            let path = root.join(path.as_path());
            move |source| FarmError { path, source }
        };
        let (before, after) = (Looks::of(&self.tree), Looks::of(&tree));
        // From below: what is in a folder goes before it.
        let gone: Vec<(&TreePath, &Entry)> = self
            .tree
            .iter()
            .filter(|(path, entry)| {
                !tree
                    .get(path)
                    .is_some_and(|new| before.stays(path, entry, new, &after))
            })
            .collect();
        for (path, entry) in gone.iter().rev() {
            let at = root.join(path.as_path());
            let removed = match entry.node {
                Node::Directory => fs::remove_dir(at),
                Node::Whiteout => Ok(()),
                _ => fs::remove_file(at),
            };
            removed.map_err(failed(path))?;
        }
        let stood = |path: &TreePath, new: &Entry| {
            let old = self.tree.get(path);
            old.is_some_and(|old| before.stays(path, old, new, &after))
        };
        let (folders, rest): (Vec<_>, Vec<_>) = tree
            .iter()
            .partition::<Vec<(&TreePath, &Entry)>, _>(|(_, entry)| entry.is_folder());
        for (path, entry) in &folders {
            if !stood(path, entry) {
                fs::create_dir(root.join(path.as_path())).map_err(failed(path))?;
            }
        }
        let new: Vec<(&TreePath, &Entry)> = rest
            .into_iter()
            .filter(|(path, entry)| !stood(path, entry))
            .collect();
        parallel::try_each(&new, |(path, entry)| {
            let at = root.join(path.as_path());
            let made = if after.is_alone(path, entry) {
                pool.copy(entry, &at)
            } else {
                make(entry, pool, &at)
            };
            made.map_err(failed(path))
        })?;
        parallel::try_each(&folders, |(path, entry)| {
            let at = root.join(path.as_path());
            fs::set_permissions(&at, Permissions::from_mode(entry.mode | 0o700))
                .and_then(|()| set_time(&at, entry.mtime))
                .map_err(failed(path))
        })?;
        Ok(Self {
            room: self.room,
            tree,
        })
    }
}

/// How the files of a tree stand in a farm.
struct Looks<'a> {
    /// Files that have more names than one in the tree.
    with_names: BTreeSet<&'a TreePath>,
}

impl<'a> Looks<'a> {
    fn of(tree: &'a Tree) -> Self {
        let links = tree.iter().filter_map(|(_, entry)| match &entry.node {
            Node::File { link, .. } => link.as_ref(),
            _ => None,
        });
        Self {
            with_names: links.collect(),
        }
    }

    /// Whether a file is an inode of its own. Those with owners are, where the image has one name
    /// for them: the sandbox then knows them by their number, and need not look closer at every
    /// file that a script asks about (`ownership` there).
    fn is_alone(&self, path: &TreePath, entry: &Entry) -> bool {
        (entry.uid, entry.gid) != (0, 0)
            && matches!(entry.node, Node::File { link: None, .. })
            && !self.with_names.contains(path)
    }

    /// Whether what stands at a path may stay for the next tree.
    fn stays(&self, path: &TreePath, old: &Entry, new: &Entry, next: &Looks<'_>) -> bool {
        if old.is_folder() || new.is_folder() {
            return old.is_folder() && new.is_folder();
        }
        old == new && self.is_alone(path, old) == next.is_alone(path, new)
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::content::Writer;

    fn path(text: &str) -> TreePath {
        text.parse().expect("clean")
    }

    /// Everything below a folder: path, mode, time, number of names, and what it holds.
    fn listing(root: &Path, at: &Path, into: &mut Vec<String>) {
        let mut names: Vec<_> = fs::read_dir(at)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        names.sort();
        for name in names {
            let found = fs::symlink_metadata(&name).expect("what is there");
            let held = match found.file_type() {
                kind if kind.is_symlink() => format!("{:?}", fs::read_link(&name)),
                kind if kind.is_file() => fs::read_to_string(&name).expect("text"),
                _ => String::new(),
            };
            let shown = name.strip_prefix(root).expect("below").display();
            let (mode, time) = (found.mode(), found.mtime());
            let alone = found.is_file() && found.nlink() == 1;
            into.push(format!("{shown} {mode:o} {time} {alone} {held}"));
            if found.is_dir() {
                listing(root, &name, into);
            }
        }
    }

    #[test]
    fn what_grew_is_what_would_have_been_made_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pool = Pool::default();
        let mut writer = Writer::new(folder.path()).expect("a folder");
        let mut keep = |text: &str, uid: u32| {
            let shape = Entry::new(0o644, 7, Node::Directory).owned(uid, uid);
            writer.keep(text.as_bytes(), shape).expect("kept")
        };
        let linked = |entry: &Entry, to: &str| {
            let mut entry = entry.clone();
            if let Node::File { link, .. } = &mut entry.node {
                *link = Some(path(to));
            }
            entry
        };
        let owned = keep("owned", 5);
        let named = keep("named", 6);
        let tree = |entries: Vec<(&str, Entry)>| {
            let entries = entries.into_iter();
            let mut tree: Tree = Tree::new();
            for (at, entry) in entries {
                tree.insert(path(at), entry);
            }
            tree.complete_parents();
            pool.add_fresh(folder.path(), &tree);
            tree
        };
        let first = tree(vec![
            ("a/same", keep("same", 0)),
            ("a/changed", keep("before", 0)),
            ("a/gone/x", keep("x", 0)),
            ("a/link", Entry::symlink(b"same", 3)),
            ("a/owned", owned.clone()),
            ("a/named", named.clone()),
            ("a/becomes", keep("a file", 0)),
            ("b/was/folder", keep("y", 0)),
        ]);
        let second = tree(vec![
            ("a/same", keep("same", 0)),
            ("a/changed", keep("after", 0)),
            ("a/link", Entry::symlink(b"other", 4)),
            ("a/owned", owned),
            ("a/named", named.clone()),
            ("a/other-name", linked(&named, "a/named")),
            ("a/becomes/folder", keep("z", 0)),
            ("b/was", keep("a file now", 0)),
        ]);
        let begun = || Farm::begin(tempfile::tempdir().expect("a temporary folder"));
        let grown = begun().grow(first, &pool).expect("made");
        let grown = grown.grow(second.clone(), &pool).expect("grown");
        let anew = begun().grow(second, &pool).expect("made");
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        listing(grown.path(), grown.path(), &mut one);
        listing(anew.path(), anew.path(), &mut other);
        assert_eq!(one, other);
        assert!(
            one.iter().any(|line| line == "a/owned 100644 7 true owned"),
            "{one:#?}"
        );
        assert!(
            one.iter()
                .any(|line| line == "a/named 100644 7 false named")
        );
    }
}
