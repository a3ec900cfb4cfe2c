//! The lock brought up to date with the definitions, workspace by workspace.

use std::cell::RefCell;
use std::collections::BTreeMap;

use kasmforge_lock::{ChangeKind, Lock, changes};
use kasmforge_spec::Workspace;
use serde_json::json;

use crate::cli::Locking as How;
use crate::commands::{Context, architecture, diff};
use crate::locking::{Change, Locking, Moved, Outdated, Unavailable, Universes};
use crate::printer::Printer;
use crate::progress::Progress;

/// What a lock is brought up to date with.
pub(in crate::commands) struct Bringing<'a> {
    /// The lock, as far as it may stay.
    pub(in crate::commands) lock: Lock,
    pub(in crate::commands) names: &'a [String],
    /// Whether these are all there are, so that nobody named them.
    pub(in crate::commands) all: bool,
    /// The architectures wanted; empty: the host's, and those that the lock has.
    pub(in crate::commands) architectures: &'a [String],
    pub(in crate::commands) change: Change,
    pub(in crate::commands) how: &'a How,
    pub(in crate::commands) context: &'a Context,
    pub(in crate::commands) printer: &'a Printer,
}

/// A workspace that could not be locked, because something it needs cannot be had from here.
struct Failed {
    workspace: String,
    architecture: String,
    error: anyhow::Error,
}

/// Brings the lock up to date and says what it holds.
///
/// What one workspace needs may be out of reach: a vendor's package, an archive for those who know a
/// login. The others are locked all the same. One that was never locked is written down as left out,
/// and from then on it is no failure but a warning, until it can be locked.
pub(in crate::commands) fn bring(wanted: Bringing<'_>) -> anyhow::Result<()> {
    let before = wanted.context.project.lock()?;
    let Bringing {
        names,
        context,
        printer,
        how,
        ..
    } = wanted;
    let workspaces = names
        .iter()
        .map(|name| context.project.load(name))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut lock = wanted.lock.clone();
    let (moved, mut failures) = each(&wanted, &workspaces, &mut lock)?;
    let tried: usize = workspaces
        .iter()
        .map(|workspace| architectures(&wanted, &before, workspace).len())
        .sum();
    let known = |failed: &Failed| wanted.all && before.left_out.contains(&failed.workspace);
    if failures.len() == tried && !failures.iter().all(known) {
        // Nothing is left that could be written.
        return Err(failures.swap_remove(0).error);
    }
    for failed in &failures {
        if !lock
            .workspaces
            .iter()
            .any(|one| one.name == failed.workspace)
        {
            lock.left_out.insert(failed.workspace.clone());
        }
    }
    lock.normalise();
    // Newer indexes that change no package would only change the image's time.
    let mut otherwise = lock.clone();
    otherwise.archives.clone_from(&before.archives);
    if otherwise == before {
        lock = before.clone();
    }
    if how.locked && lock.render() != before.render() {
        anyhow::bail!(
            "kasmforge.lock would change, and --locked forbids it: it has workspaces or \
             downloads that no definition names any more; run `kasmforge lock` and commit it"
        );
    }
    let written = context.project.write_lock(&lock)?;
    let changes = changes(&before, &lock);
    let count = lock.packages.len();
    let end = if written {
        format!("kasmforge.lock is written ({count} packages)")
    } else {
        format!("kasmforge.lock is up to date ({count} packages)")
    };
    // Of a lock that is new, everything is.
    let text = if before.packages.is_empty() || changes.is_empty() {
        end
    } else {
        let why = |change: &kasmforge_lock::Change<'_>| {
            let why = because(&moved, change, &wanted.change)?;
            Some(format!("because {why}"))
        };
        format!("{}\n{end}", diff::text_with(&changes, why))
    };
    let json = json!({
        "changed": written,
        "packages": count,
        "changes": changes
            .iter()
            .map(|change| {
                let mut json = diff::json(change);
                json["because"] = because(&moved, change, &Change::Needed).into();
                json
            })
            .collect::<Vec<_>>(),
        "security": changes.iter().filter(|change| change.is_security()).count(),
        "upgraded": diff::count(&changes, ChangeKind::Upgraded),
        "not_locked": failures
            .iter()
            .map(|failed| json!({
                "workspace": failed.workspace,
                "architecture": failed.architecture,
                "because": in_full(&failed.error),
            }))
            .collect::<Vec<_>>(),
    });
    printer.result(&text, &json)?;
    let (old, new): (Vec<Failed>, Vec<Failed>) = failures.into_iter().partition(known);
    for words in told(&old) {
        printer.warn(&words);
    }
    if new.is_empty() {
        return Ok(());
    }
    let kept = new
        .iter()
        .filter(|failed| !lock.left_out.contains(&failed.workspace));
    let then = match (kept.count(), new.len()) {
        (0, _) => "they are left out of kasmforge.lock",
        (some, all) if some == all => "kasmforge.lock has them as they were",
        _ => "kasmforge.lock has them as they were, or leaves them out",
    };
    anyhow::bail!(
        "{}\n  {then}; run `kasmforge lock` again where that can be fetched. All others are locked",
        told(&new).join("\n")
    )
}

