//! Where the contents of files lie: folders of plain files, named by what they hold.
//!
//! A step that makes files keeps them in one flat folder, each named by its digest, permission
//! bits, time and owner: everything two paths must agree in to be one inode. No path of a package
//! ever becomes a path of the host, and the stage a script runs in can be made of hard links.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use kasmforge_digest::{Digest, Hasher, HashingReader};
use kasmforge_tree::tar::Contents;
use kasmforge_tree::{Entry, Node, Tree, TreePath};
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT};

/// The folder, below a step's own, that holds contents.
const FOLDER: &str = "files";

/// What an inode of the store holds and how it looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContentKey {
    digest: Digest,
    mode: u32,
    mtime: i64,
    uid: u32,
    gid: u32,
}

impl ContentKey {
    /// The key of a regular file; `None` for anything else.
    pub(crate) fn of(entry: &Entry) -> Option<(Self, u64)> {
        let (digest, size) = entry.content()?;
        let Entry {
            mode,
            mtime,
            uid,
            gid,
            ..
        } = *entry;
        Some((
            Self {
                digest,
                mode,
                mtime,
                uid,
                gid,
            },
            size,
        ))
    }

    fn file_name(&self) -> String {
        let Self {
            digest,
            mode,
            mtime,
            uid,
            gid,
        } = self;
        format!("{}-{mode:o}-{mtime}-{uid}-{gid}", digest.hex())
    }

    /// The key of a file by its name.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let mut next = || parts.next();
        let digest = Digest::from_hex(next()?).ok()?;
        let mode = u32::from_str_radix(next()?, 8).ok()?;
        let mtime = next()?.parse().ok()?;
        let (uid, gid) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self {
            digest,
            mode,
            mtime,
            uid,
            gid,
        })
    }
}

/// A folder contents are being written to.
pub(crate) struct Writer<'a> {
    folder: PathBuf,
    scratch: &'a Path,
    buffer: Vec<u8>,
    /// Contents that will be written if it turns out that somebody wants them.
    promised: BTreeMap<ContentKey, Promise>,
}

/// Where a content is that may have to be written.
pub(crate) enum Promise {
    /// In a file of the host, which must still be what it was.
    Host(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
}

/// A content that was promised and could not be written.
pub(crate) enum Broken {
    /// The file has another content by now.
    Changed(PathBuf, Digest),
    Failed(io::Error),
}

impl<'a> Writer<'a> {
    /// Starts the contents of a step in its (temporary) folder.
    pub(crate) fn new(step: &'a Path) -> io::Result<Self> {
        let folder = step.join(FOLDER);
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            scratch: step,
            buffer: vec![0; 128 << 10],
            promised: BTreeMap::new(),
        })
    }

    /// Gives the entry of a content that is written only if [`Writer::fulfil`] is told of it. Of what a
    /// definition lays into an image most is in a layer that is there.
    pub(crate) fn promise(
        &mut self,
        content: Promise,
        digest: Digest,
        size: u64,
        shape: Entry,
    ) -> Entry {
        let mut entry = shape;
        entry.node = Node::File {
            digest,
            size,
            link: None,
        };
        let (key, _) = ContentKey::of(&entry).expect("it has just been made a file");
        self.promised.entry(key).or_insert(content);
        entry
    }

    /// Writes the content of an entry if it was promised and is not written yet.
    pub(crate) fn fulfil(&mut self, entry: &Entry) -> Result<(), Broken> {
        let Some((key, _)) = ContentKey::of(entry) else {
            return Ok(());
        };
        let Some(promise) = self.promised.remove(&key) else {
            return Ok(());
        };
        let shape = Entry {
            node: Node::Directory,
            ..entry.clone()
        };
        match promise {
            Promise::Bytes(bytes) => {
                self.keep(bytes.as_slice(), shape).map_err(Broken::Failed)?;
            }
            Promise::Host(path) => {
                self.keep_host(&path, &key.digest, shape)?;
            }
        }
        Ok(())
    }

    /// Keeps the content of a file of the host, which must be the one it was looked at for.
    pub(crate) fn keep_host(
        &mut self,
        path: &Path,
        digest: &Digest,
        shape: Entry,
    ) -> Result<Entry, Broken> {
        let file = File::open(path).map_err(Broken::Failed)?;
        let entry = self.keep(file, shape).map_err(Broken::Failed)?;
        match entry.content() {
            Some((found, _)) if found == *digest => Ok(entry),
            _ => Err(Broken::Changed(path.into(), *digest)),
        }
    }

    /// Keeps the content of a reader; `shape` tells mode, time and owner. Gives the whole entry.
    pub(crate) fn keep(&mut self, mut content: impl Read, shape: Entry) -> io::Result<Entry> {
        let mut hasher = Hasher::new();
        let mut filled = read_full(&mut content, &mut self.buffer)?;
        hasher.update(&self.buffer[..filled]);
        let mut entry = shape;
        if filled < self.buffer.len() {
            // Nearly all files are that small: they are written under their names at once.
            entry.node = file(hasher.finish(), filled);
            self.write(&self.buffer[..filled], &entry)?;
            return Ok(entry);
        }
        let unnamed = self.scratch.join("unnamed");
        let mut kept = File::create(&unnamed)?;
        let mut size = 0;
        while filled > 0 {
            kept.write_all(&self.buffer[..filled])?;
            size += filled;
            filled = read_full(&mut content, &mut self.buffer)?;
            hasher.update(&self.buffer[..filled]);
        }
        entry.node = file(hasher.finish(), size);
        self.name(&kept, &unnamed, &entry)?;
        Ok(entry)
    }

    fn write(&self, bytes: &[u8], entry: &Entry) -> io::Result<()> {
        let (key, _) = ContentKey::of(entry).expect("only regular files have content");
        match File::create_new(self.folder.join(key.file_name())) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                dress(&file, &key)
            }
            // The same content looking the same: it is kept already.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes over a file of the same file system whose content is already known.
    pub(crate) fn adopt(&mut self, path: &Path, entry: &Entry) -> io::Result<()> {
        // Readable at least while it is being adopted, whatever a script left.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let file = File::open(path)?;
        self.name(&file, path, entry)
    }

    fn name(&self, file: &File, path: &Path, entry: &Entry) -> io::Result<()> {
        let (key, _) = ContentKey::of(entry).expect("only regular files have content");
        dress(file, &key)?;
        fs::rename(path, self.folder.join(key.file_name()))
    }
}

