//! Writing an image out in a form that was asked for: an archive of one kind, or a folder; its
//! layers compressed or not.
//!
//! Everything is taken from the store's own archive. Equal images give equal outputs, byte for byte,
//! with one version of kasmforge: the compressors are built in, run on one thread for each layer,
//! and are named in what [`export`] tells.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kasmforge_digest::{Digest, HashingReader};
use kasmforge_image::{
    BLOCK, Blob, Compression, DescribeError, Image, InvalidReference, header, padded,
};
use serde::Serialize;

use crate::compress;
use crate::parallel::{self, Threads};
use crate::record::Built;
use crate::source::Source;

/// What an image is written out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One tar that is an OCI layout and a docker-archive at once: what every engine reads.
    Archive,
    /// A tar that is an OCI layout.
    OciArchive,
    /// A tar as `docker save` writes it.
    DockerArchive,
    /// A folder that is an OCI layout.
    OciFolder,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Where.
    pub path: PathBuf,
    /// The manifest's digest; another than the store's where layers are compressed.
    pub digest: Digest,
    /// The bytes of all layers as they are stored.
    pub size: u64,
    /// What compressed the layers, with its version and level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressor: Option<&'static str>,
}

/// An image that could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store's archive could not be read.
    #[error("cannot read the image archive {}", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store's archive is not what it was.
    #[error(
        "the image archive {} is damaged ({what}); remove it and run the build again",
        path.display()
    )]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is there that no image wrote.
    #[error("{} is there and is no OCI layout; name another place", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kasmforge_store::Error),
    /// The image could not be described.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// A name of the image is none.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
}

