//! Many files at once, and single downloads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use kasmforge_digest::{Digest, HashingWriter};

use crate::error::{Cause, Failure};
use crate::gather::{self, Job};
use crate::rounds::Attempt;
use crate::transport::{Answer, Question};
use crate::{Client, Error, Event, address};

/// A file that should be in the store.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its path below a mirror's base address, or a whole address.
    pub path: String,
    /// The base addresses to ask, the best first. Not used for a whole address.
    pub mirrors: Arc<[String]>,
}

/// What a [`Client::fetch`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetched {
    /// The files that were not in the store before.
    pub files: usize,
    /// The bytes that came over the network for them.
    pub bytes: u64,
}

/// What a [`Client::download`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// The digest of the file, which is in the store under it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Client<'_> {
    /// Brings files into the store as blobs: largest first, several at once.
    ///
    /// What is there is not fetched. One that no mirror has does not stop the others, so that all
    /// such are told together; one that cannot be reached at all does, because then the network is
    /// gone.
    ///
    /// # Errors
    /// [`Error::Fetch`] with every file that could not be had.
    ///
    /// # Panics
    /// When a thread that fetches does.
    pub fn fetch(&self, wanted: &[Wanted]) -> Result<Fetched, Error> {
        let mut seen = BTreeSet::new();
        let mut missing: Vec<(usize, &Wanted)> = wanted
            .iter()
            .enumerate()
            .filter(|(_, file)| !self.store.has_blob(&file.digest, Some(file.size)))
            .filter(|(_, file)| seen.insert(file.digest))
            .collect();
        missing.sort_by_key(|(index, file)| (std::cmp::Reverse(file.size), *index));
        if missing.is_empty() {
            return Ok(Fetched::default());
        }
        if !self.settings.offline {
            // What no connection can do without is not to fail once for each file.
            self.transport()?;
        }
        self.progress.event(Event::Started {
            files: missing.len(),
            bytes: missing.iter().map(|(_, file)| file.size).sum(),
        });
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let results = Mutex::new((Fetched::default(), Vec::new()));
        let work = || {
            while let Some((index, file)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.fetch_one(file, &stop);
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                match result {
                    Ok(bytes) => {
                        results.0.files += 1;
                        results.0.bytes += bytes;
                    }
                    Err(error) => {
                        let ends = ends_all(&error);
                        results.1.push(Failure {
                            index: *index,
                            name: file.path.clone(),
                            error,
                        });
                        // One file may be out of order; as many as there are workers are not.
                        let unreachable =
                            |failure: &&Failure| matches!(failure.error, Error::Unreachable { .. });
                        let many = results.1.iter().filter(unreachable).count();
                        if ends || many >= self.settings.parallel.max(1) {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.settings.parallel.clamp(1, missing.len()) {
                scope.spawn(work);
            }
        });
        self.progress.event(Event::Finished);
        let (fetched, mut failures) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() {
            return Ok(fetched);
        }
        failures.sort_by_key(|failure: &Failure| failure.index);
        Err(Error::Fetch {
            failures,
            wanted: wanted.len(),
        })
    }

    fn fetch_one(&self, file: &Wanted, stop: &AtomicBool) -> Result<u64, Error> {
        if self.settings.offline {
            return Err(Error::Offline {
                what: file.path.clone(),
            });
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::GivenUp {
                name: file.path.clone(),
            });
        }
        let addresses = if address::is_absolute(&file.path) {
            vec![file.path.clone()]
        } else {
            file.mirrors
                .iter()
                .map(|base| address::join(base, &file.path))
                .collect()
        };
        self.bring(file.digest, Some(file.size), &file.path, &addresses, stop)
    }

    /// Brings one file into the store; tells the bytes that came over the network.
    fn bring(
        &self,
        digest: Digest,
        size: Option<u64>,
        name: &str,
        addresses: &[String],
        stop: &AtomicBool,
    ) -> Result<u64, Error> {
        self.progress.event(Event::FileStarted { name, size });
        // A blob of another size is a torn one: the rename below replaces it.
        let done = || self.store.has_blob(&digest, size);
        let job = Job {
            name,
            digest,
            size,
            addresses,
        };
        let rounds = self.rounds(stop);
        let fetched = match gather::gather(self.store, self.transport()?, &rounds, job, done)? {
            Some(gathered) => {
                let fetched = gathered.fetched;
                gathered.keep(self.store, &digest)?;
                fetched
            }
            None => 0,
        };
        self.progress.event(Event::FileFinished { name });
        Ok(fetched)
    }

    /// Brings the file at an address into the store.
    ///
    /// With a digest it is fetched only if it is not there, and continued where an earlier run was
    /// cut off. Without one it is always fetched, from its beginning, and its digest told.
    ///
    /// # Errors
    /// When it cannot be had, or has other bytes than the digest says.
    pub fn download(&self, url: &str, digest: Option<Digest>) -> Result<Download, Error> {
        let stop = AtomicBool::new(false);
        address::check(url)?;
        let address = url.to_owned();
        // What is told has no password in it.
        let name = &address::shown(url);
        if let Some(digest) = digest {
            if !self.store.has_blob(&digest, None) {
                if self.settings.offline {
                    return Err(Error::Offline { what: name.clone() });
                }
                self.bring(digest, None, name, &[address], &stop)?;
            }
            let path = self.store.blob_path(&digest);
            let size = std::fs::metadata(&path)
                .map_err(|source| Error::Partial { path, source })?
                .len();
            return Ok(Download { digest, size });
        }
        if self.settings.offline {
            return Err(Error::Offline { what: name.clone() });
        }
        self.progress.event(Event::FileStarted { name, size: None });
        let transport = self.transport()?;
        let download = self.rounds(&stop).run(name, &[address], |address| {
            let content = match transport.ask(address, Question::default())? {
                Answer::Content(content) => content,
                _ => return Err(Attempt::Absent),
            };
            self.take_unnamed(address, content)
        })?;
        self.progress.event(Event::FileFinished { name });
        Ok(download)
    }

    /// Keeps an answer whose digest nobody knows beforehand.
    fn take_unnamed(
        &self,
        address: &str,
        content: crate::transport::Content,
    ) -> Result<Download, Attempt> {
        let fatal = |error: Error| Attempt::Fatal(error);
        let file = self
            .store
            .temporary_file()
            .map_err(|error| fatal(error.into()))?;
        let (file, path) = file.into_parts();
        let mut writer = HashingWriter::new(file);
        let mut reader = content.reader;
        let size = gather::copy_all(&mut reader, &mut writer, gather::MAX_UNKNOWN, |bytes| {
            self.progress.event(Event::Advanced { bytes });
        });
        let cut = |received, source| Attempt::Passing {
            cause: Cause::Cut {
                received,
                expected: content.length,
                source,
            },
            further: false,
        };
        let size = match size {
            Ok(size) => size,
            Err(gather::CopyError::Read { received, source }) => {
                return Err(cut(received, Some(source)));
            }
            Err(gather::CopyError::Write { source }) => {
                return Err(fatal(Error::Partial {
                    path: path.to_path_buf(),
                    source,
                }));
            }
            Err(gather::CopyError::TooLong) => {
                return Err(Attempt::Refused(Error::TooLong {
                    address: address.into(),
                    limit: gather::MAX_UNKNOWN,
                }));
            }
        };
        if content.length.is_some_and(|length| length != size) {
            return Err(cut(size, None));
        }
        let (_, digest, _) = writer.finish();
        self.store
            .keep_blob(&path, &digest)
            .map_err(|error| fatal(error.into()))?;
        Ok(Download { digest, size })
    }
}

/// Whether one file's failure is every file's: no network, or no room.
fn ends_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable {
            source: Cause::Resolve { .. } | Cause::Network { .. } | Cause::Login { .. },
            ..
        } | Error::Partial { .. }
            | Error::Store(_)
    )
}
