//! The store's own archive of an image, as a source of its layers and documents.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use kasmforge_digest::Digest;
use kasmforge_image::{BLOCK, Blob, Document, Image, Reference};

use crate::export::ExportError;
use crate::pack::Part;
use crate::record::Built;

/// An image's archive.
pub(crate) struct Source<'a> {
    pub(crate) built: &'a Built,
    file: File,
}

impl<'a> Source<'a> {
    pub(crate) fn open(built: &'a Built) -> Result<Self, ExportError> {
        let file = File::open(&built.archive).map_err(|source| ExportError::Read {
            path: built.archive.clone(),
            source,
        })?;
        Ok(Self { built, file })
    }

    fn failed(&self, source: io::Error) -> ExportError {
        ExportError::Read {
            path: self.built.archive.clone(),
            source,
        }
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> ExportError {
        ExportError::Damaged {
            path: self.built.archive.clone(),
            what: what.into(),
        }
    }

    fn part(&self, digest: &Digest) -> Result<&Part, ExportError> {
        let mut parts = self.built.parts.iter();
        let found = parts.find(|part| part.digest.as_ref() == Some(digest));
        found.ok_or_else(|| self.damaged(format!("it has no {digest}")))
    }

    /// A blob's bytes from a place on. Each reader has a descriptor, and so a place in the file, of
    /// its own.
    pub(crate) fn reader(
        &self,
        digest: &Digest,
        from: u64,
        size: u64,
    ) -> Result<io::Take<File>, ExportError> {
        let offset = self.part(digest)?.offset + BLOCK + from;
        let opened = File::open(&self.built.archive).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            Ok(file.take(size.saturating_sub(from)))
        });
        opened.map_err(|source| self.failed(source))
    }

    /// A small document. Its length stands in its tar header (12 octal digits at byte 124).
    pub(crate) fn document(&self, digest: &Digest) -> Result<Document, ExportError> {
        let part = self.part(digest)?;
        let mut block = [0; BLOCK as usize];
        self.file
            .read_exact_at(&mut block, part.offset)
            .map_err(|source| self.failed(source))?;
        let size = std::str::from_utf8(&block[124..135])
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 8).ok())
            .filter(|size| *size <= part.length)
            .ok_or_else(|| self.damaged("a header cannot be read"))?;
        let mut bytes = Vec::new();
        self.reader(digest, 0, size)?
            .read_to_end(&mut bytes)
            .map_err(|source| self.failed(source))?;
        let document = Document::of(bytes);
        if document.digest == *digest {
            Ok(document)
        } else {
            Err(self.damaged(format!("{digest} has other bytes")))
        }
    }

    /// The image with its layers stored so.
    pub(crate) fn describe(&self, blobs: &[Blob]) -> Result<Image, ExportError> {
        let references: Vec<Reference> = self
            .built
            .references
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        let config = self.document(&self.built.config)?;
        let manifest = self.document(&self.built.manifest)?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| self.damaged(error.to_string()))?;
        let annotations = serde_json::from_value(manifest["annotations"].clone());
        let architecture = &self.built.architecture;
        Ok(Image::assemble(
            config,
            blobs,
            &references,
            architecture,
            &annotations.unwrap_or_default(),
        )?)
    }
}
