//! The graph of steps with keys; grouping and order of layers.
//!
//! [`Plan::make`] turns a lock and a definition into steps, each with the key its outcome is kept
//! under. Nothing is touched: whoever carries the plan out looks each key up before doing a step.
//!
//! ```text
//! unpack(.deb) ──┬─> layer(packages of some sources) ──────────────────────────────────┐
//!                └─> configure(stage) ──┬─> state(stage: what scripts made) ────────────┤
//!                         │             └─> files(stage: files, users, services) ───────┤
//!                         └─> configure(next stage)                                     └─> image
//! ```
//!
//! Within `configure` the scripts run under a key of their own ([`scripts_key`]), which leaves out
//! packages that no script can notice. Which ones those are is known once packages are unpacked.
//!
//! Scripts see packages and debconf's answers only, never the files a definition lays on top: so a
//! changed file never runs a script again.
//!
//! Each [`Step`] keeps its inputs in words beside its key; [`explain`] compares two plans by them.
//! [`layers::group`] decides which source packages share a layer, and in which order layers lie;
//! [`services::compile`] turns a definition's services into files for s6.

pub mod explain;
pub mod layers;
pub mod services;
mod step;

use kasmforge_digest::{Digest, KeyHasher, StepKey};
use kasmforge_lock::{Lock, Package};
use kasmforge_spec::{Debconf, Slim, Workspace};

use step::StepMaker;
pub use step::{Input, Step};

/// Versions of the steps' code. Whoever changes what a step makes of the same inputs raises its
/// number; every image made from then on is made anew.
const UNPACK: &str = "unpack 2";
const LAYER: &str = "layer 2";
const SCRIPTS: &str = "scripts 1";
const CONFIGURE: &str = "configure 9";
const STATE: &str = "state 2";
const FILES: &str = "files 2";
const IMAGE: &str = "image 2";

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
    /// The layer of what the scripts made.
    pub state: Step,
    /// The layer of what the definition lays on top: files, users, services.
    pub files: Step,
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
    /// The step: a function of its packages and of what is left out of them.
    pub step: Step,
    /// The source packages it is for.
    pub sources: Vec<String>,
    /// Indexes into [`Stage::packages`].
    pub packages: Vec<usize>,
}

/// What a plan is made from besides lock and definition: digests of what the definition names.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// For each stage: everything that is laid over its packages (files with their contents, users,
    /// services), each part by its digest and in words.
    pub finish: Vec<Vec<(Digest, String)>>,
    /// The names and versions of the rules that configured stages are normalised by.
    pub rules: Vec<String>,
    /// The image's configuration and names, a text for each member.
    pub image: Vec<String>,
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
        for (stage, definition) in workspace.stages.iter().zip(&inputs.finish) {
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
            let below = stages.last();
            let unpacked = packages.iter().map(|one| named(lock, one));
            let configure = StepMaker::new(CONFIGURE, format!("configure {}", stage.name))
                .step("below", below.map(|below| &below.configure))
                .list("packages", unpacked)
                .text("slim", &slim)
                .list("debconf", answers(&stage.packages.debconf))
                .list("rules", inputs.rules.iter().map(|text| itself(text)))
                .finish();
            let layers = layer_steps(lock, &stage.name, &packages, &locked.layers, &slim);
            let state = StepMaker::new(STATE, format!("state {}", stage.name))
                .step("below", below.map(|below| &below.files))
                .list("layers", layers.iter().map(|layer| told(&layer.step)))
                .step("configured", Some(&configure))
                .list("ids", ids(lock))
                .finish();
            let files = StepMaker::new(FILES, format!("files {}", stage.name))
                .step("below", below.map(|below| &below.files))
                .step("configured", Some(&configure))
                .list("ids", ids(lock))
                .list("definition", definition.iter().map(part))
                .finish();
            stages.push(Stage {
                name: stage.name.clone(),
                packages,
                layers,
                configure,
                state,
                files,
            });
        }
        let image = image_step(&stages, inputs);
        Ok(Self { stages, image })
    }

    /// Every step but the unpacking of packages, in the order they are done.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let stages = self.stages.iter().flat_map(|stage| {
            let layers = stage.layers.iter().map(|layer| &layer.step);
            layers.chain([&stage.configure, &stage.state, &stage.files])
        });
        stages.chain([&self.image])
    }
}

/// The key of unpacking a package.
#[must_use]
pub fn unpack_key(package: &Package) -> StepKey {
    KeyHasher::new(UNPACK).digest("deb", package.sha256).key()
}

