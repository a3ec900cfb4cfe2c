//! What an update moved besides what it was asked to, and why.

use std::collections::BTreeMap;

use kasmforge_deb::{Atom, Version, relations};
use kasmforge_lock::{Lock, Package};
use kasmforge_resolve::{Chosen, Origin, Solution, Universe};

use super::Change;

/// Why packages changed, by name and architecture.
pub(crate) type Moved = BTreeMap<(String, String), String>;

/// Tells why each package of a stage is not what the lock had.
pub(super) fn moved(
    lock: &Lock,
    stage: &str,
    universe: &Universe,
    solution: &Solution,
    change: &Change,
) -> Moved {
    let mut moved = Moved::new();
    let before: BTreeMap<(&str, &str), &Package> = lock
        .workspace(stage, universe.native())
        .into_iter()
        .flat_map(|known| &known.packages)
        .map(|&index| &lock.packages[index])
        .map(|package| ((&*package.name, &*package.architecture), package))
        .collect();
    if before.is_empty() {
        return moved;
    }
    let key = |chosen: &Chosen| {
        let stanza = &chosen.stanza;
        (stanza.name.clone(), stanza.architecture.clone())
    };
    for (at, chosen) in solution.packages.iter().enumerate() {
        let stanza = &chosen.stanza;
        let known = before.get(&(&*stanza.name, &*stanza.architecture));
        let why = match known {
            Some(known) if known.version == stanza.version.as_str() => continue,
            Some(known) => newer(universe, solution, at, known, change),
            None if chosen.is_kept() => continue,
            None => added(solution, at),
        };
        moved.insert(key(chosen), why);
    }
    for ((name, architecture), _) in before {
        let is = |chosen: &Chosen| {
            chosen.stanza.name == name && chosen.stanza.architecture == architecture
        };
        if !solution.packages.iter().any(is) {
            let why = "nothing needs it any more".to_owned();
            moved.insert((name.to_owned(), architecture.to_owned()), why);
        }
    }
    moved
}

fn newer(
    universe: &Universe,
    solution: &Solution,
    at: usize,
    known: &Package,
    change: &Change,
) -> String {
    let name = &known.name;
    let asked = match change {
        Change::Packages(names) => names.contains(name),
        Change::All | Change::Security => true,
        Change::Needed => false,
    };
    if asked {
        return match change {
            Change::Security => "the security archive has a newer version".into(),
            _ => "it was to be updated".into(),
        };
    }
    let there = universe.packages_of(name, &known.architecture);
    let mut there = there.filter(|one| matches!(one.origin(), Origin::Archive(_)));
    if !there.any(|one| one.version().as_str() == known.version) {
        return format!("no archive has {} any more", known.version);
    }
    let Ok(version) = known.version.parse::<Version>() else {
        return "its locked version is none".into();
    };
    // Whoever needs it in a way that the locked version does not satisfy.
    for (by, link) in solution.required_by(at) {
        let clauses = relations(&link.clause).unwrap_or_default();
        let satisfied = |atom: &Atom| {
            atom.name == *name
                && atom
                    .constraint
                    .as_ref()
                    .is_none_or(|wanted| wanted.accepts(&version))
        };
        let named = clauses.iter().flatten().any(|atom| atom.name == *name);
        if named && !clauses.iter().flatten().any(satisfied) {
            return format!(
                "{} {} {}",
                full(&solution.packages[by]),
                link.relation,
                link.clause
            );
        }
    }
    for by in &solution.packages {
        for (verb, forbidden) in [
            ("conflicts with", &by.stanza.conflicts),
            ("breaks", &by.stanza.breaks),
        ] {
            let meant = forbidden.iter().flatten().find(|atom| {
                let constraint = atom.constraint.as_ref();
                atom.name == *name && constraint.is_none_or(|one| one.accepts(&version))
            });
            if let Some(atom) = meant {
                return format!("{} {verb} {atom}", full(by));
            }
        }
    }
    // What it needed itself is not there any more in the version it needed.
    "with its locked version what it needs cannot be had together with the rest".into()
}

fn added(solution: &Solution, at: usize) -> String {
    let mut required = solution.required_by(at);
    match required.next() {
        Some((by, link)) => {
            format!(
                "{} {} {}",
                full(&solution.packages[by]),
                link.relation,
                link.clause
            )
        }
        None => "it is asked for".into(),
    }
}

fn full(chosen: &Chosen) -> String {
    format!("{} {}", chosen.stanza.name, chosen.stanza.version)
}

/// The packages of a chain of stages for which a security archive has a newer version.
pub(super) fn with_security(
    universe: &Universe,
    lock: &Lock,
    workspace: &str,
) -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    for stage in lock.chain(workspace, universe.native()) {
        for &index in &stage.packages {
            let package = &lock.packages[index];
            let Ok(version) = package.version.parse::<Version>() else {
                continue;
            };
            let newer = universe
                .packages_of(&package.name, &package.architecture)
                .any(|one| {
                    let security = match one.origin() {
                        Origin::Archive(id) => universe.archive(id).name.ends_with("-security"),
                        Origin::Deb(_) => false,
                    };
                    security && *one.version() > version
                });
            if newer {
                names.insert(package.name.clone());
            }
        }
    }
    names
}
