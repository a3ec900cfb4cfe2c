//! A stage as it comes to stand: what scripts made of the packages they may notice, and the bystanders
//! ([`crate::bystanders`]) laid beside that.
//!
//! The scripts' outcome is kept under a key of its own, which bystanders are not part of. So one that
//! comes, goes or changes runs no script, in this stage or in those above. The scripts of the next stage
//! stand on that outcome, and on those bystanders of the stages below that are none there.
//!
//! A build in a trial that asks who wrote what gives dpkg all packages at once, on top of all of the
//! stage below; `kasmforge verify` compares the two.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::Sender;

use kasmforge_digest::StepKey;
use kasmforge_plan::{Noticed, ScriptInputs, scripts_key};
use kasmforge_sandbox::Trial;
use kasmforge_spec::{Debconf, Slim};
use kasmforge_store::Store;
use kasmforge_tree::{Entry, Node, Tree, TreePath};
use tempfile::TempDir;

use super::generate::records;
use super::settled::{self, Scripted};
use super::{Base, ConfigureError, Configured, STATUS, Stage, load, path, status};
use crate::bystanders;
use crate::content::{Pool, Writer};
use crate::database;
use crate::farm::Farm;
use crate::merge;
use crate::unpack::Package;
use crate::{Event, Observer};

/// Files of dpkg that say of paths of packages that somebody else decides about them.
const DECIDED: [&str; 2] = ["var/lib/dpkg/diversions", "var/lib/dpkg/statoverride"];

/// A package of a stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) package: &'a Package,
    /// Which stage: 0 is the root.
    pub(crate) stage: usize,
    /// The key of its unpacking.
    pub(crate) key: StepKey,
    /// What is left out of it.
    pub(crate) slim: &'a Slim,
}

/// A stage that is to be settled, and what it stands on.
pub(crate) struct Settling<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: StepKey,
    /// All of the stage below, and what its scripts left.
    pub(crate) below: Option<(&'a Configured, &'a Scripted)>,
    /// All packages of the stages below.
    pub(crate) before: &'a [Member<'a>],
    /// The stage's own packages, in canonical order.
    pub(crate) packages: &'a [Member<'a>],
    pub(crate) slim: &'a Slim,
    pub(crate) debconf: &'a [Debconf],
    pub(crate) rules: &'a [String],
    pub(crate) architecture: &'a str,
    pub(crate) trial: Trial,
    pub(crate) dispose: &'a Sender<TempDir>,
}

