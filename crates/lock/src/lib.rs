//! `kasmforge.lock`: what a build is made of, to the byte.
//!
//! A [`Lock`] names every package of every workspace by SHA-256, tells from which verified Release
//! it came, and fixes whatever else a build could otherwise decide differently: the order of
//! configuration, which packages share a layer, which numeric ids system users have.
//!
//! Its text has one form: [`Lock::parse`] then [`Lock::render`] is the identity, so that a change
//! of the lock reads as a change of what it says. It names no mirror: packages are found by their
//! path below any mirror's base, and known by their digest.

mod difference;
mod parse;
mod render;

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_digest::Digest;

pub use difference::{Change, ChangeKind, changes};
pub use parse::ParseError;

/// The number of the format written.
pub const FORMAT: u32 = 2;

/// The oldest format still read. What it lacks is empty: [`Workspace::asked`],
/// [`Package::recommends`] and [`Package::essential`] came with format 2.
pub const OLDEST_FORMAT: u32 = 1;

/// The lock of a project: all its workspaces, so that they share layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The archives' states packages came from, by name.
    pub archives: Vec<ArchiveState>,
    /// Every package of every workspace, sorted by name, architecture and version.
    pub packages: Vec<Package>,
    /// The workspaces, sorted by name and architecture.
    pub workspaces: Vec<Workspace>,
    /// The numeric ids of system users and groups, so that they do not depend on which packages
    /// are configured first.
    pub ids: Ids,
    /// Downloads outside any archive, by address.
    pub urls: BTreeMap<String, Digest>,
    /// Workspaces that could not be locked when the others were, because something they need could
    /// not be fetched. None of them is in [`Lock::workspaces`].
    pub left_out: BTreeSet<String>,
}

/// One suite of one archive, as its signed Release told it when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveState {
    /// The archive's name and suite: `debian trixie-security`.
    pub name: String,
    /// The digest of the signed Release.
    pub release: Digest,
    /// The Release's date, in seconds since 1970.
    pub date: i64,
    /// The fingerprint of the key that signed it; empty when it was trusted unsigned.
    pub signer: String,
}

/// One package: everything needed to fetch it from any mirror and to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: `amd64`, `all`.
    pub architecture: String,
    /// The source package it was built from.
    pub source: String,
    /// The archive it came from, as [`ArchiveState::name`]; empty for a package by URL.
    pub archive: String,
    /// Its path below a mirror's base, or its address for a package by URL.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The size of what it installs, in KiB, as the archive says.
    pub installed_size: u64,
    /// Whether every system must have it.
    pub essential: bool,
    /// The packages that were chosen for what it depends on, in whichever workspace, sorted: by name,
    /// and with the architecture (`libc6:i386`) where that is a foreign one.
    pub depends: Vec<String>,
    /// Those that were chosen because it recommends them, in the same form.
    pub recommends: Vec<String>,
}

/// One request of a definition, and what met it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The request, as the definition has it: `vim`, `vim (>= 9)`, `wine:i386`, `?priority(required)`.
    pub text: String,
    /// The package that met it, as [`Package::depends`] names packages. It is another name than the
    /// request's where that one is virtual.
    pub package: String,
}

/// One workspace on one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The workspace it extends; its packages come first.
    pub extends: Option<String>,
    /// The digest of what the definition asked for when this was resolved: another one means that
    /// the definition has changed since.
    pub request: Digest,
    /// What it asks for, sorted, each once; a request that several packages met is there with each.
    pub asked: Vec<Asked>,
    /// Its own packages in the order they are configured: indexes into [`Lock::packages`].
    pub packages: Vec<usize>,
    /// Which source packages share a layer, bottom first.
    pub layers: Vec<Vec<String>>,
    /// The digest of the image's manifest when it was last built.
    pub image: Option<Digest>,
}

/// Names and numbers of system users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

impl Lock {
    /// Finds a workspace.
    #[must_use]
    pub fn workspace(&self, name: &str, architecture: &str) -> Option<&Workspace> {
        self.workspaces
            .iter()
            .find(|one| one.name == name && one.architecture == architecture)
    }

    /// Finds an archive's state.
    #[must_use]
    pub fn archive(&self, name: &str) -> Option<&ArchiveState> {
        self.archives.iter().find(|one| one.name == name)
    }

