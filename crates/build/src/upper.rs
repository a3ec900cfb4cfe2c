//! What scripts did: the upper of an overlay, read back as a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use kasmforge_digest::Digest;
use kasmforge_sandbox::{Claim, Outcome};
use kasmforge_tree::{Entry, FOLDER_TIME, Node, Tree, TreePath};

use crate::content::Writer;

/// Marks a folder that hides what is below it (overlayfs with `userxattr`).
const OPAQUE: &str = "user.overlay.opaque";

/// The folders of an image that are mounts while scripts run: nothing in them is kept.
const MOUNTS: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// What was read back.
#[derive(Debug, Default)]
pub(crate) struct Upper {
    /// What stands in the upper, whiteouts included.
    pub(crate) layer: Tree,
    /// Folders that hide all that is below them in the lower.
    pub(crate) opaque: BTreeSet<TreePath>,
}

/// Reads an upper back and takes over the contents in it.
pub(crate) struct Reading<'a, 'b> {
    pub(crate) root: &'a Path,
    /// The newest time a file may have.
    pub(crate) epoch: i64,
    /// When the scripts started: what has a later time was made by them.
    pub(crate) started: i64,
    pub(crate) writer: &'a mut Writer<'b>,
}

impl Reading<'_, '_> {
    pub(crate) fn read(mut self, outcome: &Outcome) -> io::Result<Upper> {
        let claims: BTreeMap<&[u8], &Claim> = outcome
            .claims
            .iter()
            .map(|claim| (claim.path.as_os_str().as_bytes(), claim))
            .collect();
        let mut upper = Upper::default();
        let mut inodes = BTreeMap::new();
        self.folder(&TreePath::root(), &claims, &mut inodes, &mut upper)?;
        upper.layer.order_links();
        for (path, value) in &outcome.capabilities {
            let path = TreePath::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
            if let Some(entry) = upper.layer.get_mut(&path) {
                entry
                    .xattrs
                    .insert("security.capability".into(), value.clone());
            }
        }
        for list in &outcome.access_lists {
            let path = TreePath::new(list.path.as_os_str().as_bytes()).map_err(io::Error::other)?;
            if let Some(entry) = upper.layer.get_mut(&path) {
                let name = if list.default { "default" } else { "access" };
                let name = format!("system.posix_acl_{name}");
                entry.xattrs.insert(name, list.value.clone());
            }
        }
        Ok(upper)
    }

    fn folder(
        &mut self,
        path: &TreePath,
        claims: &BTreeMap<&[u8], &Claim>,
        inodes: &mut BTreeMap<u64, TreePath>,
        upper: &mut Upper,
    ) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path.as_path()))? {
            names.push(entry?.file_name());
        }
        // Directory order is chance; which of two hard links comes first must not be.
        names.sort();
        for name in names {
            let path = path.join(name.as_bytes());
            let at = self.root.join(path.as_path());
            let found = fs::symlink_metadata(&at)?;
            // A socket means nothing without the program behind it; no tar can hold one.
            if found.file_type().is_socket() {
                continue;
            }
            let mut entry = self.entry(&path, &at, &found, inodes)?;
            if let Some(claim) = claims.get(path.as_bytes()) {
                (entry.uid, entry.gid) = (claim.uid, claim.gid);
                if let Some(device) = &claim.device {
                    let (major, minor) = (device.major, device.minor);
                    entry.node = if device.character {
                        Node::Character { major, minor }
                    } else {
                        Node::Block { major, minor }
                    };
                }
            }
            if matches!(entry.node, Node::File { link: None, .. }) {
                self.writer.adopt(&at, &entry)?;
            }
            let mounted = MOUNTS
                .iter()
                .any(|mount| mount.as_bytes() == path.as_bytes());
            let folder = entry.is_folder();
            if !mounted {
                upper.layer.insert(path.clone(), entry);
            }
            if folder && !mounted {
                if is_opaque(&at)? {
                    upper.opaque.insert(path.clone());
                }
                self.folder(&path, claims, inodes, upper)?;
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        path: &TreePath,
        at: &Path,
        found: &Metadata,
        inodes: &mut BTreeMap<u64, TreePath>,
    ) -> io::Result<Entry> {
        let kind = found.file_type();
        let mode = found.permissions().mode() & 0o7777;
        let node = if kind.is_dir() {
            return Ok(Entry::new(mode, FOLDER_TIME, Node::Directory));
        } else if kind.is_symlink() {
            let target = fs::read_link(at)?;
            return Ok(Entry::symlink(
                target.as_os_str().as_bytes(),
                self.time(found),
            ));
        } else if kind.is_char_device() {
            // Only overlayfs makes devices here, and only this one.
            Node::Whiteout
        } else if kind.is_fifo() {
            Node::Fifo
        } else {
            let first = inodes
                .entry(found.ino())
                .or_insert_with(|| path.clone())
                .clone();
            let (digest, size) = digest_of(&self.root.join(first.as_path()), mode, &first, path)?;
            Node::File {
                digest,
                size,
                link: (first != *path).then_some(first),
            }
        };
        Ok(Entry::new(mode, self.time(found), node))
    }

    /// What scripts wrote has the stage's time; what they copied with its time keeps it.
    fn time(&self, found: &Metadata) -> i64 {
        let time = found.mtime();
        if time >= self.started || time > self.epoch {
            self.epoch
        } else {
            time.max(0)
        }
    }
}

/// Digest and size of a file of the upper. A later name of an adopted inode is read by that name.
fn digest_of(
    first: &Path,
    mode: u32,
    first_path: &TreePath,
    path: &TreePath,
) -> io::Result<(Digest, u64)> {
    let at = if first_path == path {
        first.to_owned()
    } else {
        // The first name was moved into the store; this one is still here.
        let depth = first_path.components().count();
        let root = first.ancestors().nth(depth).unwrap_or(first);
        root.join(path.as_path())
    };
    if mode & 0o400 == 0 {
        fs::set_permissions(&at, fs::Permissions::from_mode(mode | 0o400))?;
    }
    Digest::of_reader(File::open(&at)?)
}

fn is_opaque(at: &Path) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::lgetxattr(at, OPAQUE, &mut value) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
