//! The project: its folder, its workspaces, its lock.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kasmforge_lock::Lock;
use kasmforge_spec::{Folder, Sources as _, Workspace};

use crate::whole_file;

/// The folder of definitions.
const WORKSPACES: &str = "workspaces";

/// The lock's name, beside it.
const LOCK: &str = "kasmforge.lock";

/// A project on disk.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its folder.
    pub(crate) root: PathBuf,
    sources: Folder,
}

impl Project {
    /// Finds the project: the folder named, else this one or the nearest above it that has
    /// workspaces.
    pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("there is no current folder")?;
        let root = match named {
            Some(named) => {
                let root = here.join(named);
                if !root.join(WORKSPACES).is_dir() {
                    bail!("{} has no folder `{WORKSPACES}`", root.display());
                }
                root
            }
            None => here
                .ancestors()
                .find(|folder| folder.join(WORKSPACES).is_dir())
                .map(Path::to_owned)
                .with_context(|| {
                    format!(
                        "neither {} nor a folder above it has a folder `{WORKSPACES}`; name the \
                         project with -C DIR",
                        here.display()
                    )
                })?,
        };
        Ok(Self {
            sources: Folder(root.clone()),
            root,
        })
    }

    /// The names of all workspaces.
    pub(crate) fn workspaces(&self) -> anyhow::Result<Vec<String>> {
        self.sources
            .workspaces()
            .with_context(|| format!("cannot list {}", self.root.join(WORKSPACES).display()))
    }

    /// Reads a workspace's definition.
    pub(crate) fn load(&self, name: &str) -> anyhow::Result<Workspace> {
        Ok(kasmforge_spec::load(&self.sources, name)?)
    }

    /// The workspace that is meant when none is named: the only one.
    pub(crate) fn only(&self) -> anyhow::Result<String> {
        let mut names = self.workspaces()?;
        match names.len() {
            0 => bail!(
                "{} has no definitions",
                self.root.join(WORKSPACES).display()
            ),
            1 => Ok(names.remove(0)),
            _ => bail!("say which workspace: {}", names.join(", ")),
        }
    }

    /// Where the lock is.
    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join(LOCK)
    }

    /// Reads the lock; an absent one is empty.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.lock_path();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Lock::parse(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Reads a lock that stands somewhere else.
    pub(crate) fn lock_at(&self, path: &Path) -> anyhow::Result<Lock> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Lock::parse(&text).with_context(|| format!("{} is no lock", path.display()))
    }

    /// Writes the lock whole, if it changed.
    pub(crate) fn write_lock(&self, lock: &Lock) -> anyhow::Result<bool> {
        let path = self.lock_path();
        let text = lock.render();
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        whole_file::write(&path, text.as_bytes())?;
        Ok(true)
    }
}
