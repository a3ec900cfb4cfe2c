//! The solver's view of a [`Model`].
//!
//! A slot is a name for resolvo, and a version set is a list of packages of one slot: no virtual
//! names remain. A wish (one clause of a `Recommends`) is a solvable of a name of its own, which
//! needs that clause; the solver tries to have it, and goes without if it cannot.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    Interner, KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver, SolverCache,
    StringId, UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use crate::model::{Model, Rule, Set};
use crate::universe::{NOWHERE, PackageId};

/// Names one rule of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RuleKey {
    /// What must be there in any case, by its place among the roots.
    Root(usize),
    /// What a package needs, by its place among the needs.
    Need(PackageId, usize),
    /// What a package forbids.
    Forbid(PackageId, usize),
}

/// Why a task has no solution.
#[derive(Debug)]
pub(crate) enum NoSolution {
    /// There is none. Holds the rules that the solver had met when it knew.
    Proven(BTreeSet<RuleKey>),
    /// The work allowed was not enough to know.
    GaveUp,
}

/// A problem to solve.
pub(crate) struct Task<'t, 'u> {
    pub(crate) model: &'t Model<'u>,
    /// What must be there in any case: one clause each.
    pub(crate) roots: &'t [Vec<Set>],
    /// What is to be there if it can be: one clause each, the most wanted first.
    pub(crate) wishes: &'t [Vec<Set>],
    /// Which of all rules count.
    pub(crate) scope: Scope<'t>,
    /// How much work the solver may still do; what it does is taken off.
    ///
    /// The solver goes through the dependencies in rounds, and through all it knows in each: so a
    /// package known in a round is the unit. A chain of needs as long as an index, which nobody
    /// writes in good faith, would take 10^10.
    pub(crate) work: &'t Cell<u64>,
}

/// Which rules count when a task is solved.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'t> {
    /// All.
    All,
    /// These roots, and whatever packages say.
    Roots(&'t BTreeSet<RuleKey>),
    /// These roots and rules.
    Rules(&'t BTreeSet<RuleKey>),
}

impl Task<'_, '_> {
    /// Chooses packages, in the order the solver decided on them.
    pub(crate) fn solve(&self) -> Result<Vec<PackageId>, NoSolution> {
        let provider = Provider {
            task: self,
            interned: RefCell::default(),
            met: RefCell::default(),
            known: Cell::new(0),
            asked: Cell::new(false),
        };
        let requirements = self
            .roots
            .iter()
            .enumerate()
            .filter(|(at, _)| provider.counts(RuleKey::Root(*at)))
            .map(|(_, sets)| provider.requirement(sets))
            .collect();
        let packages = self.model.universe.len();
        let wishes = (packages..packages + self.wishes.len()).map(solvable);
        let problem = Problem::new()
            .requirements(requirements)
            .soft_requirements(wishes);
        let mut solver = Solver::new(provider);
        match solver.solve(problem) {
            Ok(chosen) => Ok(chosen
                .into_iter()
                .filter(|id| (id.into_raw() as usize) < packages)
                .map(|id| PackageId(id.into_raw()))
                .collect()),
            Err(UnsolvableOrCancelled::Unsolvable(_)) => {
                Err(NoSolution::Proven(solver.provider().met.take()))
            }
            Err(UnsolvableOrCancelled::Cancelled(_)) => Err(NoSolution::GaveUp),
        }
    }
}

fn solvable(index: usize) -> SolvableId {
    SolvableId::from_raw(u32::try_from(index).expect("fewer than 2^32 packages"))
}

/// Ids for sets and lists of sets. The maps only find ids; nothing walks them.
#[derive(Default)]
struct Interned {
    sets: Vec<Set>,
    set_ids: HashMap<Set, VersionSetId>,
    unions: Vec<Vec<VersionSetId>>,
    union_ids: HashMap<Vec<VersionSetId>, VersionSetUnionId>,
}

struct Provider<'p, 't, 'u> {
    task: &'p Task<'t, 'u>,
    interned: RefCell<Interned>,
    met: RefCell<BTreeSet<RuleKey>>,
    /// How many packages the solver has asked the rules of.
    known: Cell<u64>,
    /// Whether it has asked for anything since it last offered to stop.
    asked: Cell<bool>,
}

