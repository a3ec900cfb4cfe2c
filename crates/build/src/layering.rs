//! Layering: from configured stages and definitions to the layers of an image.
//!
//! Package layers are made from packages alone. What they do not say together (what scripts made,
//! which of two packages won a path, a folder's mode) is the stage's state layer; what the
//! definition lays on top is its files layer. Both are differences to what stands below, so that
//! the layers laid over each other give the finished tree, whatever it holds.

use std::io;
use std::path::Path;
use std::thread;

use kasmforge_lock::Ids;
use kasmforge_spec::{Located, Location, Probe, Ready, Slim, Workspace};
use kasmforge_tree::{Entry, Tree};

use crate::accounts::{self, Accounts};
use crate::configure::Configured;
use crate::content::{Pool, Writer};
use crate::definition::{DefinedContent, Definition};
use crate::finish::{self, FinishError};
use crate::merge::{self, Collision};
use crate::naming::{self, Missing, Named};
use crate::unpack::Package;
use crate::{BuildError, content};

/// Where programs are looked for in an image that does not set `PATH`.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
        finish::finish(configured, definition, self.ids, self.pool, writer)
    }

    /// Has the contents written that these layers have, or that are read of the finished tree, and makes
    /// them findable.
    fn written(
        &self,
        layers: &[&Tree],
        finished: &Tree,
        writer: &mut Writer<'_>,
    ) -> Result<(), FinishError> {
        let accounts = accounts::FILES
            .iter()
            .filter_map(|file| finished.get(&content::path(file)));
        let laid = layers.iter().flat_map(|layer| layer.iter());
        for entry in laid.map(|(_, entry)| entry).chain(accounts) {
            finish::fulfil(entry, writer)?;
        }
        self.pool.add_folder(self.scratch, true).map_err(keep)
    }

    /// What the stage below lays over its packages.
    fn lower(&self, stage: usize) -> Option<&Definition> {
        stage.checked_sub(1).map(|lower| &self.definitions[lower])
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
        // The state is there already: it is only compared with, and what it writes is for nobody.
        let (state, finished) = thread::scope(|scope| {
            let state = scope.spawn(|| {
                let aside = self.scratch.join("aside");
                let mut aside = Writer::new(&aside).map_err(keep)?;
                self.finish(stage, self.lower(stage), &mut aside)
            });
            let finished = self.finish(stage, Some(&self.definitions[stage]), writer);
            (state.join().expect("finishing does not panic"), finished)
        });
        let finished = finished?;
        let files = finished.since(&state?);
        self.written(&[&files], &finished, writer)?;
        Ok((files, finished))
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
            let state = self.finish(stage, self.lower(stage), writer)?;
            let finished = self.finish(stage, Some(&self.definitions[stage]), writer)?;
            let (above, laid) = (state.since(&stacked), finished.since(&state));
            self.written(&[&above, &laid], &finished, writer)?;
            states.push(above);
            files.push(laid);
            stacked = finished;
        }
        Ok((states, files, stacked))
    }

    /// What the definitions' files and variables name. A file that is not read any more is not judged:
    /// laying it into the image told of that already.
    fn named<'a>(&'a self, search: &'a str) -> Named<'a> {
        let environment = &self.workspace.image.environment;
        let mut named = Named {
            environment: environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            search,
            ..Named::default()
        };
        for file in self.definitions.iter().flat_map(|one| &one.files) {
            let target = file.target.as_str();
            named.texts.remove(target);
            named.links.remove(target);
            match &file.content {
                DefinedContent::Symlink(to) => {
                    let to = String::from_utf8_lossy(to).into_owned();
                    named.links.insert(target, to);
                }
                _ if !naming::is_judged(target) => {}
                DefinedContent::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    named.texts.insert(target, text);
                }
                DefinedContent::Host { path, .. } => {
                    if let Ok(bytes) = std::fs::read(path) {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        named.texts.insert(target, text);
                    }
                }
                DefinedContent::Folder => {}
            }
        }
        named
    }

    /// Checks that what the definition names is in the image: at build, not at start.
    pub(crate) fn check(&self, tree: &Tree) -> Result<(), BuildError> {
        let image = &self.workspace.image;
        let services = || {
            let last = self.workspace.stages.last();
            last.into_iter().flat_map(|stage| &stage.services)
        };
        fn whole(command: &Located<Vec<String>>) -> (Option<&String>, &Location) {
            (command.value.first(), &command.at)
        }
        let mut named = Vec::new();
        if let Some(command) = &image.entrypoint {
            named.push(("[image] entrypoint", whole(command)));
        }
        if let Some(check) = &image.healthcheck {
            named.push(("[image.healthcheck] command", whole(&check.command)));
        }
        for service in services() {
            named.push(("[[services]] command", whole(&service.command)));
            if let Some(Ready::Command(command)) = &service.ready {
                named.push(("[[services]] ready", whole(command)));
            }
        }
        for check in &self.workspace.checks {
            if let Probe::Command(command) = &check.probe {
                named.push(("[[checks]] command", (command.first(), &check.at)));
            }
        }
        let search = image.environment.get("PATH").map_or(SEARCH, String::as_str);
        let mut missing = Vec::new();
        for (who, (program, at)) in named {
            if let Some(path) = program
                && !finish::has_program(tree, path, search)
            {
                let (path, at) = (path.clone(), at.clone());
                missing.push(Missing::Program { path, who, at });
            }
        }
        if let Some(folder) = &image.working_directory
            && !finish::has_program(tree, &folder.value, search)
        {
            missing.push(Missing::Program {
                path: folder.value.clone(),
                who: "[image] working-directory",
                at: folder.at.clone(),
            });
        }
        let users = image
            .user
            .iter()
            .chain(services().filter_map(|service| service.user.as_ref()));
        let by_name: Vec<_> = users
            .filter_map(|user| {
                let name = user.value.split(':').next().unwrap_or_default();
                name.parse::<u32>().is_err().then_some((user, name))
            })
            .collect();
        if !by_name.is_empty() {
            let accounts = accounts(tree, self.pool).map_err(|source| FinishError::Keep {
                target: "/etc/passwd".into(),
                source,
            })?;
            let nobody = by_name
                .into_iter()
                .filter(|(_, name)| accounts.uid(name).is_none());
            missing.extend(nobody.map(|(name, _)| Missing::User { name: name.clone() }));
        }
        let lines = self.named(search).missing(tree);
        missing.extend(lines.into_iter().map(|line| Missing::Name { line }));
        match missing.is_empty() {
            true => Ok(()),
            false => Err(BuildError::Missing { missing }),
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
