//! Byte-compiling beside the scripts.
//!
//! Packages of Python modules compile them when they are configured, each with an interpreter of its
//! own and while nothing else happens: half of a desktop's configuring was that. Nobody waits for the
//! outcome, though; without it modules only load more slowly. So another module stands in for
//! Python's `py_compile` while scripts run. It notes what is asked for, and a process beside the
//! scripts compiles that with the true one, in the order in which it was asked for and by the same
//! commands. The outcome is the same to the byte: a build in a trial that asks who wrote what compiles
//! at once, and `kasmforge verify` compares the two.
//!
//! For that, no interpreter may write what it happened to load (`PYTHONDONTWRITEBYTECODE`): it would
//! be a matter of time whose outcome stays.

use kasmforge_tree::{Entry, Node, Tree, TreePath};

use super::path;
use crate::normalise::matches;

/// Python's own module for byte-compiling, one for each version.
const MODULE: &str = "usr/lib/python3*/py_compile.py";

/// Where the true modules lie meanwhile.
const KEPT: &str = "usr/lib/kasmforge-bytecode";

/// Where notes go: in memory, and nothing in it is kept.
const FOLDER: &str = "/run/kasmforge-bytecode";

/// The modules of a stage that something stands in for.
#[derive(Debug, Default)]
pub(crate) struct Bytecode {
    stood_in: Vec<(TreePath, Entry)>,
    /// Whether what is compiled stays in the image.
    wanted: bool,
}

impl Bytecode {
    /// Finds the modules in a stage's tree. With `at_once`, they are left alone; what is not `wanted`
    /// is not compiled.
    pub(super) fn of(tree: &Tree, at_once: bool, wanted: bool) -> Self {
        let modules = tree.iter().filter(|(path, entry)| {
            matches!(entry.node, Node::File { link: None, .. }) && matches(MODULE, path.as_bytes())
        });
        let stood_in = modules.map(|(path, entry)| (path.clone(), entry.clone()));
        Self {
            stood_in: if at_once {
                Vec::new()
            } else {
                stood_in.collect()
            },
            wanted,
        }
    }

    /// What stands in for each of them: its path, the text, and how it is to look.
    pub(super) fn substitutes(&self) -> Vec<(TreePath, String, Entry)> {
        let text = include_str!("py_compile.py")
            .replace("@FOLDER@", FOLDER)
            .replace("@WANTED@", if self.wanted { "True" } else { "False" });
        let of = |at: &TreePath, original: &Entry| {
            let text = text
                .replace("@ITSELF@", &format!("/{at}"))
                .replace("@ORIGINAL@", &format!("/{}", kept(at)));
            let shape = Entry::new(original.mode, original.mtime, Node::Directory);
            (at.clone(), text, shape)
        };
        let all = self.stood_in.iter();
        all.map(|(at, original)| of(at, original)).collect()
    }

    /// Lays the true modules aside.
    pub(super) fn set_aside(&self, tree: &mut Tree) {
        for (at, original) in &self.stood_in {
            tree.insert(kept(at), original.clone());
        }
        tree.complete_parents();
    }

    /// Puts the true modules back, whatever became of them.
    pub(super) fn restore(&self, tree: &mut Tree) {
        if self.stood_in.is_empty() {
            return;
        }
        let folder = path(KEPT);
        let aside: Vec<TreePath> = tree.below(&folder).map(|(path, _)| path.clone()).collect();
        for at in aside.iter().chain([&folder]) {
            tree.remove(at);
        }
        for (at, original) in &self.stood_in {
            tree.insert(at.clone(), original.clone());
        }
    }

    /// What the driver runs before any script, and the function that ends it, if there is anything to
    /// compile with.
    pub(crate) fn driver(&self) -> Option<(String, &'static str)> {
        if self.stood_in.is_empty() {
            return None;
        }
        let names = self.stood_in.iter().map(|(at, _)| version(at));
        let interpreters: Vec<String> = names.map(|name| format!("/usr/bin/{name}")).collect();
        let text = include_str!("compiler.sh")
            .replace("@FOLDER@", FOLDER)
            .replace("@KEPT@", &format!("/{KEPT}"))
            .replace("@INTERPRETERS@", &interpreters.join(" "));
        Some((text, "kasmforge_compiled\n"))
    }
}

/// `python3.13` of `usr/lib/python3.13/py_compile.py`.
fn version(module: &TreePath) -> String {
    let name = module.components().nth(2).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn kept(module: &TreePath) -> TreePath {
    path(&format!("{KEPT}/{}/py_compile.py", version(module)))
}
