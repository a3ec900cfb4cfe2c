//! Layering: from configured stages and definitions to the layers of an image.
//!
//! Package layers are made from packages alone. What they do not say together (what scripts made,
//! which of two packages won a path, a folder's mode) is the stage's state layer; what the
//! definition lays on top is its files layer. Both are differences to what stands below, so that
//! the layers laid over each other give the finished tree, whatever it holds.

use std::collections::BTreeSet;
use std::io;

use kasmforge_digest::{Digest, KeyHasher, StepKey};
use kasmforge_image::{Configuration, Reference};
use kasmforge_lock::Ids;
use kasmforge_plan::Plan;
use kasmforge_spec::Workspace;
use kasmforge_store::Store;
use kasmforge_tree::{Tree, TreePath};

use crate::accounts::{self, Accounts};
use crate::configure::Configured;
use crate::content::{Pool, Writer};
use crate::definition::Definition;
use crate::finish::{self, FinishError};
use crate::pack::{self, Describing, PackError, Packing};
use crate::record::{self, Built, BuiltLayer};
use crate::unpack::Package;
use crate::{BuildError, Observer, merge};

/// Everything the layers of an image are made from.
pub(crate) struct Layering<'a> {
    pub(crate) store: &'a Store,
    pub(crate) workspace: &'a Workspace,
    pub(crate) architecture: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) unpacked: &'a [Vec<Package>],
    pub(crate) configured: &'a [Configured],
    pub(crate) definitions: &'a [Definition],
    pub(crate) ids: &'a Ids,
    pub(crate) configuration: &'a Configuration,
    pub(crate) references: &'a [Reference],
    pub(crate) created: i64,
}

/// A layer before it is packed.
struct Planned {
    key: StepKey,
    stage: String,
    packages: Vec<String>,
    tree: Tree,
    created_by: String,
}