impl Settling<'_> {
    /// Settles the stage. `pool` holds the contents of everything unpacked and below, and gains those made
    /// here. `farm` is that of the stage below, if it was made, and becomes this one's.
    pub(crate) fn settle(
        &self,
        store: &Store,
        pool: &Pool,
        farm: &mut Option<Farm>,
        observer: &dyn Observer,
    ) -> Result<(Configured, Scripted), ConfigureError> {
        let mut touched = self
            .below
            .map(|(_, scripted)| scripted.touched.clone())
            .unwrap_or_default();
        loop {
            let bystanders = self.bystanders(&touched);
            let (key, outcome) = self.scripts(&bystanders, store, pool, farm, observer)?;
            let scripted = Scripted {
                key,
                outcome,
                bystanders,
                touched: touched.clone(),
            };
            match self.lay_beside(&scripted, store, pool)? {
                Beside::All(whole) => return Ok((whole, scripted)),
                Beside::Touched(more) => touched.extend(more),
            }
        }
    }

    /// Whether dpkg is given all packages at once, on top of all of the stage below.
    fn together(&self) -> bool {
        self.trial.attribute
    }

    fn bystanders(&self, touched: &BTreeSet<String>) -> BTreeSet<String> {
        let packages: Vec<&Package> = self
            .before
            .iter()
            .chain(self.packages)
            .map(|member| member.package)
            .collect();
        bystanders::among(&packages, self.architecture, touched)
    }

    /// Finds or makes what the scripts make of all but bystanders.
    fn scripts(
        &self,
        bystanders: &BTreeSet<String>,
        store: &Store,
        pool: &Pool,
        farm: &mut Option<Farm>,
        observer: &dyn Observer,
    ) -> Result<(StepKey, Configured), ConfigureError> {
        let stands_by = |member: &&Member<'_>| bystanders.contains(&member.package.stem);
        // Of those below: bystanders there, and none here.
        let seen: Vec<&Member<'_>> = self
            .before
            .iter()
            .filter(|member| {
                let below = self.below.map(|(_, scripted)| &scripted.bystanders);
                below.is_some_and(|below| below.contains(&member.package.stem))
            })
            .filter(|member| !stands_by(member))
            .collect();
        let mut own: Vec<&Member<'_>> =
            self.packages.iter().filter(|one| !stands_by(one)).collect();
        let times = seen.iter().chain(&own).map(|member| newest(member.package));
        let below = self.below.map_or(0, |(_, scripted)| scripted.outcome.epoch);
        let epoch = times.max().unwrap_or(0).max(below);
        if self.together() {
            own.extend(self.packages.iter().filter(stands_by));
        }
        let key = scripts_key(&ScriptInputs {
            below: self.below.map(|(_, scripted)| scripted.key),
            noticed: seen
                .iter()
                .map(|one| Noticed {
                    stage: one.stage,
                    key: one.key,
                    slim: one.slim,
                })
                .collect(),
            packages: own.iter().map(|member| member.key).collect(),
            slim: self.slim,
            debconf: self.debconf,
            rules: self.rules,
        });
        let folder = store.tree_path(&key);
        if let Some(outcome) = load(&folder)
            && pool.add_folder(&folder, false).is_ok()
        {
            observer.event(Event::Unnoticed { stage: self.name });
            return Ok((key, outcome));
        }
        observer.event(Event::Configuring {
            stage: self.name,
            packages: own.len(),
        });
        let packages: Vec<&Package> = own.iter().map(|member| member.package).collect();
        let before: Vec<&Package> = self.before.iter().map(|member| member.package).collect();
        let keep = |source| ConfigureError::Keep {
            path: folder.clone(),
            source,
        };
        let base = self.base(&seen, pool).map_err(keep)?;
        let stage = Stage {
            name: self.name,
            key,
            below: self.below.is_some().then_some(&base),
            epoch,
            before: &before,
            packages: &packages,
            slim: self.slim,
            debconf: self.debconf,
            architecture: self.architecture,
            trial: self.trial,
            dispose: self.dispose,
        };
        let outcome = stage.configure(store, pool, farm, observer)?;
        Ok((key, outcome))
    }

    /// What the scripts stand on; `seen` are those of the packages below that only this stage's may notice.
    fn base(&self, seen: &[&Member<'_>], pool: &Pool) -> io::Result<Base> {
        let Some((whole, scripted)) = self.below else {
            return Ok(Base::default());
        };
        if self.together() {
            return Ok(Base {
                tree: whole.tree.clone(),
                status: status(&whole.tree, pool)?,
            });
        }
        let mut tree = scripted.outcome.tree.clone();
        let status = status(&tree, pool)?;
        take_over(&mut tree, &whole.tree, seen);
        let packages: Vec<&Package> = seen.iter().map(|one| one.package).collect();
        let status = database::with_installed(&status, &packages);
        Ok(Base { tree, status })
    }

    /// Lays the bystanders beside what the scripts made, and keeps how the stage stands.
    fn lay_beside(
        &self,
        scripted: &Scripted,
        store: &Store,
        pool: &Pool,
    ) -> Result<Beside, ConfigureError> {
        let step = store.temporary_folder()?;
        let at = step.path().to_owned();
        let keep = |source| ConfigureError::Keep {
            path: at.clone(),
            source,
        };
        let outcome = &scripted.outcome;
        let stands_by = |member: &&Member<'_>| {
            !self.together() && scripted.bystanders.contains(&member.package.stem)
        };
        let below: Vec<&Member<'_>> = self.before.iter().filter(stands_by).collect();
        let own: Vec<&Member<'_>> = self.packages.iter().filter(stands_by).collect();
        let all = [below.as_slice(), &own].concat();
        let touched = touched(&outcome.tree, &all, pool).map_err(keep)?;
        if !touched.is_empty() {
            return Ok(Beside::Touched(touched));
        }
        let mut writer = Writer::new(step.path()).map_err(keep)?;
        let mut whole = outcome.clone();
        if let Some((lower, _)) = self.below {
            take_over(&mut whole.tree, &lower.tree, &below);
        }
        if !own.is_empty() {
            let packages: Vec<(&Package, Tree)> = own
                .iter()
                .map(|member| (member.package, merge::slimmed(member.package, member.slim)))
                .collect();
            (whole.tree, _) = merge::merge(&whole.tree, &packages)?;
        }
        for Member { package, slim, .. } in &own {
            let (epoch, tree) = (outcome.epoch, &mut whole.tree);
            records(package, slim, &[], epoch, &mut writer, pool, tree).map_err(keep)?;
        }
        if let Some(shape) = outcome.tree.get(&path(STATUS)).filter(|_| !all.is_empty()) {
            let packages: Vec<&Package> = all.iter().map(|member| member.package).collect();
            let text = status(&outcome.tree, pool).map_err(keep)?;
            let text = database::with_installed(&text, &packages);
            let shape = Entry {
                node: Node::Directory,
                ..shape.clone()
            };
            let entry = writer.keep(text.as_bytes(), shape).map_err(keep)?;
            whole.tree.insert(path(STATUS), entry);
        }
        let added = whole.tree.since(&outcome.tree);
        pool.add_fresh(step.path(), &added);
        settled::write(step.path(), scripted, added).map_err(keep)?;
        // Damaged, unless another build has just made it.
        if settled::scripts_of(store, &self.key).is_none() {
            store.remove_tree(&self.key)?;
        }
        pool.rename(&at, || store.keep_tree(step, &self.key))?;
        Ok(Beside::All(whole))
    }
}

