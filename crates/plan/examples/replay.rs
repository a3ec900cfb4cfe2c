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
    if let Some((version, _)) = package.version.split_once("+deb") {
        package.version = version.to_owned();
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

fn replay(lock: &Lock, name: &str) {
    let stages = stages(lock, name);
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for package in stages.iter().flatten() {
        *sizes.entry(&package.source).or_default() += package.installed_size * 1024;
    }
    let updates = updates(lock, &sizes);
    let count: u64 = updates.values().sum();
    println!(
        "{name}: {} sources, {} MB; {} of them updated, {count} updates",
        sizes.len(),
        sizes.values().sum::<u64>() / 1_000_000,
        updates.len(),
    );
    if count == 0 {
        return;
    }
    let shares = layers::shares(BUDGET, stages.len());
    let ours: Vec<Vec<String>> = stages
        .iter()
        .zip(shares)
        .flat_map(|(packages, share)| layers::group(packages, share, None))
        .collect();
    let all = || sizes.keys().map(|name| (*name).to_owned()).collect();
    let single: Vec<Vec<String>> = sizes.keys().map(|name| vec![(*name).to_owned()]).collect();
    let apko = apko(&sizes, BUDGET as usize);
    // A source may have packages in several stages: its layer is then counted in each.
    let base = mean(&apko, &sizes, &updates);
    println!(
        "  {:<28} {:>6} {:>14} {:>8}",
        "grouping", "layers", "mean per update", "ratio"
    );
    for (what, groups) in [
        ("one layer", vec![all()]),
        ("apko's, by origin", apko),
        ("kasmforge's", ours),
        ("each source alone (no limit)", single),
    ] {
        let mean = mean(&groups, &sizes, &updates);
        println!(
            "  {what:<28} {:>6} {:>12.1} MB {:>8.3}",
            groups.len(),
            mean / 1e6,
            mean / base
        );
    }
}

/// The largest origins alone, the rest together.
fn apko(sizes: &BTreeMap<&str, u64>, budget: usize) -> Vec<Vec<String>> {
    let mut by_size: Vec<(&str, u64)> = sizes.iter().map(|(name, size)| (*name, *size)).collect();
    by_size.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), *name));
    let alone = by_size.len().min(budget - 1);
    let name = |(name, _): &(&str, u64)| (*name).to_owned();
    let mut groups: Vec<Vec<String>> = by_size[..alone].iter().map(|one| vec![name(one)]).collect();
    groups.push(by_size[alone..].iter().map(name).collect());
    groups
}

/// The mean number of bytes sent again for one update.
fn mean(
    groups: &[Vec<String>],
    sizes: &BTreeMap<&str, u64>,
    updates: &BTreeMap<String, u64>,
) -> f64 {
    let size = |group: &Vec<String>| -> u64 {
        let known = group.iter().filter_map(|name| sizes.get(name.as_str()));
        known.sum()
    };
    let mut sent = 0;
    for (source, times) in updates {
        let layers = groups.iter().filter(|group| group.contains(source));
        sent += times * layers.map(size).sum::<u64>();
    }
    sent as f64 / updates.values().sum::<u64>() as f64
}
