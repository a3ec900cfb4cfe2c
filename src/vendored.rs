//! Vendoring: every input of a lock in one folder, from which it can be built years later without a
//! network and with an empty store.
//!
//! A folder is of one of two kinds. A plain one is for people and for `git lfs`:
//!
//! ```text
//! kasmforge.lock                         the lock it was made for
//! packages/libfoo1_1.2-3_amd64.deb       each package; `:` of an epoch is written `%3a`
//! downloads/<sha256>                     each download
//! ```
//!
//! The other, named `oci:DIR`, is an OCI image layout that holds one artifact, so that any tool for
//! registries can push and pull it:
//!
//! ```text
//! oci-layout, index.json                 as the layout's specification has them
//! blobs/sha256/<sha256>                  the manifest, the lock (its config), each input (its layers)
//! ```
//!
//! Neither is believed: what is taken from one is hashed, and known by the digest that the project's
//! lock has.

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kasmforge_digest::{Digest, HashingWriter};
use kasmforge_lock::{Lock, Package};
use kasmforge_store::Store;

use crate::whole_file;

/// Where the lock is in a plain folder.
const LOCK: &str = "kasmforge.lock";

/// What names a folder in the second form.
const LAYOUT: &str = "oci:";

/// A folder of inputs, and of which kind it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vendored {
    /// A plain folder.
    Plain(PathBuf),
    /// An OCI image layout.
    Layout(PathBuf),
}

/// One input of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Input {
    digest: Digest,
    /// Its size, where the lock says it.
    size: Option<u64>,
    /// Its path in a plain folder.
    path: String,
    /// What it is, for messages.
    name: String,
}

/// What was written into a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// How many inputs there are now.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How many were not there before.
    pub(crate) new: usize,
    /// How many of an earlier lock were removed.
    pub(crate) removed: usize,
}

impl Vendored {
    /// Reads how a folder was named: `DIR`, or `oci:DIR`.
    pub(crate) fn named(text: &str) -> Self {
        match text.strip_prefix(LAYOUT) {
            Some(folder) => Self::Layout(folder.into()),
            None if Path::new(text).join("oci-layout").is_file() => Self::Layout(text.into()),
            None => Self::Plain(text.into()),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Plain(folder) | Self::Layout(folder) => folder,
        }
    }

    /// Writes all inputs of a lock, which the store has. Those of the lock that was there before,
    /// and that this one does not need, are removed; other files are left alone.
    pub(crate) fn write(&self, lock: &Lock, store: &Store) -> anyhow::Result<Written> {
        let inputs = inputs(lock);
        let folder = self.folder();
        make(folder)?;
        let earlier = self.earlier()?;
        let mut written = Written {
            files: inputs.len(),
            ..Written::default()
        };
        let mut sizes = BTreeMap::new();
        for input in &inputs {
            let path = self.place(input);
            let from = store.blob_path(&input.digest);
            let size = fs::metadata(&from)
                .with_context(|| format!("the store has no {}", input.name))?
                .len();
            sizes.insert(input.digest, size);
            written.bytes += size;
            if is(&path, &input.digest, size)? {
                continue;
            }
            let file =
                File::open(&from).with_context(|| format!("cannot read {}", from.display()))?;
            put(&path, &input.digest, file)
                .with_context(|| format!("cannot write {}", path.display()))?;
            written.new += 1;
        }
        let kept: BTreeSet<PathBuf> = inputs.iter().map(|input| self.place(input)).collect();
        let text = lock.render();
        let mut stays = kept.clone();
        match self {
            Self::Plain(_) => {
                whole_file::write(&folder.join(LOCK), text.as_bytes())?;
            }
            Self::Layout(folder) => stays.extend(layout::write(folder, &text, &inputs, &sizes)?),
        }
        // Last, so that whoever stops us leaves a folder that is whole.
        for path in earlier.difference(&stays) {
            match fs::remove_file(path) {
                Ok(()) => written.removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
            }
        }
        Ok(written)
    }

