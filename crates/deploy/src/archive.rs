//! The image archive, and the stream an engine is sent of it.
//!
//! The archive is an OCI image layout that also carries the older `manifest.json`: engines with
//! the classic store read only the latter, engines with the containerd store only `index.json`.
//! Both name the image's tag, and both are written anew here, because the engine is first given
//! the image under a name of ours (see [`crate::Engine::load`]).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kasmforge_digest::Digest;
use serde_json::json;

use crate::{Error, Reference};

/// A tar block: headers are one long, contents are padded to a multiple.
const BLOCK: u64 = 512;
/// How much of the archive is read at once.
const CHUNK: u64 = 256 * 1024;

/// An image in one archive file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageArchive {
    /// The archive, a plain tar.
    pub path: PathBuf,
    /// The digest of the image's manifest: its id in an engine with the containerd store.
    pub manifest: Digest,
    /// The digest of the image's configuration: its id in an engine with the classic store.
    pub config: Digest,
    /// The layers, lowest first. They are stored uncompressed, so these name their blobs too.
    pub diff_ids: Vec<Digest>,
    /// The name the image is to have, canonical: `docker.io/kasmforge/desktop:latest`.
    pub reference: String,
    /// The archive's entries, in its order.
    pub parts: Vec<ArchivePart>,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePart {
    /// Its path: `blobs/sha256/<hex>`, `index.json`, …
    pub name: String,
    /// Where its tar header begins.
    pub offset: u64,
    /// The length of header, content and padding.
    pub length: u64,
    /// The digest of its content, if it is a blob.
    pub digest: Option<Digest>,
}

/// What is sent, piece by piece.
enum Segment {
    File { offset: u64, length: u64 },
    Bytes(Bytes),
}

/// The stream an engine is sent: an archive under another name, without the blobs left out.
pub(crate) struct Upload {
    file: File,
    segments: std::vec::IntoIter<Segment>,
    current: Option<Segment>,
    /// Bytes handed over so far; the reader of progress holds the other end.
    sent: Arc<AtomicU64>,
    /// Bytes in all.
    pub(crate) length: u64,
}

impl Upload {
    /// Assembles the stream.
    ///
    /// # Errors
    /// If the archive cannot be read, or lacks a blob that is not to be left out.
    pub(crate) fn new(
        image: &ImageArchive,
        reference: &Reference,
        omit: impl Fn(&Digest) -> bool,
    ) -> Result<Self, Error> {
        let read = |source| Error::ReadArchive {
            path: image.path.clone(),
            source,
        };
        let damaged = |problem: String| Error::DamagedArchive {
            path: image.path.clone(),
            problem,
        };
        let mut file = File::open(&image.path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        if let Some(part) = image
            .parts
            .iter()
            .find(|part| part.offset.saturating_add(part.length) > size)
        {
            return Err(damaged(format!("it ends before `{}` does", part.name)));
        }
        let blob = |digest: &Digest| {
            let part = image
                .parts
                .iter()
                .find(|part| part.digest.as_ref() == Some(digest));
            part.ok_or_else(|| damaged(format!("the blob {digest} is not in it")))
        };
        blob(&image.config)?;
        for digest in &image.diff_ids {
            blob(digest)?;
        }
        let manifest_size = content_size(&mut file, blob(&image.manifest)?.offset)
            .map_err(read)?
            .ok_or_else(|| damaged("its manifest's tar header cannot be read".to_owned()))?;

        let mut segments = Vec::new();
        let mut length = 0;
        for part in &image.parts {
            let replaced = part.name == "index.json" || part.name == "manifest.json";
            let omitted = part.digest.as_ref().is_some_and(&omit);
            if !replaced && !omitted {
                length += part.length;
                segments.push(Segment::File {
                    offset: part.offset,
                    length: part.length,
                });
            }
        }
        for (name, content) in [
            ("index.json", index_json(image, manifest_size, reference)),
            ("manifest.json", manifest_json(image, reference)),
        ] {
            let entry = tar_entry(name, content.as_bytes());
            length += entry.len() as u64;
            segments.push(Segment::Bytes(entry.into()));
        }
        length += 2 * BLOCK;
        segments.push(Segment::Bytes(Bytes::from(vec![0; 2 * BLOCK as usize])));

        Ok(Self {
            file,
            segments: segments.into_iter(),
            current: None,
            sent: Arc::default(),
            length,
        })
    }

    /// The count of bytes handed over, which goes on counting while the stream is consumed.
    pub(crate) fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let segment = match self.current.take() {
            Some(segment) => segment,
            None => match self.segments.next() {
                Some(segment) => segment,
                None => return Ok(None),
            },
        };
        match segment {
            Segment::Bytes(bytes) => Ok(Some(bytes)),
            Segment::File { offset, length } => {
                let now = length.min(CHUNK);
                let mut buffer = vec![0; now as usize];
                self.file.seek(SeekFrom::Start(offset))?;
                self.file.read_exact(&mut buffer)?;
                if now < length {
                    self.current = Some(Segment::File {
                        offset: offset + now,
                        length: length - now,
                    });
                }
                Ok(Some(buffer.into()))
            }
        }
    }
}

