//! Giving an image to an engine.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bollard::errors::Error as DockerError;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ImportImageOptions, ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::{StreamExt as _, stream};
use kasmforge_digest::{Digest, Hasher};

use crate::archive::{ImageArchive, Upload};
use crate::engine::{Engine, Store, status};
use crate::{Error, Reference};

/// An engine answers a load only once all is unpacked, which for a large image on a slow disk
/// takes long; what guards against silence meanwhile is [`PATIENCE`].
const LOAD: Duration = Duration::from_secs(6 * 3600);
/// How long an engine may take nothing of what is sent.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
/// The repository in which images stand until they are verified.
const STAGING: &str = "docker.io/kasmforge-staging";

/// What happens during a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadEvent {
    /// The archive is on its way.
    Sending {
        /// Bytes sent.
        sent: u64,
        /// Bytes to send.
        length: u64,
    },
    /// All is sent; the engine unpacks.
    Unpacking,
    /// The engine says it has the image; that is being verified.
    Verifying,
    /// The engine lacked a layer it seemed to have: everything is sent after all.
    SendingAll {
        /// What went wrong.
        problem: String,
    },
}

/// An image that an engine has, verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The image's name.
    pub reference: Reference,
    /// The image's id in this engine.
    pub image_id: Digest,
    /// How the engine keeps images.
    pub store: Store,
    /// How many layers the image has.
    pub layers_total: usize,
    /// How many of them were sent.
    pub layers_sent: usize,
    /// How many bytes were sent in all.
    pub bytes_sent: u64,
    /// Whether the engine had the image.
    pub already_there: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Engine {
    /// Gives an image to the engine, and verifies that it has it.
    ///
    /// Only layers the engine lacks are sent. An engine's word is not taken for it: with the
    /// containerd store a load with missing layers reports success and has moved the tag. So the
    /// image first gets a name of ours; its id and layers are compared; and only then its own name
    /// is set. If anything fails, the name still means what it meant before.
    ///
    /// # Errors
    /// If the archive cannot be read, or the engine refuses it, makes another image of it, stops
    /// reading or goes away.
    pub fn load(
        &self,
        image: &ImageArchive,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Loaded, Error> {
        let started = Instant::now();
        let reference = Reference::parse(&image.reference)?;
        let id = match self.about().store {
            Store::Classic => image.config,
            Store::Containerd => image.manifest,
        };
        let mut loaded = Loaded {
            reference: reference.clone(),
            image_id: id,
            store: self.about().store,
            layers_total: image.diff_ids.len(),
            layers_sent: 0,
            bytes_sent: 0,
            already_there: true,
            seconds: 0.0,
        };
        if self.problem_with(&id.to_string(), id, image)?.is_some() {
            loaded.already_there = false;
            let staging = Reference {
                repository: format!("{STAGING}/{}", reference.name()),
                tag: id.hex()[..12].to_owned(),
            };
            let mut omitted = self.layers_there(&image.diff_ids)?;
            loop {
                let sent = self.stage(image, &staging, id, &omitted, progress);
                loaded.layers_sent = image
                    .diff_ids
                    .iter()
                    .filter(|layer| !omitted.contains(layer))
                    .count();
                match sent {
                    Ok(bytes) => {
                        loaded.bytes_sent += bytes;
                        break;
                    }
                    Err(error) => {
                        self.untag(&staging);
                        let guess = matches!(
                            error,
                            Error::ImageRefused { .. } | Error::ImageDiffers { .. }
                        );
                        if !guess || omitted.is_empty() {
                            return Err(error.of(&reference));
                        }
                        progress(LoadEvent::SendingAll {
                            problem: error.to_string(),
                        });
                        omitted.clear();
                    }
                }
            }
            self.tag(&staging.to_string(), &reference)?;
            self.untag(&staging);
        } else {
            self.tag(&id.to_string(), &reference)?;
        }
        if let Some(problem) = self.problem_with(&reference.to_string(), id, image)? {
            return Err(Error::ImageDiffers { reference, problem });
        }
        loaded.seconds = started.elapsed().as_secs_f64();
        Ok(loaded)
    }

    /// Sends the archive under the staging name and verifies what became of it. Answers how many
    /// bytes were sent.
    fn stage(
        &self,
        image: &ImageArchive,
        staging: &Reference,
        id: Digest,
        omitted: &BTreeSet<Digest>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<u64, Error> {
        let upload = Upload::new(image, staging, |layer| omitted.contains(layer))?;
        let (sent, length) = (upload.sent(), upload.length);
        let refused = |said: String| {
            if said.contains("no space left on device") {
                return Error::EngineFull {
                    source: said.into(),
                };
            }
            Error::ImageRefused {
                reference: staging.clone(),
                said,
            }
        };
        self.wait(async {
            let docker = self.docker.clone().with_timeout(LOAD);
            let mut answers = Box::pin(docker.import_image_stream(
                ImportImageOptions::default(),
                stream::iter(upload),
                None,
            ));
            let mut before = (0, Instant::now());
            let mut unpacking = false;
            loop {
                tokio::select! {
                    answer = answers.next() => match answer {
                        None => return Ok(()),
                        Some(Ok(line)) => {
                            // With the containerd store this is the only sign of a failed load.
                            let said = line.stream.unwrap_or_default();
                            if said.starts_with("Error unpacking image") {
                                return Err(refused(said.trim_end().to_owned()));
                            }
                        }
                        Some(Err(DockerError::DockerStreamError { error })) => return Err(refused(error)),
                        Some(Err(error)) if status(&error).is_some() => return Err(refused(error.to_string())),
                        Some(Err(error)) => {
                            return Err(self.failed("load", &image.path.display().to_string(), error));
                        }
                    },
                    () = tokio::time::sleep(TICK) => {}
                }
                let now = sent.load(Ordering::Relaxed);
                if now > before.0 {
                    before = (now, Instant::now());
                    progress(LoadEvent::Sending { sent: now, length });
                }
                if now == length && !unpacking {
                    unpacking = true;
                    progress(LoadEvent::Unpacking);
                }
                if now < length && before.1.elapsed() > PATIENCE {
                    return Err(Error::Stalled { sent: now, length, patience: PATIENCE });
                }
            }
        })?;
        progress(LoadEvent::Verifying);
        match self.problem_with(&staging.to_string(), id, image)? {
            None => Ok(sent.load(Ordering::Relaxed)),
            Some(problem) => Err(Error::ImageDiffers {
                reference: staging.clone(),
                problem,
            }),
        }
    }

    /// What keeps an image of the engine, named by reference or id, from being the archive's.
    fn problem_with(
        &self,
        name: &str,
        id: Digest,
        image: &ImageArchive,
    ) -> Result<Option<String>, Error> {
        let Some(found) = self.image(name)? else {
            return Ok(Some("the engine does not have it".to_owned()));
        };
        let Some(found_id) = found.id else {
            return Ok(Some("some of its content is missing".to_owned()));
        };
        if found_id != id.to_string() {
            return Ok(Some(format!("its id is {found_id} and should be {id}")));
        }
        let layers = found.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
        if !layers
            .into_iter()
            .eq(image.diff_ids.iter().map(Digest::to_string))
        {
            return Ok(Some("its layers are other ones".to_owned()));
        }
        if self.about().store == Store::Containerd
            && !self
                .whole_images()?
                .is_none_or(|ids| ids.contains(&found_id))
        {
            return Ok(Some("some of its content is missing".to_owned()));
        }
        Ok(None)
    }

    /// An image, if the engine has it. One whose content is missing in part is described without
    /// its id and all else, because engines describe it without fields that are never absent.
    pub(crate) fn image(&self, name: &str) -> Result<Option<ImageInspect>, Error> {
        let inspect = async {
            match self.docker.inspect_image(name).await {
                Err(DockerError::JsonDataError { .. }) => Ok(ImageInspect::default()),
                other => other,
            }
        };
        self.find("look at the image", name, inspect)
    }

    /// The ids of the images whose content is all there, as an engine with the containerd store
    /// counts it; `None` if it is too old to tell.
    fn whole_images(&self) -> Result<Option<BTreeSet<String>>, Error> {
        if !self.speaks(1, 47) {
            return Ok(None);
        }
        let options = ListImagesOptionsBuilder::default()
            .all(true)
            .manifests(true)
            .build();
        let images = self.ask("list", "images", self.docker.list_images(Some(options)))?;
        let whole = |manifests: &Option<Vec<bollard::models::ImageManifestSummary>>| {
            manifests
                .as_ref()
                .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one.available))
        };
        Ok(Some(
            images
                .into_iter()
                .filter(|image| whole(&image.manifests))
                .map(|image| image.id)
                .collect(),
        ))
    }

    /// The layers that need not be sent.
    ///
    /// The classic store knows layers by the chain below them, so only a prefix can be left out.
    /// The containerd store knows blobs by digest. A layer that came compressed is there under
    /// another digest; leaving it out fails the verification, and then everything is sent.
    fn layers_there(&self, diff_ids: &[Digest]) -> Result<BTreeSet<Digest>, Error> {
        let whole = match self.about().store {
            Store::Classic => None,
            Store::Containerd => match self.whole_images()? {
                None => return Ok(BTreeSet::new()),
                whole => whole,
            },
        };
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let images = self.ask("list", "images", self.docker.list_images(Some(options)))?;
        let (mut layers, mut chains) = (BTreeSet::new(), BTreeSet::new());
        for summary in images
            .iter()
            .filter(|image| whole.as_ref().is_none_or(|ids| ids.contains(&image.id)))
        {
            // Another client may have removed it meanwhile.
            let Some(image) = self.image(&summary.id)? else {
                continue;
            };
            let names = image.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
            let Ok(known) = names
                .iter()
                .map(|name| name.parse())
                .collect::<Result<Vec<Digest>, _>>()
            else {
                continue;
            };
            chains.extend(chain_ids(&known));
            layers.extend(known);
        }
        Ok(match self.about().store {
            Store::Containerd => diff_ids
                .iter()
                .filter(|layer| layers.contains(layer))
                .copied()
                .collect(),
            Store::Classic => prefix(diff_ids, &chains),
        })
    }

    pub(crate) fn tag(&self, image: &str, reference: &Reference) -> Result<(), Error> {
        let options = TagImageOptionsBuilder::default()
            .repo(&reference.repository)
            .tag(&reference.tag)
            .build();
        self.ask(
            "name the image",
            &reference.to_string(),
            self.docker.tag_image(image, Some(options)),
        )
    }

    /// Takes a name away, and the image with it if it has no other. What is left of a failed load
    /// is of no use to anybody, so a failure here is no failure.
    fn untag(&self, reference: &Reference) {
        let options = RemoveImageOptionsBuilder::default().build();
        let removed = self.wait(self.docker.remove_image(
            &reference.to_string(),
            Some(options),
            None,
        ));
        if let Err(error) = removed {
            tracing::debug!(%reference, %error, "a staging name was not removed");
        }
    }
}

