//! Bystanders: packages that no script can notice, so that none runs again because of them.
//!
//! A package that has no scripts may still matter to those of others: they run its programs, read its
//! files, are woken by its triggers. One is a bystander if that cannot be:
//!
//! - it runs nothing when it is installed (no `preinst`, `postinst`, `config`), and is none of those that
//!   others need without saying so (`Essential`, or of the priorities `required` and `important`);
//! - nobody's trigger is about it, and it is interested in none;
//! - it ships programs, translations, documentation, and folders and settings of its own name, nothing
//!   that lies where others gather what packages put there (libraries, modules, icons, units, fragments of
//!   settings);
//! - no other package ships one of its paths;
//! - no package that is not a bystander itself needs it (`Depends`, `Pre-Depends`), and none that has scripts
//!   recommends or suggests it.
//!
//! Then the scripts can run without it, and it is laid beside what they made, as if it had been installed
//! after everything else. What is a bystander is a function of the packages alone, never of what a
//! store happens to hold. `kasmforge verify` gives dpkg all packages at once and compares.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_tree::{Entry, TreePath};

use crate::database::{self, Triggers};
use crate::related::Related;
use crate::unpack::Package;

/// Scripts that run when a package is installed.
const AT_INSTALLATION: [&str; 3] = ["config", "preinst", "postinst"];

/// Folders that hold what only their user looks for by name, and what only readers look at. What wakes
/// somebody there is told by triggers.
const QUIET: [&str; 19] = [
    "usr/bin/",
    "usr/games/",
    "usr/libexec/",
    "usr/sbin/",
    "usr/share/appdata/",
    "usr/share/applications/",
    "usr/share/bash-completion/",
    "usr/share/bug/",
    "usr/share/doc/",
    "usr/share/doc-base/",
    "usr/share/fish/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/metainfo/",
    "usr/share/pixmaps/",
    "usr/share/zsh/",
    "var/lib/dpkg/info/",
];

/// The bystanders among all packages of a stage and those below it, by their stems.
///
/// `touched` are packages that scripts turned out to have to do with, or did in a stage below.
pub(crate) fn among(
    packages: &[&Package],
    architecture: &str,
    touched: &BTreeSet<String>,
) -> BTreeSet<String> {
    let all = Triggers::of(packages.iter().copied());
    let mut candidate: Vec<bool> = packages
        .iter()
        .map(|package| {
            !touched.contains(&package.stem)
                && is_quiet(package, architecture)
                && Triggers::of([*package])
                    .pending(&all, &[*package])
                    .is_empty()
        })
        .collect();
    for at in shared(packages, &candidate) {
        candidate[at] = false;
    }
    let related: Vec<Related<'_>> = packages.iter().map(|one| Related::of(one)).collect();
    keep_unneeded(&related, &mut candidate);
    let stems = packages.iter().zip(candidate);
    stems
        .filter(|(_, stands_by)| *stands_by)
        .map(|(package, _)| package.stem.clone())
        .collect()
}

/// Whether a package, taken alone, does nothing and lies where nobody looks.
fn is_quiet(package: &Package, architecture: &str) -> bool {
    let runs = AT_INSTALLATION
        .iter()
        .any(|script| package.scripts.contains(*script));
    let native = ["all", architecture].contains(&package.architecture.as_str());
    let interested = package
        .triggers
        .lines()
        .any(|line| line.trim_start().starts_with("interest"));
    native
        && !runs
        && !interested
        && package
            .tree
            .iter()
            .all(|(path, entry)| entry.is_folder() || is_own(package, path))
        && database::installed_stanza(package).is_some()
}

fn is_own(package: &Package, path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    let named = |root: &str, ends: &[&[u8]]| {
        let rest = bytes.strip_prefix(root.as_bytes());
        let rest = rest.and_then(|rest| rest.strip_prefix(package.name.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"/") || ends.contains(&rest))
    };
    QUIET
        .iter()
        .any(|folder| bytes.starts_with(folder.as_bytes()))
        || ["usr/lib/", "usr/share/"]
            .iter()
            .any(|root| named(root, &[]))
        || named("etc/", &[b"rc", b".conf"])
}

/// Candidates one of whose paths another package ships as well, unless both mean a folder.
fn shared(packages: &[&Package], candidate: &[bool]) -> BTreeSet<usize> {
    let mut shipped: BTreeMap<&TreePath, Vec<(usize, &Entry)>> = BTreeMap::new();
    for (at, package) in packages.iter().enumerate().filter(|(at, _)| candidate[*at]) {
        for (path, entry) in package.tree.iter() {
            shipped.entry(path).or_default().push((at, entry));
        }
    }
    let mut found = BTreeSet::new();
    for (at, package) in packages.iter().enumerate() {
        for (path, entry) in package.tree.iter() {
            for (other, theirs) in shipped.get(path).into_iter().flatten() {
                if *other != at && !(entry.is_folder() && theirs.is_folder()) {
                    found.insert(*other);
                }
            }
        }
    }
    found
}

