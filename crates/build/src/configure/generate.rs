//! What kasmforge writes into a stage before its scripts run: dpkg's database of packages that are
//! unpacked and not configured, and the settings scripts and dpkg are to find.

use std::io;

use kasmforge_spec::Slim;
use kasmforge_tree::{Entry, Node, Tree, TreePath};

use super::bytecode::Bytecode;
use super::{Lost, POLICY_RC_D, STATUS, Stage, path};
use crate::content::{Pool, Writer};
use crate::database::{self, Triggers};
use crate::slim;
use crate::unpack::Package;

impl Stage<'_> {
    /// dpkg's database, and what else stands in the tree only because kasmforge writes it.
    pub(super) fn generate(
        &self,
        lost: &Lost,
        bytecode: &Bytecode,
        writer: &mut Writer<'_>,
        pool: &Pool,
    ) -> io::Result<Tree> {
        let mut tree = Tree::new();
        let epoch = self.epoch;
        let mut put = |at: &str, mode: u32, text: &str| {
            let shape = Entry::new(mode, epoch, Node::Directory);
            writer
                .keep(text.as_bytes(), shape)
                .map(|entry| tree.insert(path(at), entry))
        };
        let old = self.below.map_or("", |below| below.status.as_str());
        put(STATUS, 0o644, &database::status(old, self.packages))?;
        let before_triggers = Triggers::of(self.before.iter().copied());
        let own_triggers = Triggers::of(self.packages.iter().copied());
        let all = Triggers::of(self.before.iter().chain(self.packages).copied());
        put("var/lib/dpkg/triggers/File", 0o644, &all.file_text())?;
        for (name, interested) in &all.named {
            let lines: String = interested.iter().map(|who| format!("{who}\n")).collect();
            put(&format!("var/lib/dpkg/triggers/{name}"), 0o644, &lines)?;
        }
        let pending = own_triggers.unincorporated(&before_triggers, self.packages);
        put("var/lib/dpkg/triggers/Unincorp", 0o644, &pending)?;
        put("var/lib/dpkg/info/format", 0o644, "1\n")?;
        if self.below.is_none() {
            for name in ["available", "diversions", "statoverride"] {
                put(&format!("var/lib/dpkg/{name}"), 0o644, "")?;
            }
        }
        let foreign: std::collections::BTreeSet<&str> = self
            .before
            .iter()
            .chain(self.packages)
            .map(|package| package.architecture.as_str())
            .filter(|one| *one != "all" && *one != self.architecture)
            .collect();
        if !foreign.is_empty() {
            let lines: String = std::iter::once(self.architecture)
                .chain(foreign)
                .map(|one| format!("{one}\n"))
                .collect();
            put("var/lib/dpkg/arch", 0o644, &lines)?;
        }
        if let Some(rules) = slim::dpkg_configuration(self.slim) {
            put(slim::DPKG_CONFIGURATION, 0o644, &rules)?;
        }
        put(POLICY_RC_D, 0o755, "#!/bin/sh\nexit 101\n")?;
        for (at, text, shape) in bytecode.substitutes() {
            let entry = writer.keep(text.as_bytes(), shape)?;
            tree.insert(at, entry);
        }
        for package in self.packages {
            let lost = lost.get(&package.stem).map_or(&[][..], Vec::as_slice);
            records(package, self.slim, lost, epoch, writer, pool, &mut tree)?;
        }
        Ok(tree)
    }
}

/// dpkg's list and sums of a package, without what [slim] leaves out of it and what it lost to
/// a package that replaces it.
pub(super) fn records(
    package: &Package,
    slim: &Slim,
    lost: &[TreePath],
    epoch: i64,
    writer: &mut Writer<'_>,
    pool: &Pool,
    tree: &mut Tree,
) -> io::Result<()> {
    let keeps = |shown: &str| {
        TreePath::new(shown.as_bytes())
            .map(|path| crate::unpack::through_aliases(&path))
            .is_ok_and(|path| path.is_root() || (slim::keeps(slim, &path) && !lost.contains(&path)))
    };
    if package.list.iter().all(|shown| keeps(shown)) {
        return Ok(());
    }
    let mut put = |name: &str, text: String| -> io::Result<()> {
        let at = path(&format!("var/lib/dpkg/info/{}.{name}", package.stem));
        let entry = writer.keep(text.as_bytes(), Entry::new(0o644, epoch, Node::Directory))?;
        tree.insert(at, entry);
        Ok(())
    };
    let list = package.list.iter().filter(|shown| keeps(shown));
    put("list", list.map(|shown| format!("{shown}\n")).collect())?;
    let sums = path(&format!("var/lib/dpkg/info/{}.md5sums", package.stem));
    if let Some(bytes) = pool.text(&package.tree, &sums)? {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.lines().filter(|line| {
            line.split_once(char::is_whitespace)
                .is_none_or(|(_, at)| keeps(at.trim_start()))
        });
        put("md5sums", lines.map(|line| format!("{line}\n")).collect())?;
    }
    Ok(())
}