impl Error {
    /// Tells of a failed load with the name people know instead of the staging one.
    fn of(self, reference: &Reference) -> Self {
        match self {
            Self::ImageRefused { said, .. } => Self::ImageRefused {
                reference: reference.clone(),
                said,
            },
            Self::ImageDiffers { problem, .. } => Self::ImageDiffers {
                reference: reference.clone(),
                problem,
            },
            other => other,
        }
    }
}

/// The names of a stack of layers, each for itself and all below it (OCI image configuration,
/// "layer ChainID").
fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => *diff_id,
            Some(below) => {
                let mut hasher = Hasher::new();
                hasher.update(format!("{below} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        chains.push(chain);
    }
    chains
}

/// The layers of the longest prefix that is known. A layer that stands above the prefix once more
/// is the same blob and needs no second sending.
fn prefix(diff_ids: &[Digest], known: &BTreeSet<Digest>) -> BTreeSet<Digest> {
    let chains = chain_ids(diff_ids);
    let count = chains
        .iter()
        .take_while(|chain| known.contains(chain))
        .count();
    let (below, above) = diff_ids.split_at(count);
    below
        .iter()
        .filter(|layer| !above.contains(layer))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_follow_the_specification() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
        let chains = chain_ids(&[one, two, three]);
        assert_eq!(chains[0], one);
        assert_eq!(chains[1], Digest::of(format!("{one} {two}").as_bytes()));
        assert_eq!(
            chains[2],
            Digest::of(format!("{} {three}", chains[1]).as_bytes())
        );
    }

    #[test]
    fn only_a_known_prefix_is_left_out() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
        let known: BTreeSet<_> = chain_ids(&[one, two]).into_iter().collect();
        assert_eq!(
            prefix(&[one, two, three], &known),
            BTreeSet::from([one, two])
        );
        assert_eq!(prefix(&[one, three, two], &known), BTreeSet::from([one]));
        assert_eq!(prefix(&[two, one], &known), BTreeSet::new());
        // The engine knows the lower of the two equal layers, not the upper.
        assert_eq!(
            prefix(&[one, two, three, one], &known),
            BTreeSet::from([two])
        );
    }
}
