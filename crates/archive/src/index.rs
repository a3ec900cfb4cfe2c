//! Indexes of packages: fetched by hash, decompressed once, kept as text.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use flate2::bufread::MultiGzDecoder;
use kasmforge_deb::IndexFile;
use kasmforge_digest::{Digest, HashingWriter, KeyHasher};
use liblzma::bufread::XzDecoder;
use serde::{Deserialize, Serialize};

use crate::gather::{self, CopyError, Job, copy_all};
use crate::{Client, Error, Event, VerifiedRelease, address};

/// The longest index taken, decompressed, in bytes: Debian's largest has 55 MB.
const MAX_TEXT: u64 = 1 << 30;

/// How an index is packed, the smallest first.
const PACKINGS: [(&str, Packing); 3] = [
    (".xz", Packing::Xz),
    (".gz", Packing::Gzip),
    ("", Packing::Plain),
];

#[derive(Debug, Clone, Copy)]
enum Packing {
    Xz,
    Gzip,
    Plain,
}

/// The text of an index, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The digest of the text.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The file that holds it. Not to be written to.
    pub path: PathBuf,
}

/// What the store remembers of an index whose Release file names only its packed form.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Text {
    digest: Digest,
    size: u64,
}

impl Client<'_> {
    /// The index of a component's packages for an architecture.
    ///
    /// It is found in the store by what the Release file says of it, so that a second call, an
    /// offline one say, asks nobody. For an archive without components, the component is empty.
    ///
    /// # Errors
    /// When the archive has no such index, or it cannot be had as the Release file promises.
    pub fn packages_index(
        &self,
        verified: &VerifiedRelease,
        component: &str,
        architecture: &str,
    ) -> Result<Index, Error> {
        let release = &verified.release;
        let plain = if component.is_empty() {
            "Packages".to_owned()
        } else {
            format!("{component}/binary-{architecture}/Packages")
        };
        let offered = PACKINGS.iter().find_map(|(ending, packing)| {
            let path = format!("{plain}{ending}");
            // Some archives list the plain text's digest and serve only packed forms.
            let file = *release.sha256.get(&path)?;
            Some((path, file, *packing))
        });
        let Some((path, packed, packing)) = offered else {
            return Err(Error::NoIndex {
                archive: format!("{} {}", verified.suite.archive, verified.suite.suite),
                component: component.into(),
                architecture: architecture.into(),
                offered: format!(
                    "components {}; architectures {}",
                    release.components.join(" "),
                    release.architectures.join(" ")
                ),
            });
        };
        let promised = release.sha256.get(&plain).copied();
        if let Some(text) = self.known(promised, packed)? {
            return Ok(text);
        }
        let name = format!("{}{path}", verified.suite.folder());
        if self.settings.offline {
            return Err(Error::Offline {
                what: format!("{name} of {}", verified.suite.archive),
            });
        }
        let index = self.unpack(verified, &path, &name, packed, packing, promised)?;
        if promised.is_none() {
            let text = Text {
                digest: index.digest,
                size: index.size,
            };
            self.store.record(&text_key(packed), &text)?;
        }
        Ok(index)
    }

    /// The text, if the store has it.
    fn known(
        &self,
        promised: Option<IndexFile>,
        packed: IndexFile,
    ) -> Result<Option<Index>, Error> {
        let text = match promised {
            Some(file) => Some(Text {
                digest: file.digest,
                size: file.size,
            }),
            None => self.store.outcome(&text_key(packed))?,
        };
        let there = |text: &Text| self.store.has_blob(&text.digest, Some(text.size));
        Ok(text.filter(there).map(|text| Index {
            digest: text.digest,
            size: text.size,
            path: self.store.blob_path(&text.digest),
        }))
    }

    /// Fetches an index and keeps its text.
    fn unpack(
        &self,
        verified: &VerifiedRelease,
        path: &str,
        name: &str,
        packed: IndexFile,
        packing: Packing,
        promised: Option<IndexFile>,
    ) -> Result<Index, Error> {
        let folder = verified.suite.folder();
        // By hash first: a mirror that is being updated cannot mix old and new there.
        let paths = [verified.release.by_hash(path), Some(path.to_owned())];
        let addresses: Vec<_> = paths
            .into_iter()
            .flatten()
            .flat_map(|path| {
                let below = format!("{folder}{path}");
                let join = move |base: &String| address::join(base, &below);
                verified.suite.mirrors.iter().map(join)
            })
            .collect();
        let stop = AtomicBool::new(false);
        let job = Job {
            name,
            digest: packed.digest,
            size: Some(packed.size),
            addresses: &addresses,
        };
        self.progress.event(Event::Started {
            files: 1,
            bytes: packed.size,
        });
        self.progress.event(Event::FileStarted {
            name,
            size: Some(packed.size),
        });
        let rounds = self.rounds(&stop);
        // Another build may have made the text while this one waited for the file.
        let done = || matches!(self.known(promised, packed), Ok(Some(_)));
        let gathered = gather::gather(self.store, self.transport()?, &rounds, job, done)?;
        self.progress.event(Event::FileFinished { name });
        self.progress.event(Event::Finished);
        let Some(gathered) = gathered else {
            let known = self.known(promised, packed)?;
            return Ok(known.expect("gather says that the text is there"));
        };
        self.progress.event(Event::Decoding { name });
        let index = self.decode(gathered.path(), name, packing, promised)?;
        // The packed form is not needed any more: the text is found by the Release file.
        gathered.discard()?;
        Ok(index)
    }

    fn decode(
        &self,
        packed: &Path,
        name: &str,
        packing: Packing,
        promised: Option<IndexFile>,
    ) -> Result<Index, Error> {
        let failed = |source| Error::Decode {
            name: name.into(),
            source,
        };
        let file = BufReader::with_capacity(128 << 10, File::open(packed).map_err(failed)?);
        let mut reader: Box<dyn Read> = match packing {
            Packing::Xz => Box::new(XzDecoder::new_multi_decoder(file)),
            Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
            Packing::Plain => Box::new(file),
        };
        let (text, path) = self.store.temporary_file()?.into_parts();
        let mut writer = HashingWriter::new(text);
        let limit = promised.map_or(MAX_TEXT, |file| file.size.min(MAX_TEXT));
        let size = match copy_all(&mut reader, &mut writer, limit, |_| {}) {
            Ok(size) => size,
            Err(CopyError::Read { source, .. }) => return Err(failed(source)),
            Err(CopyError::Write { source }) => {
                return Err(Error::Partial {
                    path: path.to_path_buf(),
                    source,
                });
            }
            Err(CopyError::TooLong) => {
                return Err(failed(io::Error::other(format!(
                    "it has more than {limit} bytes when decompressed"
                ))));
            }
        };
        let (_, digest, _) = writer.finish();
        if let Some(promised) = promised
            && promised.digest != digest
        {
            return Err(Error::OtherText {
                name: name.into(),
                expected: promised.digest,
                found: digest,
            });
        }
        let path = self.store.keep_blob(&path, &digest)?;
        Ok(Index { digest, size, path })
    }
}

/// Where the store remembers which text a packed index holds.
fn text_key(packed: IndexFile) -> kasmforge_digest::StepKey {
    KeyHasher::new("index text 1")
        .digest("packed", packed.digest)
        .key()
}
