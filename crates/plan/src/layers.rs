//! Which source packages share a layer, and in which order layers lie.
//!
//! A layer is re-sent whole when anything in it changes, and an engine unpacks again everything
//! above it. So what is likely to change and large gets a layer of its own, the rest is spread over
//! bins by a hash of its name (so that membership does not depend on what else is there), and
//! within a stage layers lie by probability ÷ size: the large and steady at the bottom, the small
//! and restless on top (Smith's rule for the least expected cost).

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_digest::Digest;
use kasmforge_lock::Package;

/// Engines refuse images of more layers than about 125.
pub const MOST_LAYERS: u32 = 120;

/// Layers of a stage that are not package layers: what its scripts made, and its files.
const OTHER_LAYERS: u32 = 2;

/// How many package layers the stages of a chain get, root first.
///
/// A stage must not know what is built on it, or its layers would not be shared. So the root takes
/// a quarter of the budget, and each further stage two thirds of what is left.
#[must_use]
pub fn shares(budget: u32, stages: usize) -> Vec<u32> {
    let mut left = budget.min(MOST_LAYERS);
    (0..stages)
        .map(|stage| {
            let share = if stage == 0 { left / 4 } else { left * 2 / 3 };
            left -= share.min(left);
            share.saturating_sub(OTHER_LAYERS).max(1)
        })
        .collect()
}

/// One source package of a stage: what is known of it when layers are planned.
#[derive(Debug, Clone, PartialEq)]
struct Source {
    name: String,
    /// Bytes it installs.
    size: u64,
    /// How likely it changes at an update, in thousandths.
    restlessness: u64,
}

impl Source {
    /// The expected cost of sharing its layer: what is re-sent when it changes.
    fn cost(&self) -> u64 {
        self.size.saturating_mul(self.restlessness)
    }
}

/// Groups a stage's source packages into at most `most` layers, bottom first.
///
/// With the groups of an earlier lock, what was together stays together in the same order; new
/// sources join by the same rule, and sources that are gone leave.
#[must_use]
pub fn group<'a>(
    packages: impl IntoIterator<Item = &'a Package>,
    most: u32,
    earlier: Option<&[Vec<String>]>,
) -> Vec<Vec<String>> {
    let sources = sources(packages);
    let mut groups = match earlier {
        Some(earlier) if !earlier.is_empty() && earlier.len() <= most as usize => {
            kept(&sources, earlier)
        }
        _ => fresh(&sources, most as usize),
    };
    groups.retain(|group| !group.is_empty());
    groups
}

fn sources<'a>(packages: impl IntoIterator<Item = &'a Package>) -> BTreeMap<String, Source> {
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for package in packages {
        let source = sources
            .entry(package.source.clone())
            .or_insert_with(|| Source {
                name: package.source.clone(),
                size: 0,
                restlessness: 0,
            });
        source.size += package.installed_size * 1024;
        source.restlessness = source.restlessness.max(restlessness(package));
    }
    sources
}