/// What the scripts of a stage make their outcome of.
#[derive(Debug, Clone)]
pub struct ScriptInputs<'a> {
    /// What the scripts of the stage below were a function of.
    pub below: Option<StepKey>,
    /// Packages of the stages below that only this stage's scripts may notice.
    pub noticed: Vec<Noticed<'a>>,
    /// The keys of the stage's own packages that scripts may notice, in the order they are configured.
    pub packages: Vec<StepKey>,
    /// What is left out of those.
    pub slim: &'a Slim,
    /// Answers to the questions of scripts.
    pub debconf: &'a [Debconf],
    /// The names and versions of the rules that the outcome is normalised by.
    pub rules: &'a [String],
}

/// A package that scripts of its own stage cannot notice, and those of one above can.
#[derive(Debug, Clone, Copy)]
pub struct Noticed<'a> {
    /// Its stage: 0 is the root.
    pub stage: usize,
    /// The key of its unpacking.
    pub key: StepKey,
    /// What is left out of it.
    pub slim: &'a Slim,
}

/// The key of what the scripts of a stage make: it stays the same where packages come and go that
/// they cannot notice.
#[must_use]
pub fn scripts_key(of: &ScriptInputs<'_>) -> StepKey {
    let bytes = |key: &StepKey| *key.digest().as_bytes();
    let noticed = of.noticed.iter().map(|one| {
        let mut member = bytes(&one.key).to_vec();
        member.extend(format!("{} {}", one.stage, slim_text(one.slim)).as_bytes());
        member
    });
    KeyHasher::new(SCRIPTS)
        .field(
            "below",
            of.below
                .as_ref()
                .map_or(Vec::new(), |key| bytes(key).to_vec()),
        )
        .list("noticed", noticed)
        .list("packages", of.packages.iter().map(bytes))
        .field("slim", slim_text(of.slim))
        .list("debconf", answers(of.debconf).map(|(value, _)| value))
        .list("rules", of.rules)
        .key()
}

/// A package for a list of inputs: its key, and its name and version in words.
fn named(lock: &Lock, unpack: &Unpack) -> ([u8; 32], String) {
    let package = &lock.packages[unpack.package];
    let words = format!("{} {}", package.name, package.version);
    (*unpack.key.digest().as_bytes(), words)
}

fn itself(text: &str) -> (&str, String) {
    (text, text.to_owned())
}

fn part((digest, words): &(Digest, String)) -> ([u8; 32], String) {
    (*digest.as_bytes(), words.clone())
}

fn told(step: &Step) -> ([u8; 32], String) {
    (*step.key.digest().as_bytes(), step.name.clone())
}

fn answers(debconf: &[Debconf]) -> impl Iterator<Item = (String, String)> {
    debconf.iter().map(|one| {
        let parts = [&one.package, &one.question, &one.kind, &one.value].map(|part| part.as_str());
        (parts.join("\0"), parts.join(" "))
    })
}

fn layer_steps(
    lock: &Lock,
    stage: &str,
    packages: &[Unpack],
    groups: &[Vec<String>],
    slim: &str,
) -> Vec<Layer> {
    let mut layers: Vec<Layer> = groups
        .iter()
        .map(|sources| {
            let members: Vec<usize> = (0..packages.len())
                .filter(|&at| sources.contains(&lock.packages[packages[at].package].source))
                .collect();
            let first = sources.first().map_or("", String::as_str);
            let more = match sources.len() {
                0 | 1 => String::new(),
                all => format!(" and {} more", all - 1),
            };
            let step = StepMaker::new(LAYER, format!("layer {stage}: {first}{more}"))
                .list(
                    "packages",
                    members.iter().map(|&at| named(lock, &packages[at])),
                )
                .text("slim", slim)
                .finish();
            Layer {
                step,
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
        let packages = stage.layers.iter().map(|layer| told(&layer.step));
        packages.chain([told(&stage.state), told(&stage.files)])
    });
    StepMaker::new(IMAGE, "image".into())
        .list("layers", layers)
        .list(
            "configuration",
            inputs.image.iter().map(|text| itself(text)),
        )
        .list(
            "created",
            [(inputs.created.to_le_bytes(), inputs.created.to_string())],
        )
        .finish()
}

/// The locked ids, as a list for a key.
fn ids(lock: &Lock) -> Vec<(String, String)> {
    let users = lock.ids.users.iter().map(|one| ("user", one));
    let groups = lock.ids.groups.iter().map(|one| ("group", one));
    users
        .chain(groups)
        .map(|(kind, (name, id))| {
            let text = format!("{kind} {name} {id}");
            (text.clone(), text)
        })
        .collect()
}

/// What is left out, as a text that differs exactly when it does.
fn slim_text(slim: &Slim) -> String {
    let Slim {
        documentation,
        manuals,
        locales,
        python_bytecode,
        tests,
        hardware_database,
    } = slim;
    let locales = locales
        .as_ref()
        .map_or_else(|| "all".to_owned(), |kept| kept.join(","));
    format!("{documentation} {manuals} {locales} {python_bytecode} {tests} {hardware_database}")
}
