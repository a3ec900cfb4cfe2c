//! An image as registries have it: its layers compressed, each once.
//!
//! What a layer compresses to is noted in the store, so that a registry can be asked for it before
//! anything is compressed. The compressed bytes are kept there as blobs; whoever collects the store's
//! garbage may take them, and they are made again when somebody wants them.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};

use kasmforge_digest::{Digest, KeyHasher, StepKey};
use kasmforge_image::{Blob, Compression, Document, Image};
use kasmforge_store::Store;
use serde::{Deserialize, Serialize};

use crate::compress;
use crate::export::ExportError;
use crate::record::Built;
use crate::source::Source;

/// An image with its layers stored in one way.
pub struct Stored<'a> {
    source: Source<'a>,
    store: &'a Store,
    compression: Compression,
    config: Document,
}

/// What is noted of a layer that was compressed once.
#[derive(Serialize, Deserialize)]
struct Note {
    digest: Digest,
    size: u64,
}

impl<'a> Stored<'a> {
    /// Begins with an image that was built.
    ///
    /// # Errors
    /// If its archive cannot be read or is damaged.
    pub fn new(
        store: &'a Store,
        built: &'a Built,
        compression: Compression,
    ) -> Result<Self, ExportError> {
        let source = Source::open(built)?;
        let config = source.document(&built.config)?;
        Ok(Self {
            source,
            store,
            compression,
            config,
        })
    }

    /// The image's configuration. It is the same however layers are stored.
    #[must_use]
    pub const fn config(&self) -> &Document {
        &self.config
    }

