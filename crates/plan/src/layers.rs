//! Which source packages share a layer, and in which order layers lie.
//!
//! A layer is re-sent whole when anything in it changes, and an engine unpacks again everything
//! above it. Within a stage layers lie by probability ÷ size: the large and steady at the bottom, the
//! small and restless on top (Smith's rule for the least expected cost). What is large or restless
//! gets a layer of its own that way, and the many small ones share some, like with like:
//! [`partition`] tells how.

mod partition;

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_lock::Package;

use self::partition::{Together, Weight};

/// Engines refuse images of more layers than about 125.
pub const MOST_LAYERS: u32 = 120;

/// Layers of a stage that are not package layers: what its scripts made, and its files.
const OTHER_LAYERS: usize = 2;

/// How many package layers a stage may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    /// When its packages are grouped, so that stages upon it find some room.
    first: usize,
    /// When an earlier grouping is kept.
    most: usize,
}

impl Room {
    /// A stage does not know what is built on it, or its layers would not be shared. So a root takes a
    /// part of the budget: a quarter, as long as it has few packages and is but a base for others,
    /// and more the more it has. Each further stage takes two thirds of what those below it left.
    fn new(budget: u32, below: &[usize], sources: usize) -> Self {
        /// A root of this many sources is an image of its own and takes as much as any stage.
        const WHOLE: usize = 240;
        let taken: usize = below.iter().map(|layers| layers + OTHER_LAYERS).sum();
        let left = (budget.min(MOST_LAYERS) as usize).saturating_sub(taken);
        let share = if below.is_empty() {
            (left * sources * 2 / (3 * WHOLE)).clamp(left / 4, left * 2 / 3)
        } else {
            left * 2 / 3
        };
        let layers = |all: usize| all.saturating_sub(OTHER_LAYERS).max(1);
        Self {
            first: layers(share),
            most: layers(left),
        }
    }
}

/// Groups a stage's source packages into layers, bottom first.
///
/// `budget` is for all layers of the image, [`MOST_LAYERS`] at most; `below` are the numbers of
/// package layers that the stages below have.
///
/// With the groups of an earlier lock, what was together stays together in the same order, as long as
/// the budget is kept. Sources that are gone leave; new ones get layers of their own on top as long as
/// there are fewer than a new grouping would make, or else join where that is expected to cost least.
#[must_use]
pub fn group<'a>(
    packages: impl IntoIterator<Item = &'a Package>,
    budget: u32,
    below: &[usize],
    earlier: Option<&[Vec<String>]>,
) -> Vec<Vec<String>> {
    let sources = sources(packages);
    let room = Room::new(budget, below, sources.len());
    let earlier = earlier.map(|groups| remaining(&sources, groups));
    match earlier {
        Some(groups) if !groups.is_empty() && groups.len() <= room.most => {
            kept(&sources, groups, room.first)
        }
        _ => fresh(&sources, room.first),
    }
}

/// What counts of each source, by its name.
fn sources<'a>(packages: impl IntoIterator<Item = &'a Package>) -> BTreeMap<String, Weight> {
    let mut sources: BTreeMap<String, Weight> = BTreeMap::new();
    for package in packages {
        let restlessness = restlessness(package);
        let source = sources.entry(package.source.clone()).or_insert(Weight {
            // A package without files has some for dpkg.
            size: 1024,
            restlessness,
        });
        let size = package.installed_size.saturating_mul(1024);
        source.size = source.size.saturating_add(size);
        source.restlessness = source.restlessness.max(restlessness);
    }
    sources
}

/// How often a package is expected to change, in thousandths, from what its version tells.
///
/// Debian counts a stable release's updates in `+debNNuX`: what was mended often will be again. So it
/// was between two releases: of 579 sources of desktops that both have, those that were never updated
/// in Debian 12 came to 0.04 updates each in Debian 13 until November 2026, those updated once to 0.6,
/// twice 1.0, three times 1.5, four times 1.8, and all with more to 4.3.
fn restlessness(package: &Package) -> u64 {
    /// A package that was never touched since the release.
    const QUIET: u64 = 40;
    /// What each update so far adds.
    const PER_UPDATE: u64 = 300;
    /// A version that came from a security archive.
    const SECURITY: u64 = 200;
    let security = if package.archive.ends_with("-security") {
        SECURITY
    } else {
        0
    };
    QUIET + PER_UPDATE * updates(&package.version).min(10) + security
}

