//! A file system as a value, and its one canonical tar.
//!
//! * [`TreePath`] is a path below a root: relative, clean, any bytes;
//! * [`Tree`] maps paths to [`Entry`]s: modes, owners, times and the digests of contents. Owners
//!   are data, so nobody needs to be root to say that a file belongs to group 42;
//! * [`Tree::since`] and [`Tree::overlay`] are inverses: what changed, as a layer says it, and a
//!   layer laid over what was there;
//! * [`tar`] writes a tree in the one form every layer has.

mod entry;
mod layer;
mod path;
pub mod tar;

pub use entry::{Entry, Node};
pub use path::{InvalidPath, TreePath};

use std::collections::BTreeMap;
use std::ops::Bound;

/// The time every folder of every layer has: 1980-01-01, the oldest a ZIP file can say.
///
/// Folders change whenever something in them does, so their times say nothing and would make
/// layers differ.
pub const FOLDER_TIME: i64 = 315_532_800;

/// A file system: paths in byte order (so a folder comes before what is in it) and what is there.
///
/// The root itself is the empty path and need not be present.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tree {
    #[serde(deserialize_with = "at_once")]
    entries: BTreeMap<TreePath, Entry>,
}

/// Reads entries, which stand in order, and makes the map of them all at once: less work than to look
/// for the place of each.
fn at_once<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<TreePath, Entry>, D::Error> {
    struct Entries;

    impl<'de> serde::de::Visitor<'de> for Entries {
        type Value = BTreeMap<TreePath, Entry>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("entries by path")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut entries: Vec<(TreePath, Entry)> = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries.into_iter().collect())
        }
    }

    deserializer.deserialize_map(Entries)
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What stands at a path.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// What stands at a path, to be changed.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    /// Puts an entry at a path, and returns what stood there. Says nothing of parents.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Option<Entry> {
        self.entries.insert(path, entry)
    }

    /// Takes away the entry of a path, not what is below it.
    pub fn remove(&mut self, path: &TreePath) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Takes away what stands at a path and all that is below it.
    pub fn remove_all(&mut self, path: &TreePath) {
        self.entries.remove(path);
        let below: Vec<_> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.entries.remove(&path);
        }
    }

    /// All entries, in byte order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// All entries to be changed, in byte order of their paths.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&TreePath, &mut Entry)> {
        self.entries.iter_mut()
    }

    /// All entries strictly below a path, in byte order.
    pub fn below<'a>(
        &'a self,
        path: &TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> + use<'a> {
        let prefix = path.with_slash();
        let start = TreePath::from_clean(prefix.clone());
        self.entries
            .range((Bound::Included(start), Bound::Unbounded))
            .skip_while(|(path, _)| path.is_root())
            .take_while(move |(path, _)| path.as_bytes().starts_with(&prefix))
    }

    /// Adds every missing parent folder of every entry: mode 0755, owned by root.
    pub fn complete_parents(&mut self) {
        let mut missing = Vec::new();
        // In the order of paths most follow one of the same folder.
        let mut seen: &[u8] = b"";
        for path in self.entries.keys() {
            let folder = path.folder();
            if folder == seen {
                continue;
            }
            seen = folder;
            let mut folder = folder;
            while !folder.is_empty() && !self.entries.contains_key(folder) {
                missing.push(TreePath::from_clean(folder.to_vec()));
                folder = path::folder(folder);
            }
        }
        for folder in missing {
            self.entries.entry(folder).or_insert_with(Entry::folder);
        }
    }

    /// Makes the first name of each file, in this tree's order, the one its other names are links to.
    ///
    /// A tar is read front to back, and engines refuse a link whose target is yet to come. The order
    /// of paths as bytes is not the order of a walk: `bin-old/x` comes before `bin/x`.
    pub fn order_links(&mut self) {
        let mut links: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Node::File {
                link: Some(target), ..
            } = &entry.node
            {
                links.entry(target.clone()).or_default().push(path.clone());
            }
        }
        for (target, links) in links {
            let Some(entry) = self.entries.get(&target).cloned() else {
                continue;
            };
            let Some(first) = links.first().filter(|first| **first < target) else {
                continue;
            };
            for path in links.iter().chain([&target]) {
                let mut entry = entry.clone();
                if let Node::File { link, .. } = &mut entry.node {
                    *link = (path != first).then(|| first.clone());
                }
                self.entries.insert(path.clone(), entry);
            }
        }
    }

    /// Follows symbolic links below the root the way the kernel would for a process whose root
    /// this is, the last component included. `None` when a link dangles, loops or nothing is there.
    #[must_use]
    pub fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        self.walk(path, true)
    }

    /// As [`Tree::resolve`], but the last component is not followed and need not exist: where
    /// something written to this path would come to stand.
    #[must_use]
    pub fn resolve_parent(&self, path: &TreePath) -> Option<TreePath> {
        let name = path.name()?.to_vec();
        let parent = path.parent()?;
        let parent = if parent.is_root() {
            parent
        } else {
            self.walk(&parent, true)?
        };
        Some(parent.join(&name))
    }

    fn walk(&self, path: &TreePath, follow_last: bool) -> Option<TreePath> {
        /// As many links as Linux follows in one look-up (path_resolution(7)).
        const MOST_LINKS: usize = 40;
        let mut links = 0;
        let mut todo: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut here = TreePath::root();
        while let Some(component) = todo.pop() {
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    here = here.parent().unwrap_or_else(TreePath::root);
                    continue;
                }
                name => here = here.join(name),
            }
            match &self.get(&here)?.node {
                Node::Symlink(target) if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    here = if target.starts_with(b"/") {
                        TreePath::root()
                    } else {
                        here.parent().unwrap_or_else(TreePath::root)
                    };
                    todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => {}
            }
        }
        Some(here)
    }
}

