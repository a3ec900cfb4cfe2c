//! Unpacking: from a .deb to a tree, a function of the .deb alone.
//!
//! What a package ships is brought into the form every image has: paths go through merged /usr
//! (`bin/sh` becomes `usr/bin/sh`), folders get the one time all folders have. What dpkg would
//! write beside it (`/var/lib/dpkg/info/PACKAGE.*`) is part of the package's tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use kasmforge_deb::archive::{DebError, DebReader, Entry as DebEntry, EntryKind};
use kasmforge_deb::{MultiArch, PackageStanza};
use kasmforge_digest::{Digest, HashingReader, StepKey};
use kasmforge_store::Store;
use kasmforge_tree::{Entry, FOLDER_TIME, InvalidPath, Node, Tree, TreePath};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::content::Writer;

/// The top-level folders that merged /usr makes links of (Debian policy 10.1 since 4.7).
pub(crate) const ALIASES: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// The file of a step's folder that holds its record.
const RECORD: &str = "package.json";

/// An unpacked package.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// The stem of its files in dpkg's database: the name, with the architecture if it is
    /// `Multi-Arch: same`.
    pub(crate) stem: String,
    /// Its version.
    pub(crate) version: String,
    /// Its architecture.
    pub(crate) architecture: String,
    /// The control stanza, as shipped.
    pub(crate) control: String,
    /// Maintainer scripts it has: `preinst`, `postinst`, …
    pub(crate) scripts: BTreeSet<String>,
    /// What its `triggers` file says.
    pub(crate) triggers: String,
    /// Its conffiles with their MD5, as dpkg's status wants them: absolute paths.
    pub(crate) conffiles: Vec<(String, String)>,
    /// The paths it ships, as shipped, absolute: what dpkg's list says.
    pub(crate) list: Vec<String>,
    /// Everything it puts into an image, by its path there.
    pub(crate) tree: Tree,
}

