//! Resolving one stage.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_deb::Version;

use crate::explain;
use crate::marking;
use crate::model::{Model, Set, find};
use crate::near;
use crate::pin::Pin;
use crate::provider::NoSolution;
use crate::recommends::choose;
use crate::request::Request;
use crate::solution::{Root, Solution};
use crate::universe::{Origin, PackageId, Universe};
use crate::unsatisfiable::{Problem, Unsatisfiable};

/// What one stage of a workspace asks for.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// The packages asked for.
    pub requests: &'a [Request],
    /// Whether to take what the stage's new packages recommend, as far as it can be had.
    pub recommends: bool,
    /// The packages of lower stages: they stay, exactly.
    pub kept: &'a [Identity],
    /// The `control` files of `.deb`s outside any archive. Each is installed; those of lower
    /// stages are to be given again.
    pub debs: &'a [&'a str],
    /// Versions to prefer to better ones, by `name:architecture`: those of the lock.
    pub prefer: &'a BTreeMap<String, Version>,
    /// Which versions go before others, or are not taken at all; of two that mean the same, the
    /// first counts.
    pub pins: &'a [Pin],
}

/// No preferences at all.
static NO_PREFERENCES: BTreeMap<String, Version> = BTreeMap::new();

impl Default for Stage<'_> {
    fn default() -> Self {
        Self {
            requests: &[],
            recommends: false,
            kept: &[],
            debs: &[],
            prefer: &NO_PREFERENCES,
            pins: &[],
        }
    }
}

/// Names one package exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Its version.
    pub version: Version,
    /// The stage that has it, for messages.
    pub stage: String,
}

/// Chooses the packages of a stage: what is asked for, what that needs, and what every system must
/// have. The same universe and stage give the same solution, always.
///
/// # Errors
/// Tells every request that cannot be met by itself; or if there is none such, why the requests
/// cannot be met together.
pub fn resolve(universe: &Universe, stage: &Stage<'_>) -> Result<Solution, Unsatisfiable> {
    let mut problems = Vec::new();
    let with_debs;
    let mut debs = Vec::new();
    let universe = if stage.debs.is_empty() && stage.pins.is_empty() {
        universe
    } else {
        let mut more = universe.clone();
        more.pin(stage.pins);
        for (deb, control) in stage.debs.iter().enumerate() {
            match more.add_deb(deb, control) {
                Ok(Some(id)) => debs.push((deb, id)),
                Ok(None) => problems.push(Problem::EmptyDeb { deb }),
                Err(source) => {
                    let source = Box::new(source);
                    problems.push(Problem::Deb { deb, source });
                }
            }
        }
        with_debs = more;
        &with_debs
    };
    let model = Model::new(universe, stage.prefer);
    let mut roots = Roots::default();
    for (at, request) in stage.requests.iter().enumerate() {
        if let Some(priority) = request.priority {
            let slots = universe.slots_of_priority(priority);
            if slots.is_empty() {
                problems.push(not_found(universe, at, request));
            }
            for slot in slots {
                let packages = universe.slot_packages(slot).to_vec();
                roots.add(Root::Request(at), vec![Set { slot, packages }]);
            }
            continue;
        }
        match request_sets(&model, at, request) {
            Ok(sets) => roots.add(Root::Request(at), sets),
            Err(problem) => problems.push(problem),
        }
    }
    for (deb, id) in debs {
        roots.add(Root::Deb(deb), exactly(universe, id));
    }
    for (at, identity) in stage.kept.iter().enumerate() {
        let Identity {
            name,
            architecture,
            version,
            ..
        } = identity;
        match find(universe, name, architecture, version) {
            Some(id) => roots.add(Root::Kept(at), exactly(universe, id)),
            None => problems.push(Problem::KeptGone {
                kept: identity.clone(),
            }),
        }
    }
    for slot in universe.essential_slots() {
        let packages = universe.slot_packages(slot).to_vec();
        roots.add(Root::Essential, vec![Set { slot, packages }]);
    }
    if !problems.is_empty() {
        return Err(Unsatisfiable { problems });
    }
    let marked = marking::choose(universe, &model.preferred, &roots, stage.recommends);
    let marked = marked.filter(|chosen| model.is_sound(&roots.clauses, chosen));
    let as_apt = marked.is_some();
    let fewer;
    let model = if as_apt || !universe.has_unasked() {
        model
    } else {
        fewer = withheld(universe, &roots, &model.preferred);
        Model::new(&fewer, stage.prefer)
    };
    let chosen = match marked {
        Some(chosen) => Ok(chosen),
        None => choose(&model, &roots, stage.recommends),
    };
    let chosen = chosen.map_err(|no_solution| {
        let problem = match no_solution {
            NoSolution::Proven(met) => explain::explain(&model, &roots, stage, met),
            NoSolution::GaveUp => Problem::TooHard,
        };
        Unsatisfiable {
            problems: vec![problem],
        }
    })?;
    Ok(Solution::new(
        &model,
        &roots.of(&chosen),
        &chosen,
        stage.recommends,
        as_apt,
    ))
}