/// How likely a package changes, in thousandths, from what its version tells.
///
/// Debian counts a stable release's updates in `+debNNuX`: what was mended often will be again.
fn restlessness(package: &Package) -> u64 {
    /// A package that was never touched since the release.
    const QUIET: u64 = 20;
    /// What each update so far adds.
    const PER_UPDATE: u64 = 60;
    /// A version that came from a security archive.
    const SECURITY: u64 = 200;
    let security = if package.archive.ends_with("-security") {
        SECURITY
    } else {
        0
    };
    (QUIET + PER_UPDATE * updates(&package.version).min(10) + security).min(1000)
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

fn fresh(sources: &BTreeMap<String, Source>, most: usize) -> Vec<Vec<String>> {
    let mut by_cost: Vec<&Source> = sources.values().collect();
    by_cost.sort_by(|a, b| b.cost().cmp(&a.cost()).then_with(|| a.name.cmp(&b.name)));
    // Two thirds of the layers for single sources, the rest for bins.
    let bins = if by_cost.len() <= most {
        0
    } else {
        (most / 3).max(1)
    };
    let singles = (most - bins).min(by_cost.len());
    let mut groups: Vec<Vec<&Source>> = by_cost[..singles]
        .iter()
        .map(|source| vec![*source])
        .collect();
    if bins > 0 {
        let mut binned = vec![Vec::new(); bins];
        for source in &by_cost[singles..] {
            binned[bin(&source.name, bins)].push(*source);
        }
        groups.extend(binned);
    }
    groups.retain(|group| !group.is_empty());
    groups.sort_by(|a, b| {
        density(a)
            .total_cmp(&density(b))
            .then_with(|| first(a).cmp(first(b)))
    });
    groups.into_iter().map(names).collect()
}

/// Probability ÷ size of a group: low lies low.
fn density(group: &[&Source]) -> f64 {
    let size: u64 = group.iter().map(|source| source.size).sum();
    let steady: f64 = group
        .iter()
        .map(|source| 1.0 - source.restlessness as f64 / 1000.0)
        .product();
    (1.0 - steady) / (size.max(1) as f64)
}

fn first<'a>(group: &[&'a Source]) -> &'a str {
    group
        .iter()
        .map(|source| source.name.as_str())
        .min()
        .unwrap_or_default()
}

fn names(group: Vec<&Source>) -> Vec<String> {
    let mut names: Vec<String> = group
        .into_iter()
        .map(|source| source.name.clone())
        .collect();
    names.sort();
    names
}

fn kept(sources: &BTreeMap<String, Source>, earlier: &[Vec<String>]) -> Vec<Vec<String>> {
    let known: BTreeSet<&String> = earlier.iter().flatten().collect();
    let mut groups: Vec<Vec<String>> = earlier
        .iter()
        .map(|group| {
            group
                .iter()
                .filter(|name| sources.contains_key(*name))
                .cloned()
                .collect()
        })
        .collect();
    // Bins are the groups of several; where there are none, the top layer takes what is new.
    let bins: Vec<usize> = (0..earlier.len())
        .filter(|&index| earlier[index].len() > 1)
        .collect();
    for name in sources.keys().filter(|name| !known.contains(name)) {
        let index = match bins.len() {
            0 => earlier.len() - 1,
            count => bins[bin(name, count)],
        };
        groups[index].push(name.clone());
        groups[index].sort();
    }
    groups
}

fn bin(name: &str, bins: usize) -> usize {
    let digest = Digest::of(name.as_bytes());
    let start: [u8; 8] = digest.as_bytes()[..8]
        .try_into()
        .expect("a digest has 32 bytes");
    (u64::from_le_bytes(start) % bins as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let groups = group(&packages, 10, None);
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
        let before = group(&many, 12, None);
        let mut updated = many.clone();
        updated[7].version = "1-1+deb13u5".into();
        updated.remove(3);
        updated.push(package("new", "1-1", 5));
        let after = group(&updated, 12, Some(&before));
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
        assert_eq!(shares(64, 3), [14, 30, 8]);
        for budget in 8..=MOST_LAYERS {
            let total: u32 = shares(budget, 4)
                .iter()
                .map(|share| share + OTHER_LAYERS)
                .sum();
            assert!(total <= budget + 4 * OTHER_LAYERS, "{budget}: {total}");
        }
    }

    proptest! {
        #[test]
        fn every_source_is_in_exactly_one_layer(
            sizes in prop::collection::vec(0_u64..100_000, 1..80),
            most in 1_u32..40,
        ) {
            let packages: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(n, kib)| package(&format!("s{n}"), "1", *kib))
                .collect();
            let groups = group(&packages, most, None);
            prop_assert!(groups.len() <= most as usize);
            let mut names: Vec<_> = groups.iter().flatten().cloned().collect();
            names.sort();
            let mut wanted: Vec<_> = packages.iter().map(|p| p.source.clone()).collect();
            wanted.sort();
            prop_assert_eq!(names, wanted);
        }
    }
}
