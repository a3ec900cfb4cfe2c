//! Unpacking a downloaded tar below a target: `[[files]] url, extract = true`.
//!
//! Entries are read into a tree of their own, kept in the store by the download's digest. Owners
//! in the tar say nothing about the image: everything belongs to whom the definition says.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use kasmforge_digest::{Digest, KeyHasher};
use kasmforge_store::Store;
use kasmforge_tree::{Entry, FOLDER_TIME, Node, Tree, TreePath};

use crate::content::Writer;

/// The file of a step's folder that holds its tree.
const RECORD: &str = "extracted.json";

/// A download that could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is no tar, or a damaged one.
    #[error("it is no tar (plain, gzip, xz or zstd), or a damaged one")]
    Tar(#[from] io::Error),
    /// It holds a path that no image can have.
    #[error("it holds a path that no image can have")]
    Path(#[from] kasmforge_tree::InvalidPath),
    /// It holds something a definition cannot lay into an image.
    #[error("`{path}` in it is neither a file, a folder nor a link")]
    Kind {
        /// The path.
        path: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kasmforge_store::Error),
}

/// Unpacks a download into the store, or finds it unpacked: the step's folder and its tree.
pub(crate) fn extract(store: &Store, digest: &Digest) -> Result<(PathBuf, Tree), ExtractError> {
    let key = KeyHasher::new("extract 1")
        .digest("download", *digest)
        .key();
    let folder = store.tree_path(&key);
    let found = fs::read(folder.join(RECORD)).ok();
    if let Some(tree) = found.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok((folder, tree));
    }
    let step = store.temporary_folder()?;
    let tree = read(&store.blob_path(digest), step.path())?;
    let bytes = serde_json::to_vec(&tree).map_err(io::Error::other)?;
    fs::write(step.path().join(RECORD), bytes)?;
    // Damaged, unless another build has just made it.
    let found = fs::read(folder.join(RECORD)).ok();
    if found.is_none_or(|bytes| serde_json::from_slice::<Tree>(&bytes).is_err()) {
        store.remove_tree(&key)?;
    }
    Ok((store.keep_tree(step, &key)?, tree))
}

fn read(download: &Path, step: &Path) -> Result<Tree, ExtractError> {
    let mut writer = Writer::new(step)?;
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(decompressed(File::open(download)?)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = TreePath::new(&entry.path_bytes())?;
        if path.is_root() {
            continue;
        }
        let mode = entry.header().mode()? & 0o7777;
        let kind = entry.header().entry_type();
        let made = if kind.is_dir() {
            Entry::new(mode, FOLDER_TIME, Node::Directory)
        } else if kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            Entry::symlink(&target, FOLDER_TIME)
        } else if kind.is_hard_link() {
            let target = TreePath::new(&entry.link_name_bytes().unwrap_or_default())?;
            let original = tree.get(&target).cloned();
            original.ok_or_else(|| ExtractError::Kind {
                path: path.to_string(),
            })?
        } else if kind.is_file() {
            writer.keep(&mut entry, Entry::new(mode, FOLDER_TIME, Node::Directory))?
        } else if kind.is_pax_global_extensions() {
            continue;
        } else {
            return Err(ExtractError::Kind {
                path: path.to_string(),
            });
        };
        tree.insert(path, made);
    }
    tree.complete_parents();
    Ok(tree)
}

/// The tar inside a download, told by its first bytes.
fn decompressed(file: File) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        _ => Box::new(reader),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_tar_becomes_a_tree() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o755);
        header.set_uid(1234);
        builder
            .append_data(&mut header, "app/bin/run", &b"abc"[..])
            .expect("memory");
        let plain = builder.into_inner().expect("memory");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("memory");
        for bytes in [plain, gzip.finish().expect("memory")] {
            let digest = store.keep_bytes(&bytes).expect("kept");
            let (_, tree) = extract(&store, &digest).expect("a tar");
            let path: TreePath = "app/bin/run".parse().expect("clean");
            let entry = tree.get(&path).expect("there");
            assert_eq!((entry.mode, entry.uid), (0o755, 0));
            assert_eq!(entry.content(), Some((Digest::of(b"abc"), 3)));
            assert_eq!(tree.len(), 3);
        }
    }
}
