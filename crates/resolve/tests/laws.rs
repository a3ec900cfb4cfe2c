//! The resolver against trying everything, on small universes made at random.

use proptest::prelude::*;

mod common;

use common::{solve, universe};
use kasmforge_deb::{PackageStanza, Version};
use kasmforge_resolve::{Problem, Universe};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn line() -> impl Strategy<Value = String> {
    let atom = "[a-ev]( \\((<<|<=|=|>=|>>) [12]\\))?";
    let field = |name: &'static str, relations: String| {
        let relations = proptest::string::string_regex(&relations).expect("a regular expression");
        proptest::option::of(relations).prop_map(move |value| {
            value.map_or(String::new(), |value| format!("; {name}: {value}"))
        })
    };
    (
        field("Depends", format!("{atom}( \\| {atom})?(, {atom})?")),
        field("Conflicts", atom.to_owned()),
        field("Provides", "v( \\(= [12]\\))?".to_owned()),
    )
        .prop_map(|(depends, conflicts, provides)| depends + &conflicts + &provides)
}

/// Every name in two versions.
fn lines() -> impl Strategy<Value = String> {
    proptest::collection::vec(line(), NAMES.len() * 2).prop_map(|fields| {
        let heads = NAMES
            .iter()
            .flat_map(|name| [format!("{name} 1"), format!("{name} 2")]);
        heads
            .zip(fields)
            .map(|(head, fields)| format!("{head}{fields}\n"))
            .collect()
    })
}

fn provides(
    package: &PackageStanza,
    name: &str,
    accepts: &dyn Fn(&Version) -> bool,
    any: bool,
) -> bool {
    (package.name == name && accepts(&package.version))
        || package.provides.iter().flatten().any(|provided| {
            let version = provided
                .constraint
                .as_ref()
                .map(|constraint| &constraint.version);
            provided.name == name && version.map_or(any, accepts)
        })
}

/// Whether all that the packages say of each other holds: policy 7, read plainly.
fn holds(packages: &[PackageStanza]) -> bool {
    packages.iter().all(|package| {
        let meant = |atom: &kasmforge_deb::Atom, other: &PackageStanza| {
            let accepts = |version: &Version| {
                atom.constraint
                    .as_ref()
                    .is_none_or(|wanted| wanted.accepts(version))
            };
            provides(other, &atom.name, &accepts, atom.constraint.is_none())
        };
        let satisfied =
            |atom: &kasmforge_deb::Atom| packages.iter().any(|other| meant(atom, other));
        package
            .depends
            .iter()
            .all(|clause| clause.iter().any(satisfied))
            && package.conflicts.iter().flatten().all(|atom| {
                packages
                    .iter()
                    .all(|other| other.name == package.name || !meant(atom, other))
            })
    })
}

/// Whether any choice of versions meets the requests, by trying all.
fn possible(universe: &Universe, requests: &[&str]) -> bool {
    let versions: Vec<Vec<Option<PackageStanza>>> = NAMES
        .iter()
        .map(|name| {
            let mut choices: Vec<_> = universe
                .versions_of(name)
                .map(|package| Some(package.stanza().expect("a good stanza")))
                .collect();
            if !requests.contains(name) {
                choices.push(None);
            }
            choices
        })
        .collect();
    let count: usize = versions.iter().map(Vec::len).product();
    (0..count).any(|mut number| {
        let choice: Vec<PackageStanza> = versions
            .iter()
            .filter_map(|choices| {
                let chosen = choices[number % choices.len()].clone();
                number /= choices.len();
                chosen
            })
            .collect();
        holds(&choice)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_solution_is_found_if_there_is_one_and_blame_is_exact(lines in lines()) {
        let universe = universe(&lines);
        let requests = ["a", "b", "c"];
        match solve(&universe, &requests) {
            Ok(solution) => {
                let packages: Vec<_> =
                    solution.packages.iter().map(|chosen| chosen.stanza.clone()).collect();
                prop_assert!(holds(&packages), "{packages:?}");
                for (place, chosen) in solution.packages.iter().enumerate() {
                    prop_assert!(solution.why(place).is_some(), "{}", chosen.stanza.name);
                }
            }
            Err(unsatisfiable) => {
                prop_assert!(!possible(&universe, &requests), "{unsatisfiable}");
                let [Problem::Conflict { requests: blamed, because, .. }] =
                    &*unsatisfiable.problems
                else {
                    panic!("{unsatisfiable}");
                };
                prop_assert!(!because.is_empty() && !blamed.is_empty());
                let blamed: Vec<_> = blamed.iter().map(|&at| requests[at]).collect();
                prop_assert!(!possible(&universe, &blamed), "{unsatisfiable}");
                for left_out in 0..blamed.len() {
                    let mut fewer = blamed.clone();
                    fewer.remove(left_out);
                    prop_assert!(possible(&universe, &fewer), "{unsatisfiable}");
                }
            }
        }
    }
}
