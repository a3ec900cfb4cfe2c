//! Packing: from layers as values to one archive on disk.
//!
//! The length of every layer's tar is known before a byte of it is written, so every entry of the
//! archive has its place from the start: layers are written to their places in parallel, hashed as
//! they pass, and only then get the headers that name them. Each content is read once and written
//! once, and nothing is ever held in memory whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use kasmforge_digest::{Digest, HashingWriter};
use kasmforge_image::{BLOCK, Configuration, Image, Layer, Reference, header, padded};
use kasmforge_tree::{Tree, tar};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::content::Pool;
use crate::{Event, Observer};

/// A layer that is to be packed.
pub(crate) struct Packing {
    pub(crate) tree: Tree,
    pub(crate) created_by: String,
    /// The digest it must have, if it was packed before.
    pub(crate) expected: Option<Digest>,
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

/// An archive that was written.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) image: Image,
    pub(crate) layers: Vec<Layer>,
    pub(crate) parts: Vec<Part>,
    pub(crate) length: u64,
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

/// What is said of the image besides its layers.
pub(crate) struct Describing<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) references: &'a [Reference],
    pub(crate) architecture: &'a str,
    pub(crate) created: i64,
}

/// Writes an archive of layers, lowest first, into an empty file.
pub(crate) fn pack(
    packings: &[Packing],
    pool: &Pool,
    describing: &Describing<'_>,
    file: &File,
    path: &std::path::Path,
    observer: &dyn Observer,
) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write {
        path: path.into(),
        source,
    };
    let lengths: Vec<u64> = packings
        .par_iter()
        .map(|packing| tar::length(&packing.tree))
        .collect();
    let mut offsets = Vec::with_capacity(lengths.len());
    let mut end = 0;
    for length in &lengths {
        offsets.push(end);
        end += BLOCK + padded(*length);
    }
    let total: u64 = lengths.iter().sum();
    observer.event(Event::Packing {
        layers: packings.len(),
        bytes: total,
    });
    // Largest first: the last layer to finish should be a small one.
    let mut order: Vec<usize> = (0..packings.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let digests: Vec<(usize, Digest)> = order
        .into_par_iter()
        .with_max_len(1)
        .map(|index| {
            let place = Place {
                file,
                at: offsets[index] + BLOCK,
                observer,
            };
            let buffered = BufWriter::with_capacity(1 << 20, place);
            let mut writer = HashingWriter::new(buffered);
            tar::write(&packings[index].tree, pool, &mut writer).map_err(failed)?;
            let (mut buffered, digest, _) = writer.finish();
            buffered.flush().map_err(failed)?;
            let Packing {
                expected,
                created_by,
                ..
            } = &packings[index];
            match expected {
                Some(expected) if *expected != digest => Err(PackError::Damaged {
                    what: created_by.clone(),
                    expected: *expected,
                    found: digest,
                }),
                _ => Ok((index, digest)),
            }
        })
        .collect::<Result<_, _>>()?;
    let mut layers: Vec<Layer> = packings
        .iter()
        .zip(&lengths)
        .map(|(packing, length)| Layer {
            diff_id: Digest::of(b""),
            size: *length,
            created_by: packing.created_by.clone(),
        })
        .collect();
    for (index, digest) in digests {
        layers[index].diff_id = digest;
    }
    let image = Image::describe(
        describing.configuration,
        &layers,
        describing.references,
        describing.architecture,
        describing.created,
    )?;
    let mut parts = Vec::new();
    for (layer, offset) in layers.iter().zip(&offsets) {
        let part = blob(&layer.diff_id, *offset, layer.size);
        file.write_all_at(&header(&part.name, layer.size), *offset)
            .map_err(failed)?;
        parts.push(part);
    }
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
            offset: end,
            length: BLOCK + padded(size),
            ..part
        };
        let mut entry = header(&part.name, size).to_vec();
        entry.extend_from_slice(bytes);
        entry.resize(
            usize::try_from(part.length).expect("documents are small"),
            0,
        );
        file.write_all_at(&entry, end).map_err(failed)?;
        end += part.length;
        parts.push(part);
    }
    file.write_all_at(&[0; 1024], end).map_err(failed)?;
    Ok(Packed {
        image,
        layers,
        parts,
        length: end + 2 * BLOCK,
    })
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
    observer: &'a dyn Observer,
}

impl Write for Place<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
