//! Replays the updates of a release, one by one, and counts the bytes each grouping of packages
//! into layers sends again.
//!
//! ```text
//! cargo run --release -p kasmforge-plan --example replay -- [LOCK [WORKSPACE…]]
//! ```
//!
//! The updates are those that really happened to the packages of a lock since their release came
//! out: Debian counts them in the version (`+deb13u4` is the fourth). Each grouping is made from
//! what was known at the release, with all these counters taken off; nothing of what is replayed
//! reaches it. An update of a source package sends again every layer that holds one of its
//! packages. Sizes are those the archive says are installed, so all groupings are counted alike.
//!
//! Beside ours stand one layer for all (as `docker build` has it) and apko's: packages of one origin
//! together, the largest alone up to the budget, all others in one layer. The state layer, which
//! holds dpkg's database, changes at every update with all of them, and is left out of all.
//!
//! The last row is the least that any grouping could send: what changed, and nothing else.
//!
//! `unpacked` is what an engine unpacks again that knows layers by all that lies below them (Docker's
//! classic store): the changed layer and all above it; of apko's, the largest lies lowest. There ours
//! pays for its stages: a change in one that many images share has all of theirs above it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its table"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;

use kasmforge_lock::{Lock, Package};
use kasmforge_plan::layers;

const BUDGET: u32 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "kasmforge.lock".into());
    let lock = match std::fs::read_to_string(&path) {
        Ok(text) => match Lock::parse(&text) {
            Ok(lock) => lock,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        },
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = lock.workspaces.iter().map(|one| one.name.clone()).collect();
    }
    for name in names {
        replay(&lock, &name);
    }
    ExitCode::SUCCESS
}

/// The packages of a workspace's stages, root first, as they were at the release.
fn stages(lock: &Lock, name: &str) -> Vec<Vec<Package>> {
    let mut chain = Vec::new();
    let mut next = Some(name.to_owned());
    while let Some(name) = next {
        let Some(one) = lock.workspaces.iter().find(|one| one.name == name) else {
            break;
        };
        let packages = one.packages.iter().map(|at| released(&lock.packages[*at]));
        chain.push(packages.collect());
        next = one.extends.clone();
    }
    chain.reverse();
    chain
}

/// A package as its release had it: without the counter of updates, out of the main archive.
fn released(package: &Package) -> Package {
    let mut package = package.clone();
    // A backport of a later version, `~deb`, may have come with the release, or tell of an update.
    for mark in ["+deb", "~deb"] {
        if let Some((version, _)) = package.version.split_once(mark) {
            package.version = version.to_owned();
        }
    }
    if let Some(archive) = package.archive.strip_suffix("-security") {
        package.archive = archive.to_owned();
    }
    package
}

/// How often each source was updated since the release.
fn updates(lock: &Lock, names: &BTreeMap<&str, u64>) -> BTreeMap<String, u64> {
    let mut updates = BTreeMap::new();
    for package in &lock.packages {
        if !names.contains_key(package.source.as_str()) {
            continue;
        }
        let counter = ["+deb", "~deb"].iter().find_map(|mark| {
            let (_, tail) = package.version.rsplit_once(mark)?;
            let digits = tail.split_once('u')?.1;
            let end = digits.find(|c: char| !c.is_ascii_digit());
            let number: u64 = digits[..end.unwrap_or(digits.len())].parse().ok()?;
            // `~deb13u1` came with the release, or as a new version from the security team.
            let first = u64::from(*mark == "~deb");
            Some(number - first.min(number))
        });
        let secured = u64::from(package.archive.ends_with("-security"));
        let count = counter.unwrap_or(0).max(secured);
        if count > 0 {
            let known = updates.entry(package.source.clone()).or_insert(0);
            *known = count.max(*known);
        }
    }
    updates
}

/// A layer, as far as bytes go.
struct Layer {
    sources: Vec<String>,
    /// Bytes of the packages in it. A source may have others in another stage.
    size: u64,
}

impl Layer {
    fn new(sources: Vec<String>, sizes: &BTreeMap<&str, u64>) -> Self {
        let size = sources.iter().map(|name| sizes[name.as_str()]).sum();
        Self { sources, size }
    }
}

