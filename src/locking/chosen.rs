//! Between the resolver's words and the lock's: what was chosen, and what was chosen before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use kasmforge_deb::{PackageStanza, Version};
use kasmforge_lock::{Asked, Lock, Package};
use kasmforge_resolve::{Chosen, Identity, Origin, Relation, Root, Solution, Universe};
use kasmforge_spec::Stage;

use super::{Change, FetchedDeb};

pub(super) fn identities(
    lock: &Lock,
    stage: &str,
    architecture: &str,
) -> anyhow::Result<Vec<Identity>> {
    let Some(locked) = lock.workspace(stage, architecture) else {
        return Ok(Vec::new());
    };
    locked
        .packages
        .iter()
        .map(|&index| {
            let package = &lock.packages[index];
            Ok(Identity {
                name: package.name.clone(),
                architecture: package.architecture.clone(),
                version: version(package)?,
                stage: stage.to_owned(),
            })
        })
        .collect()
}

fn version(package: &Package) -> anyhow::Result<Version> {
    package.version.parse().with_context(|| {
        format!(
            "kasmforge.lock has the version `{}` for {}",
            package.version, package.name
        )
    })
}

/// The versions the lock has for a stage, but for those that may change.
pub(super) fn preferred(
    lock: &Lock,
    stage: &str,
    architecture: &str,
    change: &Change,
) -> anyhow::Result<BTreeMap<String, Version>> {
    let Some(locked) = lock.workspace(stage, architecture) else {
        return Ok(BTreeMap::new());
    };
    locked
        .packages
        .iter()
        .map(|&index| &lock.packages[index])
        .filter(|package| match change {
            Change::Needed => true,
            Change::All | Change::Security => false,
            Change::Packages(names) => !names.contains(&package.name),
        })
        .map(|package| {
            // The native architecture's name stands for `all` too, as the resolver has it.
            let key = format!("{}:{}", package.name, package.architecture);
            Ok((key, version(package)?))
        })
        .collect()
}

/// What a stage asks for, and the packages of its solution that met it.
pub(super) fn asked(solution: &Solution, stage: &Stage, native: &str) -> Vec<Asked> {
    let met = solution.packages.iter().flat_map(|chosen| {
        chosen.roots.iter().filter_map(move |root| match root {
            Root::Request(at) => Some((*at, chosen)),
            _ => None,
        })
    });
    met.filter_map(|(at, chosen)| {
        Some(Asked {
            text: stage.packages.install.get(at)?.value.clone(),
            package: reference(chosen, native),
        })
    })
    .collect()
}

/// How a lock names a package beside others, as [`Package::reference`] does.
fn reference(chosen: &Chosen, native: &str) -> String {
    let PackageStanza {
        name, architecture, ..
    } = &chosen.stanza;
    if architecture == native || architecture == "all" {
        name.clone()
    } else {
        format!("{name}:{architecture}")
    }
}

/// The stage's own packages of a solution, in the order they are configured.
pub(super) fn packages(
    universe: &Universe,
    solution: &Solution,
    debs: &[FetchedDeb],
    native: &str,
) -> anyhow::Result<Vec<Package>> {
    let own = solution.packages.iter().filter(|chosen| !chosen.is_kept());
    own.map(|chosen| package(universe, solution, debs, chosen, native))
        .collect()
}

fn package(
    universe: &Universe,
    solution: &Solution,
    debs: &[FetchedDeb],
    chosen: &Chosen,
    native: &str,
) -> anyhow::Result<Package> {
    let PackageStanza {
        name,
        version,
        architecture,
        source,
        ..
    } = &chosen.stanza;
    let incomplete = || format!("the index says too little of {name} {version} to fetch it");
    let (archive, path, size, sha256) = match chosen.origin {
        Origin::Archive(id) => (
            universe.archive(id).name.clone(),
            chosen.stanza.filename.clone().with_context(incomplete)?,
            chosen.stanza.size.with_context(incomplete)?,
            chosen.stanza.sha256.with_context(incomplete)?,
        ),
        Origin::Deb(index) => {
            let deb = debs.get(index).with_context(incomplete)?;
            (String::new(), deb.url.clone(), deb.size, deb.digest)
        }
    };
    // What is needed is not named a second time as recommended.
    let linked = |recommended: bool| -> BTreeSet<String> {
        let links = chosen.links.iter();
        links
            .filter(|link| (link.relation == Relation::Recommends) == recommended)
            .map(|link| reference(&solution.packages[link.package], native))
            .collect()
    };
    let depends = linked(false);
    let recommends = linked(true).difference(&depends).cloned().collect();
    Ok(Package {
        name: name.clone(),
        version: version.to_string(),
        architecture: architecture.clone(),
        source: source.clone(),
        archive,
        path,
        size,
        sha256,
        installed_size: chosen.stanza.installed_size.unwrap_or_default(),
        essential: chosen.roots.contains(&Root::Essential),
        depends: depends.into_iter().collect(),
        recommends,
    })
}
