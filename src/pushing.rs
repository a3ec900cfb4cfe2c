//! What a push takes from the store: an image's layers as registries have them, and where they are
//! remembered to be.

use std::io::{self, Read};

use kasmforge_build::{Built, Stored};
use kasmforge_digest::{Digest, KeyHasher, StepKey};
use kasmforge_distribution::{Blob, Image, Memory};
use kasmforge_image as image;
use kasmforge_store::Store;

use crate::progress::Progress;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What layers being compressed are shown as.
const COMPRESSING: &str = "compressing";

/// The layers of an image that was built.
pub(crate) struct Layers<'a> {
    stored: &'a Stored<'a>,
    built: &'a Built,
    progress: &'a Progress<'a>,
    compression: image::Compression,
}

impl<'a> Layers<'a> {
    /// Begins with an image; tells how much of it is still to be compressed.
    pub(crate) fn new(
        stored: &'a Stored<'a>,
        built: &'a Built,
        progress: &'a Progress<'a>,
    ) -> Self {
        let layers = Self {
            stored,
            built,
            progress,
            compression: stored.compression(),
        };
        let unknown = (0..built.layers.len()).filter(|layer| layers.known(*layer).is_none());
        let bytes: u64 = unknown.map(|layer| built.layers[layer].size).sum();
        if bytes > 0 {
            progress.begin_bytes(COMPRESSING, bytes);
        }
        layers
    }
}

fn blob(stored: &image::Blob) -> Blob {
    Blob {
        digest: stored.digest,
        size: stored.size,
    }
}

impl Image for Layers<'_> {
    fn layers(&self) -> usize {
        self.built.layers.len()
    }

    fn known(&self, layer: usize) -> Option<Blob> {
        // A note that cannot be read is made again.
        self.stored.known(layer).ok().flatten().as_ref().map(blob)
    }

    fn layer(&self, layer: usize) -> Result<Blob, Failure> {
        let made = self.stored.layer(layer)?;
        self.progress
            .advance(COMPRESSING, self.built.layers[layer].size);
        Ok(blob(&made))
    }

    fn open(&self, layer: usize, from: u64) -> io::Result<Box<dyn Read + Send>> {
        self.stored.open(layer, from).map_err(io::Error::other)
    }

    fn config(&self) -> &[u8] {
        &self.stored.config().bytes
    }

    fn manifest(&self, layers: &[Blob]) -> Result<(&'static str, Vec<u8>), Failure> {
        let blobs: Vec<image::Blob> = layers
            .iter()
            .map(|blob| image::Blob {
                digest: blob.digest,
                size: blob.size,
                compression: self.compression,
            })
            .collect();
        let made = self.stored.image(&blobs)?;
        Ok((image::MANIFEST_TYPE, made.manifest.bytes))
    }
}

/// Where blobs were put, noted in the store: a wish, never a fact.
pub(crate) struct Places<'a>(pub(crate) &'a Store);

/// So many repositories of a registry are remembered for each blob.
const REMEMBERED: usize = 4;

impl Places<'_> {
    fn key(registry: &str, digest: &Digest) -> StepKey {
        KeyHasher::new("pushed 1")
            .field("registry", registry)
            .digest("blob", *digest)
            .key()
    }
}

impl Memory for Places<'_> {
    fn places(&self, registry: &str, digest: &Digest) -> Vec<String> {
        let noted = self.0.outcome(&Self::key(registry, digest));
        noted.ok().flatten().unwrap_or_default()
    }

    fn note(&self, registry: &str, repository: &str, digest: &Digest) {
        let mut places = self.places(registry, digest);
        if places.iter().any(|place| place == repository) {
            return;
        }
        places.insert(0, repository.into());
        places.truncate(REMEMBERED);
        // A push that cannot be remembered was a push all the same.
        if let Err(error) = self.0.record(&Self::key(registry, digest), &places) {
            tracing::debug!(%error, "where a layer is could not be noted");
        }
    }
}