/// Gives a file the mode and the time of its key.
fn dress(file: &File, key: &ContentKey) -> io::Result<()> {
    // The owner must always be able to read, or packing could not.
    file.set_permissions(Permissions::from_mode(key.mode | 0o400))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(key.mtime.max(0).unsigned_abs());
    file.set_modified(time)
}

/// A regular file of so many bytes.
fn file(digest: Digest, size: usize) -> Node {
    Node::File {
        digest,
        size: size as u64,
        link: None,
    }
}

/// Reads until the buffer is full or the content ends; less than the buffer means it ended.
fn read_full(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Finds contents in the folders of finished steps. Shared by all threads of a build.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    found: RwLock<Found>,
}

#[derive(Debug, Default)]
struct Found {
    folders: Vec<Folder>,
    /// Which folder holds a content. Keys begin with the digest: equal contents stand together.
    by_key: BTreeMap<ContentKey, usize>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Whether this very process wrote what is in it: then it need not be read to be trusted.
    fresh: bool,
}

impl Found {
    fn folder(&mut self, step: &Path, fresh: bool) -> usize {
        let path = step.join(FOLDER);
        self.folders.push(Folder { path, fresh });
        self.folders.len() - 1
    }

    fn by_digest(&self, digest: &Digest) -> Option<(PathBuf, bool)> {
        let least = ContentKey {
            digest: *digest,
            mode: 0,
            mtime: i64::MIN,
            uid: 0,
            gid: 0,
        };
        let (key, folder) = self.by_key.range(least..).next()?;
        let folder = &self.folders[*folder];
        (key.digest == *digest).then(|| (folder.path.join(key.file_name()), folder.fresh))
    }
}

impl Pool {
    /// Makes the contents of a finished step's tree findable.
    pub(crate) fn add(&self, step: &Path, tree: &Tree) {
        self.add_tree(step, tree, false);
    }

    /// The same for a step this process has just done.
    pub(crate) fn add_fresh(&self, step: &Path, tree: &Tree) {
        self.add_tree(step, tree, true);
    }

    fn add_tree(&self, step: &Path, tree: &Tree, fresh: bool) {
        let mut found = self.write();
        let folder = found.folder(step, fresh);
        for (_, entry) in tree.iter() {
            if let Some((key, _)) = ContentKey::of(entry) {
                found.by_key.entry(key).or_insert(folder);
            }
        }
    }

    /// Makes whatever lies in a finished step's folder findable, by the names of its files.
    ///
    /// `fresh` says that this very process wrote it.
    pub(crate) fn add_folder(&self, step: &Path, fresh: bool) -> io::Result<()> {
        let mut found = self.write();
        let folder = found.folder(step, fresh);
        for entry in fs::read_dir(step.join(FOLDER))? {
            if let Some(key) = entry?.file_name().to_str().and_then(ContentKey::parse) {
                found.by_key.entry(key).or_insert(folder);
            }
        }
        Ok(())
    }

    /// Gives a step's folder its final name, while nobody is opening anything in it.
    pub(crate) fn rename<E>(
        &self,
        from: &Path,
        rename: impl FnOnce() -> Result<PathBuf, E>,
    ) -> Result<PathBuf, E> {
        let mut found = self.write();
        let to = rename()?;
        let from = from.join(FOLDER);
        for folder in &mut found.folders {
            if folder.path == from {
                folder.path = to.join(FOLDER);
            }
        }
        Ok(to)
    }

