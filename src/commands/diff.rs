//! `kasmforge diff`: what changed between two locks, in words and for machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use kasmforge_lock::{Change, ChangeKind, Lock, changes};
use serde_json::{Value, json};

use super::Context;
use crate::changelog;
use crate::cli::Global;
use crate::fetching;
use crate::printer::{Printer, bytes};
use crate::progress::Progress;
use crate::project::Project;

/// What can be typed after `diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The earlier lock: a file, or a revision of git [default: HEAD].
    pub(crate) before: Option<String>,
    /// The later lock [default: the project's, as it is now].
    pub(crate) after: Option<String>,
    /// Shows what Debian's changelogs say of each new version. Packages that are not in the store
    /// are fetched for it.
    #[arg(long)]
    pub(crate) changelog: bool,
    /// Touches no network.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Tells what changed between two locks.
pub(crate) fn run(wanted: &Arguments, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let project = Project::find(global.directory.as_deref())?;
    let before = match &wanted.before {
        Some(name) => named(&project, name)?,
        None => revision(&project, "HEAD")?,
    };
    let after = match &wanted.after {
        Some(name) => named(&project, name)?,
        None => project.lock()?,
    };
    let changes = changes(&before, &after);
    let logs = if wanted.changelog {
        logs(&changes, &after, wanted, global, printer)?
    } else {
        BTreeMap::new()
    };
    let text = if changes.is_empty() {
        "no package changed".into()
    } else {
        text_with(&changes, |change| {
            logs.get(&change.package().source)
                .filter(|log| log.told_with == change.package().name)
                .map(|log| log.text.clone())
        })
    };
    let json = json!({
        "changes": changes.iter().map(json).collect::<Vec<_>>(),
        "changelogs": logs
            .iter()
            .map(|(source, log)| (source.clone(), Value::from(log.text.clone())))
            .collect::<serde_json::Map<_, _>>(),
    });
    Ok(printer.result(&text, &json)?)
}

/// A lock by the name of a file, or by a revision.
fn named(project: &Project, name: &str) -> anyhow::Result<Lock> {
    let path = Path::new(name);
    if path.is_file() {
        return project.lock_at(path);
    }
    revision(project, name)
}

