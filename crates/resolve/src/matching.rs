//! Which packages an atom means.

use kasmforge_deb::{Atom, MultiArch, Version};

use crate::package::Package;
use crate::universe::{PackageId, Universe};

/// Whether a package may serve one of this architecture that asks by this atom. A foreign package
/// must say that it serves others (`Multi-Arch`).
fn serves(universe: &Universe, package: Package<'_>, atom: &Atom, architecture: u16) -> bool {
    match atom.qualifier.as_deref() {
        None => {
            package.architecture_number() == architecture
                || package.multi_arch() == MultiArch::Foreign
        }
        Some("any") => {
            matches!(
                package.multi_arch(),
                MultiArch::Allowed | MultiArch::Foreign
            )
        }
        Some("native") => package.architecture_number() == 0,
        Some(named) => universe.architecture(named) == Some(package.architecture_number()),
    }
}

fn accepts(atom: &Atom, version: Option<&Version>) -> bool {
    match (&atom.constraint, version) {
        (None, _) => true,
        (Some(constraint), Some(version)) => constraint.accepts(version),
        (Some(_), None) => false,
    }
}

/// The packages of the atom's own name that satisfy it, those of one's own architecture first; of
/// each architecture the best first.
pub(crate) fn named(universe: &Universe, atom: &Atom, architecture: u16) -> Vec<PackageId> {
    let Some(name) = universe.name(&atom.name) else {
        return Vec::new();
    };
    let mut slots = universe.name_slots(name).to_vec();
    slots.sort_by_key(|&(number, _)| (number != architecture, number));
    slots
        .into_iter()
        .flat_map(|(_, slot)| universe.slot_packages(slot))
        .copied()
        .filter(|&id| {
            let package = universe.package(id);
            serves(universe, package, atom, architecture) && accepts(atom, Some(package.version()))
        })
        .collect()
}

/// The packages of other names that provide what the atom asks for, as the indexes have them.
pub(crate) fn providing(universe: &Universe, atom: &Atom, architecture: u16) -> Vec<PackageId> {
    let Some(name) = universe.name(&atom.name) else {
        return Vec::new();
    };
    universe
        .providers(name)
        .iter()
        .filter(|provider| accepts(atom, provider.version.as_ref()))
        .map(|provider| universe.package(provider.package))
        .filter(|package| {
            serves(universe, *package, atom, architecture) && package.name_number() != name
        })
        .map(|package| package.id())
        .collect()
}

/// What a `Conflicts` or `Breaks` means: every architecture's packages of that name and all that
/// provide it, but never the package itself (policy 7.4).
pub(crate) fn forbidden(universe: &Universe, atom: &Atom, of: Package<'_>) -> Vec<PackageId> {
    let Some(name) = universe.name(&atom.name) else {
        return Vec::new();
    };
    let meant = |package: Package<'_>| {
        package.name_number() != of.name_number()
            && match atom.qualifier.as_deref() {
                None | Some("any") => true,
                Some("native") => package.architecture_number() == 0,
                Some(named) => universe.architecture(named) == Some(package.architecture_number()),
            }
    };
    let real = universe
        .name_slots(name)
        .iter()
        .flat_map(|&(_, slot)| universe.slot_packages(slot))
        .map(|&id| universe.package(id))
        .filter(|package| accepts(atom, Some(package.version())));
    let provided = universe
        .providers(name)
        .iter()
        .filter(|provider| accepts(atom, provider.version.as_ref()))
        .map(|provider| universe.package(provider.package));
    real.chain(provided)
        .filter(|package| meant(*package))
        .map(|package| package.id())
        .collect()
}

/// Packages of one name for two architectures go together only if both are `Multi-Arch: same` in
/// one version; these do not go with this one.
pub(crate) fn other_architectures(universe: &Universe, of: Package<'_>) -> Vec<PackageId> {
    universe
        .name_slots(of.name_number())
        .iter()
        .filter(|&&(_, slot)| slot != of.slot())
        .flat_map(|&(_, slot)| universe.slot_packages(slot))
        .map(|&id| universe.package(id))
        .filter(|other| {
            let both_same = [of, *other]
                .iter()
                .all(|package| package.multi_arch() == MultiArch::Same);
            !both_same || other.version() != of.version()
        })
        .map(|package| package.id())
        .collect()
}
