//! Packing: from layers as values to one archive on disk.
//!
//! The length of every layer's tar is known before a byte of it is written, so each entry of a batch
//! has its place from the start: layers are written to their places in parallel, hashed as they
//! pass, and only then get the headers that name them. Each content is read once and written once,
//! and nothing is ever held in memory whole.
//!
//! Layers stand in the archive in another order than in the image: those of packages first, then
//! what scripts made, then what definitions lay on top, then the documents. What changes often is
//! thus at the end, and an archive that differs from an earlier one only there shares its beginning.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kasmforge_digest::{Digest, HashingWriter};
use kasmforge_image::{BLOCK, Image, header, padded};
use kasmforge_tree::{Tree, tar};
use serde::{Deserialize, Serialize};

use crate::content::Pool;
use crate::former::{self, Source};
use crate::parallel::{self, Threads};
use crate::{Event, Observer};

/// A layer on its way into an archive.
pub(crate) enum Packing<'a> {
    /// It is written from a tree.
    Made {
        /// What it holds.
        tree: &'a Tree,
        /// What it is, for people.
        what: &'a str,
        /// The digest it must have, if it was made before.
        expected: Option<Digest>,
    },
    /// An earlier build's archive has it.
    Copied {
        digest: Digest,
        size: u64,
        source: Source<'a>,
    },
    /// It stands in its place already.
    Kept { digest: Digest, size: u64 },
}

impl Packing<'_> {
    /// The length of the layer's tar.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Made { tree, .. } => tar::length(tree),
            Self::Copied { size, .. } | Self::Kept { size, .. } => *size,
        }
    }
}

/// An entry of an archive on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name: `blobs/sha256/…`, `index.json`, …
    pub name: String,
    /// Where its header begins.
    pub offset: u64,
    /// Length of header, content and padding.
    pub length: u64,
    /// The digest of its content, for blobs.
    pub digest: Option<Digest>,
}

/// An archive that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A content could not be read, or the archive not written.
    #[error("cannot write the image archive {}{}", path.display(), full(source))]
    Write {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer came out with another digest than the last time.
    #[error(
        "the layer of {what} is {found}, but was {expected} when it was first made: stored files \
         were damaged"
    )]
    Damaged {
        /// What the layer holds.
        what: String,
        /// What it was.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A layer in the archive of an earlier build is not what it was.
    #[error(
        "the layer {layer} in {} is {found} by now: that archive was damaged",
        archive.as_deref().map_or_else(|| "an earlier archive".into(), |path| path.display().to_string())
    )]
    DamagedArchive {
        /// The archive, unless it has no name any more.
        archive: Option<PathBuf>,
        /// What the layer was.
        layer: Digest,
        /// What it is.
        found: Digest,
    },
    /// A layer that an earlier archive had is there no more.
    #[error("an archive of an earlier build vanished meanwhile; run the build again")]
    Vanished,
    /// Nobody wants it any more.
    #[error("the archive was given up")]
    Stopped,
    /// The image could not be described.
    #[error(transparent)]
    Describe(#[from] kasmforge_image::DescribeError),
}

fn full(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::StorageFull {
        " (the disk is full: make room, or name another place with --store)"
    } else {
        ""
    }
}

/// An archive that grows.
pub(crate) struct Archive<'a> {
    file: &'a File,
    path: &'a Path,
    /// Set by whoever wants it no more.
    stop: &'a AtomicBool,
    observer: &'a dyn Observer,
    end: u64,
    parts: Vec<Part>,
}

