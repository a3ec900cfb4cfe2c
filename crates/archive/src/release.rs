//! Release files: asked for, verified, remembered.

use std::fs;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use kasmforge_deb::Release;
use kasmforge_digest::{Digest, KeyHasher, StepKey};
use serde::{Deserialize, Serialize};

use crate::error::Cause;
use crate::gather::{CopyError, copy_all};
use crate::rounds::Attempt;
use crate::signature::{self, MAX_AHEAD, Signed};
use crate::transport::{Answer, Content, Question, Transport};
use crate::{Client, Error, Event, Keyring, ValidUntil, Warning, address};

/// The longest Release file taken, in bytes: the largest real ones are near 1 MiB.
const MAX_LENGTH: u64 = 16 << 20;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// One suite of one archive: what a Release file speaks of.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The archive's name, for messages and for remembering; the same on every machine.
    pub archive: String,
    /// The base addresses of its mirrors, the best first.
    pub mirrors: Vec<String>,
    /// The suite: `trixie`, `trixie-security`; or a folder ending in `/` for an archive without
    /// `dists` and components, as in apt's sources.
    pub suite: String,
    /// Who may sign it.
    pub trust: Trust,
    /// The date the Release file must have at least: that of the one a lock was made with, so that
    /// nobody can lead back to packages that were replaced. Absent: any.
    pub not_before: Option<Timestamp>,
}

/// Who may sign an archive.
#[derive(Debug, Clone)]
pub enum Trust {
    /// A key of this keyring.
    Keyring(Keyring),
    /// Nobody needs to. For archives on one's own disk; told as a warning each time.
    Anyone,
}

/// A Release file whose signature was checked, or that needs none.
#[derive(Debug, Clone)]
pub struct VerifiedRelease {
    /// The suite asked for.
    pub suite: Suite,
    /// What it says. Read from the signed text alone.
    pub release: Release,
    /// The digest of the file as it was served, signature included (of `Release` where that is
    /// apart). Its bytes are in the store.
    pub digest: Digest,
    /// The fingerprint of the certificate that signed it; `None` only for [`Trust::Anyone`].
    pub signer: Option<String>,
    /// When the archive made it.
    pub date: Timestamp,
}

/// What the store remembers of a suite.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Memory {
    address: String,
    file: Digest,
    signature: Option<Digest>,
    etag: Option<String>,
    modified: Option<String>,
}

/// The files as they were served.
struct Served {
    address: String,
    file: Vec<u8>,
    /// `Release.gpg`, where the signature stands apart.
    signature: Option<Vec<u8>>,
    etag: Option<String>,
    modified: Option<String>,
}

impl Suite {
    /// The folder of the Release file, below a mirror's base.
    pub(crate) fn folder(&self) -> String {
        match self.suite.strip_suffix('/') {
            Some("" | ".") => String::new(),
            Some(folder) => format!("{}/", folder.trim_start_matches("./")),
            None => format!("dists/{}/", self.suite),
        }
    }

    /// Where the store remembers it.
    ///
    /// The mirrors are no part of it, so that another mirror of the same archive continues the
    /// same memory; who may sign is, so that two archives of one name do not meet.
    fn key(&self) -> StepKey {
        let key = KeyHasher::new("release 1")
            .field("archive", &self.archive)
            .field("suite", &self.suite);
        match &self.trust {
            Trust::Keyring(keyring) => key.digest("keyring", keyring.digest()).key(),
            Trust::Anyone => key.list("mirrors", &self.mirrors).key(),
        }
    }
}

