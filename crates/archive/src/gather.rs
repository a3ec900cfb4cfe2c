//! One file, by its digest, gathered in the store's `partial` folder until it is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kasmforge_digest::{Digest, Hasher};
use kasmforge_store::Store;

use crate::error::Cause;
use crate::rounds::{Attempt, Rounds};
use crate::transport::{Answer, Content, Question, Transport};
use crate::{Error, Event, Progress};

/// How many bytes are read at once.
const CHUNK: usize = 128 << 10;

/// The longest file fetched without knowing its size, in bytes.
pub(crate) const MAX_UNKNOWN: u64 = 16 << 30;

/// A file that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    /// Its path or address, for messages.
    pub(crate) name: &'a str,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its size, where it is known.
    pub(crate) size: Option<u64>,
    /// Where to ask for it.
    pub(crate) addresses: &'a [String],
}

/// A file that is whole, its digest checked, and not yet named.
pub(crate) struct Gathered {
    partial: Partial,
    /// The bytes that came over the network in this run.
    pub(crate) fetched: u64,
}

impl Gathered {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.partial.path
    }

    /// Gives it its name in the store.
    pub(crate) fn keep(self, store: &Store, digest: &Digest) -> Result<(), Error> {
        store.keep_blob(&self.partial.path, digest)?;
        Ok(())
    }

    /// Removes it.
    pub(crate) fn discard(self) -> Result<(), Error> {
        fs::remove_file(&self.partial.path).map_err(|source| Error::Partial {
            path: self.partial.path.clone(),
            source,
        })
    }
}

/// Gathers a file: from the bytes of an earlier run, and the rest from a mirror.
///
/// `done` is asked again once the file is ours alone: another process may have finished it while
/// we waited. `None` says that it has.
pub(crate) fn gather(
    store: &Store,
    transport: &Transport,
    rounds: &Rounds<'_>,
    job: Job<'_>,
    done: impl Fn() -> bool,
) -> Result<Option<Gathered>, Error> {
    let mut partial = Partial::open(store.partial_path(&job.digest))?;
    if done() {
        partial.leave();
        return Ok(None);
    }
    partial
        .read_back(job.size)
        .map_err(|source| partial.failed(source))?;
    if partial.length > 0 {
        rounds.progress.event(Event::Advanced {
            bytes: partial.length,
        });
    }
    // Cut off between the last byte and the rename: nothing needs to be asked for.
    if partial.length > 0
        && job.size.is_none_or(|size| size == partial.length)
        && partial.digest() == job.digest
    {
        return Ok(Some(Gathered {
            partial,
            fetched: 0,
        }));
    }
    let mut furthest = partial.length;
    let mut fetched = 0;
    let result = rounds.run(job.name, job.addresses, |address| {
        let before = fetched;
        let result = receive(transport, rounds, job, address, &mut partial, &mut fetched);
        let further = partial.length > furthest;
        furthest = furthest.max(partial.length);
        match result {
            Err(Attempt::Passing { cause, .. }) => {
                tracing::debug!(address, bytes = fetched - before, %cause, "attempt failed");
                Err(Attempt::Passing { cause, further })
            }
            other => other,
        }
    });
    match result {
        Ok(()) => Ok(Some(Gathered { partial, fetched })),
        Err(error) => {
            partial.leave();
            Err(error)
        }
    }
}

/// One attempt at one address; on success the file is whole and right.
fn receive(
    transport: &Transport,
    rounds: &Rounds<'_>,
    job: Job<'_>,
    address: &str,
    partial: &mut Partial,
    fetched: &mut u64,
) -> Result<(), Attempt> {
    // As long as it may be, and yet wrong: what is there is of no use.
    if job.size.is_some_and(|size| partial.length >= size) {
        partial.restart(rounds.progress)?;
    }
    let resumed = partial.length > 0;
    let question = Question {
        from: partial.length,
        ..Question::default()
    };
    let mut content = match transport.ask(address, question)? {
        Answer::Content(content) => content,
        Answer::Absent | Answer::Unchanged => return Err(Attempt::Absent),
        // A server that says so of a whole file says nothing we could use.
        Answer::NoSuchPart if partial.length == 0 => return Err(Attempt::Absent),
        Answer::NoSuchPart => {
            partial.restart(rounds.progress)?;
            return receive_whole(transport, rounds, job, address, partial, fetched);
        }
    };
    if let (Some(found), Some(expected)) = (content.length, job.size)
        && found != expected
    {
        return Err(Attempt::Wrong(Error::OtherLength {
            address: address.into(),
            expected,
            found,
        }));
    }
    if content.from != partial.length {
        if content.from != 0 {
            return Err(Attempt::Failed(Cause::Range {
                host: crate::address::host(address).into(),
            }));
        }
        // A server that knows no ranges begins anew.
        partial.restart(rounds.progress)?;
    }
    let resumed = resumed && content.from > 0;
    copy(rounds, job, address, &mut content, partial, fetched)?;
    let found = partial.digest();
    if found == job.digest {
        return Ok(());
    }
    partial.restart(rounds.progress)?;
    if resumed {
        // The fault may lie in the bytes of an earlier run, or of another mirror.
        return receive_whole(transport, rounds, job, address, partial, fetched);
    }
    Err(Attempt::Wrong(Error::OtherBytes {
        address: address.into(),
        expected: job.digest,
        found,
    }))
}

