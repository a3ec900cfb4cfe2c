//! Layers: what changed, and what a change makes of what was there.
//!
//! A layer is a tree that may hold whiteouts, as the OCI image specification's "Representing
//! Changes" describes them. The law both functions here keep, for trees whose parents are all
//! present: `lower.overlay(upper.since(lower)) == upper`.

use crate::{Entry, Node, Tree, TreePath};

impl Tree {
    /// The smallest layer that makes this tree out of `lower`.
    ///
    /// It names the parent folders of everything in it, with the metadata they have in this tree:
    /// engines give a folder a layer implies made-up metadata. A folder that became something else
    /// needs no whiteouts for what was in it.
    #[must_use]
    pub fn since(&self, lower: &Self) -> Self {
        let mut layer = Self::new();
        // Both in the order of paths, side by side: most are the same.
        let mut old = lower.iter().peekable();
        let mut gone = Vec::new();
        for (path, entry) in self.iter() {
            while let Some((removed, _)) = old.next_if(|(other, _)| *other < path) {
                gone.push(removed);
            }
            let before = old.next_if(|(other, _)| *other == path);
            if before.is_none_or(|(_, before)| !same(before, entry)) {
                layer.insert(path.clone(), entry.clone());
            }
        }
        gone.extend(old.map(|(path, _)| path));
        for path in gone {
            // What was below a folder that is gone, or is no folder any more, goes with it.
            let implied = path
                .parent()
                .is_some_and(|parent| !parent.is_root() && !self.is_folder_at(&parent));
            if !implied {
                layer.insert(path.clone(), Entry::new(0, 0, Node::Whiteout));
            }
        }
        self.add_parents_to(&mut layer);
        // A hard link to something outside the layer repeats the content instead.
        let dangling: Vec<_> = layer
            .iter()
            .filter(|(_, entry)| match &entry.node {
                Node::File {
                    link: Some(target), ..
                } => layer.get(target).is_none(),
                _ => false,
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in dangling {
            if let Some(Node::File { link, .. }) = layer.get_mut(&path).map(|entry| &mut entry.node)
            {
                *link = None;
            }
        }
        layer
    }

    /// Lays a layer over this tree.
    pub fn overlay(&mut self, layer: &Self) {
        for (path, entry) in layer.iter() {
            if matches!(entry.node, Node::Whiteout) {
                self.remove_all(path);
                continue;
            }
            if !entry.is_folder() && self.is_folder_at(path) {
                self.remove_all(path);
            }
            self.insert(path.clone(), entry.clone());
        }
    }

    fn is_folder_at(&self, path: &TreePath) -> bool {
        self.get(path).is_some_and(Entry::is_folder)
    }

    fn add_parents_to(&self, layer: &mut Self) {
        let mut parents = Vec::new();
        for (path, _) in layer.iter() {
            let mut next = path.parent();
            while let Some(parent) = next {
                if parent.is_root() || layer.get(&parent).is_some() {
                    break;
                }
                next = parent.parent();
                parents.push(parent);
            }
        }
        for parent in parents {
            if let Some(entry) = self.get(&parent) {
                layer.insert(parent, entry.clone());
            }
        }
    }
}

/// Whether two entries stand for the same thing in an image. Which of several names of a file
/// counts as the first does not matter.
fn same(left: &Entry, right: &Entry) -> bool {
    match (&left.node, &right.node) {
        (
            Node::File {
                digest: a, link: x, ..
            },
            Node::File {
                digest: b, link: y, ..
            },
        ) => {
            a == b
                && x.is_some() == y.is_some()
                && (left.mode, left.uid, left.gid, left.mtime, &left.xattrs)
                    == (right.mode, right.uid, right.gid, right.mtime, &right.xattrs)
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;
    use proptest::prelude::*;

    /// Small trees over few names, so that folders, files and absences collide often.
    fn trees() -> impl Strategy<Value = Tree> {
        let path = prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"));
        prop::collection::btree_map(path, 0_u8..4, 0..12).prop_map(|wanted| {
            let mut tree = Tree::new();
            for (path, kind) in wanted {
                let path = TreePath::new(path.as_bytes()).expect("clean");
                let blocked = std::iter::successors(path.parent(), TreePath::parent)
                    .any(|parent| tree.get(&parent).is_some_and(|entry| !entry.is_folder()));
                if blocked {
                    continue;
                }
                let entry = match kind {
                    0 => Entry::folder(),
                    1 => Entry::symlink(b"x", 0),
                    kind => Entry::file(0o644, 7, Digest::of(&[kind]), 1),
                };
                tree.insert(path, entry);
                tree.complete_parents();
            }
            tree
        })
    }

    proptest! {
        #[test]
        fn overlaying_what_changed_gives_what_is(lower in trees(), upper in trees()) {
            let mut result = lower.clone();
            result.overlay(&upper.since(&lower));
            prop_assert_eq!(result, upper);
        }

        #[test]
        fn nothing_changed_is_nothing(tree in trees()) {
            prop_assert!(tree.since(&tree).is_empty());
        }

        #[test]
        fn parents_are_named(lower in trees(), upper in trees()) {
            let layer = upper.since(&lower);
            for (path, _) in layer.iter() {
                let parent = path.parent().expect("no layer names the root");
                prop_assert!(parent.is_root() || layer.get(&parent).is_some());
            }
        }
    }
}