impl Iterator for Upload {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunk().transpose();
        if let Some(Ok(bytes)) = &chunk {
            self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        chunk
    }
}

/// The size a tar header at this place gives its entry (tar(5): 12 octal digits at byte 124).
fn content_size(file: &mut File, offset: u64) -> io::Result<Option<u64>> {
    let mut header = [0; BLOCK as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut header)?;
    Ok(header_size(&header))
}

/// The size field of a tar header.
pub(crate) fn header_size(header: &[u8]) -> Option<u64> {
    let digits = header.get(124..136)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8).ok()
}

/// A file as a tar entry: header, content, padding.
fn tar_entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; BLOCK as usize];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    // The checksum counts itself as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut entry = header.to_vec();
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(BLOCK as usize), 0);
    entry
}

/// `index.json` of the OCI image layout, with the name where containerd looks for it. Only the
/// full canonical reference gives an image that can be found again.
fn index_json(image: &ImageArchive, manifest_size: u64, reference: &Reference) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.manifest.to_string(),
            "size": manifest_size,
            "annotations": {
                "io.containerd.image.name": reference.to_string(),
                "org.opencontainers.image.ref.name": reference.tag,
            },
        }],
    })
    .to_string()
}

/// `manifest.json` of `docker save`, pointing at the layout's blobs.
fn manifest_json(image: &ImageArchive, reference: &Reference) -> String {
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    json!([{
        "Config": blob(&image.config),
        "RepoTags": [reference.to_string()],
        "Layers": image.diff_ids.iter().map(blob).collect::<Vec<_>>(),
    }])
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_files_name_the_image() {
        let image = ImageArchive {
            path: PathBuf::new(),
            manifest: Digest::of(b"manifest"),
            config: Digest::of(b"config"),
            diff_ids: vec![Digest::of(b"one"), Digest::of(b"two")],
            reference: String::new(),
            parts: Vec::new(),
        };
        let reference = Reference::parse("docker.io/a/b:c").expect("a reference");
        let index: serde_json::Value =
            serde_json::from_str(&index_json(&image, 7, &reference)).expect("JSON");
        assert_eq!(index["manifests"][0]["digest"], image.manifest.to_string());
        assert_eq!(index["manifests"][0]["size"], 7);
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "docker.io/a/b:c"
        );
        assert_eq!(
            index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
            "c"
        );
        let manifest: serde_json::Value =
            serde_json::from_str(&manifest_json(&image, &reference)).expect("JSON");
        assert_eq!(manifest[0]["RepoTags"][0], "docker.io/a/b:c");
        assert_eq!(
            manifest[0]["Layers"][1],
            format!("blobs/sha256/{}", Digest::of(b"two").hex())
        );
    }

    #[test]
    fn entries_are_what_tar_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.tar");
        let mut tar = tar_entry("index.json", b"content");
        assert_eq!(header_size(&tar[..512]), Some(7));
        tar.extend([0; 1024]);
        std::fs::write(&path, &tar).expect("a file");
        let output = std::process::Command::new("tar")
            .arg("-xOf")
            .arg(&path)
            .output()
            .expect("GNU tar runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "content",
            "{output:?}"
        );
    }
}
