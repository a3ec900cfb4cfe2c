//! What packages ask for, one clause after the other in the order in which apt takes them.

use std::rc::Rc;

use kasmforge_deb::{Alternatives, Atom};

use crate::matching;
use crate::package::Package;
use crate::solution::Relation;
use crate::universe::{PackageId, Universe};

/// One clause of a package: any aim will do, or (of a conflict) the one aim must not be met.
#[derive(Debug)]
pub(super) struct Clause {
    pub(super) kind: Relation,
    pub(super) aims: Vec<Aim>,
}

impl Clause {
    /// Whether it says what may not be there.
    pub(super) fn forbids(&self) -> bool {
        matches!(
            self.kind,
            Relation::Conflicts | Relation::Breaks | Relation::OtherArchitecture
        )
    }

    /// Whether the package is broken while the clause does not hold.
    pub(super) fn is_critical(&self) -> bool {
        self.forbids() || matches!(self.kind, Relation::PreDepends | Relation::Depends)
    }
}

/// What one atom means.
#[derive(Debug)]
pub(super) struct Aim {
    /// The slot of the name itself, for the architecture of the package that asks.
    pub(super) own: Option<u32>,
    /// The name itself, by its number.
    pub(super) name: Option<u32>,
    /// Whether it asks for a version.
    pub(super) versioned: bool,
    /// All packages it means, of all versions: those of the name first.
    pub(super) targets: Vec<PackageId>,
}

/// The clauses of a package; none if a field of it cannot be read, which makes it no candidate.
pub(super) fn clauses(universe: &Universe, package: Package<'_>) -> Option<Rc<[Clause]>> {
    let stanza = package.stanza().ok()?;
    let architecture = package.architecture_number();
    let need = |kind, clauses: Vec<Alternatives>| {
        clauses.into_iter().map(move |clause| Clause {
            kind,
            aims: clause
                .iter()
                .map(|atom| positive(universe, atom, architecture))
                .collect(),
        })
    };
    let forbid = |kind, clauses: Vec<Alternatives>| {
        clauses.into_iter().flatten().map(move |atom| Clause {
            kind,
            aims: vec![Aim {
                targets: matching::forbidden(universe, &atom, package),
                ..aim(universe, &atom, architecture)
            }],
        })
    };
    let others = matching::other_architectures(universe, package);
    let others = (!others.is_empty()).then(|| Clause {
        kind: Relation::OtherArchitecture,
        aims: vec![Aim {
            own: None,
            name: None,
            versioned: false,
            targets: others,
        }],
    });
    let clauses = need(Relation::PreDepends, stanza.pre_depends)
        .chain(need(Relation::Depends, stanza.depends))
        .chain(forbid(Relation::Conflicts, stanza.conflicts))
        .chain(forbid(Relation::Breaks, stanza.breaks))
        .chain(need(Relation::Recommends, stanza.recommends))
        .chain(need(Relation::Suggests, stanza.suggests))
        .chain(others);
    Some(clauses.collect())
}

fn aim(universe: &Universe, atom: &Atom, architecture: u16) -> Aim {
    let name = universe.name(&atom.name);
    Aim {
        own: name.and_then(|name| match atom.qualifier.as_deref() {
            None => universe.slot(name, architecture),
            // Nothing has the name `python3:any`; packages only provide it.
            Some("any") => None,
            Some("native") => universe.slot(name, 0),
            Some(named) => universe.slot(name, universe.architecture(named)?),
        }),
        name,
        versioned: atom.constraint.is_some(),
        targets: Vec::new(),
    }
}

fn positive(universe: &Universe, atom: &Atom, architecture: u16) -> Aim {
    let mut targets = matching::named(universe, atom, architecture);
    // apt walks the providers from the last that the indexes name to the first.
    let providers = matching::providing(universe, atom, architecture);
    targets.extend(providers.into_iter().rev());
    Aim {
        targets,
        ..aim(universe, atom, architecture)
    }
}
