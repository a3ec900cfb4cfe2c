//! What changed between two locks.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_deb::Version;

use crate::{Lock, Package};

/// A package that one of two locks has and the other has not, or has in another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The package as the earlier lock has it; absent where it was added.
    pub before: Option<&'a Package>,
    /// The package as the later lock has it; absent where it was removed.
    pub after: Option<&'a Package>,
}

/// In which way a package changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its version is later than before.
    Upgraded,
    /// Its version is earlier than before.
    Downgraded,
    /// Its version is the same, its bytes are others.
    Rebuilt,
}

impl<'a> Change<'a> {
    /// The package, as the later lock has it if it does.
    #[must_use]
    pub fn package(&self) -> &'a Package {
        self.after
            .or(self.before)
            .expect("a change is of at least one lock")
    }

    /// In which way it changed.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match (self.before, self.after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some(before), Some(after)) => match version(after).cmp(&version(before)) {
                std::cmp::Ordering::Greater => ChangeKind::Upgraded,
                std::cmp::Ordering::Less => ChangeKind::Downgraded,
                std::cmp::Ordering::Equal => ChangeKind::Rebuilt,
            },
        }
    }

    /// Whether a later version came from a security archive.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.kind() == ChangeKind::Upgraded && self.package().is_of_security()
    }

    /// By how many bytes the change makes a system larger; what archives estimate.
    #[must_use]
    pub fn growth(&self) -> i64 {
        let size = |package: Option<&Package>| {
            let bytes = package.map_or(0, |package| package.installed_size.saturating_mul(1024));
            i64::try_from(bytes).unwrap_or(i64::MAX)
        };
        size(self.after).saturating_sub(size(self.before))
    }
}

impl Package {
    /// Whether it came from an archive of security updates: one whose suite is called so, as
    /// Debian's and its derivatives' are.
    #[must_use]
    pub fn is_of_security(&self) -> bool {
        self.archive.ends_with("-security")
    }
}

/// All changes from one lock to another, sorted by name and architecture.
///
/// Locks may hold several versions of a package, for workspaces on different suites: what both have
/// is no change, the rest is paired in the order of versions.
#[must_use]
pub fn changes<'a>(before: &'a Lock, after: &'a Lock) -> Vec<Change<'a>> {
    type Versions<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Package>>;
    let of = |lock: &'a Lock| {
        let mut versions = Versions::new();
        for package in &lock.packages {
            let key = (package.name.as_str(), package.architecture.as_str());
            versions.entry(key).or_default().push(package);
        }
        versions
    };
    let (old, new) = (of(before), of(after));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let mut changes = Vec::new();
    for key in keys {
        let none = Vec::new();
        let (old, new) = (
            old.get(&key).unwrap_or(&none),
            new.get(&key).unwrap_or(&none),
        );
        let only = |these: &[&'a Package], those: &[&'a Package]| {
            let mut only: Vec<&'a Package> = these.to_vec();
            only.retain(|one| !those.iter().any(|other| other.sha256 == one.sha256));
            only.sort_by_key(|package| version(package));
            only
        };
        let (old, new) = (only(old, new), only(new, old));
        for at in 0..old.len().max(new.len()) {
            changes.push(Change {
                before: old.get(at).copied(),
                after: new.get(at).copied(),
            });
        }
    }
    changes
}

/// A package's version, to be compared. What is none, in a lock made by hand, comes first.
fn version(package: &Package) -> Option<Version> {
    package.version.parse().ok()
}
