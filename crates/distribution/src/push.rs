//! A whole image on its way: several layers at once, nothing that is there already.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kasmforge_digest::Digest;

use crate::upload::Sending;
use crate::{Blob, Error, Mount, Put, Repository};

/// Whatever goes wrong while an image is made ready.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many other repositories are asked for a blob, at most.
const MOST_MOUNTS: usize = 3;

/// An image, as a registry is to have it.
pub trait Image: Sync {
    /// How many layers it has.
    fn layers(&self) -> usize;

    /// What a layer is in the registry, if that is known without making it.
    fn known(&self, layer: usize) -> Option<Blob>;

    /// What a layer is in the registry. This may compress it, which takes time.
    ///
    /// # Errors
    /// If it cannot be made.
    fn layer(&self, layer: usize) -> Result<Blob, Failure>;

    /// The bytes of a layer from a place on. This may make them again, where they were made once
    /// and then removed.
    ///
    /// # Errors
    /// If they are not there.
    fn open(&self, layer: usize, from: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Its configuration.
    fn config(&self) -> &[u8];

    /// Its manifest, and the media type of that.
    ///
    /// # Errors
    /// If it cannot be described.
    fn manifest(&self, layers: &[Blob]) -> Result<(&'static str, Vec<u8>), Failure>;
}

/// Remembers which repositories of a registry had a blob. What it says is never relied on.
pub trait Memory: Sync {
    /// Repositories that had it, the likeliest first.
    fn places(&self, registry: &str, digest: &Digest) -> Vec<String>;

    /// Notes that a repository has it.
    fn note(&self, registry: &str, repository: &str, digest: &Digest);
}

/// Hears how a push goes, from several threads.
pub trait Observer: Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// What happens in a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A blob of so many bytes is going to be sent.
    Started {
        /// Its length.
        bytes: u64,
    },
    /// So many bytes more were sent.
    Sent {
        /// How many.
        bytes: u64,
    },
    /// So many bytes of those were lost.
    Lost {
        /// How many.
        bytes: u64,
    },
    /// An upload broke off; it is tried again after a pause.
    Broken {
        /// The blob.
        digest: Digest,
        /// Why.
        cause: String,
        /// The pause.
        pause: Duration,
    },
    /// An upload goes on where it broke off.
    Resumed {
        /// The blob.
        digest: Digest,
        /// How many bytes of it are there.
        at: u64,
    },
    /// The registry lost blobs it said to have: all are sent.
    SendingAll,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The tags the image is to have. With none it is there by its digest alone.
    pub tags: &'a [String],
    /// How many layers are on their way at once, at most.
    pub at_once: usize,
    /// Only tells what would be done.
    pub dry: bool,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was there.
    There,
    /// It was taken over from another repository.
    Mounted {
        /// The repository.
        from: String,
    },
    /// It was sent.
    Sent {
        /// How many bytes that took; more than its length if the connection broke.
        bytes: u64,
    },
    /// It is missing, and would be sent.
    Missing,
}

/// A layer that was brought to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// What it is there.
    pub blob: Blob,
    /// How it came there.
    pub fate: Fate,
}

/// An image that was brought to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<PushedLayer>,
    /// How its configuration came there.
    pub config: PushedLayer,
    /// The tags that mean it now and did not before.
    pub tagged: Vec<String>,
    /// Whether the repository had it under this digest.
    pub already_there: bool,
}

/// Brings an image to a repository.
///
/// # Errors
/// Whatever [`Error`] names. What arrived by then stays, and need not be sent again; no tag means
/// the image before all of it is there.
pub fn push(
    repository: &Repository<'_>,
    image: &dyn Image,
    order: &Order<'_>,
    memory: &dyn Memory,
    observer: &dyn Observer,
) -> Result<Pushed, Error> {
    let pushing = Pushing {
        repository,
        image,
        order,
        memory,
        observer,
        taken: Mutex::default(),
    };
    pushing.run()
}

struct Pushing<'a> {
    repository: &'a Repository<'a>,
    image: &'a dyn Image,
    order: &'a Order<'a>,
    memory: &'a dyn Memory,
    observer: &'a dyn Observer,
    /// Blobs that a thread is bringing: two layers may be the same bytes.
    taken: Mutex<BTreeSet<Digest>>,
}

