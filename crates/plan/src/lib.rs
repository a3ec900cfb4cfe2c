//! The graph of steps with keys; grouping and order of layers.
//!
//! [`Plan::make`] turns a lock and a definition into steps, each with the key its outcome is kept
//! under. Nothing is touched: whoever carries the plan out looks each key up before doing a step.
//!
//! ```text
//! unpack(.deb) ──┬─> layer(packages of some sources)
//!                └─> configure(stage) ──> finish(stage: ids, files, users, services) ──> image
//!                         │
//!                         └─> configure(next stage)
//! ```
//!
//! Scripts see packages and debconf's answers only, never the files a definition lays on top: so a
//! changed file never runs a script again.
//!
//! [`layers::group`] decides which source packages share a layer, and in which order layers lie;
//! [`services::compile`] turns a definition's services into files for s6.

pub mod layers;
pub mod services;

use kasmforge_digest::{Digest, Field, KeyHasher, StepKey};
use kasmforge_lock::{Lock, Package};
use kasmforge_spec::{Debconf, Slim, Workspace};

/// Versions of the steps' code. Whoever changes what a step makes of the same inputs raises its
/// number; every image made from then on is made anew.
const UNPACK: &str = "unpack 1";
const LAYER: &str = "layer 1";
const CONFIGURE: &str = "configure 2";
const FINISH: &str = "finish 1";
const IMAGE: &str = "image 1";

/// All steps that make one image.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages, root first.
    pub stages: Vec<Stage>,
    /// The image itself.
    pub image: Step,
}

/// The steps of one stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The workspace the stage alone would make.
    pub name: String,
    /// The stage's own packages, in the order they are configured.
    pub packages: Vec<Unpack>,
    /// The stage's package layers, bottom first.
    pub layers: Vec<Layer>,
    /// Running the scripts of the stage's packages.
    pub configure: Step,
    /// Laying ids, files, users and services over the configured stage.
    pub finish: Step,
}

/// A step: its key, and the named inputs it is made of.
#[derive(Debug, Clone)]
pub struct Step {
    /// The key.
    pub key: StepKey,
    /// What it was made from.
    pub fields: Vec<Field>,
}

/// Unpacking one .deb.
#[derive(Debug, Clone)]
pub struct Unpack {
    /// The key: a function of the file's digest alone.
    pub key: StepKey,
    /// Which package of the lock.
    pub package: usize,
}

/// One layer of packages.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The key: a function of its packages and of what is left out of them.
    pub key: StepKey,
    /// The source packages it is for.
    pub sources: Vec<String>,
    /// Indexes into [`Stage::packages`].
    pub packages: Vec<usize>,
}

/// What a plan is made from besides lock and definition: digests of what the definition names.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// For each stage: everything that is laid over its packages (files with their contents, users,
    /// services).
    pub finish: Vec<Digest>,
    /// The names and versions of the rules that configured stages are normalised by.
    pub rules: String,
    /// The image's configuration.
    pub image: Digest,
    /// The image's time, in seconds since 1970.
    pub created: i64,
}

/// A lock that does not fit the definition: it must be made anew first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lock has no `{workspace}` for {architecture}")]
pub struct NotLocked {
    /// The stage that is missing.
    pub workspace: String,
    /// The architecture it is missing for.
    pub architecture: String,
}