/// The same once more, with nothing to build upon: this recursion is one level deep.
fn receive_whole(
    transport: &Transport,
    rounds: &Rounds<'_>,
    job: Job<'_>,
    address: &str,
    partial: &mut Partial,
    fetched: &mut u64,
) -> Result<(), Attempt> {
    debug_assert_eq!(partial.length, 0, "a whole file begins at its beginning");
    receive(transport, rounds, job, address, partial, fetched)
}

/// Copies an answer behind what is there.
fn copy(
    rounds: &Rounds<'_>,
    job: Job<'_>,
    address: &str,
    content: &mut Content,
    partial: &mut Partial,
    fetched: &mut u64,
) -> Result<(), Attempt> {
    let expected = job.size.or(content.length);
    let limit = job.size.unwrap_or(MAX_UNKNOWN);
    let mut buffer = vec![0; CHUNK];
    loop {
        if rounds.stop.load(Ordering::Relaxed) {
            return Err(Attempt::Fatal(Error::GivenUp {
                name: job.name.into(),
            }));
        }
        let count = match content.reader.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Attempt::Passing {
                    cause: Cause::Cut {
                        received: partial.length,
                        expected,
                        source: Some(error),
                    },
                    further: false,
                });
            }
        };
        if count == 0 {
            break;
        }
        *fetched += count as u64;
        if partial.length + count as u64 > limit {
            partial.restart(rounds.progress)?;
            return Err(Attempt::Wrong(match job.size {
                Some(expected) => Error::OtherLength {
                    address: address.into(),
                    expected,
                    found: limit + 1,
                },
                None => Error::TooLong {
                    address: address.into(),
                    limit,
                },
            }));
        }
        partial
            .append(&buffer[..count])
            .map_err(|source| Attempt::Fatal(partial.failed(source)))?;
        rounds.progress.event(Event::Advanced {
            bytes: count as u64,
        });
    }
    if expected.is_some_and(|expected| partial.length < expected) {
        return Err(Attempt::Passing {
            cause: Cause::Cut {
                received: partial.length,
                expected,
                source: None,
            },
            further: false,
        });
    }
    Ok(())
}

/// A file that grows; locked, so that two builds never write into the same.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Opens and locks it; waits while another build has it.
    fn open(path: PathBuf) -> Result<Self, Error> {
        let opened = (|| loop {
            let opened = File::options()
                .read(true)
                .append(true)
                .create(true)
                .open(&path);
            let file = match opened {
                // A kill between the file's becoming read-only and its being renamed.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
                    File::options().read(true).append(true).open(&path)?
                }
                other => other?,
            };
            file.lock()?;
            // Whoever had it may have renamed or removed it meanwhile: then this is another file
            // than the one of that name now.
            match fs::symlink_metadata(&path) {
                Ok(found) if found.ino() == file.metadata()?.ino() => return Ok(file),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        })();
        match opened {
            Ok(file) => Ok(Self {
                path,
                file,
                hasher: Hasher::new(),
                length: 0,
            }),
            Err(source) => Err(Error::Partial { path, source }),
        }
    }

    /// Hashes what an earlier run left; drops it where it is longer than the file can be.
    fn read_back(&mut self, size: Option<u64>) -> io::Result<()> {
        if size.is_some_and(|size| self.file.metadata().is_ok_and(|found| found.len() > size)) {
            return self.clear();
        }
        self.file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = self.file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..count]);
            self.length += count as u64;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.hasher = Hasher::new();
        self.length = 0;
        Ok(())
    }

    /// Begins anew, and says so.
    fn restart(&mut self, progress: &dyn Progress) -> Result<(), Attempt> {
        let bytes = self.length;
        self.clear()
            .map_err(|source| Attempt::Fatal(self.failed(source)))?;
        if bytes > 0 {
            progress.event(Event::Restarted { bytes });
        }
        Ok(())
    }

    /// Leaves it for the next run, if there is anything in it.
    fn leave(self) {
        if self.length == 0 {
            // Still locked, so it is the file of that name; and an empty one harms nobody.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Partial {
            path: self.path.clone(),
            source,
        }
    }
}

/// How a copy failed.
pub(crate) enum CopyError {
    /// The reader's side.
    Read { received: u64, source: io::Error },
    /// The writer's side.
    Write { source: io::Error },
    /// There is more than the limit.
    TooLong,
}

/// Copies everything, up to a limit; tells which side failed.
pub(crate) fn copy_all(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    limit: u64,
    mut advanced: impl FnMut(u64),
) -> Result<u64, CopyError> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(CopyError::Read {
                    received: length,
                    source,
                });
            }
        };
        length += count as u64;
        if length > limit {
            return Err(CopyError::TooLong);
        }
        writer
            .write_all(&buffer[..count])
            .map_err(|source| CopyError::Write { source })?;
        advanced(count as u64);
    }
}