impl<'a> Archive<'a> {
    /// Begins an archive in a file that is empty, or holds what will be [`Packing::Kept`].
    pub(crate) fn begin(
        file: &'a File,
        path: &'a Path,
        stop: &'a AtomicBool,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            file,
            path,
            stop,
            observer,
            end: 0,
            parts: Vec::new(),
        }
    }

    fn failed(&self, source: io::Error) -> PackError {
        PackError::Write {
            path: self.path.into(),
            source,
        }
    }

    /// Adds layers in this order, on so many threads; gives their digests and sizes.
    pub(crate) fn add(
        &mut self,
        packings: &[&Packing<'_>],
        pool: &Pool,
        threads: Threads,
    ) -> Result<Vec<(Digest, u64)>, PackError> {
        let mut places = Vec::with_capacity(packings.len());
        for packing in packings {
            let size = packing.size();
            places.push((*packing, self.end, size));
            self.end += BLOCK + padded(size);
        }
        // Largest first: the last layer to finish should be a small one.
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(places[index].2));
        let written = parallel::try_map(threads, &order, |&index| {
            let (packing, offset, size) = &places[index];
            let digest = self.write(packing, *offset, *size, pool)?;
            Ok::<_, PackError>((index, digest))
        })?;
        let mut digests = vec![None; places.len()];
        for (index, digest) in written {
            digests[index] = Some(digest);
        }
        let mut layers = Vec::with_capacity(places.len());
        for ((packing, offset, size), digest) in places.into_iter().zip(digests) {
            let digest = digest.expect("every layer was written");
            let part = blob(&digest, offset, size);
            if !matches!(packing, Packing::Kept { .. }) {
                self.file
                    .write_all_at(&header(&part.name, size), offset)
                    .map_err(|source| self.failed(source))?;
            }
            self.parts.push(part);
            layers.push((digest, size));
        }
        Ok(layers)
    }

    fn write(
        &self,
        packing: &Packing<'_>,
        offset: u64,
        size: u64,
        pool: &Pool,
    ) -> Result<Digest, PackError> {
        let at = offset + BLOCK;
        match packing {
            Packing::Kept { digest, .. } => Ok(*digest),
            Packing::Copied { digest, source, .. } => {
                let found = former::copy(source, self.file, at, size);
                let found = found.map_err(|error| self.failed(error))?;
                if found != *digest {
                    return Err(PackError::DamagedArchive {
                        archive: source.archive.map(Into::into),
                        layer: *digest,
                        found,
                    });
                }
                self.observer.event(Event::Packed { bytes: size });
                self.pad(at + size)?;
                Ok(*digest)
            }
            Packing::Made {
                tree,
                what,
                expected,
            } => {
                let place = Place {
                    file: self.file,
                    at,
                    stop: self.stop,
                    observer: self.observer,
                };
                let buffered = BufWriter::with_capacity(1 << 20, place);
                let mut writer = HashingWriter::new(buffered);
                let written = tar::write(tree, pool, &mut writer);
                let (mut buffered, digest, _) = writer.finish();
                let flushed = written.and_then(|()| buffered.flush());
                if self.stop.load(Ordering::Relaxed) {
                    return Err(PackError::Stopped);
                }
                flushed.map_err(|source| self.failed(source))?;
                match expected {
                    Some(expected) if *expected != digest => Err(PackError::Damaged {
                        what: (*what).to_owned(),
                        expected: *expected,
                        found: digest,
                    }),
                    _ => Ok(digest),
                }
            }
        }
    }

    /// Fills what is left of an entry's last block. A tar of ours ends on one anyway.
    fn pad(&self, end: u64) -> Result<(), PackError> {
        let rest = usize::try_from(padded(end) - end).expect("less than a block");
        self.file
            .write_all_at(&[0; BLOCK as usize][..rest], end)
            .map_err(|source| self.failed(source))
    }

    /// Adds the documents and the end; gives the archive's length and its entries.
    pub(crate) fn close(mut self, image: &Image) -> Result<(u64, Vec<Part>), PackError> {
        let small = [
            (blob(&image.config.digest, 0, 0), &image.config.bytes),
            (blob(&image.manifest.digest, 0, 0), &image.manifest.bytes),
            (named("oci-layout"), &image.layout),
            (named("index.json"), &image.index),
            (named("manifest.json"), &image.docker_manifest),
        ];
        for (part, bytes) in small {
            let size = bytes.len() as u64;
            let part = Part {
                offset: self.end,
                length: BLOCK + padded(size),
                ..part
            };
            let mut entry = header(&part.name, size).to_vec();
            entry.extend_from_slice(bytes);
            entry.resize(
                usize::try_from(part.length).expect("documents are small"),
                0,
            );
            self.file
                .write_all_at(&entry, self.end)
                .map_err(|source| self.failed(source))?;
            self.end += part.length;
            self.parts.push(part);
        }
        let length = self.end + 2 * BLOCK;
        self.file
            .write_all_at(&[0; 2 * BLOCK as usize], self.end)
            .and_then(|()| self.file.set_len(length))
            .map_err(|source| self.failed(source))?;
        Ok((length, self.parts))
    }
}

fn blob(digest: &Digest, offset: u64, size: u64) -> Part {
    Part {
        name: format!("blobs/sha256/{}", digest.hex()),
        offset,
        length: BLOCK + padded(size),
        digest: Some(*digest),
    }
}

fn named(name: &str) -> Part {
    Part {
        name: name.into(),
        offset: 0,
        length: 0,
        digest: None,
    }
}

/// Writes to a place of a file, apart from all other writers.
struct Place<'a> {
    file: &'a File,
    at: u64,
    stop: &'a AtomicBool,
    observer: &'a dyn Observer,
}

impl Write for Place<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up"));
        }
        let count = self.file.write_at(bytes, self.at)?;
        self.at += count as u64;
        self.observer.event(Event::Packed {
            bytes: count as u64,
        });
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
