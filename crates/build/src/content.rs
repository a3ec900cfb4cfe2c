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
}

/// A folder contents are being written to.
pub(crate) struct Writer<'a> {
    folder: PathBuf,
    scratch: &'a Path,
    buffer: Vec<u8>,
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
        })
    }

    /// Keeps the content of a reader; `shape` tells mode, time and owner. Gives the whole entry.
    pub(crate) fn keep(&mut self, mut content: impl Read, shape: Entry) -> io::Result<Entry> {
        let unnamed = self.scratch.join("unnamed");
        let mut file = File::create(&unnamed)?;
        let mut hasher = Hasher::new();
        let mut size = 0;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&self.buffer[..count]);
            file.write_all(&self.buffer[..count])?;
            size += count as u64;
        }
        let mut entry = shape;
        entry.node = Node::File {
            digest: hasher.finish(),
            size,
            link: None,
        };
        self.name(&file, &unnamed, &entry)?;
        Ok(entry)
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
        // The owner must always be able to read, or packing could not.
        file.set_permissions(Permissions::from_mode(key.mode | 0o400))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(key.mtime.max(0).unsigned_abs());
        file.set_modified(time)?;
        fs::rename(path, self.folder.join(key.file_name()))
    }
}

/// Finds contents in the folders of finished steps.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    by_key: BTreeMap<ContentKey, PathBuf>,
    by_digest: BTreeMap<Digest, PathBuf>,
}

impl Pool {
    /// Makes the contents of a finished step's tree findable.
    pub(crate) fn add(&mut self, step: &Path, tree: &Tree) {
        let folder = step.join(FOLDER);
        for (_, entry) in tree.iter() {
            if let Some((key, _)) = ContentKey::of(entry) {
                let path = folder.join(key.file_name());
                self.by_digest
                    .entry(key.digest)
                    .or_insert_with(|| path.clone());
                self.by_key.entry(key).or_insert(path);
            }
        }
    }

    /// Forgets what lies in a folder that is about to move.
    pub(crate) fn forget(&mut self, step: &Path) {
        self.by_digest.retain(|_, path| !path.starts_with(step));
        self.by_key.retain(|_, path| !path.starts_with(step));
    }

    /// The file that holds a content.
    pub(crate) fn path(&self, digest: &Digest) -> Option<&Path> {
        self.by_digest.get(digest).map(PathBuf::as_path)
    }

    /// Reads a small file of a tree whole.
    pub(crate) fn read(&self, tree: &Tree, path: &TreePath) -> io::Result<Option<Vec<u8>>> {
        let Some((digest, _)) = tree.get(path).and_then(Entry::content) else {
            return Ok(None);
        };
        self.open_digest(&digest).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
    }

    fn open_digest(&self, digest: &Digest) -> io::Result<File> {
        let path = self.path(digest).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no step holds {digest}"))
        })?;
        File::open(path)
    }

    /// Puts a file of a tree at a path of the host: a hard link where an inode looks exactly so,
    /// else a copy.
    ///
    /// A stored file that has not its recorded size was damaged; that is said, never passed on.
    pub(crate) fn place(&self, entry: &Entry, at: &Path) -> io::Result<()> {
        let (key, size) = ContentKey::of(entry).expect("only regular files are placed");
        if let Some(stored) = self.by_key.get(&key) {
            match fs::hard_link(stored, at) {
                Ok(()) => return check_size(at, size, stored),
                // Too many links to one inode (ext4 stops at 65,000): a copy does as well.
                Err(error) if error.raw_os_error() == Some(libc_emlink()) => {}
                Err(error) => return Err(error),
            }
        }
        let mut content = self.open_digest(&key.digest)?;
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
        let inner = HashingReader::new(self.open_digest(&digest)?);
        Ok(Box::new(Verified {
            inner: Some(inner),
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
