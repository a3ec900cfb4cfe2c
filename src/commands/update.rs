//! `kasmforge update`

use std::collections::BTreeSet;

use super::{Context, lock};
use crate::cli::{Locking, Update};
use crate::locking::Change;
use crate::printer::Printer;

/// Takes newer packages into the lock.
pub(crate) fn run(wanted: &Update, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let known = context.project.lock()?;
    let names: BTreeSet<String> = wanted.packages.iter().cloned().collect();
    for name in &names {
        if !known.packages.iter().any(|package| package.name == *name) {
            anyhow::bail!("kasmforge.lock has no package `{name}`");
        }
    }
    let change = if names.is_empty() {
        Change::All
    } else {
        Change::Packages(names)
    };
    let workspaces = context.project.workspaces()?;
    let how = Locking {
        locked: false,
        offline: false,
    };
    lock::bring(&workspaces, &change, &how, context, printer)
}
