//! Layering: from configured stages and definitions to the layers of an image.
//!
//! Package layers are made from packages alone. What they do not say together (what scripts made,
//! which of two packages won a path, a folder's mode) is the stage's state layer; what the
//! definition lays on top is its files layer. Both are differences to what stands below, so that
//! the layers laid over each other give the finished tree, whatever it holds.

use std::io;
use std::path::Path;

use kasmforge_lock::Ids;
use kasmforge_spec::{Slim, Workspace};
use kasmforge_tree::{Entry, Tree};

use crate::accounts::{self, Accounts};
use crate::configure::Configured;
use crate::content::{Pool, Writer};
use crate::definition::Definition;
use crate::finish::{self, FinishError};
use crate::merge::{self, Collision};
use crate::unpack::Package;
use crate::{BuildError, content};

/// Everything the layers above the packages are made from.
pub(crate) struct Layering<'a> {
    pub(crate) workspace: &'a Workspace,
    /// The configured stages; those that are looked at must be there.
    pub(crate) configured: &'a [Option<Configured>],
    pub(crate) definitions: &'a [Definition],
    pub(crate) ids: &'a Ids,
    pub(crate) pool: &'a Pool,
    /// Where new contents are written.
    pub(crate) scratch: &'a Path,
}

/// The tree of one layer of packages.
pub(crate) fn packages(
    packages: &[&Package],
    members: &[usize],
    slim: &Slim,
) -> Result<Tree, Collision> {
    let members: Vec<(&Package, Tree)> = members
        .iter()
        .map(|&at| (packages[at], merge::slimmed(packages[at], slim)))
        .collect();
    merge::merge(&Tree::new(), &members).map(|(tree, _)| tree)
}

/// Contents of the image that could not be kept.
pub(crate) fn keep(source: io::Error) -> FinishError {
    FinishError::Keep {
        target: "the image's files".into(),
        source,
    }
}

impl Layering<'_> {
    fn configured(&self, stage: usize) -> &Configured {
        self.configured[stage]
            .as_ref()
            .expect("a stage that is looked at is there")
    }

    fn finish(
        &self,
        stage: usize,
        definition: Option<&Definition>,
        writer: &mut Writer<'_>,
    ) -> Result<Tree, FinishError> {
        let configured = self.configured(stage);
        let tree = finish::finish(configured, definition, self.ids, self.pool, writer)?;
        self.pool.add_folder(self.scratch, true).map_err(keep)?;
        Ok(tree)
    }

    /// The stage with what stages below lay over it, and with all that is laid over it.
    fn finished(&self, stage: usize, writer: &mut Writer<'_>) -> Result<(Tree, Tree), FinishError> {
        let lower = stage.checked_sub(1).map(|lower| &self.definitions[lower]);
        let state = self.finish(stage, lower, writer)?;
        let finished = self.finish(stage, Some(&self.definitions[stage]), writer)?;
        Ok((state, finished))
    }

    /// Whether the contents are there that [`Layering::files`] reads.
    pub(crate) fn has_accounts(&self, stage: usize) -> bool {
        let tree = &self.configured(stage).tree;
        accounts::FILES.iter().all(|file| {
            let content = tree.get(&content::path(file)).and_then(Entry::content);
            content.is_none_or(|(digest, _)| self.pool.path(&digest).is_some())
        })
    }

    /// A stage's files layer, and the finished stage.
    pub(crate) fn files(
        &self,
        stage: usize,
        writer: &mut Writer<'_>,
    ) -> Result<(Tree, Tree), FinishError> {
        let (state, finished) = self.finished(stage, writer)?;
        Ok((finished.since(&state), finished))
    }

    /// The state and files layers of all stages, over these package layers, and the finished tree.
    pub(crate) fn all(
        &self,
        packages: &[Vec<Tree>],
        writer: &mut Writer<'_>,
    ) -> Result<(Vec<Tree>, Vec<Tree>, Tree), FinishError> {
        let (mut states, mut files) = (Vec::new(), Vec::new());
        let mut stacked = Tree::new();
        for (stage, packages) in packages.iter().enumerate() {
            for layer in packages {
                stacked.overlay(layer);
            }
            let (state, finished) = self.finished(stage, writer)?;
            states.push(state.since(&stacked));
            files.push(finished.since(&state));
            stacked = finished;
        }
        Ok((states, files, stacked))
    }

    /// Checks that what the definition names is in the image: at build, not at start.
    pub(crate) fn check(&self, tree: &Tree) -> Result<(), BuildError> {
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
        let accounts = accounts(tree, self.pool).map_err(|source| FinishError::Keep {
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
    let read = |file: &str| pool.text(tree, &content::path(file));
    let [passwd, group, shadow, gshadow] = accounts::FILES;
    Ok(Accounts::parse([
        read(passwd)?,
        read(group)?,
        read(shadow)?,
        read(gshadow)?,
    ]))
}
