//! Mending what marking left broken.

use std::cmp::Reverse;

use super::clauses::Clause;
use super::{MAX_DEPTH, Marking, Mode};
use crate::solution::Relation;
use crate::universe::PackageId;

/// How often all packages are looked at.
const MAX_ROUNDS: usize = 20;

/// How big apt's table of names is unless it is told otherwise.
const TABLE: u32 = 196_613;

/// What is remembered of the slots while mending.
struct Repair {
    scores: Vec<i64>,
    /// The slots that were asked for.
    asked: Vec<bool>,
    /// Whether a slot may still be tried once more.
    upgradable: Vec<bool>,
}

/// What a group of alternatives comes to if none of it can be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    Remove,
    Keep,
}

/// What looking at one package changed.
#[derive(Default)]
struct Look {
    changed: bool,
    /// What is to give way to it, and the kind of the clause that says so.
    giving_way: Vec<(u32, Relation)>,
}

impl Marking<'_> {
    /// Mends what is broken, the packages of the highest score first. Tells whether nothing is
    /// left broken.
    pub(super) fn repair(&mut self, asked: &[u32]) -> bool {
        if self.broken_count() == 0 {
            return true;
        }
        let count = self.states.len();
        let mut repair = Repair {
            scores: self.scores(asked),
            asked: vec![false; count],
            upgradable: vec![true; count],
        };
        for &slot in asked {
            repair.asked[slot as usize] = true;
        }
        let before: Vec<u32> = self
            .touched
            .iter()
            .copied()
            .filter(|&slot| self.state(slot).mode == Mode::Install)
            .collect();
        let order = self.order(&repair.scores);
        for round in 0..MAX_ROUNDS {
            let mut changed = false;
            for &slot in &order {
                if self.state(slot).install.is_some() && self.is_broken(slot) {
                    let look = self.look(slot, round, &mut repair);
                    changed |= look.changed;
                    changed |= self.give_way(slot, &look.giving_way, round, &mut repair);
                }
            }
            if !changed {
                break;
            }
        }
        for &slot in &self.touched {
            if !before.contains(&slot) {
                self.states[slot as usize].auto = true;
            }
        }
        self.broken_count() == 0
    }

    /// All slots by score; those that are alike in the order of apt's table of names.
    fn order(&self, scores: &[i64]) -> Vec<u32> {
        let mut order: Vec<u32> = (1..self.universe.slot_count()).collect();
        order.sort_by_cached_key(|&slot| {
            let name = self.universe.slot_own_name(slot);
            (
                Reverse(scores[slot as usize]),
                hash(name),
                name.len(),
                name.to_owned(),
                slot,
            )
        });
        order
    }

    /// Looks at a broken package: keeps it out, or puts in what it lacks, or notes what must give
    /// way to it.
    fn look(&mut self, slot: u32, round: usize, repair: &mut Repair) -> Look {
        let mut look = Look::default();
        let Some(id) = self.state(slot).install else {
            return look;
        };
        let clauses = self.clauses(id).unwrap_or_default();
        for clause in clauses.iter().filter(|clause| clause.is_critical()) {
            let several = clause.aims.len() > 1;
            let before = look.giving_way.len();
            let mut otherwise = Otherwise::Remove;
            let mut held = false;
            for at in 0..clause.aims.len() {
                held = self.holds(clause);
                if held {
                    break;
                }
                let aim = Aim {
                    slot,
                    clause,
                    at,
                    several,
                    round,
                };
                match self.consider(&aim, repair, &mut look, &mut otherwise) {
                    Considered::Nothing => {}
                    Considered::Settled if several => {}
                    Considered::Settled | Considered::Leave => return look,
                }
            }
            if several && !held && before == look.giving_way.len() {
                match otherwise {
                    Otherwise::Remove if self.state(slot).protected => {}
                    Otherwise::Remove => {
                        self.mark_delete(slot);
                        look.changed = true;
                    }
                    Otherwise::Keep => {
                        self.mark_keep(slot, 0);
                        look.changed = true;
                    }
                }
            }
        }
        look
    }

    fn consider(
        &mut self,
        aim: &Aim<'_>,
        repair: &mut Repair,
        look: &mut Look,
        otherwise: &mut Otherwise,
    ) -> Considered {
        let Aim {
            slot,
            clause,
            several,
            ..
        } = *aim;
        let forbids = clause.forbids();
        let targets: Vec<PackageId> = clause.aims[aim.at].targets.clone();
        if targets.is_empty() && !forbids && !self.state(slot).protected {
            if several {
                return Considered::Nothing;
            }
            look.changed = true;
            self.mark_keep(slot, 0);
            return Considered::Leave;
        }
        for id in targets {
            let target = self.slot(id);
            if forbids && self.state(target).install != Some(id) {
                continue;
            }
            let satisfied_before = clause.aims[aim.at]
                .targets
                .iter()
                .any(|&id| self.state(self.slot(id)).current == Some(id));
            let (own, others) = (repair.scores[slot as usize], repair.scores[target as usize]);
            if own <= others || !forbids && !satisfied_before {
                if self.state(slot).protected {
                    if self.reinstate(target, 0, repair) {
                        let lower = others.min(repair.scores[slot as usize]);
                        repair.scores[target as usize] = lower;
                        return Considered::Nothing;
                    }
                    continue;
                }
                self.hold_back(aim, target, repair, otherwise);
                look.changed = true;
                return Considered::Settled;
            }
            let state = self.state(target);
            if state.protected {
                continue;
            }
            look.giving_way.push((target, clause.kind));
            if !forbids {
                return Considered::Nothing;
            }
        }
        Considered::Nothing
    }

    /// Keeps a package out rather than change what it asks for.
    fn hold_back(
        &mut self,
        aim: &Aim<'_>,
        target: u32,
        repair: &mut Repair,
        otherwise: &mut Otherwise,
    ) {
        let slot = aim.slot;
        let installed = self.state(slot).mode == Mode::Install;
        self.mark_keep(slot, 0);
        if !self.is_broken(slot) {
            *otherwise = Otherwise::Keep;
            if aim.several && installed {
                self.mark_install(slot, false, 0, false);
            }
            return;
        }
        if self.reinstate(slot, 0, repair) {
            return;
        }
        if !aim.several {
            self.mark_delete(slot);
            let others = repair.scores[target as usize];
            if aim.round > 1 && others > repair.scores[slot as usize] {
                repair.scores[slot as usize] = others;
            }
            return;
        }
        let Some(own) = aim.clause.aims[aim.at].own else {
            return;
        };
        let state = self.state(own);
        if state.current.is_none() && state.candidate.is_some() {
            let before = self.broken_count();
            self.mark_install(own, true, 1, false);
            if self.is_broken(own) || self.broken_count() > before {
                self.mark_delete(own);
            }
        }
    }

    /// Puts in a package that something lacks, with what it needs.
    fn reinstate(&mut self, slot: u32, depth: u32, repair: &mut Repair) -> bool {
        let state = *self.state(slot);
        if depth > MAX_DEPTH
            || !repair.upgradable[slot as usize]
            || state.candidate.is_none()
            || state.candidate == state.current
            || repair.asked[slot as usize]
        {
            return false;
        }
        repair.upgradable[slot as usize] = false;
        if !self.mark_install(slot, false, 0, false) {
            return false;
        }
        let Some(id) = self.state(slot).install else {
            return false;
        };
        let clauses = self.clauses(id).unwrap_or_default();
        let fine = clauses
            .iter()
            .filter(|clause| clause.is_critical())
            .all(|clause| self.reinstate_for(clause, depth, repair));
        if !fine {
            if state.mode == Mode::Keep {
                self.mark_keep(slot, 0);
            } else {
                self.mark_delete(slot);
            }
        }
        fine
    }

    fn reinstate_for(&mut self, clause: &Clause, depth: u32, repair: &mut Repair) -> bool {
        let mut failed = false;
        for aim in &clause.aims {
            if self.holds(clause) {
                break;
            }
            let smart = aim
                .own
                .filter(|&own| !self.universe.slot_packages(own).is_empty())
                .or_else(|| aim.targets.first().map(|&id| self.slot(id)));
            if smart.is_some_and(|slot| self.state(slot).protected) {
                failed = true;
            } else if !clause.forbids() && self.met(aim, |state| state.candidate) {
                failed = !smart.is_some_and(|slot| self.reinstate(slot, depth + 1, repair));
                if !failed {
                    break;
                }
            } else if clause.forbids() {
                break;
            } else {
                failed = true;
            }
        }
        !failed
    }

    /// Takes away, or leaves out, what must give way to a package.
    fn give_way(
        &mut self,
        slot: u32,
        giving_way: &[(u32, Relation)],
        round: usize,
        repair: &mut Repair,
    ) -> bool {
        let mut changed = false;
        if self.state(slot).install.is_none() {
            return changed;
        }
        for &(target, kind) in giving_way {
            let forbids = !matches!(kind, Relation::PreDepends | Relation::Depends);
            let there = self.state(target).current.is_some();
            let done = if forbids && there {
                self.mark_delete(target)
            } else {
                forbids && self.mark_keep(target, 0)
            };
            changed |= done;
            if !done || round > 1 {
                let own = repair.scores[slot as usize];
                if own > repair.scores[target as usize] {
                    repair.scores[target as usize] = own;
                    changed = true;
                }
            }
        }
        changed
    }
}

/// One atom of a broken clause.
#[derive(Clone, Copy)]
struct Aim<'a> {
    slot: u32,
    clause: &'a Clause,
    at: usize,
    several: bool,
    round: usize,
}

enum Considered {
    /// The next one is looked at.
    Nothing,
    /// The package was changed; within a group the next one is looked at.
    Settled,
    /// The package was kept out.
    Leave,
}

/// The place of a name in apt's table of names (djb2).
fn hash(name: &str) -> u32 {
    let hash = name.bytes().fold(5381_u32, |hash, byte| {
        hash.wrapping_mul(33)
            .wrapping_add(u32::from(byte.to_ascii_lowercase()))
    });
    hash % TABLE
}