impl Pushing<'_> {
    fn run(&self) -> Result<Pushed, Error> {
        let known: Option<Vec<Blob>> = (0..self.image.layers())
            .map(|layer| self.image.known(layer))
            .collect();
        if let Some(blobs) = known
            && let Some(there) = self.look(&blobs)?
        {
            return self.name(there);
        }
        let mut pushed = self.bring(true)?;
        if !self.order.dry && !self.stand(&pushed)? {
            // Whatever was said to be there is sent now, once.
            self.observer.event(Event::SendingAll);
            pushed = self.bring(false)?;
            if !self.stand(&pushed)? {
                return Err(Error::Forgetful {
                    host: self.repository.registry.name().into(),
                    repository: self.repository.path.into(),
                });
            }
        }
        self.name(pushed)
    }

    /// The image, if the repository has it whole.
    fn look(&self, blobs: &[Blob]) -> Result<Option<Pushed>, Error> {
        let there = |blob: Blob| PushedLayer {
            blob,
            fate: Fate::There,
        };
        let pushed = Pushed {
            digest: Digest::of(&self.manifest(blobs)?.1),
            layers: blobs.iter().copied().map(there).collect(),
            config: there(self.config()),
            tagged: Vec::new(),
            already_there: true,
        };
        let found = self.repository.manifest(&pushed.digest.to_string())?;
        Ok((found == Some(pushed.digest)).then_some(pushed))
    }

    fn manifest(&self, blobs: &[Blob]) -> Result<(&'static str, Vec<u8>), Error> {
        let made = self.image.manifest(blobs);
        made.map_err(|source| Error::Image { source })
    }

    fn config(&self) -> Blob {
        Blob {
            digest: Digest::of(self.image.config()),
            size: self.image.config().len() as u64,
        }
    }

    /// Brings all blobs; with `asking`, only those the repository says it lacks.
    fn bring(&self, asking: bool) -> Result<Pushed, Error> {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let count = self.image.layers();
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<Option<PushedLayer>>> = Mutex::new(vec![None; count]);
        let error: Mutex<Option<Error>> = Mutex::default();
        let work = || {
            loop {
                let layer = next.fetch_add(1, Ordering::Relaxed);
                if layer >= count || failed.load(Ordering::Relaxed) {
                    return;
                }
                match self.layer(layer, asking) {
                    Ok(pushed) => {
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done[layer] = Some(pushed);
                    }
                    Err(one) => {
                        // The others end what they are at: it counts the next time.
                        failed.store(true, Ordering::Relaxed);
                        let mut error = error.lock().unwrap_or_else(PoisonError::into_inner);
                        error.get_or_insert(one);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.order.at_once.clamp(1, count.max(1)) {
                scope.spawn(work);
            }
        });
        if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let layers = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let layers: Vec<PushedLayer> = layers.into_iter().flatten().collect();
        assert_eq!(
            layers.len(),
            count,
            "every layer was brought, or one failed"
        );
        let config = self.config();
        let bytes = |from: u64| -> io::Result<Box<dyn Read + Send>> {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            let rest = self.image.config().get(from..).unwrap_or_default();
            Ok(Box::new(io::Cursor::new(rest.to_vec())))
        };
        let config = self.blob(config, &bytes, asking)?;
        let blobs: Vec<Blob> = layers.iter().map(|layer| layer.blob).collect();
        Ok(Pushed {
            digest: Digest::of(&self.manifest(&blobs)?.1),
            layers,
            config,
            tagged: Vec::new(),
            already_there: false,
        })
    }

    fn layer(&self, layer: usize, asking: bool) -> Result<PushedLayer, Error> {
        let blob = match self.image.known(layer) {
            Some(blob) => blob,
            None => {
                let made = self.image.layer(layer);
                made.map_err(|source| Error::Image { source })?
            }
        };
        self.blob(blob, &|from| self.image.open(layer, from), asking)
    }

    fn blob(
        &self,
        blob: Blob,
        open: &dyn Fn(u64) -> io::Result<Box<dyn Read + Send>>,
        asking: bool,
    ) -> Result<PushedLayer, Error> {
        let first = self
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(blob.digest);
        let fate = if !first || (asking && self.repository.has_blob(&blob.digest)?) {
            Fate::There
        } else if self.order.dry {
            Fate::Missing
        } else {
            self.bring_blob(&blob, open, asking)?
        };
        let pushed = PushedLayer { blob, fate };
        if pushed.fate != Fate::Missing {
            let (registry, path) = (self.repository.registry.name(), self.repository.path);
            self.memory.note(registry, path, &blob.digest);
        }
        Ok(pushed)
    }

    fn bring_blob(
        &self,
        blob: &Blob,
        open: &dyn Fn(u64) -> io::Result<Box<dyn Read + Send>>,
        asking: bool,
    ) -> Result<Fate, Error> {
        let digest = blob.digest;
        let mut session = None;
        if asking {
            let places = self.memory.places(self.repository.registry.name(), &digest);
            let others = places.iter().filter(|path| *path != self.repository.path);
            for from in others.take(MOST_MOUNTS) {
                match self.repository.mount(&digest, from)? {
                    Mount::Done => return Ok(Fate::Mounted { from: from.clone() }),
                    Mount::Not(Some(begun)) => {
                        // The next one asked would begin another.
                        session = Some(begun);
                        break;
                    }
                    Mount::Not(None) => {}
                }
            }
        }
        self.observer.event(Event::Started { bytes: blob.size });
        let told = |sending: Sending| {
            let event = match sending {
                Sending::Sent(bytes) => Event::Sent { bytes },
                Sending::Lost(bytes) => Event::Lost { bytes },
                Sending::Broken { cause, pause } => Event::Broken {
                    digest,
                    cause,
                    pause,
                },
                Sending::Resumed { at } => Event::Resumed { digest, at },
            };
            self.observer.event(event);
        };
        let bytes = self.repository.upload(blob, open, session, &told)?;
        Ok(Fate::Sent { bytes })
    }

    /// Puts the manifest under its own digest. Whether the repository has all its blobs.
    fn stand(&self, pushed: &Pushed) -> Result<bool, Error> {
        self.put(pushed, &pushed.digest.to_string())
    }

    fn put(&self, pushed: &Pushed, reference: &str) -> Result<bool, Error> {
        let blobs: Vec<Blob> = pushed.layers.iter().map(|layer| layer.blob).collect();
        let (kind, manifest) = self.manifest(&blobs)?;
        let put = self.repository.put_manifest(reference, kind, &manifest)?;
        Ok(put == Put::Done)
    }

    /// Gives an image that is there its tags.
    fn name(&self, mut pushed: Pushed) -> Result<Pushed, Error> {
        for tag in self.order.tags {
            if self.repository.manifest(tag)? == Some(pushed.digest) {
                continue;
            }
            if !self.order.dry && !self.put(&pushed, tag)? {
                return Err(Error::Forgetful {
                    host: self.repository.registry.name().into(),
                    repository: self.repository.path.into(),
                });
            }
            pushed.tagged.push(tag.clone());
        }
        Ok(pushed)
    }
}