/// The project's lock as git has it at a revision.
fn revision(project: &Project, revision: &str) -> anyhow::Result<Lock> {
    let output = Command::new("git")
        .arg("-C")
        .arg(&project.root)
        .args(["show", "--end-of-options"])
        .arg(format!("{revision}:./kasmforge.lock"))
        .output()
        .context("cannot run `git`; name two files instead")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{revision}` is neither a file nor a revision of git that has kasmforge.lock ({})",
            said.lines().next().unwrap_or("git says nothing").trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("the lock of git is not UTF-8")?;
    Lock::parse(&text).with_context(|| format!("the lock at `{revision}` cannot be read"))
}

/// What the changelog of a source package says, and the package it is told with.
struct Log {
    told_with: String,
    text: String,
}

/// The changelogs of all upgraded packages, by source.
fn logs(
    changes: &[Change<'_>],
    after: &Lock,
    wanted: &Arguments,
    global: &Global,
    printer: &Printer,
) -> anyhow::Result<BTreeMap<String, Log>> {
    let context = Context::new(global)?;
    let upgraded: Vec<&Change<'_>> = changes
        .iter()
        .filter(|change| change.kind() == ChangeKind::Upgraded)
        .collect();
    let progress = Progress::new(printer);
    for name in context.project.workspaces()? {
        let workspace = context.project.load(&name)?;
        let ours: Vec<usize> = after
            .workspaces
            .iter()
            .filter(|one| workspace.stages.iter().any(|stage| stage.name == one.name))
            .flat_map(|one| one.packages.iter().copied())
            .filter(|&index| {
                let package = &after.packages[index];
                let changed = upgraded.iter().any(|change| change.package() == package);
                changed && !context.store.has_blob(&package.sha256, Some(package.size))
            })
            .collect();
        let client = fetching::client(
            &context.store,
            &context.project,
            &context.settings,
            &workspace.debian,
            wanted.offline,
            &progress,
        );
        let fetched = fetching::packages(
            &context.project,
            &context.settings,
            &client,
            &workspace,
            after,
            &ours,
        );
        if let Err(error) = fetched {
            progress.warn(&format!("some changelogs are missing: {error}"));
        }
    }
    progress.end();
    let mut logs: BTreeMap<String, Log> = BTreeMap::new();
    for change in upgraded {
        let (Some(before), Some(package)) = (change.before, change.after) else {
            continue;
        };
        let path = context.store.blob_path(&package.sha256);
        if logs.contains_key(&package.source) || !path.is_file() {
            continue;
        }
        // Of a source's packages, some only link to the documentation of another.
        if let Some(text) = changelog::since(&path, &before.version)
            .with_context(|| format!("cannot read the changelog of {}", package.name))?
        {
            let told_with = package.name.clone();
            logs.insert(package.source.clone(), Log { told_with, text });
        }
    }
    Ok(logs)
}

/// A line for each change, and one for all of them. `more` gives what is to be said below a line.
pub(super) fn text_with(
    changes: &[Change<'_>],
    more: impl Fn(&Change<'_>) -> Option<String>,
) -> String {
    let mut lines = Vec::new();
    for change in changes {
        lines.push(line(change));
        if let Some(more) = more(change) {
            lines.extend(
                more.lines()
                    .map(|line| format!("    {line}").trim_end().to_owned()),
            );
        }
    }
    lines.push(summary(changes));
    lines.join("\n")
}
fn line(change: &Change<'_>) -> String {
    let package = change.package();
    let name = &package.name;
    let mut text = match (change.before, change.after) {
        (Some(before), Some(after)) if before.version == after.version => {
            format!("~ {name} {} (rebuilt)", after.version)
        }
        (Some(before), Some(after)) => {
            let down = change.kind() == ChangeKind::Downgraded;
            let mark = if down { " (older)" } else { "" };
            format!("~ {name} {} -> {}{mark}", before.version, after.version)
        }
        (None, _) => format!("+ {name} {}", package.version),
        (_, None) => format!("- {name} {}", package.version),
    };
    if change.is_security() {
        text.push_str("  [security]");
    }
    if change.growth() != 0 {
        text.push_str(&format!("  {}", signed(change.growth())));
    }
    text
}

/// `2 upgraded (1 security), 1 added; 3.4 MB larger when installed`
fn summary(changes: &[Change<'_>]) -> String {
    let mut words = Vec::new();
    for (kind, word) in [
        (ChangeKind::Upgraded, "upgraded"),
        (ChangeKind::Downgraded, "downgraded"),
        (ChangeKind::Rebuilt, "rebuilt"),
        (ChangeKind::Added, "added"),
        (ChangeKind::Removed, "removed"),
    ] {
        let security = changes.iter().filter(|change| change.is_security()).count();
        match count(changes, kind) {
            0 => {}
            count if kind == ChangeKind::Upgraded && security > 0 => {
                words.push(format!("{count} {word} ({security} security)"));
            }
            count => words.push(format!("{count} {word}")),
        }
    }
    let growth: i64 = changes.iter().map(Change::growth).sum();
    let fetch: u64 = changes
        .iter()
        .filter_map(|change| change.after)
        .map(|package| package.size)
        .sum();
    format!(
        "{}; installed {}, packages to fetch {}",
        words.join(", "),
        signed(growth),
        bytes(fetch)
    )
}

fn signed(growth: i64) -> String {
    let sign = if growth < 0 { '-' } else { '+' };
    format!("{sign}{}", bytes(growth.unsigned_abs()))
}

/// How many changes are of a kind.
pub(super) fn count(changes: &[Change<'_>], kind: ChangeKind) -> usize {
    changes
        .iter()
        .filter(|change| change.kind() == kind)
        .count()
}

/// A change for machines.
pub(super) fn json(change: &Change<'_>) -> serde_json::Value {
    let package = change.package();
    json!({
        "package": package.name,
        "architecture": package.architecture,
        "source": package.source,
        "change": match change.kind() {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Upgraded => "upgraded",
            ChangeKind::Downgraded => "downgraded",
            ChangeKind::Rebuilt => "rebuilt",
        },
        "from": change.before.map(|before| &before.version),
        "to": change.after.map(|after| &after.version),
        "archive": change.after.map(|after| &after.archive),
        "security": change.is_security(),
        "installed_bytes": change.growth(),
        "fetch_bytes": change.after.map_or(0, |after| after.size),
    })
}