/// Strikes out candidates that others need.
fn keep_unneeded(related: &[Related<'_>], candidate: &mut [bool]) {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, one) in related.iter().enumerate() {
        candidate[at] &= !one.essential && !one.ordinary;
        let names = one.provides.iter().map(String::as_str);
        for name in names.chain([one.package.name.as_str()]) {
            by_name.entry(name).or_default().push(at);
        }
    }
    let mut todo: Vec<usize> = (0..related.len()).filter(|&at| !candidate[at]).collect();
    while let Some(at) = todo.pop() {
        let one = &related[at];
        let likes = match one.package.scripts.is_empty() {
            true => &[][..],
            false => &one.likes,
        };
        let names = one.depends.iter().chain(&one.pre_depends).chain(likes);
        for needed in names
            .filter_map(|name| by_name.get(name.as_str()))
            .flatten()
        {
            if std::mem::take(&mut candidate[*needed]) {
                todo.push(*needed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kasmforge_digest::Digest;
    use kasmforge_tree::Tree;

    fn package(name: &str, fields: &str, files: &[&str]) -> Package {
        let mut tree: Tree = files
            .iter()
            .map(|file| {
                let path = TreePath::new(file.as_bytes()).expect("a path");
                (path, Entry::file(0o644, 0, Digest::of(b""), 0))
            })
            .collect();
        tree.complete_parents();
        Package {
            name: name.into(),
            stem: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            control: format!("Package: {name}\nVersion: 1\nArchitecture: all\n{fields}"),
            scripts: BTreeSet::new(),
            triggers: String::new(),
            conffiles: Vec::new(),
            list: files.iter().map(|file| format!("/{file}")).collect(),
            tree,
        }
    }

    fn found(packages: &[Package]) -> Vec<String> {
        let all: Vec<&Package> = packages.iter().collect();
        among(&all, "amd64", &BTreeSet::new()).into_iter().collect()
    }

    #[test]
    fn programs_that_nobody_needs_stand_by() {
        let tool = || {
            package(
                "tool",
                "Depends: lib\n",
                &["usr/bin/tool", "usr/share/tool/x"],
            )
        };
        assert_eq!(found(&[tool()]), ["tool"]);
        let loud = |name: &str, file: &str| package(name, "", &[file]);
        let scripted = |fields: &str| {
            let mut one = package("scripted", fields, &["usr/bin/scripted"]);
            one.scripts.insert("postinst".into());
            one
        };
        // Whatever lies where others gather it.
        for file in [
            "etc/ld.so.conf.d/x.conf",
            "etc/xrc.d",
            "usr/lib/libx.so.1",
            "usr/lib/x86_64-linux-gnu/x/module",
            "usr/share/icons/x.png",
            "usr/share/x-of-others/y",
            "usr/lib/python3/dist-packages/x.py",
        ] {
            assert!(found(&[loud("x", file)]).is_empty(), "{file}");
        }
        // Whatever somebody needs, at any distance, or with scripts only likes.
        let library = package("lib", "Provides: virtual-lib\n", &["usr/share/lib/x"]);
        let middle = package(
            "middle",
            "Pre-Depends: other | virtual-lib (>= 1)\n",
            &["usr/bin/m"],
        );
        assert_eq!(found(&[tool(), library.clone(), middle.clone()]).len(), 3);
        let needing = scripted("Depends: middle\n");
        assert_eq!(found(&[tool(), library, middle, needing]), ["tool"]);
        assert!(found(&[tool(), scripted("Suggests: tool\n")]).is_empty());
        let likes = package("likes", "Recommends: tool\n", &["etc/cron.d/likes"]);
        assert_eq!(found(&[tool(), likes]), ["tool"]);
        // Whatever wakes somebody.
        let mut watches = scripted("");
        watches.triggers = "interest-noawait /usr/share/tool\n".into();
        assert!(found(&[tool(), watches]).is_empty());
        let mut wakes = tool();
        wakes.triggers = "activate-noawait reload\n".into();
        assert_eq!(found(&[wakes.clone()]), ["tool"]);
        let mut woken = scripted("");
        woken.triggers = "interest reload\n".into();
        assert!(found(&[wakes, woken]).is_empty());
        // Whatever two ship.
        let other = package("other", "Replaces: tool\n", &["usr/bin/tool"]);
        assert!(found(&[tool(), other]).is_empty());
        // Whatever runs, is essential, or is of another architecture.
        assert!(found(&[scripted("")]).is_empty());
        assert!(found(&[package("e", "Essential: yes\n", &["usr/bin/e"])]).is_empty());
        assert!(found(&[package("r", "Priority: required\n", &["usr/bin/r"])]).is_empty());
        assert_eq!(
            found(&[package("o", "Priority: optional\n", &["usr/bin/o"])]),
            ["o"]
        );
        let mut foreign = tool();
        foreign.architecture = "i386".into();
        assert!(found(&[foreign]).is_empty());
        // Whatever scripts had to do with once.
        let touched = BTreeSet::from(["tool".to_owned()]);
        assert!(among(&[&tool()], "amd64", &touched).is_empty());
    }
}