/// Bytes each source installs.
fn sizes(packages: &[Package]) -> BTreeMap<&str, u64> {
    let mut sizes = BTreeMap::new();
    for package in packages {
        *sizes.entry(package.source.as_str()).or_default() += package.installed_size * 1024;
    }
    sizes
}

fn replay(lock: &Lock, name: &str) {
    let stages = stages(lock, name);
    let packages: Vec<Package> = stages.iter().flatten().cloned().collect();
    let sizes_of_all = sizes(&packages);
    let updates = updates(lock, &sizes_of_all);
    let count: u64 = updates.values().sum();
    println!(
        "{name}: {} sources, {} MB; {} of them updated, {count} updates",
        sizes_of_all.len(),
        sizes_of_all.values().sum::<u64>() / 1_000_000,
        updates.len(),
    );
    if count == 0 {
        return;
    }
    let mut ours = Vec::new();
    let mut below = Vec::new();
    for packages in &stages {
        let groups = layers::group(packages, BUDGET, &below, None);
        below.push(groups.len());
        let sizes = sizes(packages);
        ours.extend(groups.into_iter().map(|group| Layer::new(group, &sizes)));
    }
    let all = sizes_of_all.keys().map(|name| (*name).to_owned()).collect();
    let apko = apko(&sizes_of_all, BUDGET as usize);
    let base = sent(&apko, &updates);
    println!(
        "  {:<24} {:>6} {:>15} {:>8} {:>12}",
        "grouping", "layers", "mean per update", "ratio", "unpacked"
    );
    for (what, layers) in [
        ("one layer", vec![Layer::new(all, &sizes_of_all)]),
        ("apko's, by origin", apko),
        ("kasmforge's", ours),
    ] {
        let mean = sent(&layers, &updates);
        println!(
            "  {what:<24} {:>6} {:>12.1} MB {:>8.3} {:>9.1} MB",
            layers.len(),
            mean / 1e6,
            mean / base,
            unpacked(&layers, &updates) / 1e6,
        );
    }
    let alone = sizes_of_all
        .keys()
        .map(|name| Layer::new(vec![(*name).to_owned()], &sizes_of_all));
    let least = sent(&alone.collect::<Vec<_>>(), &updates);
    println!(
        "  {:<24} {:>6} {:>12.1} MB {:>8.3}",
        "the least: what changed",
        "",
        least / 1e6,
        least / base,
    );
}

/// The largest origins alone, the rest together.
fn apko(sizes: &BTreeMap<&str, u64>, budget: usize) -> Vec<Layer> {
    let mut by_size: Vec<(&str, u64)> = sizes.iter().map(|(name, size)| (*name, *size)).collect();
    by_size.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), *name));
    let (alone, rest) = by_size.split_at(by_size.len().min(budget - 1));
    let name = |(name, _): &(&str, u64)| (*name).to_owned();
    let mut groups: Vec<Vec<String>> = alone.iter().map(|one| vec![name(one)]).collect();
    if !rest.is_empty() {
        groups.push(rest.iter().map(name).collect());
    }
    let layers = groups.into_iter().map(|group| Layer::new(group, sizes));
    layers.collect()
}

/// The mean number of bytes sent again for one update: the layers that change.
fn sent(layers: &[Layer], updates: &BTreeMap<String, u64>) -> f64 {
    mean(updates, |source| {
        let changed = layers.iter().filter(|layer| layer.sources.contains(source));
        changed.map(|layer| layer.size).sum()
    })
}

/// The mean number of bytes unpacked again for one update: from the lowest layer that changes up.
fn unpacked(layers: &[Layer], updates: &BTreeMap<String, u64>) -> f64 {
    mean(updates, |source| {
        let above = layers
            .iter()
            .skip_while(|layer| !layer.sources.contains(source));
        above.map(|layer| layer.size).sum()
    })
}

fn mean(updates: &BTreeMap<String, u64>, bytes: impl Fn(&String) -> u64) -> f64 {
    let total: u64 = updates
        .iter()
        .map(|(source, times)| times * bytes(source))
        .sum();
    total as f64 / updates.values().sum::<u64>() as f64
}