impl Plan {
    /// Makes the plan of a workspace.
    ///
    /// # Errors
    /// When the lock lacks one of its stages.
    pub fn make(
        lock: &Lock,
        workspace: &Workspace,
        architecture: &str,
        inputs: &Inputs,
    ) -> Result<Self, NotLocked> {
        let mut stages: Vec<Stage> = Vec::new();
        for (stage, finish) in workspace.stages.iter().zip(&inputs.finish) {
            let locked = lock
                .workspace(&stage.name, architecture)
                .ok_or_else(|| NotLocked {
                    workspace: stage.name.clone(),
                    architecture: architecture.into(),
                })?;
            let packages: Vec<Unpack> = locked
                .packages
                .iter()
                .map(|&package| Unpack {
                    key: unpack_key(&lock.packages[package]),
                    package,
                })
                .collect();
            let slim = slim_text(&stage.slim);
            let below = stages.last().map(|stage| stage.configure.key);
            let configure = step(
                configure_fields(below, &packages, &slim, &stage.packages.debconf)
                    .field("rules", &inputs.rules),
            );
            let finish = step(
                KeyHasher::new(FINISH)
                    .step("configured", configure.key)
                    .list("ids", ids(lock))
                    .digest("definition", *finish),
            );
            let layers = layer_steps(lock, &packages, &locked.layers, &slim);
            stages.push(Stage {
                name: stage.name.clone(),
                packages,
                layers,
                configure,
                finish,
            });
        }
        let image = image_step(&stages, inputs);
        Ok(Self { stages, image })
    }
}

/// The key of unpacking a package.
#[must_use]
pub fn unpack_key(package: &Package) -> StepKey {
    KeyHasher::new(UNPACK).digest("deb", package.sha256).key()
}

fn step(hasher: KeyHasher) -> Step {
    let (key, fields) = hasher.finish();
    Step { key, fields }
}

fn configure_fields(
    below: Option<StepKey>,
    packages: &[Unpack],
    slim: &str,
    debconf: &[Debconf],
) -> KeyHasher {
    let answers = debconf.iter().map(|one| {
        format!(
            "{}\0{}\0{}\0{}",
            one.package, one.question, one.kind, one.value
        )
    });
    let below = below.map_or(Vec::new(), |key| key.digest().as_bytes().to_vec());
    KeyHasher::new(CONFIGURE)
        .field("below", below)
        .list(
            "packages",
            packages.iter().map(|one| *one.key.digest().as_bytes()),
        )
        .field("slim", slim)
        .list("debconf", answers)
}

fn layer_steps(lock: &Lock, packages: &[Unpack], groups: &[Vec<String>], slim: &str) -> Vec<Layer> {
    let mut layers: Vec<Layer> = groups
        .iter()
        .map(|sources| {
            let members: Vec<usize> = (0..packages.len())
                .filter(|&at| sources.contains(&lock.packages[packages[at].package].source))
                .collect();
            let key = KeyHasher::new(LAYER)
                .list(
                    "packages",
                    members
                        .iter()
                        .map(|&at| *packages[at].key.digest().as_bytes()),
                )
                .field("slim", slim)
                .key();
            Layer {
                key,
                sources: sources.clone(),
                packages: members,
            }
        })
        .collect();
    layers.retain(|layer| !layer.packages.is_empty());
    layers
}

fn image_step(stages: &[Stage], inputs: &Inputs) -> Step {
    let layers = stages.iter().flat_map(|stage| {
        let packages = stage.layers.iter().map(|layer| layer.key);
        packages.chain([stage.configure.key, stage.finish.key])
    });
    step(
        KeyHasher::new(IMAGE)
            .list("layers", layers.map(|key| *key.digest().as_bytes()))
            .digest("configuration", inputs.image)
            .field("created", inputs.created.to_le_bytes()),
    )
}

/// The locked ids, as a list for a key.
fn ids(lock: &Lock) -> Vec<String> {
    let users = lock
        .ids
        .users
        .iter()
        .map(|(name, id)| format!("user {name} {id}"));
    let groups = lock
        .ids
        .groups
        .iter()
        .map(|(name, id)| format!("group {name} {id}"));
    users.chain(groups).collect()
}

/// What is left out, as a text that differs exactly when it does.
fn slim_text(slim: &Slim) -> String {
    let Slim {
        documentation,
        manuals,
        locales,
        python_bytecode,
    } = slim;
    let locales = locales
        .as_ref()
        .map_or_else(|| "all".to_owned(), |kept| kept.join(","));
    format!("{documentation} {manuals} {locales} {python_bytecode}")
}
