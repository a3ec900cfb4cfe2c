//! Marking packages for installation, and what they need.

use std::cmp::Reverse;

use kasmforge_deb::MultiArch;

use super::clauses::Clause;
use super::{MAX_DEPTH, MAX_WORK, Marking, Mode};
use crate::universe::PackageId;

impl Marking<'_> {
    /// Whether a slot's mode may be changed. The user is always right; what the user said, nobody
    /// else changes, nor what must stay.
    fn may_become(&self, mode: Mode, slot: u32, depth: u32, from_user: bool) -> bool {
        let state = self.state(slot);
        depth <= MAX_DEPTH
            && (from_user
                || state.mode == mode
                || !state.protected && (mode == Mode::Keep || state.current.is_none()))
    }

    /// Leaves a slot as it was in the beginning.
    pub(super) fn mark_keep(&mut self, slot: u32, depth: u32) -> bool {
        if !self.may_become(Mode::Keep, slot, depth, false) {
            return false;
        }
        let state = &mut self.states[slot as usize];
        if state.mode != Mode::Keep {
            state.mode = Mode::Keep;
            state.install = state.current;
        }
        true
    }

    /// Empties a slot. What was asked for is not taken away, nor what every system must have.
    pub(super) fn mark_delete(&mut self, slot: u32) -> bool {
        let state = self.state(slot);
        let Some(id) = state.install else {
            return true;
        };
        let package = self.universe.package(id);
        if state.protected
            || state.current.is_some()
            || self.universe.is_essential(package.name_number())
            || package.is_important()
            || !state.auto
        {
            return false;
        }
        let state = &mut self.states[slot as usize];
        state.mode = Mode::Keep;
        state.install = None;
        true
    }

    /// Marks a slot's candidate for installation, and with `follow` all it needs. False if that
    /// cannot be; some of what it needs may be marked by then.
    pub(super) fn mark_install(
        &mut self,
        slot: u32,
        follow: bool,
        depth: u32,
        from_user: bool,
    ) -> bool {
        self.work += 1;
        if self.work > MAX_WORK {
            return false;
        }
        let state = *self.state(slot);
        let stays = state.protected
            && state.mode == Mode::Keep
            && state.candidate.is_some()
            && state.candidate == state.current;
        if !stays && !self.may_become(Mode::Install, slot, depth, from_user) {
            return false;
        }
        let Some(candidate) = state.candidate else {
            return false;
        };
        if !state.protected
            && (state.mode == Mode::Install || state.candidate == state.current)
            && !self.is_wanting(slot)
        {
            return true;
        }
        let Some(clauses) = self.clauses(candidate) else {
            self.states[slot as usize].candidate = state.current;
            return false;
        };
        if !self.goes_with_other_architectures(slot, candidate, from_user)
            || follow && !self.is_possible(slot, &clauses)
        {
            return false;
        }
        if from_user {
            self.put_in(slot, true);
        }
        let wanted: Vec<&Clause> = clauses
            .iter()
            .filter(|clause| {
                follow
                    && !clause.forbids()
                    && self.is_important(clause)
                    && (state.protected || !self.holds(clause))
            })
            .collect();
        // What was asked for is not given up at the first thing that fails.
        let fails_early = !state.protected && !from_user;
        let mut failed = false;
        if follow && !self.make_room(&clauses, depth, state.protected, from_user) {
            if fails_early {
                return false;
            }
            failed = true;
        }
        if !from_user {
            self.put_in(slot, false);
        }
        if !follow {
            return !failed;
        }
        self.states[slot as usize].protected = true;
        let got = self.install_needs(slot, &wanted, depth, state.protected, from_user);
        if !got && fails_early {
            // The candidate is of no use any more, unless something has put it in meanwhile.
            let state = &mut self.states[slot as usize];
            state.mode = Mode::Keep;
            state.install = state.current;
            state.candidate = state.install;
        }
        self.states[slot as usize].protected = state.protected;
        got && !failed
    }

    fn put_in(&mut self, slot: u32, from_user: bool) {
        let state = &mut self.states[slot as usize];
        if state.protected && state.install == state.candidate {
            return;
        }
        state.install = state.candidate;
        state.mode = if state.candidate == state.current {
            Mode::Keep
        } else {
            Mode::Install
        };
        state.auto = !from_user;
        if !std::mem::replace(&mut state.touched, true) {
            self.touched.push(slot);
        }
    }

    /// A package that is `Multi-Arch: same` must have the version of those that stay.
    fn goes_with_other_architectures(
        &self,
        slot: u32,
        candidate: PackageId,
        from_user: bool,
    ) -> bool {
        let package = self.universe.package(candidate);
        if from_user || package.multi_arch() != MultiArch::Same {
            return true;
        }
        let slots = self.universe.name_slots(package.name_number());
        slots.iter().all(|&(_, other)| {
            let Some(other) = self.state(other).current.filter(|_| other != slot) else {
                return true;
            };
            let other = self.universe.package(other);
            other.multi_arch() != MultiArch::Same || other.version() == package.version()
        })
    }

    /// Whether everything the candidate cannot do without can be had at all. If not, it is no
    /// candidate.
    fn is_possible(&mut self, slot: u32, clauses: &[Clause]) -> bool {
        let possible = clauses
            .iter()
            .filter(|clause| clause.is_critical() && !clause.forbids())
            .all(|clause| {
                clause.aims.iter().any(|aim| {
                    self.met(aim, |state| state.install) || self.met(aim, |state| state.candidate)
                })
            });
        if !possible {
            let state = &mut self.states[slot as usize];
            if !state.protected {
                state.candidate = state.current;
                state.mode = Mode::Keep;
            }
        }
        possible
    }

    /// Takes out of the way what the clauses forbid, as far as it may be.
    fn make_room(
        &mut self,
        clauses: &[Clause],
        depth: u32,
        protected: bool,
        from_user: bool,
    ) -> bool {
        let mut failed = false;
        for clause in clauses.iter().filter(|clause| clause.forbids()) {
            if self.holds(clause) && !protected {
                continue;
            }
            for id in self.solutions(clause) {
                let slot = self.slot(id);
                let state = *self.state(slot);
                if state.candidate != Some(id) {
                    continue;
                }
                let stays = state.current == Some(id);
                if stays || state.mode == Mode::Install && !self.mark_keep(slot, depth) {
                    failed = true;
                    if !protected && !from_user {
                        return false;
                    }
                } else if protected {
                    let state = &mut self.states[slot as usize];
                    state.candidate = state.install;
                    if state.current.is_none() {
                        state.protected = true;
                    }
                }
            }
        }
        !failed
    }

    /// The candidates a clause means, in the order in which they are tried.
    fn solutions(&self, clause: &Clause) -> Vec<PackageId> {
        let (mut there, mut new) = (Vec::new(), Vec::new());
        for aim in &clause.aims {
            let mut candidates: Vec<_> = aim
                .targets
                .iter()
                .copied()
                .filter(|&id| self.state(self.slot(id)).candidate == Some(id))
                .collect();
            candidates.sort_by_cached_key(|&id| self.rank(id, aim.name));
            for id in candidates {
                match self.state(self.slot(id)).current {
                    Some(_) => there.push(id),
                    None => new.push(id),
                }
            }
        }
        there.append(&mut new);
        there.dedup();
        if !clause.forbids() {
            there.retain(|&id| {
                let state = self.state(self.slot(id));
                !(state.protected && state.mode == Mode::Keep && state.current.is_none())
            });
        }
        there
    }

    /// In which order the packages that one atom means are tried, as apt has it
    /// (`CompareProviders`): what the user wants, what is there, what has the name itself, what
    /// every system must have, the native architecture, the more important priority, and then the
    /// last that the indexes name. What the lock has goes before what is only alike.
    fn rank(&self, id: PackageId, name: Option<u32>) -> impl Ord + use<> {
        let package = self.universe.package(id);
        let state = self.state(package.slot());
        let has_sibling = package.multi_arch() == MultiArch::Same
            && self
                .universe
                .name_slots(package.name_number())
                .iter()
                .any(|&(_, slot)| self.state(slot).current.is_some());
        (
            (!state.protected, !has_sibling, state.current.is_none()),
            Some(package.name_number()) != name,
            !self.preferred.contains(&id),
            !self.universe.is_essential(package.name_number()),
            !package.is_important(),
            package.architecture_number(),
            package.priority(),
            Reverse((package.name_number(), package.slot())),
        )
    }

    /// Installs what the clauses ask for. What has one solution only, of a package that the user
    /// wants, is wanted as much.
    fn install_needs(
        &mut self,
        slot: u32,
        wanted: &[&Clause],
        depth: u32,
        protected: bool,
        from_user: bool,
    ) -> bool {
        let stays = self.state(slot).current.is_some();
        let mut failed = false;
        for clause in wanted {
            let critical = clause.is_critical();
            if self.holds(clause) {
                if protected && critical && !self.protect_only_solution(clause, depth) {
                    failed = true;
                }
                continue;
            }
            // What stays does without what it did without before.
            if stays && !critical {
                continue;
            }
            let solutions = self.solutions(clause);
            let only = solutions.len() == 1;
            let mut found = false;
            for id in solutions {
                let target = self.slot(id);
                if self.state(target).candidate != Some(id) {
                    continue;
                }
                if protected && critical && only {
                    if !self.mark_install(target, false, depth + 1, false) {
                        continue;
                    }
                    self.states[target as usize].protected = true;
                }
                if self.mark_install(target, true, depth + 1, false) {
                    found = true;
                    break;
                }
            }
            if !found && critical {
                failed = true;
                if !protected && !from_user {
                    break;
                }
            }
        }
        !failed
    }

    fn protect_only_solution(&mut self, clause: &Clause, depth: u32) -> bool {
        let mut solutions: Vec<PackageId> = clause
            .aims
            .iter()
            .flat_map(|aim| &aim.targets)
            .copied()
            .filter(|&id| {
                let state = self.state(self.slot(id));
                let there = state.candidate == Some(id) || state.current == Some(id);
                let ruled_out =
                    state.protected && state.mode == Mode::Keep && state.current.is_none();
                there && !ruled_out
            })
            .collect();
        solutions.sort_unstable();
        solutions.dedup();
        let [only] = solutions[..] else {
            return true;
        };
        let slot = self.slot(only);
        if self.state(slot).protected {
            return true;
        }
        self.states[slot as usize].protected = true;
        self.mark_install(slot, true, depth + 1, false)
    }
}