impl Layering<'_> {
    /// Packs the image and records it.
    pub(crate) fn pack(
        &self,
        pool: &mut Pool,
        observer: &dyn Observer,
    ) -> Result<Built, BuildError> {
        let scratch = self.store.temporary_folder()?;
        let keep = |source| FinishError::Keep {
            target: "the image's files".into(),
            source,
        };
        let (planned, finished) = {
            let mut writer = Writer::new(scratch.path()).map_err(keep)?;
            self.layers(pool, &mut writer, scratch.path())?
        };
        self.check(&finished, pool)?;
        let mut packings = Vec::new();
        for layer in &planned {
            packings.push(Packing {
                tree: layer.tree.clone(),
                created_by: layer.created_by.clone(),
                expected: self.store.outcome::<Digest>(&layer.key)?,
            });
        }
        let describing = Describing {
            configuration: self.configuration,
            references: self.references,
            architecture: self.architecture,
            created: self.created,
        };
        let archive = self.store.temporary_file()?;
        let packed = pack::pack(
            &packings,
            pool,
            &describing,
            archive.as_file(),
            archive.path(),
            observer,
        )?;
        for (layer, made) in planned.iter().zip(&packed.layers) {
            self.store.record(&layer.key, &made.diff_id)?;
        }
        let folder = self.store.image_folder(&self.workspace.name)?;
        let name = format!("{}.tar", packed.image.manifest.digest.hex());
        let path = folder.join(name);
        archive.persist(&path).map_err(|error| PackError::Write {
            path: path.clone(),
            source: error.error,
        })?;
        let layers = planned.into_iter().zip(packings).zip(&packed.layers).map(
            |((layer, packing), made)| BuiltLayer {
                diff_id: made.diff_id,
                size: made.size,
                created_by: layer.created_by,
                stage: layer.stage,
                packages: layer.packages,
                reused: packing.expected.is_some(),
            },
        );
        let built = Built {
            workspace: self.workspace.name.clone(),
            architecture: self.architecture.into(),
            references: self.references.iter().map(Reference::canonical).collect(),
            manifest: packed.image.manifest.digest,
            config: packed.image.config.digest,
            created: self.created,
            layers: layers.collect(),
            archive: path,
            length: packed.length,
            parts: packed.parts,
            normalised: self
                .plan
                .stages
                .iter()
                .zip(self.configured)
                .map(|(stage, configured)| (stage.name.clone(), configured.normalised.clone()))
                .collect(),
            reused: false,
        };
        record::keep(self.store, &self.plan.image.key, &built)?;
        Ok(built)
    }

    /// All layers, lowest first, and the finished tree they give together.
    fn layers(
        &self,
        pool: &mut Pool,
        writer: &mut Writer<'_>,
        scratch: &std::path::Path,
    ) -> Result<(Vec<Planned>, Tree), BuildError> {
        let mut layers = Vec::new();
        let mut stacked = Tree::new();
        let mut below: Option<StepKey> = None;
        for (index, stage) in self.plan.stages.iter().enumerate() {
            let packages = &self.unpacked[index];
            let slim = &self.workspace.stages[index].slim;
            for layer in &stage.layers {
                let members: Vec<(&Package, Tree)> = layer
                    .packages
                    .iter()
                    .map(|&at| (&packages[at], merge::slimmed(&packages[at], slim)))
                    .collect();
                let names: Vec<String> = members
                    .iter()
                    .map(|(package, _)| package.stem.clone())
                    .collect();
                let (tree, _) = merge::merge(&Tree::new(), &members).map_err(|collision| {
                    BuildError::Configure {
                        stage: stage.name.clone(),
                        source: collision.into(),
                    }
                })?;
                stacked.overlay(&tree);
                layers.push(Planned {
                    key: layer.key,
                    stage: stage.name.clone(),
                    packages: names,
                    tree,
                    created_by: format!("kasmforge {}: {}", stage.name, layer.sources.join(" ")),
                });
            }
            let mut finish = |definition: Option<&Definition>, pool: &mut Pool| {
                let configured = &self.configured[index];
                let tree = finish::finish(configured, definition, self.ids, pool, writer)?;
                pool.add(scratch, &tree);
                Ok::<_, FinishError>(tree)
            };
            let lower = index.checked_sub(1).map(|lower| &self.definitions[lower]);
            let state = finish(lower, pool)?;
            let key = |kind: &str| {
                let below = below.map_or(Vec::new(), |key| key.digest().as_bytes().to_vec());
                KeyHasher::new(kind).field("below", below).list(
                    "packages",
                    stage.layers.iter().map(|one| *one.key.digest().as_bytes()),
                )
            };
            let ids = serde_ids(self.ids);
            layers.push(Planned {
                key: key("state 1")
                    .step("configured", stage.configure.key)
                    .list("ids", &ids)
                    .key(),
                stage: stage.name.clone(),
                packages: Vec::new(),
                tree: state.since(&stacked),
                created_by: format!("kasmforge {}: what maintainer scripts made", stage.name),
            });
            let finished = finish(Some(&self.definitions[index]), pool)?;
            layers.push(Planned {
                key: key("files 1").step("finished", stage.finish.key).key(),
                stage: stage.name.clone(),
                packages: Vec::new(),
                tree: finished.since(&state),
                created_by: format!("kasmforge {}: users, services and files", stage.name),
            });
            stacked = finished;
            below = Some(stage.finish.key);
        }
        layers.retain(|layer| !layer.tree.is_empty());
        Ok((layers, stacked))
    }

    /// Checks that what the definition names is in the image: at build, not at start.
    fn check(&self, tree: &Tree, pool: &Pool) -> Result<(), BuildError> {
        let first = |command: &[String]| command.first().cloned();
        let image = &self.workspace.image;
        let services = self.workspace.stages.last().map(|stage| &stage.services);
        let named = [
            ("[image] entrypoint", first(&image.entrypoint)),
            (
                "[image.healthcheck] command",
                image.healthcheck.as_ref().and_then(|c| first(&c.command)),
            ),
        ]
        .into_iter()
        .chain(
            services
                .into_iter()
                .flatten()
                .map(|service| ("[[services]] command", first(&service.command))),
        );
        for (who, path) in named {
            let Some(path) = path else { continue };
            if !finish::missing_programs(tree, [path.as_str()]).is_empty() {
                return Err(BuildError::MissingProgram { path, who });
            }
        }
        let Some(user) = &image.user else {
            return Ok(());
        };
        let name = user.value.split(':').next().unwrap_or_default();
        if name.parse::<u32>().is_ok() {
            return Ok(());
        }
        let accounts = accounts(tree, pool).map_err(|source| FinishError::Keep {
            target: "/etc/passwd".into(),
            source,
        })?;
        match accounts.uid(name) {
            Some(_) => Ok(()),
            None => Err(BuildError::MissingUser { name: user.clone() }),
        }
    }
}

/// The accounts of a tree.
pub(crate) fn accounts(tree: &Tree, pool: &Pool) -> io::Result<Accounts> {
    let read = |file: &str| {
        let path = TreePath::new(file.as_bytes()).expect("paths in the code are clean");
        pool.read(tree, &path)
    };
    let [passwd, group, shadow, gshadow] = accounts::FILES;
    Ok(Accounts::parse([
        read(passwd)?,
        read(group)?,
        read(shadow)?,
        read(gshadow)?,
    ]))
}

fn serde_ids(ids: &Ids) -> BTreeSet<String> {
    let users = ids
        .users
        .iter()
        .map(|(name, id)| format!("user {name} {id}"));
    users
        .chain(
            ids.groups
                .iter()
                .map(|(name, id)| format!("group {name} {id}")),
        )
        .collect()
}
