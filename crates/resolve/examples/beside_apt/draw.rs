//! Requests drawn from an archive by a seeded generator.

use std::collections::BTreeSet;

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