/// A .deb that could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The .deb is damaged, or not one.
    #[error("cannot read the package")]
    Deb(#[from] DebError),
    /// The .deb is not the one the lock means.
    #[error("it is not the file the lock names: its digest is {found}")]
    Digest {
        /// The digest of what was found.
        found: Digest,
    },
    /// Its control stanza says nothing dpkg would take.
    #[error("its control file is not one: {why}")]
    Control {
        /// What is wrong.
        why: String,
    },
    /// It ships a path that is none.
    #[error("it ships a path that no image can hold")]
    Path(#[from] InvalidPath),
    /// Its content could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kasmforge_store::Error),
}

/// Whether a package seems to be unpacked, so that its .deb is not needed.
pub(crate) fn is_kept(store: &Store, key: &StepKey) -> bool {
    store.tree_path(key).join(RECORD).is_file()
}

/// Unpacks a .deb into the store, or finds it unpacked. Tells whether it has just been unpacked.
pub(crate) fn unpack(
    store: &Store,
    key: &StepKey,
    digest: &Digest,
) -> Result<(PathBuf, Package, bool), UnpackError> {
    let folder = store.tree_path(key);
    if let Some(package) = load(&folder) {
        return Ok((folder, package, false));
    }
    let step = store.temporary_folder()?;
    let blob = store.blob_path(digest);
    let package = read(&blob, digest, step.path()).map_err(|error| judged(error, &blob, digest))?;
    let failed = |source| UnpackError::Write {
        path: step.path().into(),
        source,
    };
    let record = serde_json::to_vec(&package).map_err(|error| failed(io::Error::other(error)))?;
    fs::write(step.path().join(RECORD), record).map_err(failed)?;
    // A tree that is there but has no readable record is a damaged one; another build may have been
    // quicker, though, and be reading what it made.
    if load(&folder).is_none() {
        store.remove_tree(key)?;
    }
    let folder = store.keep_tree(step, key)?;
    Ok((folder, package, true))
}

/// An error of a .deb that is not the file the lock names is that, whatever it looked like.
fn judged(error: UnpackError, blob: &Path, digest: &Digest) -> UnpackError {
    match File::open(blob).and_then(Digest::of_reader) {
        Ok((found, _)) if found != *digest => UnpackError::Digest { found },
        _ => error,
    }
}

/// The record of a finished step, if it is there and whole.
fn load(folder: &Path) -> Option<Package> {
    serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()
}

fn read(deb: &Path, digest: &Digest, step: &Path) -> Result<Package, UnpackError> {
    let failed = |source| UnpackError::Write {
        path: step.into(),
        source,
    };
    let file = File::open(deb).map_err(|source| UnpackError::Write {
        path: deb.into(),
        source,
    })?;
    let mut reader = HashingReader::new(BufReader::with_capacity(256 << 10, file));
    let mut writer = Writer::new(step).map_err(failed)?;
    // The digest of the whole is compared below.
    let archive = DebReader::open(&mut reader)?.without_sums();
    let mut data = Data {
        summed: Summed::of(archive.control()),
        ..Data::default()
    };
    let control = archive.data(|entry| data.take(entry, &mut writer, step))?;
    // Whatever follows the last member is part of the digest too.
    io::copy(&mut reader, &mut io::sink()).map_err(failed)?;
    let (found, _) = reader.finish();
    if found != *digest {
        return Err(UnpackError::Digest { found });
    }
    let text = |name: &str| {
        control
            .get(name)
            .map(|file| String::from_utf8_lossy(&file.bytes).into_owned())
    };
    let stanza_text = text("control").unwrap_or_default();
    let stanza: PackageStanza = stanza_text.parse().map_err(|error| UnpackError::Control {
        why: format!("{error}"),
    })?;
    let stem = match stanza.multi_arch {
        MultiArch::Same => format!("{}:{}", stanza.name, stanza.architecture),
        _ => stanza.name.clone(),
    };
    let conffiles = conffiles(&text("conffiles").unwrap_or_default(), &data.md5);
    let mut tree = data.tree;
    tree.order_links();
    let info = Info {
        stem: &stem,
        time: data.newest,
        writer: &mut writer,
    };
    info.add(&mut tree, &control, &data.list, &data.md5)
        .map_err(failed)?;
    tree.complete_parents();
    let scripts = ["preinst", "postinst", "prerm", "postrm", "config"]
        .into_iter()
        .filter(|name| control.contains_key(*name))
        .map(str::to_owned)
        .collect();
    Ok(Package {
        name: stanza.name.clone(),
        stem,
        version: stanza.version.to_string(),
        architecture: stanza.architecture.clone(),
        control: stanza_text,
        scripts,
        triggers: text("triggers").unwrap_or_default(),
        conffiles,
        list: data.list,
        tree,
    })
}

/// What data.tar said so far.
#[derive(Default)]
struct Data {
    tree: Tree,
    list: Vec<String>,
    /// The MD5 of regular files, by their paths as shipped without the leading slash.
    md5: BTreeMap<Vec<u8>, String>,
    summed: Summed,
    newest: i64,
}

/// Which files' MD5 is asked for.
#[derive(Default)]
enum Summed {
    /// The package brings no sums: all.
    #[default]
    All,
    /// It brings them; dpkg's status wants those of conffiles.
    These(BTreeSet<Vec<u8>>),
}

impl Summed {
    fn of(control: &kasmforge_deb::archive::ControlFiles) -> Self {
        if !control.contains_key("md5sums") {
            return Self::All;
        }
        let conffiles = control.get("conffiles");
        let lines = conffiles.map_or(&[][..], |file| file.bytes.as_slice());
        Self::These(
            lines
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.trim_ascii().strip_prefix(b"/"))
                .map(<[u8]>::to_vec)
                .collect(),
        )
    }

    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::These(paths) => paths.contains(path),
        }
    }
}

impl Data {
    fn take(
        &mut self,
        entry: &mut DebEntry<'_>,
        writer: &mut Writer<'_>,
        step: &Path,
    ) -> Result<(), UnpackError> {
        let shipped = TreePath::new(&entry.path)?;
        let shown = String::from_utf8_lossy(&entry.path).into_owned();
        self.list.push(if shown.is_empty() {
            "/.".into()
        } else {
            format!("/{shown}")
        });
        if shipped.is_root() {
            return Ok(());
        }
        let mtime = i64::try_from(entry.mtime)
            .unwrap_or(i64::MAX)
            .clamp(0, 1 << 33);
        let folder = entry.kind == EntryKind::Directory;
        let path = if folder {
            folder_through_aliases(&shipped)
        } else {
            through_aliases(&shipped)
        };
        let shape = Entry::new(entry.mode, mtime, Node::Directory).owned(entry.uid, entry.gid);
        let made = match &entry.kind {
            EntryKind::Directory => Entry {
                mtime: FOLDER_TIME,
                ..shape
            },
            EntryKind::File => {
                self.newest = self.newest.max(mtime);
                let failed = |source| UnpackError::Write {
                    path: step.into(),
                    source,
                };
                if self.summed.holds(shipped.as_bytes()) {
                    let mut hashed = Md5Reader {
                        inner: entry,
                        md5: Md5::new(),
                    };
                    let made = writer.keep(&mut hashed, shape).map_err(failed)?;
                    let sum = hex(&hashed.md5.finalize());
                    self.md5.insert(shipped.as_bytes().to_vec(), sum);
                    made
                } else {
                    writer.keep(entry, shape).map_err(failed)?
                }
            }
            EntryKind::HardLink(target) => self.linked(target, shape)?,
            EntryKind::Symlink(target) => Entry {
                mode: 0o777,
                ..Entry::symlink(target, mtime)
            }
            .owned(shape.uid, shape.gid),
            EntryKind::CharacterDevice { major, minor } => Entry {
                node: Node::Character {
                    major: *major,
                    minor: *minor,
                },
                ..shape
            },
            EntryKind::BlockDevice { major, minor } => Entry {
                node: Node::Block {
                    major: *major,
                    minor: *minor,
                },
                ..shape
            },
            EntryKind::Fifo => Entry {
                node: Node::Fifo,
                ..shape
            },
        };
        // Shipped both as bin/ and as usr/bin/, it is one folder.
        let already = made.is_folder() && self.tree.get(&path).is_some();
        if !already {
            self.tree.insert(path, made);
        }
        Ok(())
    }

