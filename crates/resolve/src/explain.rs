//! From "no solution" to the few rules that make it so.
//!
//! The solver's own account of a conflict is sound but foreign, and often long. Instead rules are
//! taken away as long as there is still no solution: what is left is a core of which every rule is
//! needed, and that can be told in order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Model, Rule, Set};
use crate::provider::{NoSolution, RuleKey, Scope, Task};
use crate::solution::{Relation, Root, clause};
use crate::stage::{Roots, Stage};
use crate::universe::PackageId;
use crate::unsatisfiable::{Because, Missing, Problem};

/// How much work an explanation is worth, as [`Task::work`] counts it. Conflicts of desktops take
/// less than a million. What is not tried by then stays in the explanation, which is longer for it,
/// but as true.
const MAX_WORK: u64 = 60_000_000;

/// How many reasons are worth showing.
const SHOWN: usize = 24;

/// Tells why there is no solution. `met` are the rules the solver had met when it knew.
pub(crate) fn explain(
    model: &Model<'_>,
    roots: &Roots,
    stage: &Stage<'_>,
    met: BTreeSet<RuleKey>,
) -> Problem {
    let core = core(model, roots, met);
    let mut requests = Vec::new();
    for key in &core {
        if let RuleKey::Root(at) = key
            && let Root::Request(request) = roots.reasons[*at]
        {
            requests.push(request);
        }
    }
    // One request may ask for several packages.
    requests.dedup();
    let because = Telling {
        model,
        roots,
        stage,
        core: &core,
    }
    .tell();
    Problem::Conflict {
        names: requests
            .iter()
            .map(|&at| stage.requests[at].to_string())
            .collect(),
        requests,
        because: shortened(because),
    }
}

/// Finds a core: first the fewest requests, as all rules together have it, then the fewest of what
/// must be there besides, and last the fewest rules.
fn core(model: &Model<'_>, roots: &Roots, met: BTreeSet<RuleKey>) -> BTreeSet<RuleKey> {
    let work = Cell::new(MAX_WORK);
    let unsolvable = |scope: Scope<'_>| {
        let task = Task {
            model,
            roots: &roots.clauses,
            wishes: &[],
            scope,
            work: &work,
        };
        match task.solve() {
            Err(NoSolution::Proven(met)) => Some(met),
            // What is not known to be unsolvable keeps its place in the core.
            Err(NoSolution::GaveUp) | Ok(_) => None,
        }
    };
    let is_request = |key: &RuleKey| matches!(key, RuleKey::Root(at) if matches!(roots.reasons[*at], Root::Request(_)));
    let is_root = |key: &RuleKey| matches!(key, RuleKey::Root(_));
    let mut core: BTreeSet<_> = (0..roots.reasons.len()).map(RuleKey::Root).collect();
    let mut met = met;
    for removable in [&is_request as &dyn Fn(&RuleKey) -> bool, &is_root] {
        core = fewest(core, removable, &work, |core| {
            let again = unsolvable(Scope::Roots(core))?;
            met = again;
            Some(met.iter().copied().filter(is_root).collect())
        });
    }
    met.retain(|key| !is_root(key) || core.contains(key));
    fewest(met, &|key| !is_root(key), &work, |core| {
        unsolvable(Scope::Rules(core))
    })
}

/// Takes keys away, in ever smaller pieces, as long as there is no solution without them. `met`
/// tells which keys the solver met if there is none.
fn fewest(
    mut core: BTreeSet<RuleKey>,
    removable: &dyn Fn(&RuleKey) -> bool,
    work: &Cell<u64>,
    mut met: impl FnMut(&BTreeSet<RuleKey>) -> Option<BTreeSet<RuleKey>>,
) -> BTreeSet<RuleKey> {
    let candidates = |core: &BTreeSet<RuleKey>| -> Vec<RuleKey> {
        core.iter().copied().filter(|key| removable(key)).collect()
    };
    let mut piece = candidates(&core).len();
    while piece > 0 && work.get() > 0 {
        let mut left = candidates(&core);
        // From the back: what was asked for first is the last to go.
        while !left.is_empty() && work.get() > 0 {
            let gone = left.split_off(left.len().saturating_sub(piece));
            let mut rest = core.clone();
            rest.retain(|key| !gone.contains(key));
            if let Some(met) = met(&rest) {
                // Only what was met can matter.
                core = rest.intersection(&met).copied().collect();
                left.retain(|key| core.contains(key));
            }
        }
        piece /= 2;
    }
    core
}

