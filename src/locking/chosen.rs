//! Between the resolver's words and the lock's: what was chosen, and what was chosen before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use kasmforge_deb::{PackageStanza, Version};
use kasmforge_lock::{Lock, Package};
use kasmforge_resolve::{Chosen, Identity, Origin, Solution, Universe};

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
            Change::All => false,
            Change::Packages(names) => !names.contains(&package.name),
        })
        .map(|package| {
            // The native architecture's name stands for `all` too, as the resolver has it.
            let key = format!("{}:{}", package.name, package.architecture);
            Ok((key, version(package)?))
        })
        .collect()
}

/// The stage's own packages of a solution, in the order they are configured.
pub(super) fn packages(
    universe: &Universe,
    solution: &Solution,
    debs: &[FetchedDeb],
) -> anyhow::Result<Vec<Package>> {
    let own = solution.packages.iter().filter(|chosen| !chosen.is_kept());
    own.map(|chosen| package(universe, solution, debs, chosen))
        .collect()
}

fn package(
    universe: &Universe,
    solution: &Solution,
    debs: &[FetchedDeb],
    chosen: &Chosen,
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
    let depends: BTreeSet<String> = chosen
        .links
        .iter()
        .map(|link| solution.packages[link.package].stanza.name.clone())
        .collect();
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
        depends: depends.into_iter().collect(),
    })
}