impl FromIterator<(TreePath, Entry)> for Tree {
    fn from_iter<I: IntoIterator<Item = (TreePath, Entry)>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).expect("a clean path")
    }

    fn file() -> Entry {
        Entry::file(0o644, 1, Digest::of(b""), 0)
    }

    #[test]
    fn below_is_what_is_below_and_nothing_beside() {
        let tree: Tree = ["a", "a-b", "a/b", "a/b/c", "ab"]
            .iter()
            .map(|p| (path(p), file()))
            .collect();
        let below: Vec<_> = tree.below(&path("a")).map(|(p, _)| p.to_string()).collect();
        assert_eq!(below, ["a/b", "a/b/c"]);
        assert_eq!(tree.below(&TreePath::root()).count(), 5);
    }

    #[test]
    fn links_are_followed_below_the_root_only() {
        let mut tree = Tree::new();
        for (at, target) in [
            ("lib", "usr/lib"),
            ("usr/lib/up", "../../../../usr/lib/file"),
            ("abs", "/lib/file"),
            ("loop", "loop"),
            ("dangling", "nowhere"),
        ] {
            tree.insert(path(at), Entry::symlink(target.as_bytes(), 0));
        }
        tree.insert(path("usr/lib/file"), file());
        tree.complete_parents();
        for found in ["lib/file", "abs", "lib/up", "usr/lib/file"] {
            assert_eq!(
                tree.resolve(&path(found)),
                Some(path("usr/lib/file")),
                "{found}"
            );
        }
        assert_eq!(tree.resolve(&path("loop")), None);
        assert_eq!(tree.resolve(&path("dangling")), None);
        assert_eq!(
            tree.resolve_parent(&path("lib/new")),
            Some(path("usr/lib/new"))
        );
    }

    #[test]
    fn a_link_comes_after_what_it_links_to() {
        let mut linked = file();
        if let Node::File { link, .. } = &mut linked.node {
            *link = Some(path("bin/x"));
        }
        let names = ["bin-old/x", "bin/x", "bin/y"];
        let mut tree: Tree = names
            .map(|name| (path(name), linked.clone()))
            .into_iter()
            .collect();
        tree.insert(path("bin/x"), file());
        tree.order_links();
        let link = |name| match &tree.get(&path(name)).expect("there").node {
            Node::File { link, .. } => link.clone(),
            _ => None,
        };
        assert_eq!(
            names.map(link),
            [None, Some(path("bin-old/x")), Some(path("bin-old/x"))]
        );
    }

    #[test]
    fn parents_are_completed() {
        let mut tree: Tree = [(path("a/b/c"), file())].into_iter().collect();
        tree.complete_parents();
        assert_eq!(tree.len(), 3);
        assert_eq!(tree.get(&path("a/b")), Some(&Entry::folder()));
    }
}
