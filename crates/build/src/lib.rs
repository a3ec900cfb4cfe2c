//! Carries a plan out.
//!
//! [`build`] makes an image from a lock whose packages have been fetched:
//!
//! 1. `unpack`: each .deb once, into a tree of its own;
//! 2. `merge` and `configure`: the stage's tree is made real (`farm`), its scripts run in the
//!    sandbox (`script`), what they did is read back (`upper`) and normalised (`normalise`);
//! 3. `finish`: ids, users, services and files of the definition (`definition`, `accounts`);
//! 4. `layering` and `pack`: layers as values, written once into one archive; `former`: what the
//!    archive may have of earlier ones.
//!
//! `carry` does all this at once where it can: packages are unpacked while others are fetched and
//! the stage below is configured, and package layers are packed while scripts run.
//!
//! Every outcome is kept under its key and found again. Nothing here prints: an [`Observer`] is
//! told what happens.

mod accounts;
mod bystanders;
mod carry;
mod compare;
mod compress;
mod configure;
mod content;
mod database;
mod definition;
mod export;
mod extract;
mod farm;
mod finish;
mod former;
mod layering;
mod merge;
mod naming;
mod normalise;
mod pack;
mod parallel;
mod planned;
mod record;
mod related;
mod script;
mod slim;
mod source;
mod stored;
mod unpack;
mod unpacking;
mod upper;
mod uses;

use std::collections::BTreeSet;
use std::path::Path;

use kasmforge_digest::Digest;
use kasmforge_image::{Configuration, Healthcheck, InvalidReference, Reference};
use kasmforge_lock::Lock;
use kasmforge_plan::{Inputs, NotLocked, Plan};
use kasmforge_spec::Workspace;
use kasmforge_store::Store;

use crate::carry::Carrying;
use crate::definition::Definition;

pub use compare::{Difference, Found, compare};
pub use configure::{ConfigureError, WRITERS};
pub use definition::DefinitionError;
pub use export::{ExportError, Exported, Format, export};
pub use extract::ExtractError;
pub use farm::FarmError;
pub use finish::FinishError;
pub use former::Hold;
pub use kasmforge_image::Compression;
pub use kasmforge_plan::explain::{InputChange, StepChange};
pub use kasmforge_sandbox::Trial;
pub use merge::Collision;
pub use naming::Missing;
pub use normalise::{Applied, NORMALISERS, Normaliser};
pub use pack::{PackError, Part};
pub use planned::{Planned, PlannedStep, planned};
pub use record::{Built, BuiltLayer, latest, remember};
pub use stored::Stored;
pub use unpack::UnpackError;

/// What a build is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The project's folder: what the definition's paths are relative to.
    pub project: &'a Path,
    /// The definition.
    pub workspace: &'a Workspace,
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// The image's time, in seconds since 1970. `None`: the newest Release's in the lock.
    pub created: Option<i64>,
    /// What is made strange around the scripts, to prove that the image does not depend on it.
    pub trial: Trial,
    /// The link that will point to the archive. The one it points to now may become the new one.
    pub link: Option<&'a Path>,
}

