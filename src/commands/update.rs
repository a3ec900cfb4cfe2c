//! `kasmforge update`

use std::collections::BTreeSet;

use super::Context;
use super::lock::{Bringing, bring};
use crate::cli::Locking;
use crate::locking::Change;
use crate::printer::Printer;

/// What can be typed after `update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The packages that may change [default: all]. Others change only as far as they must.
    pub(crate) packages: Vec<String>,
    /// Only packages of which a security archive has a newer version, and what they must have.
    #[arg(long, conflicts_with = "packages")]
    pub(crate) security: bool,
    /// Takes archives that are older than kasmforge.lock knows them: those of a snapshot, say.
    #[arg(long)]
    pub(crate) allow_older: bool,
    /// An architecture whose packages may change; may be given several times [default: the host's own,
    /// and those that the lock has].
    #[arg(long, value_name = "ARCH", value_parser = super::architecture_named)]
    pub(crate) architecture: Vec<String>,
}

/// Takes newer packages into the lock.
pub(crate) fn run(wanted: &Arguments, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let lock = context.project.lock()?;
    let names: BTreeSet<String> = wanted.packages.iter().cloned().collect();
    for name in &names {
        if !lock.packages.iter().any(|package| package.name == *name) {
            anyhow::bail!("kasmforge.lock has no package `{name}`");
        }
    }
    let change = if wanted.security {
        Change::Security
    } else if names.is_empty() {
        Change::All
    } else {
        Change::Packages(names)
    };
    bring(Bringing {
        lock,
        names: &context.project.workspaces()?,
        all: true,
        architectures: &wanted.architecture,
        change,
        how: &Locking {
            locked: false,
            offline: false,
            allow_older: wanted.allow_older,
        },
        context,
        printer,
    })
}