    fn linked(&mut self, target: &[u8], shape: Entry) -> Result<Entry, UnpackError> {
        let target = through_aliases(&TreePath::new(target)?);
        let original = self.tree.get(&target).and_then(Entry::content);
        let Some((digest, size)) = original else {
            return Err(UnpackError::Control {
                why: format!("it links to {target}, which it does not ship"),
            });
        };
        let first = self.tree.get(&target).cloned().unwrap_or(shape);
        Ok(Entry {
            node: Node::File {
                digest,
                size,
                link: Some(target),
            },
            ..first
        })
    }
}

/// A path as it is once /usr is merged.
pub(crate) fn through_aliases(path: &TreePath) -> TreePath {
    let mut components = path.components();
    let first = components.next().unwrap_or_default();
    let aliased = ALIASES.iter().any(|alias| alias.as_bytes() == first);
    // The alias itself stays what it is: the link that base-files ships on merged suites.
    if !aliased || components.next().is_none() {
        return path.clone();
    }
    TreePath::new(&[b"usr/", path.as_bytes()].concat()).expect("a clean path below usr")
}

/// As [`through_aliases`] for a folder: shipped as `bin/` it is the folder `usr/bin`.
fn folder_through_aliases(path: &TreePath) -> TreePath {
    match path.as_bytes() {
        alias if ALIASES.iter().any(|known| known.as_bytes() == alias) => {
            TreePath::new(&[b"usr/", alias].concat()).expect("a clean path below usr")
        }
        _ => through_aliases(path),
    }
}

/// Conffiles with their sums. Lines may carry flags (`remove-on-upgrade /path`), which name files
/// the package does not ship.
fn conffiles(text: &str, md5: &BTreeMap<Vec<u8>, String>) -> Vec<(String, String)> {
    text.lines()
        .map(str::trim)
        .filter_map(|line| {
            let sum = md5.get(line.strip_prefix('/')?.as_bytes())?;
            Some((line.to_owned(), sum.clone()))
        })
        .collect()
}

/// Writes what dpkg keeps of a package in `/var/lib/dpkg/info`.
struct Info<'a, 'b> {
    stem: &'a str,
    time: i64,
    writer: &'a mut Writer<'b>,
}

impl Info<'_, '_> {
    fn add(
        mut self,
        tree: &mut Tree,
        control: &kasmforge_deb::archive::ControlFiles,
        list: &[String],
        md5: &BTreeMap<Vec<u8>, String>,
    ) -> io::Result<()> {
        for (name, file) in control {
            if name != "control" {
                let mode = if file.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                self.put(tree, name, mode, &file.bytes)?;
            }
        }
        let lines: String = list.iter().map(|path| format!("{path}\n")).collect();
        self.put(tree, "list", 0o644, lines.as_bytes())?;
        if !control.contains_key("md5sums") && !md5.is_empty() {
            // dpkg computes the sums of packages that ship none.
            let mut lines = Vec::new();
            for (path, sum) in md5 {
                lines.extend_from_slice(format!("{sum}  ").as_bytes());
                lines.extend_from_slice(path);
                lines.push(b'\n');
            }
            self.put(tree, "md5sums", 0o644, &lines)?;
        }
        Ok(())
    }

    fn put(&mut self, tree: &mut Tree, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let shape = Entry::new(mode, self.time, Node::Directory);
        let entry = self.writer.keep(bytes, shape)?;
        let path = TreePath::new(format!("var/lib/dpkg/info/{}.{name}", self.stem).as_bytes())
            .map_err(io::Error::other)?;
        tree.insert(path, entry);
        Ok(())
    }
}

struct Md5Reader<R> {
    inner: R,
    md5: Md5,
}

impl<R: Read> Read for Md5Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.md5.update(&buffer[..count]);
        Ok(count)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