/// The universe without the versions that nobody asked for. Who asks for a version of an archive
/// asks for what it needs of that archive.
fn withheld(universe: &Universe, roots: &Roots, preferred: &BTreeSet<PackageId>) -> Universe {
    let first = roots
        .clauses
        .iter()
        .filter_map(|clause| clause.first()?.packages.first());
    let asked: Vec<PackageId> = first
        .copied()
        .filter(|&id| universe.is_unasked(id))
        .collect();
    let mut fewer = universe.clone();
    fewer.withhold(|universe, id| {
        preferred.contains(&id) || asked.iter().any(|&other| universe.is_beside(id, other))
    });
    fewer
}

/// What must be there in any case, and why.
#[derive(Default)]
pub(crate) struct Roots {
    pub(crate) reasons: Vec<Root>,
    pub(crate) clauses: Vec<Vec<Set>>,
}

impl Roots {
    fn add(&mut self, root: Root, clause: Vec<Set>) {
        self.reasons.push(root);
        self.clauses.push(clause);
    }

    /// The chosen packages that are there because of a root, with all their roots.
    fn of(&self, chosen: &[PackageId]) -> BTreeMap<PackageId, Vec<Root>> {
        let chosen: BTreeSet<_> = chosen.iter().collect();
        let mut roots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (&root, clause) in self.reasons.iter().zip(&self.clauses) {
            for id in clause.iter().flat_map(|set| &set.packages) {
                if chosen.contains(id) {
                    roots.entry(*id).or_default().push(root);
                }
            }
        }
        roots
    }
}

fn exactly(universe: &Universe, id: PackageId) -> Vec<Set> {
    vec![Set {
        slot: universe.package(id).slot(),
        packages: vec![id],
    }]
}

/// What meets a request; or why nothing does.
fn request_sets(model: &Model<'_>, at: usize, request: &Request) -> Result<Vec<Set>, Problem> {
    let universe = model.universe;
    let atom = &request.atom;
    let architecture = request.architecture().unwrap_or(universe.native());
    let mut real = universe.packages_of(&atom.name, architecture).peekable();
    if real.peek().is_some() {
        let accepted = real.filter(|package| {
            let constraint = atom.constraint.as_ref();
            constraint.is_none_or(|wanted| wanted.accepts(package.version()))
                && request
                    .suite
                    .as_ref()
                    .is_none_or(|suite| universe.is_of_suite(package.id(), suite))
        });
        let mut accepted = accepted.peekable();
        let Some(slot) = accepted.peek().map(|package| package.slot()) else {
            let versions = universe.packages_of(&atom.name, architecture);
            return Err(Problem::Version {
                request: at,
                wanted: request.to_string(),
                available: versions
                    .map(|package| version_and_origin(universe, package))
                    .collect(),
            });
        };
        let packages = accepted.map(|package| package.id()).collect();
        return Ok(vec![Set { slot, packages }]);
    }
    let sets = universe
        .architecture(architecture)
        .map(|number| model.satisfying(std::slice::from_ref(atom), number))
        .unwrap_or_default();
    match sets.len() {
        1 => Ok(sets),
        0 => Err(not_found(universe, at, request)),
        _ => Err(Problem::Virtual {
            request: at,
            name: atom.name.clone(),
            providers: sets
                .iter()
                .map(|set| universe.slot_name(set.slot))
                .collect(),
        }),
    }
}

fn version_and_origin(
    universe: &Universe,
    package: crate::package::Package<'_>,
) -> (Version, Option<String>) {
    let archive = match package.origin() {
        Origin::Archive(id) => Some(universe.archive(id).name.clone()),
        Origin::Deb(_) => None,
    };
    (package.version().clone(), archive)
}

fn not_found(universe: &Universe, at: usize, request: &Request) -> Problem {
    let atom = &request.atom;
    if universe.is_kept_out(&atom.name) {
        return Problem::KeptOut {
            request: at,
            name: atom.name.clone(),
        };
    }
    let mut architectures: Vec<_> = universe
        .versions_of(&atom.name)
        .map(|package| package.architecture().to_owned())
        .collect();
    architectures.sort();
    architectures.dedup();
    if !architectures.is_empty() {
        return Problem::Architecture {
            request: at,
            name: atom.name.clone(),
            wanted: request
                .architecture()
                .unwrap_or(universe.native())
                .to_owned(),
            architectures,
        };
    }
    let providers = universe
        .name(&atom.name)
        .map(|name| universe.providers(name));
    if atom.constraint.is_some() && providers.is_some_and(|providers| !providers.is_empty()) {
        return Problem::Version {
            request: at,
            wanted: request.to_string(),
            available: Vec::new(),
        };
    }
    Problem::NotFound {
        request: at,
        name: atom.name.clone(),
        near: near::names(&atom.name, universe.names()),
    }
}
