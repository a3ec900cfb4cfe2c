//! `kasmforge lock`

mod bring;
mod check;

use std::collections::BTreeSet;

use kasmforge_lock::Lock;
use kasmforge_spec::FileContent;

pub(super) use self::bring::{Bringing, bring};
use super::Context;
use crate::cli::{Global, Locking as How};
use crate::fetching;
use crate::locking::{Change, regroup};
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
    /// An architecture to lock for, whatever this host's is; may be given several times [default: the
    /// host's own, and those that the lock has].
    #[arg(long, value_name = "ARCH", value_parser = super::architecture_named)]
    pub(crate) architecture: Vec<String>,
    /// Only says whether the lock fits the definitions: reads no index, resolves nothing, asks
    /// nobody. Fails if it does not fit.
    #[arg(long, conflicts_with_all = ["locked", "offline"])]
    pub(crate) check: bool,
    /// Decides anew which packages share a layer, where the lock keeps it as it was: worth it where the
    /// packages have become others since, or after an update of kasmforge that groups better. The
    /// layers that come out of it are made and sent once.
    #[arg(long, conflicts_with_all = ["check", "locked"])]
    pub(crate) regroup: bool,
    /// Also keeps every input (packages, downloads) in a folder, from which `build --vendored`
    /// builds without a network. `oci:DIR` makes it an OCI image layout, to be pushed to a registry.
    #[arg(long, value_name = "[oci:]DIR", conflicts_with_all = ["check", "workspaces"])]
    pub(crate) vendor: Option<String>,
}

/// Brings the lock up to date with the definitions, or says whether it is.
pub(crate) fn run(wanted: &Arguments, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    if wanted.check {
        let project = Project::find(global.directory.as_deref())?;
        return check::check(wanted, &project, printer);
    }
    let context = Context::new(global)?;
    let all = wanted.workspaces.is_empty();
    let names = if all {
        context.project.workspaces()?
    } else {
        wanted.workspaces.clone()
    };
    let lock = context.project.lock()?;
    let mut lock = if all {
        forget(lock, &names, &context.project)?
    } else {
        lock
    };
    if wanted.regroup {
        let workspaces = names.iter().map(|name| context.project.load(name));
        regroup(&mut lock, workspaces.collect::<anyhow::Result<_>>()?);
    }
    let brought = bring(Bringing {
        lock,
        names: &names,
        all,
        architectures: &wanted.architecture,
        change: Change::Needed,
        how: &wanted.locking,
        context: &context,
        printer,
    });
    match &wanted.vendor {
        None => brought,
        Some(folder) => {
            brought?;
            vendor(folder, &names, &wanted.locking, &context, printer)
        }
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
    lock.left_out.retain(|name| names.contains(name));
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
        let locked = lock.workspaces.iter().filter(|one| one.name == *name);
        for one in locked {
            fetching::fetch(
                &context.project,
                &context.settings,
                &client,
                &context.store,
                &workspace,
                &one.architecture,
                &lock,
            )?;
        }
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
