//! Carries a plan out.
//!
//! [`build`] makes an image from a lock whose packages have been fetched:
//!
//! 1. `unpack`: each .deb once, into a tree of its own;
//! 2. `merge` and `configure`: the stage's tree is made real (`farm`), its scripts run in the
//!    sandbox (`script`), what they did is read back (`upper`) and normalised (`normalise`);
//! 3. `finish`: ids, users, services and files of the definition (`definition`, `accounts`);
//! 4. `layering` and `pack`: layers as values, written once into one archive.
//!
//! Every outcome is kept under its key and found again. Nothing here prints: an [`Observer`] is
//! told what happens.

mod accounts;
mod compare;
mod configure;
mod content;
mod database;
mod definition;
mod extract;
mod farm;
mod finish;
mod layering;
mod merge;
mod normalise;
mod pack;
mod record;
mod script;
mod slim;
mod unpack;
mod upper;
mod uses;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kasmforge_digest::Digest;
use kasmforge_image::{Configuration, Healthcheck, InvalidReference, Reference};
use kasmforge_lock::{Ids, Lock};
use kasmforge_plan::{Inputs, NotLocked, Plan};
use kasmforge_spec::{Located, Workspace};
use kasmforge_store::Store;
use rayon::prelude::*;

use crate::configure::{Configured, Stage};
use crate::content::Pool;
use crate::definition::Definition;
use crate::unpack::Package;