/// Brings files that are not in the store, while those that are there are unpacked.
pub trait Supply: Sync {
    /// Brings files of these digests into the store, and tells of each as it arrives.
    ///
    /// # Errors
    /// When one of them cannot be had.
    fn bring(
        &self,
        wanted: &[Digest],
        arrived: &(dyn Fn(&Digest) + Sync),
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// What happens during a build.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// So many packages are being unpacked.
    Unpacking {
        /// Packages in all.
        packages: usize,
    },
    /// One more package is unpacked.
    Unpacked {
        /// Its name.
        package: &'a str,
    },
    /// The scripts of a stage are about to run.
    Configuring {
        /// The stage.
        stage: &'a str,
        /// How many packages it has.
        packages: usize,
    },
    /// A script runs.
    Script {
        /// The stage.
        stage: &'a str,
        /// What is being done.
        verb: &'static str,
        /// To which package.
        package: &'a str,
        /// Packages configured so far.
        done: usize,
    },
    /// The packages of a stage changed, and none of those that its scripts may notice.
    Unnoticed {
        /// The stage.
        stage: &'a str,
    },
    /// A finished step was found.
    Reused {
        /// What it made.
        what: &'static str,
    },
    /// The archive is being written.
    Packing {
        /// Layers in it.
        layers: usize,
        /// Bytes in them.
        bytes: u64,
    },
    /// More bytes of the archive are written.
    Packed {
        /// How many.
        bytes: u64,
    },
    /// Something a person should know.
    Warning {
        /// In words.
        text: &'a str,
    },
}

/// Is told what happens, from any thread.
pub trait Observer: Sync {
    /// Takes an event.
    fn event(&self, event: Event<'_>);
}

/// A build that failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Files could not be brought.
    #[error("cannot bring the packages")]
    Supply(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The lock lacks a stage.
    #[error(transparent)]
    NotLocked(#[from] NotLocked),
    /// A package could not be unpacked.
    #[error("cannot unpack {package}")]
    Unpack {
        /// The package.
        package: String,
        /// The digest of its file.
        digest: Digest,
        /// Why.
        source: UnpackError,
    },
    /// A stored download was damaged. It is removed: fetched again, the build goes on.
    #[error("a stored download was damaged, and is removed; run the build again to fetch it")]
    Damaged {
        /// Its digest.
        digest: Digest,
        /// How it was noticed.
        source: Box<BuildError>,
    },
    /// A stage could not be configured.
    #[error("cannot configure the stage `{stage}`")]
    Configure {
        /// The stage.
        stage: String,
        /// Why.
        source: ConfigureError,
    },
    /// What a definition names could not be read.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// A definition does not fit its packages.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// What the definition names is not in the image: all of it.
    #[error("{}", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Missing {
        /// Each of them, at least one.
        missing: Vec<Missing>,
    },
    /// A repository or tag is none.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The archive could not be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] kasmforge_store::Error),
}

/// Builds an image, or finds it built.
///
/// Packages that are not in the store are brought by `supply`. Ids of system users that the lock does not know yet
/// are added to it.
///
/// # Errors
/// Whatever [`BuildError`] names. The store stays valid, and finished steps stay finished.
pub fn build(
    store: &Store,
    request: &Request<'_>,
    lock: &mut Lock,
    supply: &dyn Supply,
    observer: &dyn Observer,
) -> Result<Built, BuildError> {
    let error = match attempt(store, request, lock, supply, observer) {
        Ok(built) => return Ok(built),
        Err(error) => error,
    };
    if let Some(digest) = damaged_download(store, &error) {
        store.remove_blob(&digest)?;
        return Err(BuildError::Damaged {
            digest,
            source: Box::new(error),
        });
    }
    if !is_damage(&error) {
        return Err(error);
    }
    // Damaged contents are found by their names and dropped; what is dropped is made again.
    let text = format!("stored files were damaged and are made again ({error})");
    observer.event(Event::Warning { text: &text });
    match error {
        // Whatever else is in it: it is no image any more.
        BuildError::Pack(PackError::DamagedArchive { archive, .. }) => {
            if let Some(archive) = archive {
                drop(std::fs::remove_file(archive));
            }
        }
        _ => drop_damaged(store, request, lock)?,
    }
    attempt(store, request, lock, supply, observer)
}

/// The download an error found to be other bytes than its name says.
fn damaged_download(store: &Store, error: &BuildError) -> Option<Digest> {
    match error {
        BuildError::Unpack {
            digest,
            source: UnpackError::Digest { .. },
            ..
        } => Some(*digest),
        BuildError::Finish(FinishError::Changed { path, digest })
            if path.starts_with(store.root()) =>
        {
            Some(*digest)
        }
        _ => None,
    }
}

/// Whether an error says that a stored content is not what its name says.
fn is_damage(error: &BuildError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let invalid = |error: &std::io::Error| error.kind() == std::io::ErrorKind::InvalidData;
        if error.downcast_ref().is_some_and(invalid) {
            return true;
        }
        cause = error.source();
    }
    // Transparent variants stand in for their cause, which therefore is not among the sources.
    matches!(
        error,
        BuildError::Pack(PackError::Damaged { .. } | PackError::DamagedArchive { .. })
    )
}

fn attempt(
    store: &Store,
    request: &Request<'_>,
    lock: &mut Lock,
    supply: &dyn Supply,
    observer: &dyn Observer,
) -> Result<Built, BuildError> {
    let made = Made::of(store, request, lock)?;
    let plan = made.plan(request, lock)?;
    let name = &request.workspace.name;
    if let Some(mut built) = record::find(store, name, &plan.image.key)? {
        uses::note(store, &plan, lock, &built)?;
        built.differences = planned::note(store, name, &plan)?;
        return Ok(built);
    }
    let carrying = Carrying {
        store,
        request,
        definitions: &made.definitions,
        configuration: &made.configuration,
        references: &made.references,
        inputs: &made.inputs,
        supply,
        observer,
    };
    let mut built = match carrying.shortly(&plan, &lock.ids)? {
        Some(built) => built,
        None => carrying.wholly(plan, lock)?,
    };
    // With the ids that the scripts gave out, if they ran.
    let plan = made.plan(request, lock)?;
    uses::note(store, &plan, lock, &built)?;
    built.differences = planned::note(store, name, &plan)?;
    Ok(built)
}

/// What a definition says of an image, read once.
struct Made {
    definitions: Vec<Definition>,
    configuration: Configuration,
    references: Vec<Reference>,
    inputs: Inputs,
}

impl Made {
    fn of(store: &Store, request: &Request<'_>, lock: &Lock) -> Result<Self, BuildError> {
        let definitions = definitions(store, request, lock)?;
        let configuration = configuration(request.workspace);
        let references = references(request.workspace)?;
        let inputs = Inputs {
            finish: definitions.iter().map(Definition::parts).collect(),
            rules: normalise::fingerprint(),
            image: image_words(&configuration, &references),
            created: request.created.unwrap_or_else(|| lock.date()),
        };
        Ok(Self {
            definitions,
            configuration,
            references,
            inputs,
        })
    }

