//! GTK's caches of icon themes that have themselves in them.
//!
//! `gtk-update-icon-cache` goes down into every folder, through links as well. Where one leads back to
//! a folder it is in (`actions/actions -> .` in elementary-xfce 0.21), the walk ends when the kernel
//! refuses to follow more than 40 links in one path. Linux counts links again when it has to begin
//! a look-up anew because something else was renamed meanwhile (`total_link_count` in its
//! `fs/namei.c`), so where that is, and with it which of thousands of folders are in the cache, is a
//! matter of luck. GTK reads the folders that the theme's index names where there is no cache.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_tree::{Node, Tree, TreePath};

/// Whether a walk through the theme of a cache that follows links comes by a folder it is in.
pub(super) fn is_of_endless_theme(tree: &Tree, cache: &TreePath) -> bool {
    let Some(theme) = cache.parent() else {
        return false;
    };
    // Where one gets from each folder.
    let mut ways: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    for (path, entry) in tree.below(&theme) {
        let to = match entry.node {
            Node::Directory => Some(path.clone()),
            Node::Symlink(_) => tree
                .resolve(path)
                .filter(|to| tree.get(to).is_none_or(|entry| entry.is_folder())),
            _ => None,
        };
        let Some((to, from)) = to.zip(path.parent()) else {
            continue;
        };
        if to != theme && theme.is_within(&to) {
            return true;
        }
        ways.entry(from).or_default().push(to);
    }
    // Folders are done once nothing below them leads back; `open` are those the walk is in.
    let mut done: BTreeSet<&TreePath> = BTreeSet::new();
    let mut open: Vec<(&TreePath, usize)> = vec![(&theme, 0)];
    while let Some((folder, next)) = open.last_mut() {
        let Some(to) = ways.get(*folder).and_then(|ways| ways.get(*next)) else {
            done.insert(folder);
            open.pop();
            continue;
        };
        *next += 1;
        if open.iter().any(|(folder, _)| *folder == to) {
            return true;
        }
        if !done.contains(to) {
            open.push((to, 0));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_tree::Entry;

    #[test]
    fn walks_that_never_end_are_known() {
        let path = |text: &str| TreePath::new(text.as_bytes()).expect("a clean path");
        for (links, endless) in [
            (&[][..], false),
            // A picture with two names, a size with two names, folders of another theme.
            (
                &[
                    ("apps/16/b.svg", "a.svg"),
                    ("apps@2x", "apps"),
                    ("apps/24", "/usr/share/icons/theme/apps/16"),
                    ("places", "../other/places"),
                    ("gone", "nowhere"),
                ],
                false,
            ),
            (&[("apps/apps", ".")], true),
            (&[("apps/16/up", "..")], true),
            (&[("apps/16/up", "../../..")], true),
            (&[("round", "round")], false),
            (&[("apps/on", "../places"), ("places", "apps")], true),
            (
                &[
                    ("apps/on", "../devices/16"),
                    ("devices/16/on", "/usr/share/icons/theme/apps"),
                ],
                true,
            ),
        ] {
            let mut tree = Tree::new();
            for folder in ["theme/apps/16", "theme/devices/16", "other/places"] {
                tree.insert(path(&format!("usr/share/icons/{folder}")), Entry::folder());
            }
            for (at, target) in links {
                let at = path(&format!("usr/share/icons/theme/{at}"));
                tree.insert(at, Entry::symlink(target.as_bytes(), 0));
            }
            tree.complete_parents();
            let cache = path("usr/share/icons/theme/icon-theme.cache");
            assert_eq!(is_of_endless_theme(&tree, &cache), endless, "{links:?}");
        }
    }
}
