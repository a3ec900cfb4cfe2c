//! `kasmforge lock`

use anyhow::Context as _;
use kasmforge_lock::{ChangeKind, Lock, changes};
use serde_json::json;

use super::{Context, architecture, diff};
use crate::cli::{Global, Locking as How};
use crate::locking::check::{misfits, uncanonical};
use crate::locking::{Change, Locking};
use crate::printer::Printer;
use crate::progress::Progress;
use crate::project::Project;

/// What can be typed after `lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workspaces [default: all].
    pub(crate) workspaces: Vec<String>,
    #[command(flatten)]
    pub(crate) locking: How,
    /// Only says whether the lock fits the definitions: reads no index, resolves nothing, asks
    /// nobody. Fails if it does not fit.
    #[arg(long, conflicts_with_all = ["locked", "offline"])]
    pub(crate) check: bool,
}

/// Brings the lock up to date with the definitions, or says whether it is.
pub(crate) fn run(wanted: &Arguments, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    if wanted.check {
        let project = Project::find(global.directory.as_deref())?;
        return check(wanted, &project, printer);
    }
    let context = Context::new(global)?;
    let all = wanted.workspaces.is_empty();
    let names = if all {
        context.project.workspaces()?
    } else {
        wanted.workspaces.clone()
    };
    let lock = context.project.lock()?;
    bring(Bringing {
        lock: if all { forget(lock, &names) } else { lock },
        names: &names,
        change: Change::Needed,
        how: &wanted.locking,
        context: &context,
        printer,
    })
}

/// Drops the workspaces that no definition makes any more.
fn forget(mut lock: Lock, names: &[String]) -> Lock {
    lock.workspaces.retain(|one| names.contains(&one.name));
    lock
}

/// What a lock is brought up to date with.
pub(super) struct Bringing<'a> {
    /// The lock, as far as it may stay.
    pub(super) lock: Lock,
    pub(super) names: &'a [String],
    pub(super) change: Change,
    pub(super) how: &'a How,
    pub(super) context: &'a Context,
    pub(super) printer: &'a Printer,
}

/// Brings the lock up to date and says what it holds.
pub(super) fn bring(wanted: Bringing<'_>) -> anyhow::Result<()> {
    let Bringing {
        mut lock,
        names,
        change,
        how,
        context,
        printer,
    } = wanted;
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
    let before = context.project.lock()?;
    for name in names {
        let workspace = context.project.load(name)?;
        locking.bring(&mut lock, &workspace, &change)?;
    }
    progress.end();
    lock.normalise();
    if how.locked && lock.render() != before.render() {
        anyhow::bail!(
            "kasmforge.lock would change, and --locked forbids it: it has workspaces that no \
             definition makes any more; run `kasmforge lock` and commit it"
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
        format!("{}\n{end}", diff::text(&changes))
    };
    let json = json!({
        "changed": written,
        "packages": count,
        "changes": changes.iter().map(diff::json).collect::<Vec<_>>(),
        "security": changes.iter().filter(|change| change.is_security()).count(),
        "upgraded": diff::count(&changes, ChangeKind::Upgraded),
    });
    Ok(printer.result(&text, &json)?)
}

/// Says whether the lock fits the definitions.
fn check(wanted: &Arguments, project: &Project, printer: &Printer) -> anyhow::Result<()> {
    let path = project.lock_path();
    let lock = project.lock()?;
    let all = project.workspaces()?;
    let names = if wanted.workspaces.is_empty() {
        &all
    } else {
        &wanted.workspaces
    };
    let mut told: Vec<(String, String)> = Vec::new();
    for name in names {
        let workspace = project.load(name)?;
        let mut architectures: Vec<&str> = lock
            .workspaces
            .iter()
            .filter(|one| one.name == *name)
            .map(|one| one.architecture.as_str())
            .collect();
        if architectures.is_empty() {
            architectures.push(architecture()?);
        }
        for architecture in architectures {
            for misfit in misfits(&lock, &workspace, architecture) {
                let line = (misfit.workspace, misfit.what);
                if !told.contains(&line) {
                    told.push(line);
                }
            }
        }
    }
    if wanted.workspaces.is_empty() {
        let left = lock
            .workspaces
            .iter()
            .filter(|one| !all.contains(&one.name));
        told.extend(left.map(|one| (one.name.clone(), "no definition makes it any more".into())));
        if path.exists() {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            told.extend(uncanonical(&lock, &text).map(|line| {
                let what = format!("line {line} is not as kasmforge writes it");
                ("kasmforge.lock".to_owned(), what)
            }));
        }
    }
    let json = json!({
        "fits": told.is_empty(),
        "packages": lock.packages.len(),
        "misfits": told
            .iter()
            .map(|(workspace, what)| json!({ "workspace": workspace, "what": what }))
            .collect::<Vec<_>>(),
    });
    if told.is_empty() {
        let text = format!(
            "kasmforge.lock fits the definitions ({} packages)",
            lock.packages.len()
        );
        return Ok(printer.result(&text, &json)?);
    }
    if printer.json() {
        printer.result("", &json)?;
    }
    let lines: Vec<_> = told
        .iter()
        .map(|(workspace, what)| format!("\n  {workspace}: {what}"))
        .collect();
    anyhow::bail!(
        "kasmforge.lock does not fit the definitions; run `kasmforge lock` and commit it{}",
        lines.concat()
    )
}