    /// How the layers are stored.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// What compresses the layers, with its level.
    #[must_use]
    pub fn compressor(&self) -> Option<&'static str> {
        compress::compressor(self.compression)
    }

    /// How a layer is stored, if that is known without compressing it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn known(&self, layer: usize) -> Result<Option<Blob>, ExportError> {
        let layer = &self.source.built.layers[layer];
        if self.compression == Compression::None {
            return Ok(Some(Blob {
                digest: layer.diff_id,
                size: layer.size,
                compression: self.compression,
            }));
        }
        let note = self.store.outcome::<Note>(&self.key(&layer.diff_id))?;
        Ok(note.map(|note| Blob {
            digest: note.digest,
            size: note.size,
            compression: self.compression,
        }))
    }

    /// How a layer is stored; compresses it if that is not known.
    ///
    /// # Errors
    /// If the archive is damaged, or the store cannot be written.
    pub fn layer(&self, layer: usize) -> Result<Blob, ExportError> {
        match self.known(layer)? {
            Some(blob) => Ok(blob),
            None => self.make(layer),
        }
    }

    /// A layer's stored bytes from a place on; compresses it if they are not at hand.
    ///
    /// # Errors
    /// As [`Stored::layer`].
    pub fn open(&self, layer: usize, from: u64) -> Result<Box<dyn Read + Send>, ExportError> {
        let about = &self.source.built.layers[layer];
        if self.compression == Compression::None {
            let reader = self.source.reader(&about.diff_id, from, about.size)?;
            return Ok(Box::new(reader));
        }
        let mut blob = self.layer(layer)?;
        if !self.store.has_blob(&blob.digest, Some(blob.size)) {
            let made = self.make(layer)?;
            if made != blob {
                return Err(self.source.damaged(format!(
                    "{} compresses to other bytes than before",
                    about.diff_id
                )));
            }
            blob = made;
        }
        let path = self.store.blob_path(&blob.digest);
        let opened = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Box::new(file)),
            Err(source) => Err(ExportError::Read { path, source }),
        }
    }

    /// The image's documents with its layers stored so.
    ///
    /// # Errors
    /// If the archive is damaged.
    pub fn image(&self, layers: &[Blob]) -> Result<Image, ExportError> {
        self.source.describe(layers)
    }

    fn key(&self, diff_id: &Digest) -> StepKey {
        KeyHasher::new(compress::VERSION)
            .field("compressor", self.compressor().unwrap_or_default())
            .digest("layer", *diff_id)
            .key()
    }

    /// Compresses a layer into the store.
    fn make(&self, layer: usize) -> Result<Blob, ExportError> {
        let layer = &self.source.built.layers[layer];
        let reader = self.source.reader(&layer.diff_id, 0, layer.size)?;
        let file = self.store.temporary_file()?;
        let compressed = compress::compress(reader, file.as_file(), self.compression);
        let compressed = compressed.map_err(|source| ExportError::Write {
            path: file.path().into(),
            source,
        })?;
        if compressed.diff_id != layer.diff_id {
            return Err(self
                .source
                .damaged(format!("{} has other bytes", layer.diff_id)));
        }
        let Blob { digest, size, .. } = compressed.blob;
        self.store.keep_blob(&file.into_temp_path(), &digest)?;
        self.store
            .record(&self.key(&layer.diff_id), &Note { digest, size })?;
        Ok(compressed.blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Part;
    use crate::record::BuiltLayer;
    use kasmforge_image::{BLOCK, Configuration, Layer, header, padded};
    use std::io::Write as _;
    use std::path::Path;

    /// An archive of one layer with these bytes.
    fn built(folder: &Path, layer: &[u8]) -> Built {
        let described = Layer {
            diff_id: Digest::of(layer),
            size: layer.len() as u64,
            created_by: "a test".into(),
        };
        let image = Image::describe(
            &Configuration::default(),
            std::slice::from_ref(&described),
            &["a/b:c".parse().expect("a reference")],
            "amd64",
            0,
        )
        .expect("an image");
        let path = folder.join("image.tar");
        let mut file = File::create(&path).expect("a file");
        let mut parts = Vec::new();
        let mut offset = 0;
        for bytes in [layer, &image.config.bytes, &image.manifest.bytes] {
            let digest = Digest::of(bytes);
            let name = format!("blobs/sha256/{}", digest.hex());
            let size = bytes.len() as u64;
            let mut entry = header(&name, size).to_vec();
            entry.extend_from_slice(bytes);
            entry.resize((BLOCK + padded(size)) as usize, 0);
            file.write_all(&entry).expect("room");
            parts.push(Part {
                name,
                offset,
                length: entry.len() as u64,
                digest: Some(digest),
            });
            offset += entry.len() as u64;
        }
        Built {
            workspace: "desktop".into(),
            architecture: "amd64".into(),
            references: vec!["docker.io/a/b:c".into()],
            manifest: image.manifest.digest,
            config: image.config.digest,
            created: 0,
            layers: vec![BuiltLayer {
                diff_id: described.diff_id,
                size: described.size,
                created_by: described.created_by,
                stage: "desktop".into(),
                packages: Vec::new(),
                reused: false,
            }],
            archive: path,
            length: offset,
            parts,
            normalised: Vec::new(),
            reused: false,
            differences: None,
            hold: crate::former::Hold::default(),
        }
    }

    fn bytes(mut reader: Box<dyn Read + Send>) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("readable");
        bytes
    }

    #[test]
    fn a_layer_is_compressed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let layer = b"the same again, ".repeat(10_000);
        let built = built(folder.path(), &layer);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let stored = Stored::new(&store, &built, compression).expect("an image");
            assert_eq!(stored.known(0).expect("readable"), None);
            let blob = stored.layer(0).expect("compressed");
            assert_eq!(stored.known(0).expect("readable"), Some(blob.clone()));
            let whole = bytes(stored.open(0, 0).expect("kept"));
            assert_eq!(Digest::of(&whole), blob.digest);
            assert_eq!(bytes(stored.open(0, 7).expect("kept")), whole[7..]);
            // What was collected as garbage is made again, to the byte.
            store.remove_blob(&blob.digest).expect("ours");
            assert_eq!(bytes(stored.open(0, 0).expect("made again")), whole);
            let image = stored.image(&[blob]).expect("described");
            assert_eq!(image.config.digest, built.config);
            assert_ne!(image.manifest.digest, built.manifest);
        }
        let plain = Stored::new(&store, &built, Compression::None).expect("an image");
        let blob = plain.layer(0).expect("known");
        assert_eq!(bytes(plain.open(0, 5).expect("there")), layer[5..]);
        let image = plain.image(&[blob]).expect("described");
        assert_eq!(image.manifest.digest, built.manifest);
    }

    #[test]
    fn a_damaged_archive_is_not_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let built = built(folder.path(), b"layer");
        let mut archive = std::fs::read(&built.archive).expect("the archive");
        archive[BLOCK as usize] ^= 1;
        std::fs::write(&built.archive, archive).expect("writable");
        let stored = Stored::new(&store, &built, Compression::Zstd).expect("an image");
        let error = stored.layer(0).expect_err("damaged");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
