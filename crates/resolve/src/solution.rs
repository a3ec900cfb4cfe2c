//! What was chosen, and why each package is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use kasmforge_deb::{Alternatives, PackageStanza};

use crate::model::{Model, Rule};
use crate::order::{self, Node};
use crate::universe::{Origin, PackageId};

/// How one package speaks of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// `Pre-Depends`
    PreDepends,
    /// `Depends`
    Depends,
    /// `Recommends`
    Recommends,
    /// `Suggests`
    Suggests,
    /// `Conflicts`
    Conflicts,
    /// `Breaks`
    Breaks,
    /// Packages of one name for two architectures that do not go together (`Multi-Arch`).
    OtherArchitecture,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreDepends => "pre-depends on",
            Self::Depends => "depends on",
            Self::Recommends => "recommends",
            Self::Suggests => "suggests",
            Self::Conflicts => "conflicts with",
            Self::Breaks => "breaks",
            Self::OtherArchitecture => "cannot be installed beside",
        })
    }
}

/// Why a package must be there whatever the others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// Somebody asked for it; the number is the request's place in [`crate::Stage::requests`].
    Request(usize),
    /// Its `.deb` was given; the number is its place in [`crate::Stage::debs`].
    Deb(usize),
    /// A lower stage has it; the number is its place in [`crate::Stage::kept`].
    Kept(usize),
    /// Every system must have it.
    Essential,
}

/// The packages of a stage, in canonical configure order.
///
/// What is needed stands before what needs it; circles are broken in a fixed way, and names decide
/// where nothing else does. The packages of lower stages come first.
#[derive(Debug, Clone, Default)]
pub struct Solution {
    /// The packages.
    pub packages: Vec<Chosen>,
}

/// One package of a [`Solution`].
#[derive(Debug, Clone)]
pub struct Chosen {
    /// All that its stanza says.
    pub stanza: PackageStanza,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it must be there whatever the others say; empty for what others need.
    pub roots: Vec<Root>,
    /// The packages of the solution that it needs, in the order its stanza names them.
    pub links: Vec<Link>,
}

impl Chosen {
    /// Whether a lower stage has it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.roots.iter().any(|root| matches!(root, Root::Kept(_)))
    }
}

/// That one package needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How: `PreDepends`, `Depends` or `Recommends`.
    pub relation: Relation,
    /// The clause that does it, as the stanza has it.
    pub clause: String,
    /// The package needed, by its place in the solution.
    pub package: usize,
}

/// Why a package is in a solution: the shortest chain from something that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Why the first package is there.
    pub root: Root,
    /// The first package, by its place in the solution.
    pub first: usize,
    /// How each package leads to the next, down to the one in question.
    pub links: Vec<Link>,
}

impl Solution {
    /// A package's place, by its name; of several architectures the first.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.packages
            .iter()
            .position(|chosen| chosen.stanza.name == name)
    }

    /// The packages that need this one, and how.
    pub fn required_by(&self, package: usize) -> impl Iterator<Item = (usize, &Link)> {
        self.packages
            .iter()
            .enumerate()
            .flat_map(move |(by, chosen)| {
                let links = chosen
                    .links
                    .iter()
                    .filter(move |link| link.package == package);
                links.map(move |link| (by, link))
            })
    }

    /// Why a package is there. Chains of needs go before chains with recommendations, short ones
    /// before long ones, and requests before what is there anyway.
    #[must_use]
    pub fn why(&self, package: usize) -> Option<Why> {
        let chain = |strict: bool| {
            let mut reached: BTreeMap<usize, Option<(usize, &Link)>> = BTreeMap::new();
            let mut roots: Vec<_> = (0..self.packages.len())
                .filter_map(|at| Some((*self.packages[at].roots.iter().min()?, at)))
                .collect();
            roots.sort_unstable();
            let mut waiting: VecDeque<_> = roots.into_iter().map(|(_, at)| at).collect();
            reached.extend(waiting.iter().map(|&at| (at, None)));
            while let Some(at) = waiting.pop_front() {
                for link in &self.packages[at].links {
                    if strict && link.relation == Relation::Recommends {
                        continue;
                    }
                    if let Entry::Vacant(entry) = reached.entry(link.package) {
                        entry.insert(Some((at, link)));
                        waiting.push_back(link.package);
                    }
                }
            }
            let (mut first, mut links) = (package, Vec::new());
            while let Some((by, link)) = *reached.get(&first)? {
                links.push(link.clone());
                first = by;
            }
            links.reverse();
            let root = *self.packages[first].roots.iter().min()?;
            Some(Why { root, first, links })
        };
        chain(true).or_else(|| chain(false))
    }

    /// Makes a solution of what was chosen. `roots` says what must be there, `recommends` whether
    /// recommendations count as reasons. What nothing leads to is left out; with `all` only what
    /// is not suggested either.
    pub(crate) fn new(
        model: &Model<'_>,
        roots: &BTreeMap<PackageId, Vec<Root>>,
        chosen: &[PackageId],
        recommends: bool,
        all: bool,
    ) -> Self {
        let chosen: BTreeSet<_> = chosen.iter().copied().collect();
        let mut found = BTreeMap::new();
        let first = roots.keys().copied();
        walk(model, roots, &chosen, recommends, first, &mut found);
        if all {
            follow_hints(model, roots, &chosen, recommends, &mut found);
        }
        let universe = model.universe;
        let key = |id: PackageId| {
            let package = universe.package(id);
            (package.name(), package.architecture())
        };
        let kept = |id: PackageId| {
            let roots = roots.get(&id).map_or(&[][..], Vec::as_slice);
            roots.iter().any(|root| matches!(root, Root::Kept(_)))
        };
        let essential = closure(&found, |id| {
            let roots = roots.get(&id).map_or(&[][..], Vec::as_slice);
            roots.contains(&Root::Essential)
        });
        let pre_depended: BTreeSet<PackageId> = found
            .values()
            .flatten()
            .filter(|edge| edge.relation == Relation::PreDepends)
            .map(|edge| edge.to)
            .collect();
        let pre_depended = closure(&found, |id| pre_depended.contains(&id));
        let mut ranked: Vec<PackageId> = found.keys().copied().collect();
        ranked.sort_by_key(|&id| {
            let (name, architecture) = key(id);
            (
                !kept(id),
                !essential.contains(&id),
                !pre_depended.contains(&id),
                name,
                architecture,
            )
        });
        let rank: BTreeMap<_, _> = ranked
            .iter()
            .enumerate()
            .map(|(at, &id)| (id, at))
            .collect();
        let nodes: Vec<_> = ranked
            .iter()
            .map(|id| {
                let needs = |wanted| {
                    let edges = found[id].iter().filter(move |edge| edge.relation == wanted);
                    edges.map(|edge| rank[&edge.to]).collect()
                };
                Node {
                    before_unpacking: needs(Relation::PreDepends),
                    before_configuring: needs(Relation::Depends),
                }
            })
            .collect();
        let order: Vec<PackageId> = order::canonical(&nodes)
            .into_iter()
            .map(|at| ranked[at])
            .collect();
        let place: BTreeMap<_, _> = order.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        let packages = order.iter().map(|&id| {
            let package = universe.package(id);
            Chosen {
                stanza: package.stanza().expect("its rules were read from it"),
                origin: package.origin(),
                roots: roots.get(&id).cloned().unwrap_or_default(),
                links: found[&id]
                    .iter()
                    .map(|edge| Link {
                        relation: edge.relation,
                        clause: clause(&edge.clause),
                        package: place[&edge.to],
                    })
                    .collect(),
            }
        });
        Self {
            packages: packages.collect(),
        }
    }
}