/// Writes an image out. What stands at the path is replaced by one rename.
///
/// # Errors
/// Whatever [`ExportError`] names; then nothing is at the path that was not there before.
pub fn export(
    built: &Built,
    path: &Path,
    format: Format,
    compression: Compression,
) -> Result<Exported, ExportError> {
    let write = |source| ExportError::Write {
        path: path.into(),
        source,
    };
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
        && (format != Format::OciFolder || !path.join("oci-layout").is_file())
    {
        return Err(ExportError::Occupied { path: path.into() });
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(write)?;
    let scratch = tempfile::Builder::new()
        .prefix(".kasmforge-")
        .tempdir_in(folder)
        .map_err(write)?;
    let source = Source::open(built)?;
    let layers = stored(&source, compression, scratch.path())?;
    let blobs: Vec<Blob> = layers.iter().map(|layer| layer.blob.clone()).collect();
    let image = source.describe(&blobs)?;
    let size = blobs.iter().map(|blob| blob.size).sum();
    let made = scratch.path().join("made");
    match format {
        Format::Archive if compression == Compression::None => {
            fs::copy(&built.archive, &made).map_err(write)?;
        }
        Format::OciFolder => lay_out(&source, &layers, &image, &made)?,
        _ => put_together(&source, &layers, &image, format, &made)?,
    }
    // A folder cannot be renamed over one that has anything in it.
    if path.is_dir() {
        fs::rename(path, scratch.path().join("old")).map_err(write)?;
    }
    fs::rename(&made, path).map_err(write)?;
    Ok(Exported {
        path: path.into(),
        digest: image.manifest.digest,
        size,
        compressor: compress::compressor(compression),
    })
}

/// A layer, and where its stored form is: in a file of its own, or in the store's archive.
struct Ready {
    blob: Blob,
    file: Option<PathBuf>,
    diff_id: Digest,
}

/// All layers as they are to be stored, compressed in parallel.
fn stored(
    source: &Source<'_>,
    compression: Compression,
    scratch: &Path,
) -> Result<Vec<Ready>, ExportError> {
    let layers = &source.built.layers;
    parallel::try_map(Threads::all(), layers, |layer| {
        if compression == Compression::None {
            return Ok(Ready {
                blob: Blob {
                    digest: layer.diff_id,
                    size: layer.size,
                    compression,
                },
                file: None,
                diff_id: layer.diff_id,
            });
        }
        let path = scratch.join(layer.diff_id.hex());
        let reader = source.reader(&layer.diff_id, 0, layer.size)?;
        let file = File::create(&path);
        let compressed = file.and_then(|file| compress::compress(reader, file, compression));
        let compressed = compressed.map_err(|source| ExportError::Write {
            path: path.clone(),
            source,
        })?;
        if compressed.diff_id != layer.diff_id {
            return Err(source.damaged(format!("{} has other bytes", layer.diff_id)));
        }
        Ok(Ready {
            blob: compressed.blob,
            file: Some(path),
            diff_id: layer.diff_id,
        })
    })
}

/// Copies a layer's stored form, and checks that it is what its name says.
fn copy(
    source: &Source<'_>,
    layer: &Ready,
    to: &mut impl Write,
    path: &Path,
) -> Result<(), ExportError> {
    let write = |source| ExportError::Write {
        path: path.into(),
        source,
    };
    let inner: Box<dyn Read> = match &layer.file {
        Some(file) => Box::new(File::open(file).map_err(write)?),
        None => Box::new(source.reader(&layer.diff_id, 0, layer.blob.size)?),
    };
    let mut reader = HashingReader::new(inner);
    io::copy(&mut reader, to).map_err(write)?;
    let (found, size) = reader.finish();
    if (found, size) != (layer.blob.digest, layer.blob.size) {
        return Err(source.damaged(format!("{} has other bytes", layer.diff_id)));
    }
    Ok(())
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn lay_out(
    source: &Source<'_>,
    layers: &[Ready],
    image: &Image,
    at: &Path,
) -> Result<(), ExportError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Write { path, source }
    };
    fs::create_dir_all(at.join("blobs/sha256")).map_err(write(at))?;
    // Not the temporary folder's own closed mode.
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).map_err(write(at))?;
    for layer in layers {
        let path = at.join(blob_name(&layer.blob.digest));
        let file = File::create(&path).map_err(write(&path))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        copy(source, layer, &mut file, &path)?;
        file.flush().map_err(write(&path))?;
    }
    let small = [
        (blob_name(&image.config.digest), &image.config.bytes),
        (blob_name(&image.manifest.digest), &image.manifest.bytes),
        ("oci-layout".into(), &image.layout),
        ("index.json".into(), &image.index),
    ];
    for (name, bytes) in small {
        let path = at.join(name);
        fs::write(&path, bytes).map_err(write(&path))?;
    }
    Ok(())
}

fn put_together(
    source: &Source<'_>,
    layers: &[Ready],
    image: &Image,
    format: Format,
    at: &Path,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write {
        path: at.into(),
        source,
    };
    let file = File::create(at).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let pad = |size: u64| vec![0; usize::try_from(padded(size) - size).expect("part of a block")];
    let mut seen = std::collections::BTreeSet::new();
    for layer in layers {
        let Blob { digest, size, .. } = layer.blob;
        // Two layers may compress to, or be, the same bytes.
        if !seen.insert(digest) {
            continue;
        }
        out.write_all(&header(&blob_name(&digest), size))
            .map_err(failed)?;
        copy(source, layer, &mut out, at)?;
        out.write_all(&pad(size)).map_err(failed)?;
    }
    let mut small = vec![(blob_name(&image.config.digest), &image.config.bytes)];
    if format != Format::DockerArchive {
        small.push((blob_name(&image.manifest.digest), &image.manifest.bytes));
        small.push(("oci-layout".into(), &image.layout));
        small.push(("index.json".into(), &image.index));
    }
    if format != Format::OciArchive {
        small.push(("manifest.json".into(), &image.docker_manifest));
    }
    for (name, bytes) in small {
        let size = bytes.len() as u64;
        out.write_all(&header(&name, size)).map_err(failed)?;
        out.write_all(bytes).map_err(failed)?;
        out.write_all(&pad(size)).map_err(failed)?;
    }
    out.write_all(&[0; 2 * BLOCK as usize]).map_err(failed)?;
    out.flush().map_err(failed)
}