    /// Puts in a workspace with its packages, in the place of one of the same name and
    /// architecture, and drops packages nobody needs any more.
    pub fn put(&mut self, mut workspace: Workspace, packages: Vec<Package>) {
        self.workspaces.retain(|one| {
            (&one.name, &one.architecture) != (&workspace.name, &workspace.architecture)
        });
        let first = self.packages.len();
        self.packages.extend(packages);
        workspace.packages = (first..self.packages.len()).collect();
        self.left_out.remove(&workspace.name);
        self.workspaces.push(workspace);
        self.normalise();
    }

    /// Sorts, joins equal packages, and drops what no workspace has, also where a package leads to it.
    pub fn normalise(&mut self) {
        let mut sorted: Vec<Package> = Vec::new();
        let wanted: Vec<Vec<Package>> = self
            .workspaces
            .iter()
            .map(|one| {
                one.packages
                    .iter()
                    .map(|&index| self.packages[index].clone())
                    .collect()
            })
            .collect();
        for package in wanted.iter().flatten() {
            sorted.push(package.clone());
        }
        sorted.sort_by(|a, b| a.identity().cmp(&b.identity()));
        sorted.dedup_by(|again, first| {
            let same = again.identity() == first.identity();
            if same {
                first.join(again);
            }
            same
        });
        let names: BTreeSet<String> = sorted
            .iter()
            .flat_map(|one| {
                [
                    one.name.clone(),
                    format!("{}:{}", one.name, one.architecture),
                ]
            })
            .collect();
        for package in &mut sorted {
            package.depends.retain(|name| names.contains(name));
            package.recommends.retain(|name| names.contains(name));
        }
        for (workspace, packages) in self.workspaces.iter_mut().zip(wanted) {
            workspace.packages = packages
                .iter()
                .map(|package| {
                    sorted
                        .binary_search_by(|one| one.identity().cmp(&package.identity()))
                        .expect("every wanted package was put in")
                })
                .collect();
        }
        self.packages = sorted;
        self.workspaces
            .sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        for workspace in &mut self.workspaces {
            workspace.asked.sort();
            workspace.asked.dedup();
        }
        self.archives.sort_by(|a, b| a.name.cmp(&b.name));
        self.archives.dedup_by(|a, b| a.name == b.name);
    }

    /// A workspace and those it extends, itself first. Ends where one is missing.
    #[must_use]
    pub fn chain(&self, name: &str, architecture: &str) -> Vec<&Workspace> {
        let mut chain: Vec<&Workspace> = Vec::new();
        let mut next = Some(name);
        while let Some(workspace) = next.and_then(|name| self.workspace(name, architecture)) {
            // A circle cannot be parsed, but it can be made by hand.
            if chain.iter().any(|known| known.name == workspace.name) {
                break;
            }
            chain.push(workspace);
            next = workspace.extends.as_deref();
        }
        chain
    }

    /// The newest Release's date: the time of every image made from this lock.
    #[must_use]
    pub fn date(&self) -> i64 {
        self.archives
            .iter()
            .map(|archive| archive.date)
            .max()
            .unwrap_or(0)
    }
}

impl Asked {
    /// The package a request names, as [`Package::depends`] names packages: what stands before its
    /// version or suite.
    #[must_use]
    pub fn named(text: &str) -> &str {
        let end = text.find([' ', '=', '/', '(']).unwrap_or(text.len());
        &text[..end]
    }
}

impl Package {
    /// How other packages of the lock name this one: with its architecture if that is neither the
    /// workspace's nor `all`.
    #[must_use]
    pub fn reference(&self, native: &str) -> String {
        if self.architecture == native || self.architecture == "all" {
            self.name.clone()
        } else {
            format!("{}:{}", self.name, self.architecture)
        }
    }

    /// Takes over what another workspace's resolution chose for the same package: one that has an
    /// alternative, or takes what is recommended, leads elsewhere.
    fn join(&mut self, other: &Self) {
        let union = |one: &[String], other: &[String]| -> BTreeSet<String> {
            one.iter().chain(other).cloned().collect()
        };
        let depends = union(&self.depends, &other.depends);
        let recommends = union(&self.recommends, &other.recommends);
        self.recommends = recommends.difference(&depends).cloned().collect();
        self.depends = depends.into_iter().collect();
        self.essential |= other.essential;
    }

    fn identity(&self) -> (&str, &str, &str, &Digest) {
        (&self.name, &self.architecture, &self.version, &self.sha256)
    }
}
