//! `kasmforge lock`

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::Context as _;
use kasmforge_lock::{ChangeKind, Lock, changes};
use kasmforge_spec::FileContent;
use serde_json::json;

use super::{Context, architecture, diff};
use crate::cli::{Global, Locking as How};
use crate::fetching;
use crate::locking::check::{misfits, uncanonical};
use crate::locking::{Change, Locking, Moved, Universes};
use crate::printer::{Printer, bytes};
use crate::progress::Progress;
use crate::project::Project;
use crate::vendored::Vendored;

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
    /// Also keeps every input (packages, downloads) in a folder, from which `build --vendored`
    /// builds without a network. `oci:DIR` makes it an OCI image layout, to be pushed to a registry.
    #[arg(long, value_name = "[oci:]DIR", conflicts_with_all = ["check", "workspaces"])]
    pub(crate) vendor: Option<String>,
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
    let lock = if all {
        forget(lock, &names, &context.project)?
    } else {
        lock
    };
    bring(Bringing {
        lock,
        names: &names,
        change: Change::Needed,
        how: &wanted.locking,
        context: &context,
        printer,
    })?;
    match &wanted.vendor {
        None => Ok(()),
        Some(folder) => vendor(folder, &names, &wanted.locking, &context, printer),
    }
}

/// Drops the workspaces and downloads that no definition names any more.
fn forget(mut lock: Lock, names: &[String], project: &Project) -> anyhow::Result<Lock> {
    let mut urls = BTreeSet::new();
    for name in names {
        for stage in project.load(name)?.stages {
            urls.extend(stage.packages.debs.into_iter().map(|deb| deb.url.value));
            urls.extend(
                stage
                    .image_files
                    .into_iter()
                    .filter_map(|file| match file.content {
                        FileContent::Url { url, .. } => Some(url.value),
                        _ => None,
                    }),
            );
        }
    }
    lock.workspaces.retain(|one| names.contains(&one.name));
    lock.urls.retain(|url, _| urls.contains(url));
    Ok(lock)
}

/// Keeps every input of the lock in a folder.
fn vendor(
    folder: &str,
    names: &[String],
    how: &How,
    context: &Context,
    printer: &Printer,
) -> anyhow::Result<()> {
    let lock = context.project.lock()?;
    let progress = Progress::new(printer);
    for name in names {
        let workspace = context.project.load(name)?;
        let client = fetching::client(
            &context.store,
            &context.project,
            &context.settings,
            &workspace.debian,
            how.offline,
            &progress,
        );
        fetching::fetch(
            &context.project,
            &context.settings,
            &client,
            &context.store,
            &workspace,
            architecture()?,
            &lock,
        )?;
    }
    progress.end();
    let vendored = Vendored::named(folder);
    let written = vendored.write(&lock, &context.store)?;
    printer.say(&format!(
        "{} holds {} inputs, {} ({} new, {} removed)",
        vendored.folder().display(),
        written.files,
        bytes(written.bytes),
        written.new,
        written.removed,
    ));
    Ok(())
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
    let changing = change.clone();
    let progress = Progress::new(printer);
    let locking = Locking {
        project: &context.project,
        settings: &context.settings,
        store: &context.store,
        progress: &progress,
        architecture: architecture()?,
        locked: how.locked,
        offline: how.offline,
        older: how.allow_older,
        listed: RefCell::default(),
        universes: Universes::default(),
    };
    let before = context.project.lock()?;
    let mut moved = Moved::new();
    for name in names {
        let workspace = context.project.load(name)?;
        moved.extend(locking.bring(&mut lock, &workspace, &change)?);
    }
    progress.end();
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
            let why = because(&moved, change, &changing)?;
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
    });
    Ok(printer.result(&text, &json)?)
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