/// What became of laying bystanders beside what scripts made.
enum Beside {
    All(Configured),
    /// Scripts had to do with these after all.
    Touched(BTreeSet<String>),
}

/// The newest time of any file a package ships.
fn newest(package: &Package) -> i64 {
    let files = package.tree.iter().filter(|(_, entry)| !entry.is_folder());
    files.map(|(_, entry)| entry.mtime).max().unwrap_or(0)
}

/// Those packages that scripts had to do with: they made one of their paths, or have dpkg put it
/// elsewhere.
fn touched(tree: &Tree, members: &[&Member<'_>], pool: &Pool) -> io::Result<BTreeSet<String>> {
    let mut decided: BTreeSet<String> = BTreeSet::new();
    if !members.is_empty() {
        for file in DECIDED {
            let text = pool.text(tree, &path(file))?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let words = text.split_whitespace();
            decided.extend(
                words
                    .filter(|word| word.starts_with('/'))
                    .map(str::to_owned),
            );
        }
    }
    let is_there = |at: &TreePath, entry: &Entry| {
        let old = tree.get(at);
        old.is_some_and(|old| !(old.is_folder() && entry.is_folder()))
    };
    let found = members.iter().filter(|member| {
        let package = member.package;
        package.list.iter().any(|path| decided.contains(path))
            || package.tree.iter().any(|(at, entry)| is_there(at, entry))
    });
    Ok(found.map(|member| member.package.stem.clone()).collect())
}

/// Takes packages over from a tree they stand in.
fn take_over(tree: &mut Tree, from: &Tree, members: &[&Member<'_>]) {
    for Member { package, slim, .. } in members {
        for (path, _) in merge::slimmed(package, slim).iter() {
            if let Some(entry) = from.get(path).filter(|_| tree.get(path).is_none()) {
                tree.insert(path.clone(), entry.clone());
            }
        }
    }
    tree.complete_parents();
}
