//! Caches of the stage below that their owner would take for up to date.
//!
//! Where dpkg unpacks, a folder that gained a file has a new time, and a program that is woken by a
//! trigger finds by it what it has to read again. Here all folders have one fixed time, in every
//! stage and in the image, so a cache of the stage below looks valid for ever. Caches that are judged
//! like that are taken away before their owner is woken, who then makes all of them anew.

use kasmforge_tree::{Tree, TreePath};

use super::{Stage, path};
use crate::database::Triggers;
use crate::normalise::matches;

/// The package whose trigger makes a cache, and the cache.
///
/// fontconfig's trigger runs `fc-cache -s` without `-f`, and fontconfig compares the time that a cache
/// tells of its folder with that of the folder (`FcCacheTimeValid` in its `fccache.c`). Nothing else of
/// what the desktops here have judges so: GTK's icon caches are made with `--force`, and the
/// databases of MIME types, desktop entries and GLib's schemas are always written anew.
const JUDGED_BY_TIMES: [(&str, &str); 1] = [("fontconfig", "var/cache/fontconfig/*.cache-*")];

impl Stage<'_> {
    /// Takes away what a woken package would wrongly keep.
    pub(super) fn forget_outdated(&self, tree: &mut Tree) {
        let before = Triggers::of(self.before.iter().copied());
        let own = Triggers::of(self.packages.iter().copied());
        let woken = own.woken(&before, self.packages);
        for (package, pattern) in JUDGED_BY_TIMES {
            if woken.iter().any(|stem| is(stem, package)) {
                forget(tree, pattern);
            }
        }
    }
}

/// Whether a stem (`name`, or `name:architecture`) is that of a package.
fn is(stem: &str, package: &str) -> bool {
    stem.split(':').next() == Some(package)
}

fn forget(tree: &mut Tree, pattern: &str) {
    let (folder, _) = pattern
        .rsplit_once('/')
        .expect("patterns are of files in a folder");
    let found: Vec<TreePath> = tree
        .below(&path(folder))
        .map(|(path, _)| path.clone())
        .filter(|path| matches(pattern, path.as_bytes()))
        .collect();
    for path in found {
        tree.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;
    use kasmforge_tree::{Entry, Node};

    #[test]
    fn caches_go_and_what_stands_beside_them_stays() {
        let mut tree = Tree::new();
        for at in [
            "var/cache/fontconfig/CACHEDIR.TAG",
            "var/cache/fontconfig/0f1e-le64.cache-9",
            "usr/share/fonts/x.ttf",
        ] {
            let node = Node::File {
                digest: Digest::of(b""),
                size: 0,
                link: None,
            };
            tree.insert(path(at), Entry::new(0o644, 0, node));
        }
        tree.complete_parents();
        forget(&mut tree, JUDGED_BY_TIMES[0].1);
        assert!(
            tree.get(&path("var/cache/fontconfig/0f1e-le64.cache-9"))
                .is_none()
        );
        assert!(
            tree.get(&path("var/cache/fontconfig/CACHEDIR.TAG"))
                .is_some()
        );
        assert!(tree.get(&path("usr/share/fonts/x.ttf")).is_some());
        assert!(is("fontconfig", "fontconfig") && is("fontconfig:amd64", "fontconfig"));
        assert!(!is("fontconfig-config", "fontconfig"));
    }
}