    fn read(&self) -> RwLockReadGuard<'_, Found> {
        // Whoever panicked left at worst an entry out.
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Found> {
        self.found.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that holds a content.
    pub(crate) fn path(&self, digest: &Digest) -> Option<PathBuf> {
        self.read().by_digest(digest).map(|(path, _)| path)
    }

    /// Whether every content of a tree can be found.
    pub(crate) fn has_all(&self, tree: &Tree) -> bool {
        let found = self.read();
        tree.iter().all(|(_, entry)| {
            entry
                .content()
                .is_none_or(|(digest, _)| found.by_digest(&digest).is_some())
        })
    }

    /// Reads a small file of a tree whole.
    pub(crate) fn text(&self, tree: &Tree, path: &TreePath) -> io::Result<Option<Vec<u8>>> {
        let Some((digest, _)) = tree.get(path).and_then(Entry::content) else {
            return Ok(None);
        };
        let (mut file, _) = self.open_digest(&digest)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn open_digest(&self, digest: &Digest) -> io::Result<(File, bool)> {
        // Opened while it is looked up: its folder may be about to be renamed.
        let found = self.read();
        let (path, fresh) = found.by_digest(digest).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no step holds {digest}"))
        })?;
        Ok((File::open(path)?, fresh))
    }

    /// Puts a file of a tree at a path of the host: a hard link where an inode looks exactly so,
    /// else a copy.
    ///
    /// A stored file that has not its recorded size was damaged; that is said, never passed on.
    pub(crate) fn place(&self, entry: &Entry, at: &Path) -> io::Result<()> {
        let (key, size) = ContentKey::of(entry).expect("only regular files are placed");
        let linked = {
            let found = self.read();
            let folder = found.by_key.get(&key).map(|at| &found.folders[*at]);
            folder.map(|folder| {
                let stored = folder.path.join(key.file_name());
                (fs::hard_link(&stored, at), stored, folder.fresh)
            })
        };
        match linked {
            Some((Ok(()), _, true)) => return Ok(()),
            Some((Ok(()), stored, false)) => return check_size(at, size, &stored),
            // Too many links to one inode (ext4 stops at 65,000): a copy does as well.
            Some((Err(error), ..)) if error.raw_os_error() == Some(libc_emlink()) => {}
            Some((Err(error), ..)) => return Err(error),
            None => {}
        }
        self.copy(entry, at)
    }

    /// Puts a file of a tree at a path of the host as an inode of its own.
    pub(crate) fn copy(&self, entry: &Entry, at: &Path) -> io::Result<()> {
        let (key, size) = ContentKey::of(entry).expect("only regular files are placed");
        let (mut content, _) = self.open_digest(&key.digest)?;
        let mut file = File::create_new(at)?;
        io::copy(&mut content, &mut file)?;
        file.set_permissions(Permissions::from_mode(key.mode | 0o400))?;
        file.set_modified(
            SystemTime::UNIX_EPOCH + Duration::from_secs(key.mtime.max(0).unsigned_abs()),
        )?;
        check_size(at, size, at)
    }
}

fn libc_emlink() -> i32 {
    rustix::io::Errno::MLINK.raw_os_error()
}

fn check_size(at: &Path, size: u64, stored: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(at)?.len();
    if found == size {
        return Ok(());
    }
    let stored = stored.display();
    Err(damaged(format!(
        "{stored} has {found} bytes, not the recorded {size}"
    )))
}

impl Contents for Pool {
    fn open(&self, _: &TreePath, entry: &Entry) -> io::Result<Box<dyn Read + '_>> {
        let (digest, _) = entry.content().expect("only regular files have content");
        let (file, fresh) = self.open_digest(&digest)?;
        if fresh {
            return Ok(Box::new(file));
        }
        Ok(Box::new(Verified {
            inner: Some(HashingReader::new(file)),
            digest,
        }))
    }
}

/// Reads a content, and fails at its end if it is not the one that was asked for.
struct Verified {
    inner: Option<HashingReader<File>>,
    digest: Digest,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else {
            return Ok(0);
        };
        let count = inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let found = self.inner.take().map(|inner| inner.finish().0);
            if found != Some(self.digest) {
                return Err(damaged(format!(
                    "the stored content {} is damaged",
                    self.digest
                )));
            }
        }
        Ok(count)
    }
}

fn damaged(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Whether all contents of a finished step are what their names say.
pub(crate) fn intact(step: &Path) -> bool {
    let Ok(entries) = fs::read_dir(step.join(FOLDER)) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let named = name
            .to_str()
            .and_then(|name| Digest::from_hex(name.split('-').next()?).ok());
        let found = File::open(entry.path()).and_then(Digest::of_reader);
        found.is_ok_and(|(found, _)| named == Some(found))
    })
}

/// A path that the code spells out.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).expect("paths in the code are clean")
}

/// Sets a path's time without following it.
pub(crate) fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let omit = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omit,
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
