//! Relations in terms of packages: which packages an atom means.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kasmforge_deb::{Alternatives, Atom, PackageError, Version};

use crate::matching;
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
    pub(crate) preferred: BTreeSet<PackageId>,
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

    /// Whether packages meet all these clauses and each other's needs, and none forbids another.
    pub(crate) fn is_sound(&self, clauses: &[Vec<Set>], chosen: &[PackageId]) -> bool {
        let chosen: BTreeSet<_> = chosen.iter().copied().collect();
        let slots: BTreeSet<_> = chosen
            .iter()
            .map(|&id| self.universe.package(id).slot())
            .collect();
        let any = |sets: &[Set]| {
            let mut packages = sets.iter().flat_map(|set| &set.packages);
            packages.any(|id| chosen.contains(id))
        };
        slots.len() == chosen.len()
            && clauses.iter().all(|sets| any(sets))
            && chosen.iter().all(|&id| {
                self.rules(id).is_ok_and(|rules| {
                    rules.needs.iter().all(|rule| any(&rule.sets))
                        && !rules.forbids.iter().any(|rule| any(&rule.sets))
                })
            })
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
            sets.extend(
                self.universe,
                matching::named(self.universe, atom, architecture),
            );
            let mut providers = matching::providing(self.universe, atom, architecture);
            providers.sort_by_cached_key(|&id| self.provider_rank(id, architecture));
            sets.extend(self.universe, providers);
        }
        sets.sets
    }

    /// In which order providers are tried: what the lock has, what every system must have, one's
    /// own architecture, the more important priority, and then the last that the indexes name:
    /// apt's order (`CompareProviders`).
    fn provider_rank(&self, id: PackageId, architecture: u16) -> impl Ord + use<> {
        let package = self.universe.package(id);
        (
            self.preferred_of(package.slot()).is_none(),
            !self.universe.is_essential(package.name_number()),
            !package.is_important(),
            package.architecture_number() != architecture,
            package.priority(),
            std::cmp::Reverse(package.name_number()),
            !self.is_preferred(id),
            std::cmp::Reverse(package.version().clone()),
        )
    }

    fn forbidden(&self, atom: &Atom, of: Package<'_>) -> Vec<Set> {
        let mut sets = Sets::default();
        sets.extend(self.universe, matching::forbidden(self.universe, atom, of));
        sets.sets
    }

    fn other_architectures(&self, of: Package<'_>) -> Option<Rule> {
        let mut sets = Sets::default();
        sets.extend(
            self.universe,
            matching::other_architectures(self.universe, of),
        );
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
    fn extend(&mut self, universe: &Universe, packages: Vec<PackageId>) {
        for id in packages {
            self.add(universe.package(id).slot(), id);
        }
    }

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
