//! Blobs on their way: taken over from another repository, or sent; and sent on from where a broken
//! connection left them, if the registry has kept that.
//!
//! A blob is sent by PATCH to an upload that a POST began, and named by a PUT with its digest: the
//! way of Docker itself, which every registry knows. It goes in one piece. If that breaks off, the
//! registry is asked how much of it it has (a GET on the upload); the rest is sent from there, in
//! smaller pieces, because a proxy before a registry often hands on whole requests only. A registry
//! that keeps nothing of an upload that broke off gets the blob from its beginning.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use kasmforge_digest::Digest;
use ureq::http::Method;

use crate::patience::{self, TRIES};
use crate::transport::{Answer, Load, Question, THOUGHT, Unanswered};
use crate::{Error, Repository, words};

/// The least that is sent as a piece: registries that keep blobs in S3 need 5 MiB for each.
const LEAST_PIECE: u64 = 5 << 20;

/// Some bytes by their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// The digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// What became of a wish to take a blob over from another repository.
#[derive(Debug)]
pub enum Mount {
    /// It is there.
    Done,
    /// It is not there; some registries then begin an upload, which may be used.
    Not(Option<Session>),
}

/// An upload that was begun.
#[derive(Debug)]
pub struct Session {
    address: String,
}

/// What is told of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// So many bytes more were sent.
    Sent(u64),
    /// So many bytes of those were lost.
    Lost(u64),
    /// It broke off, and is tried again after a pause.
    Broken {
        /// Why.
        cause: String,
        /// The pause.
        pause: Duration,
    },
    /// It goes on from this byte.
    Resumed {
        /// The byte.
        at: u64,
    },
}

/// Where a blob's bytes come from, from a byte on.
pub(crate) type Open<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + 'a;

impl Repository<'_> {
    /// Takes a blob over from another repository of the same registry, where it need not be sent.
    ///
    /// # Errors
    /// If the registry cannot be asked. That it does not want to is no error.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let address = self.address("blobs/uploads/");
        let address = crate::address::with(&address, "mount", &digest.to_string());
        let address = crate::address::with(&address, "from", from);
        let question = Question::new(Method::POST, address);
        let scopes = self.scopes(Some(from));
        let answer = match self.registry.ask(&question, Some(&[]), &scopes) {
            Ok(answer) => answer,
            // The other repository may be closed to us, or gone: no token is given for it. This one
            // is asked for by itself next.
            Err(Error::Refused { .. } | Error::LoginRefused { .. } | Error::LoginWanted { .. }) => {
                return Ok(Mount::Not(None));
            }
            Err(error) => return Err(error),
        };
        Ok(match answer.status {
            201 => Mount::Done,
            202 => Mount::Not(Some(self.session(&question.address, &answer)?)),
            _ => Mount::Not(None),
        })
    }

    /// Sends a blob, and gives the number of bytes that were sent for it.
    ///
    /// `open` gives its bytes from a place on; `told` hears what happens.
    ///
    /// # Errors
    /// If the registry refuses it, the connection breaks too often, or the bytes cannot be read.
    pub fn upload(
        &self,
        blob: &Blob,
        open: &Open<'_>,
        session: Option<Session>,
        told: &dyn Fn(Sending),
    ) -> Result<u64, Error> {
        let session = match session {
            Some(session) => session,
            None => self.begin()?,
        };
        let mut upload = Upload {
            repository: *self,
            blob,
            open,
            told,
            session,
            at: 0,
            piece: u64::MAX,
            farthest: 0,
            tries: 0,
            sent: 0,
        };
        upload.run()?;
        Ok(upload.sent)
    }

    fn begin(&self) -> Result<Session, Error> {
        let question = Question::new(Method::POST, self.address("blobs/uploads/"));
        let answer = self
            .registry
            .ask(&question, Some(&[]), &self.scopes(None))?;
        match answer.status {
            202 => self.session(&question.address, &answer),
            _ => Err(self.refusal(&answer, "beginning an upload")),
        }
    }

    fn session(&self, from: &str, answer: &Answer) -> Result<Session, Error> {
        let address = self.registry.pointed_to(from, answer)?;
        Ok(Session { address })
    }
}