impl Client<'_> {
    /// Asks for a suite's Release file and verifies it.
    ///
    /// Mirrors are asked in order until one gives a file that holds. Offline, and where a mirror
    /// says that nothing changed, it is the one the store remembers, verified anew.
    ///
    /// # Errors
    /// When no mirror can be reached, none has the suite, or none gives a file that is signed as
    /// it should be, of the right suite, and of a believable date.
    pub fn release(&self, suite: &Suite) -> Result<VerifiedRelease, Error> {
        self.progress.event(Event::Checking {
            archive: &suite.archive,
            suite: &suite.suite,
        });
        let key = suite.key();
        let memory: Option<Memory> = self.store.outcome(&key)?;
        let remembered = memory.as_ref().and_then(|memory| self.recall(memory));
        let (verified, served) = if self.settings.offline {
            let served = remembered.ok_or_else(|| Error::Offline {
                what: format!("the Release file of {} {}", suite.archive, suite.suite),
            })?;
            let verified = self.verify(suite, &served)?;
            not_older(&verified, &served.address)?;
            (verified, served)
        } else {
            self.ask(suite, remembered.as_ref())?
        };
        self.judge_dates(&verified, memory.as_ref(), &served)?;
        let keep = Memory {
            address: served.address.clone(),
            file: self.store.keep_bytes(&served.file)?,
            signature: match &served.signature {
                Some(signature) => Some(self.store.keep_bytes(signature)?),
                None => None,
            },
            etag: served.etag,
            modified: served.modified,
        };
        self.store.record(&key, &keep)?;
        Ok(verified)
    }

    /// The files as they were served last; `None` where they are gone or damaged.
    fn recall(&self, memory: &Memory) -> Option<Served> {
        let read = |digest: &Digest| {
            let bytes = fs::read(self.store.blob_path(digest)).ok()?;
            (Digest::of(&bytes) == *digest).then_some(bytes)
        };
        Some(Served {
            address: memory.address.clone(),
            file: read(&memory.file)?,
            signature: match &memory.signature {
                Some(digest) => Some(read(digest)?),
                None => None,
            },
            etag: memory.etag.clone(),
            modified: memory.modified.clone(),
        })
    }

    /// Asks the mirrors in turn until one gives a file that holds.
    fn ask(
        &self,
        suite: &Suite,
        remembered: Option<&Served>,
    ) -> Result<(VerifiedRelease, Served), Error> {
        let transport = self.transport()?;
        let stop = AtomicBool::new(false);
        let folder = suite.folder();
        let folders: Vec<_> = suite
            .mirrors
            .iter()
            .map(|base| address::join(base, &folder))
            .collect();
        let name = format!("the Release file of {} {}", suite.archive, suite.suite);
        self.rounds(&stop).run(&name, &folders, |folder| {
            let folder = folder.trim_end_matches('/');
            let served = serve(transport, suite, folder, remembered)?;
            let verified = self.verify(suite, &served).map_err(Attempt::Refused)?;
            self.believable(&verified, &served.address)
                .map_err(Attempt::Refused)?;
            Ok((verified, served))
        })
    }

    /// Verifies what was served, and reads the signed text.
    fn verify(&self, suite: &Suite, served: &Served) -> Result<VerifiedRelease, Error> {
        let refused = |source| Error::Signature {
            address: served.address.clone(),
            source,
        };
        let (text, signer) = match (&suite.trust, &served.signature) {
            (Trust::Keyring(keyring), None) => {
                let Signed { text, signer } =
                    signature::verify_inline(&served.file, keyring, self.settings.now)
                        .map_err(refused)?;
                (text, Some(signer))
            }
            (Trust::Keyring(keyring), Some(signature)) => {
                let Signed { text, signer } =
                    signature::verify_detached(&served.file, signature, keyring, self.settings.now)
                        .map_err(refused)?;
                (text, Some(signer))
            }
            (Trust::Anyone, _) => (served.file.clone(), None),
        };
        let release = Release::from_str(&String::from_utf8_lossy(&text)).map_err(|source| {
            Error::Release {
                address: served.address.clone(),
                source,
            }
        })?;
        let verified = VerifiedRelease {
            suite: suite.clone(),
            digest: Digest::of(&served.file),
            signer,
            date: timestamp(release.date),
            release,
        };
        self.of_suite(&verified, &served.address)?;
        Ok(verified)
    }

    /// Refuses the Release file of another suite, which the same keys have signed.
    fn of_suite(&self, verified: &VerifiedRelease, address: &str) -> Result<(), Error> {
        let wanted = verified.suite.suite.as_str();
        let release = &verified.release;
        let names: Vec<_> = [&release.codename, &release.suite]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        // An archive without `dists` has no suites to mix up; and old security archives wrote
        // `buster/updates` where their Release file says `buster`.
        let first = wanted.split('/').next().unwrap_or(wanted);
        if matches!(verified.suite.trust, Trust::Anyone)
            || wanted.ends_with('/')
            || names.is_empty()
            || names.iter().any(|name| *name == wanted || *name == first)
        {
            return Ok(());
        }
        Err(Error::OtherSuite {
            address: address.into(),
            wanted: wanted.into(),
            found: names.join(" alias "),
        })
    }

    /// Refuses dates that no honest mirror serves.
    fn believable(&self, verified: &VerifiedRelease, address: &str) -> Result<(), Error> {
        let now = self.settings.now;
        not_older(verified, address)?;
        if signature::ahead(verified.date, now) > MAX_AHEAD {
            return Err(Error::Future {
                address: address.into(),
                date: verified.date,
            });
        }
        if let (Some(valid_until), ValidUntil::Tolerate { days }) =
            (verified.release.valid_until, self.settings.valid_until)
            && now.as_second() > valid_until.saturating_add(i64::from(days) * SECONDS_A_DAY)
        {
            return Err(Error::Stale {
                address: address.into(),
                valid_until: timestamp(valid_until),
            });
        }
        Ok(())
    }

    /// Tells what should be read about a Release file that is taken.
    fn judge_dates(
        &self,
        verified: &VerifiedRelease,
        memory: Option<&Memory>,
        served: &Served,
    ) -> Result<(), Error> {
        let (archive, suite) = (&verified.suite.archive, &verified.suite.suite);
        let warn = |warning| self.progress.event(Event::Warning(warning));
        if matches!(verified.suite.trust, Trust::Anyone) {
            warn(Warning::Unsigned {
                archive: archive.clone(),
                suite: suite.clone(),
            });
        }
        if let Some(valid_until) = verified.release.valid_until
            && self.settings.now.as_second() > valid_until
        {
            warn(Warning::Stale {
                archive: archive.clone(),
                suite: suite.clone(),
                valid_until: timestamp(valid_until),
            });
        }
        // What was verified once is verified again before its date is believed.
        let before = memory
            .filter(|memory| memory.file != Digest::of(&served.file))
            .and_then(|memory| self.recall(memory))
            .and_then(|before| self.verify(&verified.suite, &before).ok());
        if let Some(before) = before
            && before.date > verified.date
        {
            warn(Warning::Older {
                archive: archive.clone(),
                suite: suite.clone(),
                date: verified.date,
                seen: before.date,
            });
        }
        Ok(())
    }
}

