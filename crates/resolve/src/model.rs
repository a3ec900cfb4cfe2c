//! Relations in terms of packages: which packages an atom means.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kasmforge_deb::{Alternatives, Atom, MultiArch, PackageError, Version};

use crate::package::Package;
use crate::solution::Relation;
use crate::universe::{PackageId, Universe};

/// The packages of one slot that a relation means: any of them will do, or none may be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Set {
    pub(crate) slot: u32,
    pub(crate) packages: Vec<PackageId>,
}

/// One thing that a package needs or forbids.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) kind: Relation,
    /// The clause as the package has it.
    pub(crate) clause: Alternatives,
    /// What is meant: for needs, in order of preference; for what is forbidden, all of it.
    pub(crate) sets: Vec<Set>,
}

/// All that a package needs, forbids and wishes for.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) needs: Vec<Rule>,
    pub(crate) forbids: Vec<Rule>,
    pub(crate) wishes: Vec<Rule>,
}

/// A universe, with the rules of the packages somebody has asked for.
pub(crate) struct Model<'u> {
    pub(crate) universe: &'u Universe,
    /// The packages to prefer to better ones: those of the lock.
    preferred: BTreeSet<PackageId>,
    rules: RefCell<BTreeMap<PackageId, Result<Rc<Rules>, PackageError>>>,
}

impl<'u> Model<'u> {
    pub(crate) fn new(universe: &'u Universe, prefer: &BTreeMap<String, Version>) -> Self {
        let preferred = prefer.iter().filter_map(|(key, version)| {
            let (name, architecture) = key.rsplit_once(':')?;
            find(universe, name, architecture, version)
        });
        Self {
            universe,
            preferred: preferred.collect(),
            rules: RefCell::default(),
        }
    }

    pub(crate) fn is_preferred(&self, id: PackageId) -> bool {
        self.preferred.contains(&id)
    }

    pub(crate) fn preferred_of(&self, slot: u32) -> Option<PackageId> {
        let packages = self.universe.slot_packages(slot).iter();
        packages.copied().find(|&id| self.is_preferred(id))
    }

    /// The rules of a package, read at the first time.
    pub(crate) fn rules(&self, id: PackageId) -> Result<Rc<Rules>, PackageError> {
        if let Some(known) = self.rules.borrow().get(&id) {
            return known.clone();
        }
        let rules = self.read(self.universe.package(id)).map(Rc::new);
        self.rules.borrow_mut().insert(id, rules.clone());
        rules
    }

    fn read(&self, package: Package<'_>) -> Result<Rules, PackageError> {
        let stanza = package.stanza()?;
        let need = |kind, clauses: Vec<Alternatives>| {
            clauses.into_iter().map(move |clause| Rule {
                kind,
                sets: self.satisfying(&clause, package.architecture_number()),
                clause,
            })
        };
        let forbid = |kind, clauses: Vec<Alternatives>| {
            clauses.into_iter().flatten().map(move |atom| Rule {
                kind,
                sets: self.forbidden(&atom, package),
                clause: vec![atom],
            })
        };
        let mut rules = Rules {
            needs: need(Relation::PreDepends, stanza.pre_depends)
                .chain(need(Relation::Depends, stanza.depends))
                .collect(),
            forbids: forbid(Relation::Conflicts, stanza.conflicts)
                .chain(forbid(Relation::Breaks, stanza.breaks))
                .filter(|rule| !rule.sets.is_empty())
                .collect(),
            wishes: need(Relation::Recommends, stanza.recommends).collect(),
        };
        rules.forbids.extend(self.other_architectures(package));
        Ok(rules)
    }

    /// What satisfies a clause of a package of this architecture, best first.
    pub(crate) fn satisfying(&self, clause: &[Atom], architecture: u16) -> Vec<Set> {
        let mut sets = Sets::default();
        for atom in clause {
            self.satisfying_atom(atom, architecture, &mut sets);
        }
        sets.sets
    }