/// Puts a core into words.
struct Telling<'t, 'u> {
    model: &'t Model<'u>,
    roots: &'t Roots,
    stage: &'t Stage<'t>,
    core: &'t BTreeSet<RuleKey>,
}

impl Telling<'_, '_> {
    /// Follows the core from its roots: first all that is needed, then all that is forbidden.
    fn tell(&self) -> Vec<Because> {
        let mut needs = Vec::new();
        let mut forbids = Vec::new();
        let mut wanted: BTreeMap<u32, Vec<&[PackageId]>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<PackageId> = Vec::new();
        let mut rules_told = Vec::new();
        for key in self.core.iter().rev() {
            if let RuleKey::Root(at) = *key {
                waiting.extend(packages(&self.roots.clauses[at]).rev());
            }
        }
        for key in self.core {
            if let RuleKey::Root(at) = *key {
                needs.extend(self.root(at));
                needs.extend(self.holders(at));
                note(&mut wanted, &self.roots.clauses[at]);
            }
        }
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let rules = match self.model.rules(id) {
                Ok(rules) => rules,
                Err(error) => {
                    let package = package_text(self.model, id);
                    needs.push(Because::Unreadable { package, error });
                    continue;
                }
            };
            let mut found = Vec::new();
            for (at, rule) in rules.needs.iter().enumerate() {
                if self.core.contains(&RuleKey::Need(id, at)) {
                    merge(&mut needs, self.need(id, rule));
                    found.extend(packages(&rule.sets));
                }
            }
            for (at, rule) in rules.forbids.iter().enumerate() {
                if self.core.contains(&RuleKey::Forbid(id, at)) {
                    merge(&mut forbids, self.forbid(id, rule));
                }
            }
            waiting.extend(found.into_iter().rev());
            rules_told.push((id, rules));
        }
        for (id, rules) in &rules_told {
            for (at, rule) in rules.needs.iter().enumerate() {
                if self.core.contains(&RuleKey::Need(*id, at)) {
                    note(&mut wanted, &rule.sets);
                }
            }
        }
        needs.extend(forbids);
        for (slot, wanted) in wanted {
            if disjoint(&wanted) {
                needs.push(Because::OneVersion {
                    name: self.model.universe.slot_name(slot),
                });
            }
        }
        needs
    }

    fn root(&self, at: usize) -> Option<Because> {
        let set = self.roots.clauses[at].first()?;
        let package = || set.packages.first().map(|&id| package_text(self.model, id));
        Some(match self.roots.reasons[at] {
            Root::Request(_) => return None,
            Root::Essential => Because::Essential {
                name: self.model.universe.slot_name(set.slot),
            },
            Root::Kept(at) => Because::Kept {
                package: package()?,
                stage: self.stage.kept[at].stage.clone(),
            },
            Root::Deb(_) => Because::Deb {
                package: package()?,
            },
        })
    }

    /// Which packages of lower stages let a package of a lower stage be in some versions only.
    fn holders(&self, at: usize) -> Vec<Because> {
        /// How many are worth showing.
        const SHOWN: usize = 3;
        let Root::Kept(_) = self.roots.reasons[at] else {
            return Vec::new();
        };
        let Some(held) = packages(&self.roots.clauses[at]).next() else {
            return Vec::new();
        };
        let universe = self.model.universe;
        let slot = universe.package(held).slot();
        let all = universe.slot_packages(slot);
        let kept = self.roots.reasons.iter().zip(&self.roots.clauses);
        let kept = kept.filter_map(|(reason, clause)| match *reason {
            Root::Kept(at) => Some((at, packages(clause).next()?)),
            _ => None,
        });
        let mut holders = Vec::new();
        for (at, id) in kept {
            let Ok(rules) = self.model.rules(id) else {
                continue;
            };
            let holds = |rule: &&Rule| match &rule.sets[..] {
                [set] => {
                    let allows = |other: &PackageId| set.packages.contains(other);
                    set.slot == slot && allows(&held) && !all.iter().all(allows)
                }
                _ => false,
            };
            holders.extend(rules.needs.iter().find(holds).map(|rule| Because::Holds {
                package: package_text(self.model, id),
                stage: self.stage.kept[at].stage.clone(),
                relation: rule.kind,
                clause: clause(&rule.clause),
            }));
        }
        holders.truncate(SHOWN);
        holders
    }

    fn need(&self, id: PackageId, rule: &Rule) -> Because {
        let package = self.model.universe.package(id);
        let missing = rule
            .clause
            .iter()
            .filter(|_| rule.sets.is_empty())
            .map(|atom| Missing {
                name: atom.name.clone(),
                versions: self
                    .model
                    .universe
                    .versions_of(&atom.name)
                    .map(|package| package.version().clone())
                    .collect(),
                kept_out: self.model.universe.is_kept_out(&atom.name),
            });
        Because::Needs {
            name: self.model.universe.slot_name(package.slot()),
            versions: vec![package.version().clone()],
            relation: rule.kind,
            clause: clause(&rule.clause),
            missing: missing.collect(),
        }
    }

    fn forbid(&self, id: PackageId, rule: &Rule) -> Because {
        let universe = self.model.universe;
        let package = universe.package(id);
        let named = |name: &str| rule.clause.iter().any(|atom| atom.name == name);
        let providers = packages(&rule.sets)
            .filter(|other| self.is_wanted(*other))
            .map(|other| universe.package(other))
            .filter(|other| rule.kind != Relation::OtherArchitecture && !named(other.name()))
            .map(|other| format!("{} {}", universe.slot_name(other.slot()), other.version()));
        let clause = match rule.kind {
            Relation::OtherArchitecture => {
                let slots = rule.sets.iter().map(|set| universe.slot_name(set.slot));
                slots.collect::<Vec<_>>().join(" | ")
            }
            _ => clause(&rule.clause),
        };
        Because::Forbids {
            name: universe.slot_name(package.slot()),
            versions: vec![package.version().clone()],
            relation: rule.kind,
            clause,
            providers: providers.collect(),
        }
    }

    /// Whether something in the core would be satisfied by a package.
    fn is_wanted(&self, id: PackageId) -> bool {
        self.core.iter().any(|key| match *key {
            RuleKey::Root(at) => packages(&self.roots.clauses[at]).any(|other| other == id),
            RuleKey::Need(of, at) => self
                .model
                .rules(of)
                .is_ok_and(|rules| packages(&rules.needs[at].sets).any(|other| other == id)),
            RuleKey::Forbid(..) => false,
        })
    }
}

