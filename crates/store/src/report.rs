//! What is in a store, and whether it is what its names say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kasmforge_digest::Digest;

use crate::{Error, Store};

/// What things in a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Archives of images, and what belongs to them.
    Images,
    /// Packages that were unpacked.
    Unpacked,
    /// Stages whose scripts have run.
    Configured,
    /// Packages, indexes and other downloads.
    Downloads,
    /// Outcomes of steps.
    Records,
    /// Downloads that were cut off, and what killed builds left.
    Unfinished,
}

impl Kind {
    /// The kind in a word or two.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Unpacked => "unpacked packages",
            Self::Configured => "configured stages",
            Self::Downloads => "downloads",
            Self::Records => "records",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The file system a store is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its kind, as mount(8) names it: `ext4`; its number where it is none of the usual ones.
    pub kind: String,
    /// How many bytes are free for this user.
    pub free: u64,
    /// How many bytes it has.
    pub total: u64,
}

/// Kinds of file systems, by the numbers statfs(2) gives.
const FILE_SYSTEMS: [(u32, &str); 9] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x0102_1997, "9p"),
];

/// Files that only folders of configured stages have: of what scripts made, and of how a stage stands.
const CONFIGURED: [&str; 2] = ["configured.json", "settled.json"];

/// For each kind, how many there are and how many bytes they have.
pub type Sizes = BTreeMap<Kind, (u64, u64)>;

impl Store {
    /// Everything in the store that stands for itself, with what it is.
    pub(crate) fn parts(&self) -> Result<Vec<(Kind, PathBuf)>, Error> {
        let mut parts = Vec::new();
        let mut add = |kind: Kind, folder: &Path| -> Result<(), Error> {
            for path in listed(folder)? {
                let tree = CONFIGURED.iter().any(|name| path.join(name).exists());
                let kind = match kind {
                    Kind::Unpacked if tree => Kind::Configured,
                    other => other,
                };
                parts.push((kind, path));
            }
            Ok(())
        };
        let root = self.root();
        for folder in listed(&root.join("images"))? {
            add(Kind::Images, &folder)?;
        }
        for folder in listed(&root.join("blobs/sha256"))? {
            add(Kind::Downloads, &folder)?;
        }
        for folder in listed(&root.join("steps"))? {
            add(Kind::Records, &folder)?;
        }
        add(Kind::Unpacked, &root.join("trees"))?;
        add(Kind::Unfinished, &root.join("partial"))?;
        add(Kind::Unfinished, &root.join("tmp"))?;
        Ok(parts)
    }

    /// Reads everything that is named by its content, and gives what is not what its name says:
    /// downloads, trees, and archives of images.
    ///
    /// # Errors
    /// When something cannot be listed. What cannot be read counts as damaged.
    pub fn damaged(&self) -> Result<Vec<PathBuf>, Error> {
        let mut damaged = Vec::new();
        for (kind, path) in self.parts()? {
            let whole = match kind {
                Kind::Downloads => {
                    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
                    let name = path.file_name().unwrap_or_default();
                    let hex = format!("{}{}", folder.to_string_lossy(), name.to_string_lossy());
                    is_named(&path, &hex)
                }
                Kind::Unpacked | Kind::Configured => is_whole(&path),
                Kind::Images if path.extension().is_some_and(|one| one == "tar") => {
                    archive_is_whole(&path).unwrap_or(false)
                }
                _ => true,
            };
            if !whole {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }

    /// What the store's file system is, and how much room it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn space(&self) -> Result<Space, Error> {
        let found = rustix::fs::statfs(self.root()).map_err(|error| Error::Read {
            path: self.root().into(),
            source: error.into(),
        })?;
        let number = u32::try_from(found.f_type).unwrap_or(0);
        let block = u64::try_from(found.f_bsize).unwrap_or(0);
        let known = FILE_SYSTEMS.iter().find(|(kind, _)| *kind == number);
        Ok(Space {
            kind: known.map_or_else(|| format!("{number:#x}"), |(_, name)| (*name).into()),
            free: block * found.f_bavail,
            total: block * found.f_blocks,
        })
    }

    /// Removes something that was found damaged, so that it is made again.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self, path: &Path) -> Result<(), Error> {
        let remove = || -> io::Result<()> {
            if !path.is_dir() {
                return fs::remove_file(path);
            }
            let aside = tempfile::TempDir::new_in(self.root().join("tmp"))?;
            fs::rename(path, aside.path().join("damaged"))
        };
        remove().map_err(|source| Error::Remove {
            path: path.into(),
            source,
        })
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read {
        path: folder.into(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// How many bytes are in a file, or in all files of a folder.
pub(crate) fn length_of(path: &Path) -> u64 {
    let Ok(found) = path.symlink_metadata() else {
        return 0;
    };
    if !found.is_dir() {
        return found.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| length_of(&entry.path())).sum()
}

fn is_named(path: &Path, hex: &str) -> bool {
    let found = File::open(path).and_then(Digest::of_reader);
    found.is_ok_and(|(digest, _)| digest.hex() == hex)
}

/// Whether the contents of a tree are what their names say.
fn is_whole(tree: &Path) -> bool {
    let Ok(files) = listed(&tree.join("files")) else {
        return false;
    };
    files.iter().all(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        is_named(file, name.split('-').next().unwrap_or_default())
    })
}

/// Whether the blobs of an archive are what their names say. Of tar's format only names and
/// lengths of plain entries are needed, which is all that image archives have.
fn archive_is_whole(archive: &Path) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _};
    const BLOCK: u64 = 512;
    let mut file = File::open(archive)?;
    let end = file.metadata()?.len();
    let mut at = 0;
    while at + BLOCK <= end {
        let mut header = [0; BLOCK as usize];
        file.seek(io::SeekFrom::Start(at))?;
        file.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0);
            String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
        };
        let name = text(&header[..100]);
        let size = text(&header[124..136]);
        let size = u64::from_str_radix(size.trim(), 8).map_err(io::Error::other)?;
        if let Some(hex) = name
            .strip_prefix("blobs/sha256/")
            .filter(|hex| !hex.is_empty())
        {
            let (digest, length) = Digest::of_reader((&mut file).take(size))?;
            if digest.hex() != hex || length != size {
                return Ok(false);
            }
        }
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    Ok(at + BLOCK <= end)
}