/// A clause as a stanza has it.
pub(crate) fn clause(alternatives: &Alternatives) -> String {
    let atoms: Vec<_> = alternatives.iter().map(ToString::to_string).collect();
    atoms.join(" | ")
}

/// That one package needs another, before places are known.
struct Edge {
    relation: Relation,
    clause: Alternatives,
    to: PackageId,
}

/// Follows needs from the first packages through the chosen ones, breadth first, and tells what each
/// package found leads to.
fn walk(
    model: &Model<'_>,
    roots: &BTreeMap<PackageId, Vec<Root>>,
    chosen: &BTreeSet<PackageId>,
    recommends: bool,
    first: impl IntoIterator<Item = PackageId>,
    found: &mut BTreeMap<PackageId, Vec<Edge>>,
) {
    let mut waiting: VecDeque<PackageId> =
        first.into_iter().filter(|id| chosen.contains(id)).collect();
    while let Some(id) = waiting.pop_front() {
        if found.contains_key(&id) {
            continue;
        }
        let rules = model
            .rules(id)
            .expect("the solver takes no package it cannot read");
        let is_kept = roots
            .get(&id)
            .is_some_and(|roots| roots.iter().any(|root| matches!(root, Root::Kept(_))));
        let wishes: &[Rule] = if recommends && !is_kept {
            &rules.wishes
        } else {
            &[]
        };
        let mut edges = Vec::new();
        for rule in rules.needs.iter().chain(wishes) {
            for &to in rule.sets.iter().flat_map(|set| &set.packages) {
                if chosen.contains(&to) && to != id {
                    waiting.push_back(to);
                    edges.push(Edge {
                        relation: rule.kind,
                        clause: rule.clause.clone(),
                        to,
                    });
                }
            }
        }
        found.insert(id, edges);
    }
}

/// Follows what packages recommend and suggest to those of the chosen that nothing led to yet. apt
/// leaves what it took for something it then gave up, if something else has a use for it.
fn follow_hints(
    model: &Model<'_>,
    roots: &BTreeMap<PackageId, Vec<Root>>,
    chosen: &BTreeSet<PackageId>,
    recommends: bool,
    found: &mut BTreeMap<PackageId, Vec<Edge>>,
) {
    while found.len() < chosen.len() {
        let hint = found.keys().find_map(|&id| {
            let package = model.universe.package(id);
            let stanza = package.stanza().ok()?;
            let recommended = stanza.recommends.into_iter();
            let suggested = stanza.suggests.into_iter();
            recommended
                .map(|clause| (Relation::Recommends, clause))
                .chain(suggested.map(|clause| (Relation::Suggests, clause)))
                .find_map(|(relation, clause)| {
                    let sets = model.satisfying(&clause, package.architecture_number());
                    let mut packages = sets.iter().flat_map(|set| &set.packages).copied();
                    let to = packages.find(|to| chosen.contains(to) && !found.contains_key(to))?;
                    Some((
                        id,
                        Edge {
                            relation,
                            clause,
                            to,
                        },
                    ))
                })
        });
        let Some((id, edge)) = hint else {
            return;
        };
        let to = edge.to;
        found.entry(id).or_default().push(edge);
        walk(model, roots, chosen, recommends, [to], found);
    }
}

/// All that some packages lead to by what they need, and they themselves.
fn closure(
    found: &BTreeMap<PackageId, Vec<Edge>>,
    first: impl Fn(PackageId) -> bool,
) -> BTreeSet<PackageId> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<_> = found.keys().copied().filter(|&id| first(id)).collect();
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let needs = found[&id]
                .iter()
                .filter(|edge| edge.relation != Relation::Recommends);
            waiting.extend(needs.map(|edge| edge.to));
        }
    }
    reached
}