pub use compare::{Difference, Found, compare};
pub use configure::{ConfigureError, WRITERS};
pub use definition::DefinitionError;
pub use extract::ExtractError;
pub use farm::FarmError;
pub use finish::FinishError;
pub use kasmforge_sandbox::Trial;
pub use merge::Collision;
pub use normalise::{Applied, NORMALISERS, Normaliser};
pub use pack::{PackError, Part};
pub use record::{Built, BuiltLayer, latest, remember};
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
        /// What is being done.
        verb: &'static str,
        /// To which package.
        package: &'a str,
        /// Packages configured so far.
        done: usize,
        /// Packages in all.
        total: usize,
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
    /// Something `[image]` or `[[services]]` names is not in the image.
    #[error("the image has no {path}, which {who} names")]
    MissingProgram {
        /// The path.
        path: String,
        /// The key of the definition.
        who: &'static str,
    },
    /// The image's user is nobody.
    #[error("the image has no user `{}`, which [image] names", name.value)]
    MissingUser {
        /// The name, and where it was written.
        name: Located<String>,
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
/// The lock's packages must be in the store. Ids of system users that the lock does not know yet
/// are added to it.
///
/// # Errors
/// Whatever [`BuildError`] names. The store stays valid, and finished steps stay finished.
pub fn build(
    store: &Store,
    request: &Request<'_>,
    lock: &mut Lock,
    observer: &dyn Observer,
) -> Result<Built, BuildError> {
    let error = match attempt(store, request, lock, observer) {
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
    drop_damaged(store, request, lock)?;
    attempt(store, request, lock, observer)
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
    matches!(error, BuildError::Pack(PackError::Damaged { .. }))
}

fn attempt(
    store: &Store,
    request: &Request<'_>,
    lock: &mut Lock,
    observer: &dyn Observer,
) -> Result<Built, BuildError> {
    let Request {
        workspace,
        architecture,
        ..
    } = *request;
    let definitions = definitions(store, request, lock)?;
    let configuration = configuration(workspace);
    let references = references(workspace)?;
    let created = request.created.unwrap_or_else(|| lock.date());
    let inputs = Inputs {
        finish: definitions.iter().map(Definition::digest).collect(),
        rules: normalise::fingerprint(),
        image: image_digest(&configuration, &references),
        created,
    };
    let plan = Plan::make(lock, workspace, architecture, &inputs)?;
    if let Some(built) = record::find(store, &workspace.name, &plan.image.key)? {
        uses::note(store, &plan, lock, &built)?;
        return Ok(built);
    }
    let mut pool = Pool::default();
    let unpacked = unpack_all(store, &plan, lock, &mut pool, observer)?;
    let configured = configure_all(store, request, &plan, &unpacked, &mut pool, observer)?;
    remember_ids(&configured, &pool, &mut lock.ids)?;
    let plan = Plan::make(lock, workspace, architecture, &inputs)?;
    if let Some(built) = record::find(store, &workspace.name, &plan.image.key)? {
        uses::note(store, &plan, lock, &built)?;
        return Ok(built);
    }
    let built = layering::Layering {
        store,
        workspace,
        architecture,
        plan: &plan,
        unpacked: &unpacked,
        configured: &configured,
        definitions: &definitions,
        ids: &lock.ids,
        configuration: &configuration,
        references: &references,
        created,
    }
    .pack(&mut pool, observer)?;
    uses::note(store, &plan, lock, &built)?;
    Ok(built)
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

/// Unpacks every package of every stage, largest first, and makes their contents findable.
fn unpack_all(
    store: &Store,
    plan: &Plan,
    lock: &Lock,
    pool: &mut Pool,
    observer: &dyn Observer,
) -> Result<Vec<Vec<Package>>, BuildError> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (stage, planned) in plan.stages.iter().enumerate() {
        all.extend((0..planned.packages.len()).map(|at| (stage, at)));
    }
    observer.event(Event::Unpacking {
        packages: all.len(),
    });
    let package = |&(stage, at): &(usize, usize)| {
        let step = &plan.stages[stage].packages[at];
        (step, &lock.packages[step.package])
    };
    all.sort_by_key(|at| std::cmp::Reverse(package(at).1.size));
    let mut done: Vec<((usize, usize), PathBuf, Package)> = all
        .par_iter()
        .with_max_len(1)
        .map(|at| {
            let (step, locked) = package(at);
            let (folder, unpacked) =
                unpack::unpack(store, &step.key, &locked.sha256).map_err(|source| {
                    BuildError::Unpack {
                        package: locked.name.clone(),
                        digest: locked.sha256,
                        source,
                    }
                })?;
            observer.event(Event::Unpacked {
                package: &locked.name,
            });
            Ok((*at, folder, unpacked))
        })
        .collect::<Result<_, BuildError>>()?;
    done.sort_by_key(|(at, ..)| *at);
    let mut stages: Vec<Vec<Package>> = plan.stages.iter().map(|_| Vec::new()).collect();
    for ((stage, _), folder, package) in done {
        pool.add(&folder, &package.tree);
        stages[stage].push(package);
    }
    Ok(stages)
}

fn configure_all(
    store: &Store,
    request: &Request<'_>,
    plan: &Plan,
    unpacked: &[Vec<Package>],
    pool: &mut Pool,
    observer: &dyn Observer,
) -> Result<Vec<Configured>, BuildError> {
    let mut configured: Vec<Configured> = Vec::new();
    for ((planned, packages), spec) in plan
        .stages
        .iter()
        .zip(unpacked)
        .zip(&request.workspace.stages)
    {
        observer.event(Event::Configuring {
            stage: &planned.name,
            packages: packages.len(),
        });
        let stage = Stage {
            key: planned.configure.key,
            below: configured.last(),
            packages,
            slim: &spec.slim,
            debconf: &spec.packages.debconf,
            trial: request.trial,
            architecture: request.architecture,
        };
        let done =
            stage
                .configure(store, pool, observer)
                .map_err(|source| BuildError::Configure {
                    stage: planned.name.clone(),
                    source,
                })?;
        configured.push(done);
    }
    Ok(configured)
}

/// Adds the ids the scripts gave out to those the lock has, so that they stay.
fn remember_ids(configured: &[Configured], pool: &Pool, ids: &mut Ids) -> Result<(), BuildError> {
    let Some(last) = configured.last() else {
        return Ok(());
    };
    let mut accounts =
        layering::accounts(&last.tree, pool).map_err(|source| FinishError::Keep {
            target: "/etc/passwd".into(),
            source,
        })?;
    accounts.renumber(ids);
    let given = accounts.dynamic_ids();
    for (known, given) in [
        (&mut ids.users, given.users),
        (&mut ids.groups, given.groups),
    ] {
        for (name, id) in given {
            known.entry(name).or_insert(id);
        }
    }
    Ok(())
}

/// Drops the trees of a plan that hold a content of another digest than its name says.
fn drop_damaged(store: &Store, request: &Request<'_>, lock: &Lock) -> Result<(), BuildError> {
    let inputs = Inputs {
        finish: vec![Digest::of(b""); request.workspace.stages.len()],
        rules: normalise::fingerprint(),
        image: Digest::of(b""),
        created: 0,
    };
    let plan = Plan::make(lock, request.workspace, request.architecture, &inputs)?;
    let keys = plan.stages.iter().flat_map(|stage| {
        stage
            .packages
            .iter()
            .map(|one| one.key)
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
        working_directory: image.working_directory.clone(),
        entrypoint: image.entrypoint.clone(),
        command: image.command.clone(),
        environment: image.environment.clone(),
        ports: ports.into_iter().collect(),
        volumes: image.volumes.clone(),
        labels,
        healthcheck: image.healthcheck.as_ref().map(|check| Healthcheck {
            command: check.command.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            retries: check.retries,
        }),
        stop_signal: image.stop_signal.clone(),
    }
}

fn image_digest(configuration: &Configuration, references: &[Reference]) -> Digest {
    let names: Vec<String> = references.iter().map(Reference::canonical).collect();
    let value = serde_json::json!({ "configuration": configuration, "references": names });
    Digest::of(&kasmforge_image::canonical(&value))
}