    fn plan(&self, request: &Request<'_>, lock: &Lock) -> Result<Plan, NotLocked> {
        Plan::make(lock, request.workspace, request.architecture, &self.inputs)
    }
}

fn definitions(
    store: &Store,
    request: &Request<'_>,
    lock: &Lock,
) -> Result<Vec<Definition>, DefinitionError> {
    let Request {
        project, workspace, ..
    } = *request;
    workspace
        .stages
        .iter()
        .map(|stage| Definition::read(project, workspace, stage, lock, store))
        .collect()
}

/// Drops the trees of a plan that hold a content of another digest than its name says.
fn drop_damaged(store: &Store, request: &Request<'_>, lock: &Lock) -> Result<(), BuildError> {
    let inputs = Inputs {
        finish: vec![Vec::new(); request.workspace.stages.len()],
        rules: normalise::fingerprint(),
        image: Vec::new(),
        created: 0,
    };
    let plan = Plan::make(lock, request.workspace, request.architecture, &inputs)?;
    let keys = plan.stages.iter().flat_map(|stage| {
        stage
            .packages
            .iter()
            .map(|one| one.key)
            .chain(configure::scripts_of(store, &stage.configure.key))
            .chain([stage.configure.key])
    });
    for key in keys {
        if !content::intact(&store.tree_path(&key)) {
            store.remove_tree(&key)?;
        }
    }
    Ok(())
}

fn references(workspace: &Workspace) -> Result<Vec<Reference>, InvalidReference> {
    let image = &workspace.image;
    image
        .tags
        .iter()
        .map(|tag| format!("{}:{tag}", image.repository).parse())
        .collect()
}

fn configuration(workspace: &Workspace) -> Configuration {
    let image = &workspace.image;
    let mut labels = image.labels.clone();
    let mut label = |name: &str, value: &str| {
        labels
            .entry(format!("org.opencontainers.image.{name}"))
            .or_insert_with(|| value.into());
    };
    label("title", &workspace.name);
    if let Some(description) = &workspace.description {
        label("description", description);
    }
    let ports: BTreeSet<String> = image
        .ports
        .iter()
        .map(|port| {
            if port.contains('/') {
                port.clone()
            } else {
                format!("{port}/tcp")
            }
        })
        .collect();
    Configuration {
        user: image.user.as_ref().map(|user| user.value.clone()),
        working_directory: image
            .working_directory
            .as_ref()
            .map(|folder| folder.value.clone()),
        entrypoint: image
            .entrypoint
            .as_ref()
            .map(|command| command.value.clone())
            .unwrap_or_default(),
        command: image.command.clone(),
        environment: image.environment.clone(),
        ports: ports.into_iter().collect(),
        volumes: image.volumes.clone(),
        labels,
        healthcheck: image.healthcheck.as_ref().map(|check| Healthcheck {
            command: check.command.value.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            retries: check.retries,
        }),
        stop_signal: image.stop_signal.clone(),
    }
}

/// An image's configuration and names, a text for each member.
fn image_words(configuration: &Configuration, references: &[Reference]) -> Vec<String> {
    let value = serde_json::to_value(configuration).expect("a configuration is JSON");
    let members = value.as_object().into_iter().flatten();
    let names = references
        .iter()
        .map(|reference| format!("name: {}", reference.canonical()));
    let mut words: Vec<String> = members
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(&kasmforge_image::canonical(value)).into_owned();
            format!("{name}: {value}")
        })
        .collect();
    words.sort();
    words.extend(names);
    words
}