    /// Brings what a lock needs, and the store lacks, from the folder into the store.
    ///
    /// Only what is `wanted` is looked for: one workspace's inputs, say.
    pub(crate) fn read(
        &self,
        lock: &Lock,
        wanted: &BTreeSet<Digest>,
        store: &Store,
    ) -> anyhow::Result<()> {
        let mut missing = Vec::new();
        for input in inputs(lock) {
            if !wanted.contains(&input.digest) || store.has_blob(&input.digest, input.size) {
                continue;
            }
            let path = self.place(&input);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push(input.name);
                    continue;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            };
            let (temporary, temporary_path) = store.temporary_file()?.into_parts();
            let mut writer = HashingWriter::new(temporary);
            io::copy(&mut BufReader::with_capacity(128 << 10, file), &mut writer)
                .with_context(|| format!("cannot copy {}", path.display()))?;
            let (_, found, _) = writer.finish();
            if found != input.digest {
                bail!(
                    "{} is not what kasmforge.lock promises: it is {found}, and {} is {}",
                    path.display(),
                    input.name,
                    input.digest
                );
            }
            store.keep_blob(&temporary_path, &input.digest)?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "{} lacks {}; it was made for another lock: run `kasmforge lock --vendor` where there \
             is a network",
            self.folder().display(),
            missing.join(", ")
        )
    }

    /// Where an input is.
    fn place(&self, input: &Input) -> PathBuf {
        match self {
            Self::Plain(folder) => folder.join(&input.path),
            Self::Layout(folder) => layout::blob(folder, &input.digest),
        }
    }

    /// What an earlier run wrote, as far as its own records tell.
    fn earlier(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        match self {
            Self::Layout(folder) => layout::earlier(folder),
            Self::Plain(folder) => {
                let path = folder.join(LOCK);
                let text = match fs::read_to_string(&path) {
                    Ok(text) => text,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        refuse_strangers(folder)?;
                        return Ok(BTreeSet::new());
                    }
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot read {}", path.display()));
                    }
                };
                let lock =
                    Lock::parse(&text).with_context(|| format!("{} is no lock", path.display()))?;
                Ok(inputs(&lock)
                    .iter()
                    .map(|input| self.place(input))
                    .collect())
            }
        }
    }
}

/// Refuses a folder that holds something else.
fn refuse_strangers(folder: &Path) -> anyhow::Result<()> {
    let mut entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    // What a run that was stopped has left.
    let ours = |name: &std::ffi::OsStr| name == "packages" || name == "downloads";
    let stranger = entries.find_map(|entry| {
        let name = entry.ok()?.file_name();
        (!ours(&name)).then_some(name)
    });
    match stranger {
        None => Ok(()),
        Some(name) => bail!(
            "{} holds other things ({}); name a folder of its own",
            folder.display(),
            name.display()
        ),
    }
}

/// Every input of a lock, each digest once, sorted by path.
fn inputs(lock: &Lock) -> Vec<Input> {
    let names = file_names(lock);
    let packages = lock
        .packages
        .iter()
        .map(|package| of_package(package, &names));
    let downloads = lock
        .urls
        .iter()
        .map(|(url, digest)| of_download(url, *digest));
    let mut inputs: BTreeMap<Digest, Input> = BTreeMap::new();
    for input in packages.chain(downloads) {
        inputs.entry(input.digest).or_insert(input);
    }
    let mut inputs: Vec<Input> = inputs.into_values().collect();
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    inputs
}

fn of_package(package: &Package, names: &BTreeMap<Digest, String>) -> Input {
    Input {
        digest: package.sha256,
        size: Some(package.size),
        path: format!("packages/{}", names[&package.sha256]),
        name: format!("{} {}", package.name, package.version),
    }
}

fn of_download(url: &str, digest: Digest) -> Input {
    Input {
        digest,
        size: None,
        path: format!("downloads/{}", digest.hex()),
        name: url.to_owned(),
    }
}

/// The names of packages' files: as archives have them, and with the digest where two archives have
/// other bytes of that name.
fn file_names(lock: &Lock) -> BTreeMap<Digest, String> {
    let mut by_name: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for package in &lock.packages {
        let version = package.version.replace(':', "%3a");
        let name = format!("{}_{version}_{}", package.name, package.architecture);
        by_name.entry(name).or_default().insert(package.sha256);
    }
    let mut names = BTreeMap::new();
    for (name, digests) in by_name {
        for digest in &digests {
            let name = match digests.len() {
                1 => format!("{name}.deb"),
                _ => format!("{name}.{}.deb", digest.short()),
            };
            names.insert(*digest, name);
        }
    }
    names
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Whether a file is there and has these bytes.
fn is(path: &Path, digest: &Digest, size: u64) -> anyhow::Result<bool> {
    if !fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == size) {
        return Ok(false);
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (found, _) = Digest::of_reader(BufReader::with_capacity(128 << 10, file))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(found == *digest)
}

/// Writes a file beside its place, checks it, and gives it its name.
fn put(path: &Path, digest: &Digest, mut from: impl io::Read) -> io::Result<()> {
    let folder = path.parent().expect("an input lies in a folder");
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.{}", digest.hex(), std::process::id()));
    let written = (|| {
        let mut writer = HashingWriter::new(File::create(&temporary)?);
        io::copy(&mut from, &mut writer)?;
        let (file, found, _) = writer.finish();
        if found != *digest {
            return Err(io::Error::other(
                "the store's file is damaged; build once to mend it",
            ));
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // It may not even have been made.
        let _ = fs::remove_file(&temporary);
    }
    written
}
