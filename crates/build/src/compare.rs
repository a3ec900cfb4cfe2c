//! Two archives of one image, compared entry by entry.
//!
//! Layers with the same digest are equal and not looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kasmforge_digest::{Digest, Hasher};

/// Contents up to this length are shown to whoever asks what a difference means.
const SHOWN: u64 = 4 << 20;

/// What an archive holds at a path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `file`, `folder`, `link`, …
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u64, u64),
    /// Seconds since 1970.
    pub time: u64,
    /// Where a link leads.
    pub target: Vec<u8>,
    /// Extended attributes by name.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// Length and digest of the content.
    pub content: (u64, Digest),
}

/// A path at which two archives differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The layer's number, lowest first.
    pub layer: usize,
    /// The path.
    pub path: String,
    /// What is there in the first archive, and in the second.
    pub found: [Option<Found>; 2],
    /// The contents, if both are files and not large.
    pub contents: Option<[Vec<u8>; 2]>,
}

impl Difference {
    /// What differs, in a word each: `content`, `mode`, …
    #[must_use]
    pub fn what(&self) -> Vec<&'static str> {
        let [one, other] = match &self.found {
            [Some(one), Some(other)] => [one, other],
            [Some(_), None] => return vec!["it is in the first image only"],
            _ => return vec!["it is in the second image only"],
        };
        let mut what = Vec::new();
        let mut note = |differs: bool, word| {
            if differs {
                what.push(word);
            }
        };
        note(one.kind != other.kind, "kind");
        note(one.content != other.content, "content");
        note(one.target != other.target, "target");
        note(one.mode != other.mode, "mode");
        note(one.owner != other.owner, "owner");
        note(one.time != other.time, "time");
        note(one.attributes != other.attributes, "attributes");
        what
    }
}

type Layers = Vec<(usize, Digest)>;
type Key = (usize, String);

/// Compares two archives whose layers are given, lowest first.
///
/// # Errors
/// When one of them cannot be read.
pub fn compare(one: (&Path, &[Digest]), other: (&Path, &[Digest])) -> io::Result<Vec<Difference>> {
    let differing: Vec<usize> = (0..one.1.len().max(other.1.len()))
        .filter(|at| one.1.get(*at) != other.1.get(*at))
        .collect();
    let layers = |of: &[Digest]| -> Layers {
        let some = differing.iter().filter_map(|at| Some((*at, *of.get(*at)?)));
        some.collect()
    };
    let sides = [(one.0, layers(one.1)), (other.0, layers(other.1))];
    let found = [
        entries(sides[0].0, &sides[0].1)?,
        entries(sides[1].0, &sides[1].1)?,
    ];
    let keys: BTreeSet<&Key> = found.iter().flat_map(BTreeMap::keys).collect();
    let mut differences: Vec<Difference> = keys
        .into_iter()
        .filter(|key| found[0].get(*key) != found[1].get(*key))
        .map(|key| Difference {
            layer: key.0,
            path: key.1.clone(),
            found: [found[0].get(key).cloned(), found[1].get(key).cloned()],
            contents: None,
        })
        .collect();
    let wanted: BTreeSet<Key> = differences
        .iter()
        .filter(|one| one.what() == ["content"] || one.what().contains(&"content"))
        .filter(|one| {
            one.found
                .iter()
                .flatten()
                .all(|found| found.content.0 <= SHOWN)
        })
        .map(|one| (one.layer, one.path.clone()))
        .collect();
    if !wanted.is_empty() {
        let mut contents = [
            contents(sides[0].0, &sides[0].1, &wanted)?,
            contents(sides[1].0, &sides[1].1, &wanted)?,
        ];
        for difference in &mut differences {
            let key = (difference.layer, difference.path.clone());
            let [first, second] = &mut contents;
            if let (Some(one), Some(other)) = (first.remove(&key), second.remove(&key)) {
                difference.contents = Some([one, other]);
            }
        }
    }
    Ok(differences)
}

fn each_layer(
    archive: &Path,
    layers: &Layers,
    take: &mut dyn FnMut(usize, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive =
        tar::Archive::new(io::BufReader::with_capacity(1 << 20, File::open(archive)?));
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let digest = path
            .strip_prefix(b"blobs/sha256/")
            .and_then(|hex| Digest::from_hex(std::str::from_utf8(hex).ok()?).ok());
        for (number, _) in layers.iter().filter(|(_, layer)| Some(*layer) == digest) {
            take(*number, &mut entry)?;
        }
    }
    Ok(())
}

fn entries(archive: &Path, layers: &Layers) -> io::Result<BTreeMap<Key, Found>> {
    let mut all = BTreeMap::new();
    each_layer(archive, layers, &mut |number, layer| {
        let mut layer = tar::Archive::new(layer);
        for entry in layer.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let found = read(&mut entry)?;
            all.insert((number, path), found);
        }
        Ok(())
    })?;
    Ok(all)
}

fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Found> {
    let mut attributes = BTreeMap::new();
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        if let Some(name) = record
            .key()
            .ok()
            .and_then(|key| key.strip_prefix("SCHILY.xattr."))
        {
            attributes.insert(name.to_owned(), record.value_bytes().to_vec());
        }
    }
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => "folder",
        tar::EntryType::Symlink => "link",
        tar::EntryType::Link => "hard link",
        tar::EntryType::Char | tar::EntryType::Block => "device",
        tar::EntryType::Fifo => "fifo",
        _ => "file",
    };
    let mut found = Found {
        kind,
        mode: header.mode()?,
        owner: (header.uid()?, header.gid()?),
        time: header.mtime()?,
        target: entry.link_name_bytes().map_or(Vec::new(), Into::into),
        attributes,
        content: (0, Digest::of(b"")),
    };
    let mut hasher = Hasher::new();
    let mut length = 0;
    let mut buffer = [0; 32 << 10];
    loop {
        match entry.read(&mut buffer)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
    found.content = (length, hasher.finish());
    Ok(found)
}

fn contents(
    archive: &Path,
    layers: &Layers,
    wanted: &BTreeSet<Key>,
) -> io::Result<BTreeMap<Key, Vec<u8>>> {
    let mut all = BTreeMap::new();
    each_layer(archive, layers, &mut |number, layer| {
        let mut layer = tar::Archive::new(layer);
        for entry in layer.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let key = (number, path);
            if wanted.contains(&key) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                all.insert(key, bytes);
            }
        }
        Ok(())
    })?;
    Ok(all)
}