/// Brings every workspace up to date for every architecture wanted; those for which something cannot
/// be had stay as they were, and are given with the reason.
fn each(
    wanted: &Bringing<'_>,
    workspaces: &[Workspace],
    lock: &mut Lock,
) -> anyhow::Result<(Moved, Vec<Failed>)> {
    let Bringing { context, how, .. } = wanted;
    let progress = Progress::new(wanted.printer);
    let before = lock.clone();
    let mut all: Vec<String> = workspaces
        .iter()
        .flat_map(|workspace| architectures(wanted, &before, workspace))
        .collect();
    all.sort();
    all.dedup();
    let mut moved = Moved::new();
    let mut failures = Vec::new();
    for architecture in &all {
        let locking = Locking {
            project: &context.project,
            settings: &context.settings,
            store: &context.store,
            progress: &progress,
            architecture,
            locked: how.locked,
            offline: how.offline,
            older: how.allow_older,
            listed: RefCell::default(),
            universes: Universes::default(),
        };
        for workspace in workspaces {
            if !architectures(wanted, &before, workspace).contains(architecture) {
                continue;
            }
            let left_out = wanted.all && before.left_out.contains(&workspace.name);
            let earlier = lock.clone();
            match locking.bring(lock, workspace, &wanted.change) {
                Ok(more) => moved.extend(more),
                // Nobody asked for it by name, and the lock says that it has it not.
                Err(error) if left_out && error.is::<Outdated>() => *lock = earlier,
                Err(error) if error.chain().any(|cause| cause.is::<Unavailable>()) => {
                    *lock = earlier;
                    failures.push(Failed {
                        workspace: workspace.name.clone(),
                        architecture: architecture.clone(),
                        error,
                    });
                }
                Err(error) if all.len() > 1 => {
                    return Err(error.context(format!("for {architecture}")));
                }
                Err(error) => return Err(error),
            }
        }
    }
    progress.end();
    Ok((moved, failures))
}

/// The architectures a workspace is locked for.
fn architectures(wanted: &Bringing<'_>, lock: &Lock, workspace: &Workspace) -> Vec<String> {
    if !wanted.architectures.is_empty() {
        return wanted.architectures.to_vec();
    }
    let known = lock
        .workspaces
        .iter()
        .filter(|one| one.name == workspace.name);
    let mut all: Vec<String> = known.map(|one| one.architecture.clone()).collect();
    // A host that images cannot be built on may still see to a lock for others.
    if let Ok(own) = architecture()
        && !all.iter().any(|one| one == own)
    {
        all.push(own.to_owned());
    }
    all
}

/// Workspaces that could not be locked, one line for those with the same reason.
fn told(failures: &[Failed]) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for failed in failures {
        let names = by_reason.entry(in_full(&failed.error)).or_default();
        if !names.contains(&failed.workspace.as_str()) {
            names.push(&failed.workspace);
        }
    }
    let lines = by_reason
        .into_iter()
        .map(|(reason, names)| format!("cannot lock {}: {reason}", names.join(", ")));
    lines.collect()
}

/// An error and its causes on one line.
fn in_full(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        // A transparent error says what its cause says.
        if words.last() != Some(&cause) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// Why a package changed, unless that is what was asked for.
fn because<'a>(
    moved: &'a Moved,
    change: &kasmforge_lock::Change<'_>,
    wanted: &Change,
) -> Option<&'a str> {
    let package = change.package();
    let asked = match wanted {
        Change::All => change.kind() == ChangeKind::Upgraded,
        Change::Packages(names) => names.contains(&package.name),
        Change::Security => change.is_security(),
        Change::Needed => false,
    };
    let key = (package.name.clone(), package.architecture.clone());
    let why = moved.get(&key).map(String::as_str);
    why.filter(|_| !asked)
}
