//! Recommendations: taken as far as they can be had.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

use crate::model::{Model, Set};
use crate::provider::{NoSolution, Scope, Task};
use crate::solution::Root;
use crate::stage::Roots;
use crate::universe::PackageId;

/// How much work one search may take, as [`Task::work`] counts it. Desktops take 0.1 to 0.5
/// million, 2 million with all that is recommended; this is some seconds for whoever wants to keep
/// us busy.
const MAX_WORK: u64 = 60_000_000;

/// After how many rounds no more recommendations are followed. Each round follows those of the
/// packages the last one brought; real desktops need 4 to 6.
const MAX_ROUNDS: usize = 50;

/// How often recommendations that could not be had are put first.
const MAX_REORDERINGS: usize = 3;

/// Chooses packages; with recommendations, as many as can be had together.
///
/// The solver grants wishes one by one and takes none back, so that an early one may stand in the
/// way of several. Hence those not granted are put first once more, for as long as that helps.
pub(crate) fn choose(
    model: &Model<'_>,
    roots: &Roots,
    recommends: bool,
) -> Result<Vec<PackageId>, NoSolution> {
    let mut wishes = Wishes::default();
    let mut chosen = wishes.grant(model, roots, recommends)?;
    for _ in 0..MAX_REORDERINGS {
        let mut reordered = wishes.ungranted_first(&chosen);
        let ungranted = wishes.ungranted(&chosen).count();
        if ungranted == 0 {
            break;
        }
        let again = reordered.grant(model, roots, recommends)?;
        if reordered.ungranted(&again).count() >= ungranted {
            break;
        }
        (wishes, chosen) = (reordered, again);
    }
    Ok(chosen)
}

/// Clauses of `Recommends`, the most wanted first.
#[derive(Clone, Default)]
struct Wishes {
    clauses: Vec<Vec<Set>>,
    /// The packages whose recommendations are among the clauses.
    of: BTreeSet<PackageId>,
}

impl Wishes {
    /// Solves, and asks for what the new packages recommend until nothing new is recommended.
    fn grant(
        &mut self,
        model: &Model<'_>,
        roots: &Roots,
        recommends: bool,
    ) -> Result<Vec<PackageId>, NoSolution> {
        for round in 0.. {
            let task = Task {
                model,
                roots: &roots.clauses,
                wishes: &self.clauses,
                scope: Scope::All,
                work: &Cell::new(MAX_WORK),
            };
            let chosen = task.solve()?;
            if !recommends || !self.add(model, roots, &chosen) || round == MAX_ROUNDS {
                return Ok(chosen);
            }
        }
        unreachable!("the last round returns")
    }

    /// Adds what the new packages among the chosen recommend; tells whether that is anything.
    fn add(&mut self, model: &Model<'_>, roots: &Roots, chosen: &[PackageId]) -> bool {
        let before = self.clauses.len();
        for id in new_packages(model, roots, chosen) {
            if self.of.insert(id) {
                let rules = model
                    .rules(id)
                    .expect("the solver takes no package it cannot read");
                let wanted = rules.wishes.iter().map(|rule| &rule.sets);
                let possible = wanted.filter(|sets| !sets.is_empty());
                self.clauses.extend(possible.cloned());
            }
        }
        self.clauses.len() > before
    }

    fn ungranted<'w>(&'w self, chosen: &[PackageId]) -> impl Iterator<Item = &'w Vec<Set>> {
        let chosen: BTreeSet<_> = chosen.iter().copied().collect();
        let granted = move |sets: &[Set]| {
            let mut packages = sets.iter().flat_map(|set| &set.packages);
            packages.any(|id| chosen.contains(id))
        };
        self.clauses.iter().filter(move |sets| !granted(sets))
    }

    fn ungranted_first(&self, chosen: &[PackageId]) -> Self {
        let ungranted: Vec<_> = self.ungranted(chosen).cloned().collect();
        let granted = self
            .clauses
            .iter()
            .filter(|sets| !ungranted.contains(sets))
            .cloned();
        let granted: Vec<_> = granted.collect();
        Self {
            clauses: [ungranted, granted].concat(),
            of: self.of.clone(),
        }
    }
}

/// The chosen packages that no lower stage has, in the order in which somebody who reads the
/// requests and then the stanzas meets them: whose recommendation is met first wins where two
/// cannot be had together.
fn new_packages(model: &Model<'_>, roots: &Roots, chosen: &[PackageId]) -> Vec<PackageId> {
    let kept = |id: &PackageId| {
        let reasons = roots.reasons.iter().zip(&roots.clauses);
        let mut kept = reasons.filter(|(root, _)| matches!(root, Root::Kept(_)));
        kept.any(|(_, clause)| clause.iter().any(|set| set.packages.contains(id)))
    };
    let kept: BTreeSet<_> = chosen.iter().copied().filter(kept).collect();
    let chosen: BTreeSet<_> = chosen.iter().copied().collect();
    let among_chosen = |clause: &[Set]| {
        let packages = clause.iter().flat_map(|set| &set.packages).copied();
        packages
            .filter(|id| chosen.contains(id))
            .collect::<Vec<_>>()
    };
    let mut seen = BTreeSet::new();
    let mut new = Vec::new();
    let mut waiting: VecDeque<_> = roots
        .clauses
        .iter()
        .flat_map(|clause| among_chosen(clause))
        .collect();
    while let Some(id) = waiting.pop_front() {
        if kept.contains(&id) || !seen.insert(id) {
            continue;
        }
        new.push(id);
        let rules = model
            .rules(id)
            .expect("the solver takes no package it cannot read");
        let clauses = rules.needs.iter().chain(&rules.wishes);
        let found: Vec<PackageId> = clauses.flat_map(|rule| among_chosen(&rule.sets)).collect();
        waiting.extend(found);
    }
    new
}