/// One blob on its way.
struct Upload<'a> {
    repository: Repository<'a>,
    blob: &'a Blob,
    open: &'a Open<'a>,
    told: &'a dyn Fn(Sending),
    session: Session,
    /// So many bytes are there.
    at: u64,
    /// So many are sent at once, at most.
    piece: u64,
    /// The most that was ever there.
    farthest: u64,
    /// Failures since it last came farther than ever.
    tries: u32,
    /// Bytes sent so far, also those that were lost.
    sent: u64,
}

/// Why a request did not do what it should.
struct Trouble {
    cause: String,
    pause: Option<Duration>,
    source: Option<Box<ureq::Error>>,
}

impl Upload<'_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let trouble = if self.at < self.blob.size {
                self.send_piece()?
            } else {
                match self.name_it()? {
                    Finish::Done => return Ok(()),
                    Finish::Trouble(trouble) => Some(trouble),
                }
            };
            if let Some(trouble) = trouble {
                self.recover(trouble)?;
            }
        }
    }

    /// Sends the next piece.
    fn send_piece(&mut self) -> Result<Option<Trouble>, Error> {
        let length = self.piece.min(self.blob.size - self.at);
        let mut question = Question::new(Method::PATCH, &self.session.address)
            .header("Content-Type", "application/octet-stream")
            .patience(THOUGHT);
        if length < self.blob.size {
            let last = self.at + length - 1;
            question = question.header("Content-Range", format!("{}-{last}", self.at));
        }
        let read = |source| Error::Read {
            digest: self.blob.digest,
            source,
        };
        let mut source = Source {
            inner: (self.open)(self.at).map_err(read)?.take(length),
            told: self.told,
            sent: 0,
            failed: None,
        };
        let load = Load::Stream(&mut source, length);
        let scopes = self.repository.scopes(None);
        let answer = self.repository.registry.send(&question, load, &scopes)?;
        let (sent, failed) = (source.sent, source.failed);
        self.sent += sent;
        if let Some(source) = failed {
            return Err(read(source));
        }
        let trouble = match answer {
            Ok(answer) if matches!(answer.status, 200..=299) => {
                self.session = match answer.header("location") {
                    Some(_) => self.repository.session(&question.address, &answer)?,
                    None => Session {
                        address: question.address,
                    },
                };
                // Some registries keep less than they were sent.
                let there = range(&answer).filter(|there| *there > self.at);
                self.at = there.unwrap_or(self.at + length).min(self.at + length);
                self.came();
                return Ok(None);
            }
            Ok(answer) => match answer.status {
                413 => {
                    return Err(Error::TooLarge {
                        host: self.repository.registry.name().into(),
                        digest: self.blob.digest,
                        bytes: self.blob.size,
                    });
                }
                401 | 404 | 408 | 416 | 425 | 429 | 500..=599 => trouble_of(&answer, self.tries),
                _ => return Err(self.refused(&answer, "a part of a layer")),
            },
            Err(failed) => self.cut(failed)?,
        };
        (self.told)(Sending::Lost(sent));
        // Half of what went through this time may go through whole the next time.
        self.piece = (sent / 2).max(LEAST_PIECE);
        Ok(Some(trouble))
    }

    /// Says which digest the bytes have, which ends the upload.
    fn name_it(&mut self) -> Result<Finish, Error> {
        let digest = self.blob.digest.to_string();
        let address = crate::address::with(&self.session.address, "digest", &digest);
        let question = Question::new(Method::PUT, address)
            .header("Content-Type", "application/octet-stream")
            .patience(THOUGHT);
        let scopes = self.repository.scopes(None);
        let answer = self
            .repository
            .registry
            .send(&question, Load::Bytes(&[]), &scopes)?;
        let trouble = match answer {
            Ok(answer) => match answer.status {
                200..=299 => return Ok(Finish::Done),
                401 | 404 | 408 | 425 | 429 | 500..=599 => trouble_of(&answer, self.tries),
                _ => return Err(self.refused(&answer, "a layer's digest")),
            },
            Err(failed) => self.cut(failed)?,
        };
        // It may have been done, and only the answer was lost.
        if self.repository.has_blob(&self.blob.digest)? {
            return Ok(Finish::Done);
        }
        Ok(Finish::Trouble(trouble))
    }

    /// Goes on after something broke: from where the registry says, or from the beginning.
    fn recover(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(Error::Broken {
                host: self.repository.registry.name().into(),
                digest: self.blob.digest,
                times: self.tries,
                at: self.at,
                bytes: self.blob.size,
                source: trouble.source,
            });
        }
        let pause = trouble.pause.unwrap_or_else(|| patience::pause(self.tries));
        (self.told)(Sending::Broken {
            cause: trouble.cause,
            pause,
        });
        thread::sleep(pause);
        let before = self.at;
        if self.ask_how_far()? {
            if self.at > before {
                (self.told)(Sending::Sent(self.at - before));
            } else {
                (self.told)(Sending::Lost(before - self.at));
            }
            if self.at > 0 {
                (self.told)(Sending::Resumed { at: self.at });
            }
            self.came();
        } else {
            (self.told)(Sending::Lost(before));
            self.at = 0;
            self.session = self.repository.begin()?;
        }
        Ok(())
    }

    /// Asks how much of the blob is there; not, if the registry knows nothing of the upload any
    /// more.
    fn ask_how_far(&mut self) -> Result<bool, Error> {
        let question = Question::new(Method::GET, &self.session.address);
        let scopes = self.repository.scopes(None);
        let answer = self.repository.registry.ask(&question, None, &scopes)?;
        if !matches!(answer.status, 200..=299) {
            return Ok(false);
        }
        let Some(at) = range(&answer).filter(|at| *at <= self.blob.size) else {
            return Ok(false);
        };
        if answer.header("location").is_some() {
            self.session = self.repository.session(&question.address, &answer)?;
        }
        self.at = at;
        Ok(true)
    }

    /// Notes how far it came.
    fn came(&mut self) {
        if self.at > self.farthest {
            self.farthest = self.at;
            self.tries = 0;
        }
    }

    fn cut(&self, failed: Unanswered) -> Result<Trouble, Error> {
        if !failed.is_passing() {
            return Err(failed.told(crate::address::host(&self.session.address)));
        }
        Ok(Trouble {
            cause: failed.source.to_string(),
            pause: None,
            source: Some(failed.source),
        })
    }

    fn refused(&self, answer: &Answer, what: &str) -> Error {
        let wrong = ["DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID"];
        if wrong.iter().any(|code| words::has(answer, code)) {
            return Error::BlobRefused {
                host: self.repository.registry.name().into(),
                digest: self.blob.digest,
                words: words::of(answer),
            };
        }
        self.repository.refusal(answer, what)
    }
}