fn packages(sets: &[Set]) -> impl DoubleEndedIterator<Item = PackageId> {
    sets.iter().flat_map(|set| set.packages.iter().copied())
}

fn package_text(model: &Model<'_>, id: PackageId) -> String {
    let package = model.universe.package(id);
    format!(
        "{} {}",
        model.universe.slot_name(package.slot()),
        package.version()
    )
}

/// Notes the packages one clause takes, if all of them are of one slot.
fn note<'s>(wanted: &mut BTreeMap<u32, Vec<&'s [PackageId]>>, sets: &'s [Set]) {
    if let [set] = sets {
        wanted.entry(set.slot).or_default().push(&set.packages);
    }
}

/// Whether no package is in all of the lists.
fn disjoint(lists: &[&[PackageId]]) -> bool {
    let Some((first, rest)) = lists.split_first() else {
        return false;
    };
    !first
        .iter()
        .any(|id| rest.iter().all(|list| list.contains(id)))
}

/// Adds a reason; one that differs from the last of its name in the version only joins it.
fn merge(reasons: &mut Vec<Because>, mut reason: Because) {
    let take = |reason: &mut Because| match reason {
        Because::Needs { versions, .. } | Because::Forbids { versions, .. } => {
            std::mem::take(versions)
        }
        _ => Vec::new(),
    };
    let versions = take(&mut reason);
    for known in reasons.iter_mut() {
        let mut all = take(known);
        let same = *known == reason && !all.is_empty();
        if same {
            all.extend(versions.iter().cloned());
        }
        give(known, all);
        if same {
            return;
        }
    }
    give(&mut reason, versions);
    reasons.push(reason);
}

fn give(reason: &mut Because, all: Vec<kasmforge_deb::Version>) {
    if let Because::Needs { versions, .. } | Because::Forbids { versions, .. } = reason {
        *versions = all;
    }
}

/// Leaves out the middle of a chain that is too long to read.
fn shortened(mut because: Vec<Because>) -> Vec<Because> {
    if because.len() > SHOWN {
        let count = because.len() - SHOWN + 1;
        let middle = SHOWN / 2;
        because.splice(middle..middle + count, [Because::More { count }]);
    }
    because
}
