//! How much the slots count when something must give way.

use super::Marking;
use super::clauses::Clause;
use crate::index::Priority;
use crate::solution::Relation;

/// apt's weights (`pkgProblemResolver::Scores`).
const ESSENTIAL: i64 = 100;
const STAYS: i64 = 1;
const ASKED: i64 = 10_000;
const ESSENTIAL_AT_LAST: i64 = 5_000;

const fn of_priority(priority: Priority) -> i64 {
    match priority {
        Priority::Absent => 0,
        Priority::Required => 3,
        Priority::Important => 2,
        Priority::Standard => 1,
        Priority::Optional => -1,
        Priority::Extra => -2,
    }
}

const fn of_relation(kind: Relation) -> i64 {
    match kind {
        Relation::PreDepends | Relation::Depends | Relation::Recommends => 1,
        Relation::Conflicts | Relation::Breaks | Relation::OtherArchitecture => -1,
        Relation::Suggests => 0,
    }
}

impl Marking<'_> {
    /// Scores by slot: by priority, by how many packages need it, and by what those count
    /// themselves.
    pub(super) fn scores(&mut self, asked: &[u32]) -> Vec<i64> {
        let mut scores = vec![0_i64; self.states.len()];
        let mut there: Vec<u32> = self.touched.clone();
        there.retain(|&slot| self.state(slot).install.is_some());
        for &slot in &there {
            let id = self.state(slot).install.expect("it was just looked at");
            let package = self.universe.package(id);
            let essential = self.universe.is_essential(package.name_number());
            let mut score = of_priority(package.priority());
            if essential || package.is_important() {
                score += ESSENTIAL;
            }
            if self.state(slot).current.is_some() {
                score += STAYS;
            }
            scores[slot as usize] += score;
            let clauses = self.clauses(id).unwrap_or_default();
            for clause in clauses
                .iter()
                .filter(|clause| of_relation(clause.kind) != 0)
            {
                self.score_aims(clause, &mut scores);
            }
        }
        let old = scores.clone();
        for &slot in &there {
            let id = self.state(slot).install.expect("it was just looked at");
            let clauses = self.clauses(id).unwrap_or_default();
            let needs = clauses.iter().filter(|clause| of_relation(clause.kind) > 0);
            let aims = needs.flat_map(|clause| &clause.aims);
            for own in aims.filter_map(|aim| aim.own) {
                if self.state(own).install.is_some() {
                    scores[own as usize] += old[slot as usize].max(0);
                }
            }
        }
        self.pass_to_providers(&there, &old, &mut scores);
        for &slot in asked {
            scores[slot as usize] += ASKED;
        }
        for slot in 0..self.universe.slot_count() {
            let Some(&id) = self.universe.slot_packages(slot).first() else {
                continue;
            };
            let package = self.universe.package(id);
            if self.universe.is_essential(package.name_number()) || package.is_important() {
                scores[slot as usize] += ESSENTIAL_AT_LAST;
            }
        }
        scores
    }

    fn score_aims(&self, clause: &Clause, scores: &mut [i64]) {
        let points = of_relation(clause.kind);
        for aim in &clause.aims {
            let installed = |&id: &_| self.state(self.slot(id)).install == Some(id);
            let there: Vec<u32> = aim
                .targets
                .iter()
                .filter(|id| installed(id))
                .map(|&id| self.slot(id))
                .collect();
            if let Some(own) = aim.own {
                if !aim.versioned || there.contains(&own) {
                    scores[own as usize] += points;
                } else {
                    continue;
                }
            } else if aim.versioned {
                continue;
            }
            let mut providers: Vec<u32> = there;
            providers.retain(|&slot| Some(slot) != aim.own);
            providers.sort_unstable();
            providers.dedup();
            for slot in providers {
                scores[slot as usize] += points;
            }
        }
    }

    /// What a name gained, those gain who provide it.
    fn pass_to_providers(&self, there: &[u32], old: &[i64], scores: &mut [i64]) {
        for &slot in there {
            let gained = (scores[slot as usize] - old[slot as usize]).abs();
            if gained == 0 {
                continue;
            }
            let id = self.state(slot).install.expect("the caller looked");
            let name = self.universe.package(id).name_number();
            let mut providers: Vec<u32> = self
                .universe
                .providers(name)
                .iter()
                .map(|provider| provider.package)
                .filter(|&id| self.state(self.slot(id)).install == Some(id))
                .map(|id| self.slot(id))
                .collect();
            providers.sort_unstable();
            providers.dedup();
            for provider in providers {
                scores[provider as usize] += gained;
            }
        }
    }
}