/// What became of the end of an upload.
enum Finish {
    Done,
    Trouble(Trouble),
}

fn trouble_of(answer: &Answer, tries: u32) -> Trouble {
    let words = words::of(answer);
    Trouble {
        cause: match words.as_str() {
            "" => format!("status {}", answer.status),
            words => format!("status {}, {words}", answer.status),
        },
        pause: patience::asked_for(answer, tries + 1),
        source: None,
    }
}

/// How many bytes an answer says are there: `Range: 0-9` says ten. `0-0` is said of one byte and
/// also of none; the byte is sent again.
fn range(answer: &Answer) -> Option<u64> {
    range_of(answer.header("range")?)
}

fn range_of(value: &str) -> Option<u64> {
    let value = value.strip_prefix("bytes=").unwrap_or(value);
    let (first, last) = value.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0").then_some(if last == 0 { 0 } else { last.checked_add(1)? })
}

/// The bytes of a piece, counted as they go. An error in reading them is no error of the network,
/// so it is kept apart.
struct Source<'a> {
    inner: io::Take<Box<dyn Read + Send>>,
    told: &'a dyn Fn(Sending),
    sent: u64,
    failed: Option<io::Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(0) if self.inner.limit() > 0 => {
                let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early");
                self.failed = Some(short());
                Err(short())
            }
            Ok(count) => {
                self.sent += count as u64;
                (self.told)(Sending::Sent(count as u64));
                Ok(count)
            }
            Err(error) => {
                let again = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(again)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counts() {
        for (text, count) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("0--1", None),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(range_of(text), count, "{text}");
        }
    }
}