/// Refuses what is older than it must be.
fn not_older(verified: &VerifiedRelease, address: &str) -> Result<(), Error> {
    match verified.suite.not_before {
        Some(seen) if verified.date < seen => Err(Error::Older {
            address: address.into(),
            date: verified.date,
            seen,
        }),
        _ => Ok(()),
    }
}

/// Asks one mirror for a suite's files.
fn serve(
    transport: &Transport,
    suite: &Suite,
    folder: &str,
    remembered: Option<&Served>,
) -> Result<Served, Attempt> {
    let at = |name: &str| format!("{folder}/{name}");
    if matches!(suite.trust, Trust::Anyone) {
        return match get(transport, &at("Release"), remembered)? {
            Some(served) => Ok(served),
            None => Err(Attempt::Absent),
        };
    }
    if let Some(served) = get(transport, &at("InRelease"), remembered)? {
        return Ok(served);
    }
    // Simple archives keep the signature apart.
    let Some(mut served) = get(transport, &at("Release"), None)? else {
        return Err(Attempt::Absent);
    };
    let Some(signature) = get(transport, &at("Release.gpg"), None)? else {
        return Err(Attempt::Absent);
    };
    served.signature = Some(signature.file);
    Ok(served)
}

/// Gets one small file, or what is remembered of it where it has not changed; `None` where it does
/// not exist.
fn get(
    transport: &Transport,
    address: &str,
    remembered: Option<&Served>,
) -> Result<Option<Served>, Attempt> {
    let remembered = remembered.filter(|served| served.address == address);
    let question = Question {
        from: 0,
        etag: remembered.and_then(|served| served.etag.as_deref()),
        modified: remembered.and_then(|served| served.modified.as_deref()),
    };
    match (transport.ask(address, question)?, remembered) {
        (Answer::Content(content), _) => take(address, content).map(Some),
        (Answer::Unchanged, Some(served)) => Ok(Some(Served {
            address: served.address.clone(),
            file: served.file.clone(),
            signature: served.signature.clone(),
            etag: served.etag.clone(),
            modified: served.modified.clone(),
        })),
        (Answer::Unchanged | Answer::Absent | Answer::NoSuchPart, _) => Ok(None),
    }
}

fn take(address: &str, mut content: Content) -> Result<Served, Attempt> {
    let cut = |received, source| Attempt::Passing {
        cause: Cause::Cut {
            received,
            expected: content.length,
            source,
        },
        further: false,
    };
    let mut file = Vec::new();
    match copy_all(&mut content.reader, &mut file, MAX_LENGTH, |_| {}) {
        Ok(length) if content.length.is_some_and(|whole| whole != length) => Err(cut(length, None)),
        Ok(_) => Ok(Served {
            address: address.into(),
            file,
            signature: None,
            etag: content.etag,
            modified: content.modified,
        }),
        Err(CopyError::Read { received, source }) => Err(cut(received, Some(source))),
        Err(CopyError::Write { .. } | CopyError::TooLong) => {
            Err(Attempt::Refused(Error::TooLong {
                address: address.into(),
                limit: MAX_LENGTH,
            }))
        }
    }
}

fn timestamp(seconds: i64) -> Timestamp {
    let earliest = Timestamp::MIN;
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
        earliest
    } else {
        Timestamp::MAX
    })
}
