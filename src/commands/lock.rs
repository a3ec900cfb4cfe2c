//! `kasmforge lock`

use serde_json::json;

use super::{Context, architecture};
use crate::cli::LockArguments;
use crate::locking::{Change, Locking};
use crate::printer::Printer;
use crate::progress::Progress;

/// Brings the lock up to date with the definitions.
pub(crate) fn run(
    wanted: &LockArguments,
    context: &Context,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut names = wanted.workspaces.clone();
    if names.is_empty() {
        names = context.project.workspaces()?;
    }
    bring(&names, &Change::Needed, &wanted.locking, context, printer)
}

/// Brings the lock up to date and says what it holds.
pub(super) fn bring(
    names: &[String],
    change: &Change,
    how: &crate::cli::Locking,
    context: &Context,
    printer: &Printer,
) -> anyhow::Result<()> {
    let mut lock = context.project.lock()?;
    let progress = Progress::new(printer);
    let locking = Locking {
        project: &context.project,
        settings: &context.settings,
        store: &context.store,
        progress: &progress,
        architecture: architecture()?,
        locked: how.locked,
        offline: how.offline,
    };
    let before = lock.clone();
    for name in names {
        let workspace = context.project.load(name)?;
        locking.bring(&mut lock, &workspace, change)?;
    }
    progress.end();
    lock.normalise();
    let written = context.project.write_lock(&lock)?;
    let changes = super::lock::changes(&before, &lock);
    let text = if !written {
        format!(
            "kasmforge.lock is up to date ({} packages)",
            lock.packages.len()
        )
    } else if changes.is_empty() {
        format!(
            "kasmforge.lock is written ({} packages)",
            lock.packages.len()
        )
    } else {
        format!(
            "{}\nkasmforge.lock is written ({} packages)",
            changes.join("\n"),
            lock.packages.len()
        )
    };
    let json = json!({
        "changed": written,
        "packages": lock.packages.len(),
        "changes": changes,
    });
    Ok(printer.result(&text, &json)?)
}

/// What changed between two locks, a line for each package; nothing for a lock that is new.
fn changes(before: &kasmforge_lock::Lock, after: &kasmforge_lock::Lock) -> Vec<String> {
    use std::collections::BTreeMap;
    type Versions<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a str>>;
    fn versions(lock: &kasmforge_lock::Lock) -> Versions<'_> {
        let mut versions = Versions::new();
        for package in &lock.packages {
            let key = (package.name.as_str(), package.architecture.as_str());
            versions.entry(key).or_default().push(&package.version);
        }
        versions
    }
    if before.packages.is_empty() {
        return Vec::new();
    }
    let (old, new) = (versions(before), versions(after));
    let mut names: Vec<_> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| match (old.get(&name), new.get(&name)) {
            (None, Some(added)) => Some(format!("+ {} {}", name.0, added.join(", "))),
            (Some(removed), None) => Some(format!("- {} {}", name.0, removed.join(", "))),
            (Some(was), Some(is)) if was != is => Some(format!(
                "~ {} {} -> {}",
                name.0,
                was.join(", "),
                is.join(", ")
            )),
            _ => None,
        })
        .collect()
}
