//! Icon themes that have themselves in them.
//!
//! A theme may have links that lead back to a folder they are in (`actions/actions -> .` in
//! elementary-xfce 0.21). `gtk-update-icon-cache` follows them until the kernel follows no more: two
//! million look-ups, a minute or two, for a cache nobody can use ([`crate::normalise`] leaves it out).
//! So such links are not there while scripts run. The cache then holds all that the theme's index
//! names, and is made at once.

use kasmforge_tree::{Entry, Node, Tree, TreePath};

use super::path;

/// Where themes are.
const THEMES: &str = "usr/share/icons";

/// The links of a stage's themes that lead back.
#[derive(Debug, Default)]
pub(super) struct Circles {
    links: Vec<(TreePath, Entry)>,
}

impl Circles {
    /// Finds them. `index` reads a theme's `index.theme`: what it says by way of such a link must be
    /// found by way of it, so that one stays.
    pub(super) fn of<E>(
        tree: &Tree,
        mut index: impl FnMut(&TreePath) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut links = Vec::new();
        for (at, entry) in tree.below(&path(THEMES)) {
            if !matches!(entry.node, Node::Symlink(_)) || !leads_back(tree, at) {
                continue;
            }
            let Some((theme, inside)) = split(at) else {
                continue;
            };
            let index = index(&theme.join(b"index.theme"))?.unwrap_or_default();
            let way = [inside, b"/"].concat();
            if !index.windows(way.len()).any(|text| text == way) {
                links.push((at.clone(), entry.clone()));
            }
        }
        Ok(Self { links })
    }

    /// Takes the links away.
    pub(super) fn set_aside(&self, tree: &mut Tree) {
        for (at, _) in &self.links {
            tree.remove(at);
        }
    }

    /// Puts them back, where nothing has taken their place.
    pub(super) fn restore(&self, tree: &mut Tree) {
        for (at, link) in &self.links {
            let stands = at
                .parent()
                .is_some_and(|folder| tree.get(&folder).is_some_and(Entry::is_folder));
            if stands && tree.get(at).is_none() {
                tree.insert(at.clone(), link.clone());
            }
        }
    }
}

fn leads_back(tree: &Tree, link: &TreePath) -> bool {
    tree.resolve(link).is_some_and(|to| link.is_within(&to))
}

/// The theme that a path is in, and the way from there.
fn split(at: &TreePath) -> Option<(TreePath, &[u8])> {
    let inside = at
        .as_bytes()
        .strip_prefix(THEMES.as_bytes())?
        .strip_prefix(b"/")?;
    let slash = inside.iter().position(|byte| *byte == b'/')?;
    let (name, inside) = (&inside[..slash], &inside[slash + 1..]);
    Some((path(THEMES).join(name), inside))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn links_that_lead_back_are_not_there_meanwhile() {
        let mut tree = Tree::new();
        for folder in ["theme/apps/16", "theme/places", "other/apps"] {
            tree.insert(path(&format!("{THEMES}/{folder}")), Entry::folder());
        }
        for (at, target) in [
            ("theme/apps/apps", "."),
            ("theme/apps/16/up", "../.."),
            ("theme/places/named", "."),
            ("theme/apps@2x", "apps"),
            ("theme/gone", "nowhere"),
            ("other/apps/16", "../../theme/apps/16"),
            ("round", "."),
        ] {
            let at = path(&format!("{THEMES}/{at}"));
            tree.insert(at, Entry::symlink(target.as_bytes(), 0));
        }
        tree.complete_parents();
        let index = |at: &TreePath| {
            let text = (at.as_bytes() == b"usr/share/icons/theme/index.theme")
                .then(|| b"Directories=apps/16,places/named/16\n".to_vec());
            Ok::<_, Infallible>(text)
        };
        let Ok(circles) = Circles::of(&tree, index);
        let names: Vec<String> = circles.links.iter().map(|(at, _)| at.to_string()).collect();
        assert_eq!(
            names,
            [
                "usr/share/icons/theme/apps/16/up",
                "usr/share/icons/theme/apps/apps"
            ]
        );
        let before = tree.clone();
        circles.set_aside(&mut tree);
        assert_eq!(tree.iter().count() + 2, before.iter().count());
        circles.restore(&mut tree);
        assert_eq!(tree, before);
        // What a script put in the place of one, or took the folder of another away, stays so.
        circles.set_aside(&mut tree);
        tree.insert(path("usr/share/icons/theme/apps/apps"), Entry::folder());
        tree.remove(&path("usr/share/icons/theme/apps/16"));
        let changed = tree.clone();
        circles.restore(&mut tree);
        assert_eq!(tree, changed);
    }
}
