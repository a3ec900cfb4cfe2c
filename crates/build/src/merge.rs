//! Merging: from the trees of packages to the tree of a stage.
//!
//! Two packages may ship one path when they agree on what stands there, when it is a folder, or
//! when one of them declares that it replaces the other (Debian policy 7.6.1). Anything else is an
//! error, as it is for dpkg.

use std::collections::BTreeMap;

use kasmforge_deb::PackageStanza;
use kasmforge_spec::Slim;
use kasmforge_tree::{Entry, Node, Tree, TreePath};

use crate::slim;
use crate::unpack::Package;

/// Two packages that ship the same path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "both {first} and {second} ship /{path}, and neither declares that it replaces the other; \
     leave one of them out"
)]
pub struct Collision {
    /// The path in the image.
    pub path: String,
    /// The package configured first.
    pub first: String,
    /// The other.
    pub second: String,
}

/// A package's tree without what is left out of it.
///
/// dpkg's own list and sums of the package keep only what is there, as they do when dpkg itself
/// filters. Their new content is made by the caller through `rewrite`.
pub(crate) fn slimmed(package: &Package, slim: &Slim) -> Tree {
    package
        .tree
        .iter()
        .filter(|(path, _)| slim::keeps(slim, path))
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .map(|(path, entry)| (path, unlinked(&entry, slim)))
        .collect()
}

/// A hard link to a name that is left out stands alone.
fn unlinked(entry: &Entry, slim: &Slim) -> Entry {
    let mut entry = entry.clone();
    if let Node::File { link, .. } = &mut entry.node
        && link
            .as_ref()
            .is_some_and(|target| !slim::keeps(slim, target))
    {
        *link = None;
    }
    entry
}

/// Merges packages, in the order they are configured, over what is below them.
///
/// Gives the paths that a package lost to one that replaces it, by the loser's stem, so that dpkg's
/// list can say so.
pub(crate) fn merge(
    below: &Tree,
    packages: &[(&Package, Tree)],
) -> Result<(Tree, BTreeMap<String, Vec<TreePath>>), Collision> {
    let mut tree = below.clone();
    let mut owners: BTreeMap<TreePath, usize> = BTreeMap::new();
    let mut lost: BTreeMap<String, Vec<TreePath>> = BTreeMap::new();
    let stanzas: Vec<Option<PackageStanza>> = packages
        .iter()
        .map(|(package, _)| package.control.parse().ok())
        .collect();
    for (index, (package, own)) in packages.iter().enumerate() {
        for (path, entry) in own.iter() {
            match tree.get(path) {
                None => {
                    tree.insert(path.clone(), entry.clone());
                }
                // The first folder stays as it is: dpkg never changes one that exists.
                Some(old) if old.is_folder() && entry.is_folder() => continue,
                Some(old) if same_file(old, entry) => continue,
                // A folder reached through a link that another package ships is that folder.
                Some(old) if matches!(old.node, Node::Symlink(_)) && entry.is_folder() => continue,
                Some(_) => {
                    let Some(&other) = owners.get(path) else {
                        // It stands in a stage below: the newer package takes it, as at an upgrade.
                        tree.insert(path.clone(), entry.clone());
                        continue;
                    };
                    let replaces = |by: usize, of: usize| {
                        stanzas[by]
                            .as_ref()
                            .is_some_and(|by| replaces(by, packages[of].0))
                    };
                    let loser = if replaces(index, other) {
                        tree.insert(path.clone(), entry.clone());
                        other
                    } else if replaces(other, index) {
                        index
                    } else {
                        return Err(Collision {
                            path: path.to_string(),
                            first: packages[other].0.name.clone(),
                            second: package.name.clone(),
                        });
                    };
                    lost.entry(packages[loser].0.stem.clone())
                        .or_default()
                        .push(path.clone());
                    if loser == index {
                        continue;
                    }
                }
            }
            if !entry.is_folder() {
                owners.insert(path.clone(), index);
            }
        }
    }
    tree.complete_parents();
    Ok((tree, lost))
}

/// Whether two packages agree on a path: `Multi-Arch: same` packages of several architectures do.
fn same_file(one: &Entry, other: &Entry) -> bool {
    one.mode == other.mode
        && match (&one.node, &other.node) {
            (Node::File { digest: a, .. }, Node::File { digest: b, .. }) => a == b,
            (a, b) => a == b,
        }
}

/// Whether a package declares that it replaces files of another (policy 7.6.1).
fn replaces(stanza: &PackageStanza, other: &Package) -> bool {
    stanza.replaces.iter().flatten().any(|atom| {
        atom.name == other.name
            && atom.constraint.as_ref().is_none_or(|wanted| {
                other
                    .version
                    .parse()
                    .is_ok_and(|version| wanted.accepts(&version))
            })
    })
}
