//! Small universes written by hand.

#![allow(dead_code, reason = "each test file uses its part of it")]

use kasmforge_resolve::{Archive, Request, Solution, Stage, Universe, Unsatisfiable, resolve};

/// A universe of one archive. Each line is a package: its name (with `:architecture` where it is
/// not `amd64`), its version, and then its fields between semicolons; `+` stands for an essential
/// package.
pub(crate) fn universe(lines: &str) -> Universe {
    let mut universe = Universe::new("amd64");
    add(&mut universe, "debian", true, lines);
    universe
}

/// Adds an archive to a universe.
pub(crate) fn add(universe: &mut Universe, name: &str, automatic: bool, lines: &str) {
    let archive = universe.add_archive(Archive {
        name: name.into(),
        suite: name.into(),
        priority: if automatic {
            Archive::AUTOMATIC
        } else {
            Archive::BUT_AUTOMATIC_UPGRADES
        },
    });
    universe
        .add_index(archive, index(lines))
        .expect("a good index");
}

/// The text of an index of these packages.
pub(crate) fn index(lines: &str) -> String {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut parts = line.split("; ");
            let mut head = parts.next().unwrap_or_default().split(' ');
            let name = head.next().unwrap_or_default();
            let version = head.next().unwrap_or("1");
            let essential = if head.next() == Some("+") { "Essential: yes\n" } else { "" };
            let (name, architecture) = name.split_once(':').unwrap_or((name, "amd64"));
            let fields: String = parts.map(|field| format!("{field}\n")).collect();
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{essential}{fields}\n"
            )
        })
        .collect()
}

pub(crate) fn requests(texts: &[&str]) -> Vec<Request> {
    texts
        .iter()
        .map(|text| text.parse().expect("a good request"))
        .collect()
}

/// Resolves requests without recommendations.
pub(crate) fn solve(universe: &Universe, texts: &[&str]) -> Result<Solution, Unsatisfiable> {
    let requests = requests(texts);
    resolve(
        universe,
        &Stage {
            requests: &requests,
            ..Stage::default()
        },
    )
}

/// The packages of a solution in their order: `name version`, with a foreign architecture.
pub(crate) fn shown(solution: &Solution) -> Vec<String> {
    let packages = solution.packages.iter().map(|chosen| &chosen.stanza);
    packages
        .map(|stanza| match &*stanza.architecture {
            "amd64" | "all" => format!("{} {}", stanza.name, stanza.version),
            foreign => format!("{}:{foreign} {}", stanza.name, stanza.version),
        })
        .collect()
}

/// What is chosen for some requests.
pub(crate) fn chosen(universe: &Universe, texts: &[&str]) -> Vec<String> {
    match solve(universe, texts) {
        Ok(solution) => shown(&solution),
        Err(unsatisfiable) => panic!("{unsatisfiable}"),
    }
}