impl Provider<'_, '_, '_> {
    /// Whether a rule counts; notes that it was met if so.
    fn counts(&self, key: RuleKey) -> bool {
        let counts = match self.task.scope {
            Scope::All => true,
            Scope::Roots(only) => only.contains(&key) || !matches!(key, RuleKey::Root(_)),
            Scope::Rules(only) => only.contains(&key),
        };
        if counts {
            self.met.borrow_mut().insert(key);
        }
        counts
    }

    fn set_id(&self, set: Set) -> VersionSetId {
        let Interned { sets, set_ids, .. } = &mut *self.interned.borrow_mut();
        *set_ids.entry(set).or_insert_with_key(|set| {
            sets.push(set.clone());
            VersionSetId(u32::try_from(sets.len() - 1).expect("fewer than 2^32 sets"))
        })
    }

    fn requirement(&self, sets: &[Set]) -> ConditionalRequirement {
        let nothing = Set {
            slot: NOWHERE,
            packages: Vec::new(),
        };
        let requirement = match sets {
            [] => self.set_id(nothing).into(),
            [set] => self.set_id(set.clone()).into(),
            sets => {
                let ids: Vec<_> = sets.iter().map(|set| self.set_id(set.clone())).collect();
                let Interned {
                    unions, union_ids, ..
                } = &mut *self.interned.borrow_mut();
                let id = *union_ids.entry(ids).or_insert_with_key(|ids| {
                    unions.push(ids.clone());
                    let number = unions.len() - 1;
                    VersionSetUnionId(u32::try_from(number).expect("fewer than 2^32 unions"))
                });
                Requirement::Union(id)
            }
        };
        ConditionalRequirement {
            condition: None,
            requirement,
        }
    }

    /// The version sets that remain when what a rule forbids is taken away.
    fn constraints(&self, rule: &Rule) -> impl Iterator<Item = VersionSetId> {
        rule.sets.iter().map(|set| {
            let all = self
                .task
                .model
                .universe
                .slot_packages(set.slot)
                .iter()
                .copied();
            let packages = all.filter(|id| !set.packages.contains(id)).collect();
            self.set_id(Set {
                slot: set.slot,
                packages,
            })
        })
    }
}

impl Interner for Provider<'_, '_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    // The solver shows these only in traces: explanations are made elsewhere.
    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        solvable.into_raw()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        name.into_raw()
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        set.0
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        string.0
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        NameId::from_raw(self.interned.borrow().sets[set.0 as usize].slot)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        let universe = self.task.model.universe;
        let index = solvable.into_raw() as usize;
        NameId::from_raw(match index.checked_sub(universe.len()) {
            None => universe.package(PackageId(solvable.into_raw())).slot(),
            Some(wish) => {
                universe.slot_count() + u32::try_from(wish).expect("fewer than 2^32 wishes")
            }
        })
    }

    fn version_sets_in_union(
        &self,
        union: VersionSetUnionId,
    ) -> impl Iterator<Item = VersionSetId> {
        self.interned.borrow().unions[union.0 as usize]
            .clone()
            .into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no rule has a condition")
    }
}

impl DependencyProvider for Provider<'_, '_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let packages = &self.interned.borrow().sets[set.0 as usize].packages;
        candidates
            .iter()
            .copied()
            .filter(|id| packages.contains(&PackageId(id.into_raw())) != inverse)
            .collect()
    }

    /// Called before each question and in each round: twice in a row when a round begins.
    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        let work = self.task.work;
        if !self.asked.replace(false) {
            work.set(work.get().saturating_sub(self.known.get() + 1));
        }
        (work.get() == 0).then(|| Box::new(()) as Box<dyn Any>)
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        self.asked.set(true);
        let slot = name.into_raw();
        let model = self.task.model;
        let packages = model.universe.slot_packages(slot).iter();
        Some(Candidates {
            candidates: packages.map(|id| SolvableId::from_raw(id.0)).collect(),
            favored: model
                .preferred_of(slot)
                .map(|id| SolvableId::from_raw(id.0)),
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let model = self.task.model;
        solvables.sort_by_cached_key(|&id| {
            let id = PackageId(id.into_raw());
            let slot = model.universe.package(id).slot();
            let place = model
                .universe
                .slot_packages(slot)
                .iter()
                .position(|&other| other == id);
            (!model.is_preferred(id), place)
        });
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        self.asked.set(true);
        self.known.set(self.known.get() + 1);
        let model = self.task.model;
        let index = solvable.into_raw() as usize;
        if let Some(wish) = index.checked_sub(model.universe.len()) {
            return Dependencies::Known(KnownDependencies {
                requirements: vec![self.requirement(&self.task.wishes[wish])],
                constrains: Vec::new(),
            });
        }
        let id = PackageId(solvable.into_raw());
        // The model keeps the reason; the package is as if it were not there.
        let Ok(rules) = model.rules(id) else {
            return Dependencies::Unknown(StringId(0));
        };
        let counting = |rules: &[Rule], key: fn(PackageId, usize) -> RuleKey| {
            (0..rules.len())
                .filter(move |&at| self.counts(key(id, at)))
                .collect::<Vec<_>>()
        };
        let needs = counting(&rules.needs, RuleKey::Need);
        let forbids = counting(&rules.forbids, RuleKey::Forbid);
        Dependencies::Known(KnownDependencies {
            requirements: needs
                .into_iter()
                .map(|at| self.requirement(&rules.needs[at].sets))
                .collect(),
            constrains: forbids
                .into_iter()
                .flat_map(|at| self.constraints(&rules.forbids[at]))
                .collect(),
        })
    }
}