    /// First the packages of that name, then those that provide it.
    fn satisfying_atom(&self, atom: &Atom, architecture: u16, sets: &mut Sets) {
        let universe = self.universe;
        let Some(name) = universe.name(&atom.name) else {
            return;
        };
        // A foreign package must say that it serves others (`Multi-Arch`).
        let serves = |package: Package<'_>| match atom.qualifier.as_deref() {
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
        };
        let accepts = |version: Option<&Version>| match (&atom.constraint, version) {
            (None, _) => true,
            (Some(constraint), Some(version)) => constraint.accepts(version),
            (Some(_), None) => false,
        };
        // One's own architecture goes before others.
        let mut slots = universe.name_slots(name).to_vec();
        slots.sort_by_key(|&(number, _)| (number != architecture, number));
        for (_, slot) in slots {
            for &id in universe.slot_packages(slot) {
                let package = universe.package(id);
                if serves(package) && accepts(Some(package.version())) {
                    sets.add(slot, id);
                }
            }
        }
        let mut providers: Vec<_> = universe
            .providers(name)
            .iter()
            .filter(|provider| accepts(provider.version.as_ref()))
            .map(|provider| universe.package(provider.package))
            .filter(|package| serves(*package) && package.name_number() != name)
            .collect();
        providers.sort_by_cached_key(|package| self.provider_rank(*package, architecture));
        for package in providers {
            sets.add(package.slot(), package.id());
        }
    }

    /// In which order providers are tried: what the lock has, one's own architecture, the more
    /// important priority, then by name.
    fn provider_rank<'p>(
        &self,
        package: Package<'p>,
        architecture: u16,
    ) -> (bool, bool, u8, &'p str, std::cmp::Reverse<&'p Version>) {
        let stanza = kasmforge_deb::stanza::Stanzas::new(package.text()).next();
        let priority = stanza
            .and_then(Result::ok)
            .and_then(|stanza| stanza.get("Priority"));
        let priority = match priority.as_deref() {
            Some("required") => 0,
            Some("important") => 1,
            Some("standard") => 2,
            Some("optional") => 3,
            _ => 4,
        };
        (
            self.preferred_of(package.slot()).is_none(),
            package.architecture_number() != architecture,
            priority,
            package.name(),
            std::cmp::Reverse(package.version()),
        )
    }

    /// What a `Conflicts` or `Breaks` means: every architecture's packages of that name and all
    /// that provide it, but never the package itself (policy 7.4).
    fn forbidden(&self, atom: &Atom, of: Package<'_>) -> Vec<Set> {
        let universe = self.universe;
        let Some(name) = universe.name(&atom.name) else {
            return Vec::new();
        };
        let meant = |package: Package<'_>| {
            package.name_number() != of.name_number()
                && match atom.qualifier.as_deref() {
                    None | Some("any") => true,
                    Some("native") => package.architecture_number() == 0,
                    Some(named) => {
                        universe.architecture(named) == Some(package.architecture_number())
                    }
                }
        };
        let accepts = |version: &Version| {
            atom.constraint
                .as_ref()
                .is_none_or(|wanted| wanted.accepts(version))
        };
        let mut sets = Sets::default();
        for &(_, slot) in universe.name_slots(name) {
            for &id in universe.slot_packages(slot) {
                let package = universe.package(id);
                if meant(package) && accepts(package.version()) {
                    sets.add(slot, id);
                }
            }
        }
        for provider in universe.providers(name) {
            let package = universe.package(provider.package);
            let version_meant = match (&atom.constraint, &provider.version) {
                (None, _) => true,
                (Some(constraint), Some(version)) => constraint.accepts(version),
                (Some(_), None) => false,
            };
            if version_meant && meant(package) {
                sets.add(package.slot(), package.id());
            }
        }
        sets.sets
    }

    /// Packages of one name for two architectures go together only if both are `Multi-Arch: same`
    /// in one version.
    fn other_architectures(&self, of: Package<'_>) -> Option<Rule> {
        let slots = self.universe.name_slots(of.name_number());
        let mut sets = Sets::default();
        for &(_, slot) in slots.iter().filter(|&&(_, slot)| slot != of.slot()) {
            for &id in self.universe.slot_packages(slot) {
                let other = self.universe.package(id);
                let both_same = [of, other]
                    .iter()
                    .all(|package| package.multi_arch() == MultiArch::Same);
                if !both_same || other.version() != of.version() {
                    sets.add(slot, id);
                }
            }
        }
        (!sets.sets.is_empty()).then_some(Rule {
            kind: Relation::OtherArchitecture,
            clause: Vec::new(),
            sets: sets.sets,
        })
    }
}

/// Finds a package by name, architecture (or `all`) and version.
pub(crate) fn find(
    universe: &Universe,
    name: &str,
    architecture: &str,
    version: &Version,
) -> Option<PackageId> {
    universe
        .packages_of(name, architecture)
        .find(|package| package.version() == version && package.architecture() == architecture)
        .map(|package| package.id())
}

/// Sets in the order in which their slots were first named.
#[derive(Default)]
struct Sets {
    sets: Vec<Set>,
    /// Where each slot stands among the sets.
    places: BTreeMap<u32, usize>,
}

impl Sets {
    fn add(&mut self, slot: u32, id: PackageId) {
        let place = *self.places.entry(slot).or_insert(self.sets.len());
        match self.sets.get_mut(place) {
            None => self.sets.push(Set {
                slot,
                packages: vec![id],
            }),
            Some(set) if !set.packages.contains(&id) => set.packages.push(id),
            Some(_) => {}
        }
    }
}