/// The number behind the last `debNNu` of a version; 0 without one.
fn updates(version: &str) -> u64 {
    let Some((_, tail)) = version.rsplit_once("deb") else {
        return 0;
    };
    let release: String = tail.chars().take_while(char::is_ascii_digit).collect();
    let Some(counter) = tail[release.len()..].strip_prefix('u') else {
        return 0;
    };
    let digits: String = counter.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Groups from nothing: the largest sources alone, the rest of the layers for what costs least.
fn fresh(sources: &BTreeMap<String, Weight>, most: usize) -> Vec<Vec<String>> {
    let mut row: Vec<(&String, Weight)> = sources.iter().map(|(name, one)| (name, *one)).collect();
    // Sorts are stable: those alike stay in the order of their names.
    row.sort_by_key(|(_, weight)| std::cmp::Reverse(weight.size));
    // A layer of one source is the same in every image that has it at the same height. For the
    // largest that is worth more than what it costs here, which is next to nothing.
    let alone = if row.len() > most { most / 4 } else { 0 };
    let mut rest = row.split_off(alone);
    rest.sort_by(|(_, a), (_, b)| a.density(b));
    let weights: Vec<Weight> = rest.iter().map(|(_, weight)| *weight).collect();
    let cuts = partition::cut(&weights, most - alone);
    let cuts = cuts.into_iter().map(|range| &rest[range]);
    let mut groups: Vec<(Together, Vec<String>)> = row
        .chunks(1)
        .chain(cuts)
        .map(|group| {
            let weights = group.iter().map(|(_, weight)| *weight);
            let mut names: Vec<String> = group.iter().map(|(name, _)| (*name).clone()).collect();
            names.sort();
            (weights.fold(Together::default(), Together::with), names)
        })
        .collect();
    groups.sort_by(|(a, names), (b, others)| a.density(b).then_with(|| names.cmp(others)));
    groups.into_iter().map(|(_, names)| names).collect()
}

/// Earlier groups without what is gone.
fn remaining(sources: &BTreeMap<String, Weight>, groups: &[Vec<String>]) -> Vec<Vec<String>> {
    let there = |group: &Vec<String>| {
        let there = group.iter().filter(|name| sources.contains_key(*name));
        there.cloned().collect::<Vec<_>>()
    };
    let groups = groups.iter().map(there);
    groups.filter(|group| !group.is_empty()).collect()
}

/// Earlier groups, and what is new; it makes no more than `most` of them.
fn kept(
    sources: &BTreeMap<String, Weight>,
    mut groups: Vec<Vec<String>>,
    most: usize,
) -> Vec<Vec<String>> {
    let known: BTreeSet<&String> = groups.iter().flatten().collect();
    let new = sources.iter().filter(|(name, _)| !known.contains(name));
    let new: BTreeMap<String, Weight> = new.map(|(name, one)| (name.clone(), *one)).collect();
    if groups.len() < most {
        // On top, where nothing lies that would have to be unpacked again.
        groups.extend(fresh(&new, most - groups.len()));
        return groups;
    }
    let mut sums: Vec<Together> = groups
        .iter()
        .map(|group| {
            let members = group.iter().filter_map(|name| sources.get(name));
            members.fold(Together::default(), |sum, one| sum.with(*one))
        })
        .collect();
    let mut new: Vec<(String, Weight)> = new.into_iter().collect();
    new.sort_by_key(|(_, weight)| std::cmp::Reverse(weight.size));
    for (name, weight) in new {
        let more = |at: &usize| sums[*at].with(weight).cost() - sums[*at].cost();
        let Some(cheapest) = (0..groups.len()).rev().min_by_key(more) else {
            break;
        };
        sums[cheapest] = sums[cheapest].with(weight);
        groups[cheapest].push(name);
        groups[cheapest].sort();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;
    use proptest::prelude::*;

    fn package(source: &str, version: &str, kib: u64) -> Package {
        Package {
            name: source.into(),
            version: version.into(),
            architecture: "amd64".into(),
            source: source.into(),
            archive: "debian trixie".into(),
            path: String::new(),
            size: 0,
            sha256: Digest::of(source.as_bytes()),
            installed_size: kib,
            essential: false,
            depends: Vec::new(),
            recommends: Vec::new(),
        }
    }

    #[test]
    fn versions_tell_how_often_a_package_was_mended() {
        for (version, count) in [
            ("1.0-1", 0),
            ("140.5.0esr-1~deb13u1", 1),
            ("2.36-9+deb12u13", 13),
            ("1.0-1+debian3", 0),
            ("1-1+deb12u4+b2", 4),
        ] {
            assert_eq!(updates(version), count, "{version}");
        }
    }

    #[test]
    fn large_and_steady_below_small_and_restless() {
        let packages = [
            package("small-restless", "1-1+deb13u9", 100),
            package("large-steady", "1-1", 90_000),
            package("large-restless", "1-1+deb13u9", 90_000),
        ];
        let groups = group(&packages, 64, &[], None);
        assert_eq!(
            groups,
            [["large-steady"], ["large-restless"], ["small-restless"]]
        );
    }

    #[test]
    fn an_update_does_not_reshuffle() {
        let many: Vec<_> = (0..50)
            .map(|n| package(&format!("source-{n}"), "1-1", 10 + n))
            .collect();
        let before = group(&many, 56, &[], None);
        let mut updated = many.clone();
        updated[7].version = "1-1+deb13u5".into();
        updated.remove(3);
        updated.push(package("new", "1-1", 5));
        let after = group(&updated, 56, &[], Some(&before));
        for (old, new) in before.iter().zip(&after) {
            let stayed: Vec<_> = old.iter().filter(|name| *name != "source-3").collect();
            let kept: Vec<_> = new.iter().filter(|name| *name != "new").collect();
            assert_eq!(stayed, kept);
        }
        assert_eq!(
            after.iter().flatten().filter(|name| *name == "new").count(),
            1
        );
    }

    #[test]
    fn a_chain_stays_within_its_budget() {
        for sources in [1, 100, 300, 5_000] {
            for budget in 64..=MOST_LAYERS {
                let mut below = Vec::new();
                for stage in 0..4 {
                    let room = Room::new(budget, &below, sources);
                    assert!(room.first <= room.most, "{budget} {stage}: {room:?}");
                    below.push(room.first);
                }
                let all: usize = below.iter().map(|layers| layers + OTHER_LAYERS).sum();
                assert!(all <= budget as usize, "{budget}: {below:?}");
            }
        }
        assert_eq!(Room::new(64, &[], 85).first, 14);
        assert_eq!(Room::new(64, &[14], 207).first, 30);
        assert_eq!(Room::new(64, &[14, 30], 4).first, 8);
        // What those below do not need is there for others.
        assert_eq!(Room::new(64, &[14, 2], 4).first, 27);
        // A root that is an image of its own.
        assert_eq!(Room::new(64, &[], 450).first, 40);
    }

    #[test]
    fn groups_are_kept_when_a_stage_below_gets_more_layers() {
        let many: Vec<_> = (0..50)
            .map(|n| package(&format!("source-{n}"), "1-1", 10 + n))
            .collect();
        let before = group(&many, 64, &[14, 30], None);
        assert_eq!(before.len(), 8);
        assert_eq!(group(&many, 64, &[14, 36], Some(&before)), before);
        // Until there would be more than the budget in all.
        assert_eq!(group(&many, 64, &[14, 37], Some(&before)).len(), 4);
    }

    #[test]
    fn what_is_new_gets_layers_on_top_or_joins_where_it_costs_least() {
        let packages = |names: &[(&str, u64)]| -> Vec<Package> {
            let package = |(name, kib): &(&str, u64)| package(name, "1-1", *kib);
            names.iter().map(package).collect()
        };
        let old = [("huge", 900_000), ("large", 90_000), ("small", 10)];
        let before = group(&packages(&old), 20, &[], None);
        assert_eq!(before, [["huge"], ["large"], ["small"]]);
        let more = [&old[..], &[("tiny", 2), ("wide", 80_000)]].concat();
        assert_eq!(
            group(&packages(&more), 24, &[], Some(&before)),
            [
                vec!["huge"],
                vec!["large"],
                vec!["small"],
                vec!["tiny", "wide"]
            ]
        );
        assert_eq!(
            group(&packages(&more), 20, &[], Some(&before)),
            [vec!["huge"], vec!["large"], vec!["small", "tiny", "wide"]]
        );
        // What is gone makes room.
        let fewer = packages(&[("large", 90_000), ("small", 10), ("tiny", 2)]);
        assert_eq!(
            group(&fewer, 20, &[], Some(&before)),
            [["large"], ["small"], ["tiny"]]
        );
        // Fewer layers than there are cannot be kept.
        assert_eq!(
            group(&packages(&old), 4, &[], Some(&before)),
            [["huge", "large", "small"]]
        );
    }

    proptest! {
        #[test]
        fn every_source_is_in_exactly_one_layer(
            sizes in prop::collection::vec(0_u64..100_000, 1..80),
            most in 1_usize..40,
        ) {
            let packages: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(n, kib)| package(&format!("s{n}"), "1", *kib))
                .collect();
            let groups = fresh(&super::sources(&packages), most);
            prop_assert!(groups.len() <= most);
            let mut names: Vec<_> = groups.iter().flatten().cloned().collect();
            names.sort();
            let mut wanted: Vec<_> = packages.iter().map(|p| p.source.clone()).collect();
            wanted.sort();
            prop_assert_eq!(names, wanted);
        }
    }
}
