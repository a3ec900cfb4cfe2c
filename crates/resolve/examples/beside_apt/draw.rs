//! Requests drawn from an archive by a seeded generator.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_resolve::{Package, Universe};

/// What people install as a desktop, where the archive has it.
const DESKTOPS: [&str; 24] = [
    "awesome",
    "budgie-desktop",
    "cinnamon-core",
    "cinnamon-desktop-environment",
    "enlightenment",
    "fluxbox",
    "gnome",
    "gnome-core",
    "gnome-session",
    "i3",
    "icewm",
    "kde-full",
    "kde-plasma-desktop",
    "kde-standard",
    "lxde",
    "lxqt",
    "lxqt-core",
    "mate-desktop-environment",
    "mate-desktop-environment-core",
    "openbox",
    "sway",
    "xfce4",
    "xfce4-goodies",
    "xmonad",
];

/// How many of twenty requests are of each kind.
const SINGLE: usize = 8;
const PAIR: usize = 4;
const TRIPLE: usize = 4;
const TASK: usize = 2;

/// Draws this many requests. The same names and seed give the same requests, and a larger count
/// the same ones first.
pub(crate) fn requests(names: &BTreeSet<String>, seed: u64, count: usize) -> Vec<Vec<String>> {
    let all: Vec<&String> = names.iter().collect();
    let tasks: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("task-"))
        .collect();
    let desktops: Vec<&String> = names
        .iter()
        .filter(|name| DESKTOPS.contains(&name.as_str()))
        .collect();
    let mut random = Random(seed);
    (0..count)
        .map(|at| {
            let kind = at % 20;
            let mut request = BTreeSet::new();
            let more = if kind < SINGLE {
                1
            } else if kind < SINGLE + PAIR {
                2
            } else if kind < SINGLE + PAIR + TRIPLE {
                3
            } else if kind < SINGLE + PAIR + TRIPLE + TASK {
                request.extend(random.one_of(&tasks));
                random.below(2)
            } else {
                request.extend(random.one_of(&desktops));
                random.below(4)
            };
            for _ in 0..more {
                request.extend(random.one_of(&all));
            }
            request.into_iter().collect()
        })
        .collect()
}

/// Draws this many requests that are likely to be refused, for one architecture: packages that
/// conflict with each other, beside a third one at times; those that need what is nowhere; names that
/// only others provide; and versions that nobody has.
pub(crate) fn refusals(
    universe: &Universe,
    architecture: &str,
    seed: u64,
    count: usize,
) -> Vec<Vec<String>> {
    let Hard {
        conflicts,
        broken,
        provided,
        names,
    } = Hard::of(universe, architecture);
    let [broken, provided, names] =
        [&broken, &provided, &names].map(|set| set.iter().collect::<Vec<_>>());
    let mut random = Random(seed);
    (0..count)
        .map(|at| {
            let mut request = BTreeSet::new();
            match at % 8 {
                0..=3 => {
                    if let Some((one, other)) = conflicts.get(random.below(conflicts.len())) {
                        request.extend([one.clone(), other.clone()]);
                    }
                    if at % 8 == 3 {
                        request.extend(random.one_of(&names));
                    }
                }
                4 | 5 => request.extend(random.one_of(&broken)),
                6 => request.extend(random.one_of(&provided)),
                _ => request.extend(random.one_of(&names).map(|name| format!("{name}=0~none"))),
            }
            request.into_iter().collect()
        })
        .collect()
}

/// What is likely to be refused.
#[derive(Default)]
struct Hard {
    /// Packages of which one's best version conflicts with the other's, or breaks it.
    conflicts: Vec<(String, String)>,
    /// Packages whose best version needs something that nobody is called and nobody provides.
    broken: BTreeSet<String>,
    /// Names that packages only provide.
    provided: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Hard {
    fn of(universe: &Universe, architecture: &str) -> Self {
        let best = |name: &str| universe.packages_of(name, architecture).next();
        let names: BTreeSet<String> = universe
            .names()
            .filter(|name| best(name).is_some())
            .map(ToOwned::to_owned)
            .collect();
        let stanzas: BTreeMap<&str, _> = names
            .iter()
            .filter_map(|name| Some((name.as_str(), best(name)?.stanza().ok()?)))
            .collect();
        let provided: BTreeSet<&str> = stanzas
            .values()
            .flat_map(|stanza| stanza.provides.iter().flatten())
            .map(|atom| atom.name.as_str())
            .collect();
        let mut hard = Self::default();
        for (name, stanza) in &stanzas {
            for atom in stanza.conflicts.iter().chain(&stanza.breaks).flatten() {
                let version = best(&atom.name).map(|other: Package<'_>| other.version().clone());
                let meant = version.is_some_and(|version| {
                    atom.constraint
                        .as_ref()
                        .is_none_or(|wanted| wanted.accepts(&version))
                });
                if meant && atom.name != *name {
                    hard.conflicts.push(((*name).to_owned(), atom.name.clone()));
                }
            }
            let somewhere = |name: &str| stanzas.contains_key(name) || provided.contains(name);
            let mut needs = stanza.pre_depends.iter().chain(&stanza.depends);
            if needs.any(|clause| !clause.iter().any(|atom| somewhere(&atom.name))) {
                hard.broken.insert((*name).to_owned());
            }
        }
        hard.provided = provided
            .into_iter()
            .filter(|name| !stanzas.contains_key(name))
            .map(ToOwned::to_owned)
            .collect();
        hard.names = names;
        hard
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a page of the archive is all it must choose well.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("less than a usize")
    }

    fn one_of(&mut self, from: &[&String]) -> Option<String> {
        let at = self.below(from.len());
        from.get(at).map(|name| (*name).clone())
    }
}
