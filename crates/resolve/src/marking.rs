//! apt's own way of choosing.
//!
//! A solver finds a set of packages that goes together; which of many it finds is its own affair.
//! People who know apt expect apt's. So this follows the way apt goes: each request is marked for
//! installation, and what it needs in turn, depth first, in the order in which the stanza names it
//! ([`install`]); where that leaves something broken, packages are looked at by their scores and
//! kept out or put in until nothing is ([`repair`], [`scores`]); what nothing leads to any more is
//! taken back ([`sweep`]). The method is that of apt 1.0 to 3.0 (`pkgDepCache`,
//! `pkgProblemResolver`), for a system that is empty or holds only packages that must stay.
//!
//! apt's way may end nowhere though there is a solution. Then the solver is asked.

mod clauses;
mod install;
mod repair;
mod scores;
mod sweep;

use std::collections::BTreeSet;
use std::rc::Rc;

use self::clauses::{Aim, Clause};
use crate::solution::{Relation, Root};
use crate::stage::Roots;
use crate::universe::{PackageId, Universe};

/// How deep needs are followed; apt tries no harder either.
const MAX_DEPTH: u32 = 3000;

/// How many packages are marked before the way is given up. Desktops take a few thousand; this is
/// some seconds for whoever wants to keep us busy.
const MAX_WORK: u64 = 2_000_000;

/// The stack for [`MAX_DEPTH`] steps down, in bytes. Only what is used of it is taken.
const STACK: usize = 128 << 20;

/// Chooses packages as apt does; nothing if apt would refuse.
pub(crate) fn choose(
    universe: &Universe,
    preferred: &BTreeSet<PackageId>,
    roots: &Roots,
    recommends: bool,
) -> Option<Vec<PackageId>> {
    let choose = || Marking::new(universe, preferred, recommends).choose(roots);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("apt's way".into())
            .stack_size(STACK)
            .spawn_scoped(scope, choose);
        // Without memory for a thread there is still the solver.
        thread.ok()?.join().ok()?
    })
}

/// What is to become of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Keep,
    Install,
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// What is there from the beginning, and stays.
    current: Option<PackageId>,
    /// What would be there.
    install: Option<PackageId>,
    /// What may be put in.
    candidate: Option<PackageId>,
    mode: Mode,
    /// Nobody but the user changes it.
    protected: bool,
    /// Nobody asked for it.
    auto: bool,
    /// It is in [`Marking::touched`].
    touched: bool,
}

struct Marking<'u> {
    universe: &'u Universe,
    preferred: &'u BTreeSet<PackageId>,
    recommends: bool,
    states: Vec<State>,
    /// By package; read at the first time.
    clauses: Vec<Option<Rc<[Clause]>>>,
    /// The slots that something was put in, perhaps for a time, in order.
    touched: Vec<u32>,
    work: u64,
}

impl<'u> Marking<'u> {
    fn new(universe: &'u Universe, preferred: &'u BTreeSet<PackageId>, recommends: bool) -> Self {
        let states = (0..universe.slot_count())
            .map(|slot| {
                let packages = universe.slot_packages(slot).iter();
                let locked = packages.clone().find(|id| preferred.contains(id));
                State {
                    candidate: locked.or(packages.clone().next()).copied(),
                    ..State::default()
                }
            })
            .collect();
        Self {
            universe,
            preferred,
            recommends,
            states,
            clauses: vec![None; universe.len()],
            touched: Vec::new(),
            work: 0,
        }
    }

    fn choose(mut self, roots: &Roots) -> Option<Vec<PackageId>> {
        let kept = roots.reasons.iter().zip(&roots.clauses);
        for (_, clause) in kept.filter(|(reason, _)| matches!(reason, Root::Kept(_))) {
            let id = *clause.first()?.packages.first()?;
            let slot = self.universe.package(id).slot();
            let state = &mut self.states[slot as usize];
            state.current = Some(id);
            state.install = Some(id);
            state.candidate = Some(id);
            state.touched = true;
            self.touched.push(slot);
        }
        let mut asked = Vec::new();
        for (reason, clause) in roots.reasons.iter().zip(&roots.clauses) {
            if matches!(reason, Root::Kept(_)) {
                continue;
            }
            let set = clause.first()?;
            let state = &mut self.states[set.slot as usize];
            if state.current.is_some_and(|id| set.packages.contains(&id)) {
                continue;
            }
            if !asked.contains(&set.slot) {
                asked.push(set.slot);
            }
            if !state.candidate.is_some_and(|id| set.packages.contains(&id)) {
                state.candidate = Some(*set.packages.first()?);
            }
            state.protected = true;
            self.mark_install(set.slot, false, 0, true);
        }
        for &slot in &asked {
            self.mark_install(slot, true, 0, true);
        }
        if !self.repair(&asked) {
            return None;
        }
        self.sweep();
        if self.work > MAX_WORK {
            return None;
        }
        let chosen: Vec<PackageId> = self
            .touched
            .iter()
            .filter_map(|&slot| self.states[slot as usize].install)
            .collect();
        Some(chosen)
    }

    fn state(&self, slot: u32) -> &State {
        &self.states[slot as usize]
    }

    fn slot(&self, id: PackageId) -> u32 {
        self.universe.package(id).slot()
    }

    /// The clauses of a package; none if it cannot be read.
    fn clauses(&mut self, id: PackageId) -> Option<Rc<[Clause]>> {
        let known = &mut self.clauses[id.index()];
        if known.is_none() {
            *known = clauses::clauses(self.universe, self.universe.package(id));
        }
        known.clone()
    }

    /// Whether some package that the aim means is what `of` says of its slot.
    fn met(&self, aim: &Aim, of: impl Fn(&State) -> Option<PackageId>) -> bool {
        aim.targets
            .iter()
            .any(|&id| of(self.state(self.slot(id))) == Some(id))
    }

    /// Whether the clause holds for what would be there.
    fn holds(&self, clause: &Clause) -> bool {
        let mut aims = clause.aims.iter();
        aims.any(|aim| self.met(aim, |state| state.install)) != clause.forbids()
    }

    /// Whether a clause is one that is followed.
    fn is_important(&self, clause: &Clause) -> bool {
        clause.is_critical() || self.recommends && clause.kind == Relation::Recommends
    }

    /// Whether what would be in the slot lacks something it cannot do without.
    fn is_broken(&mut self, slot: u32) -> bool {
        self.lacks(slot, Clause::is_critical)
    }

    /// Whether it lacks something, be it only recommended.
    fn is_wanting(&mut self, slot: u32) -> bool {
        let recommends = self.recommends;
        self.lacks(slot, |clause| {
            clause.is_critical() || recommends && clause.kind == Relation::Recommends
        })
    }

    fn lacks(&mut self, slot: u32, counts: impl Fn(&Clause) -> bool) -> bool {
        let Some(id) = self.state(slot).install else {
            return false;
        };
        let Some(clauses) = self.clauses(id) else {
            return true;
        };
        clauses
            .iter()
            .any(|clause| counts(clause) && !self.holds(clause))
    }

    fn broken_count(&mut self) -> usize {
        let touched = self.touched.clone();
        touched
            .into_iter()
            .filter(|&slot| self.is_broken(slot))
            .count()
    }
}
