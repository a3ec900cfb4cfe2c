//! `kasmforge registry`

mod build;
mod check;
mod gather;
mod import;
mod place;
mod write;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Global;
use crate::printer::Printer;

#[derive(Debug, Args)]
pub(crate) struct Registry {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Makes the registry's site: what Kasm's servers read, and a gallery for people.
    Build(Build),
    /// Checks any registry: each mistake at its place.
    Check(Check),
    /// Turns an existing workspace.json into a definition's [kasm] table.
    Import(Import),
}

#[derive(Debug, Args)]
struct Build {
    /// The project's folder [default: as -C].
    #[arg(value_name = "DIR")]
    project: Option<PathBuf>,
    /// Where the site is put; what an earlier run made there is replaced [default: `public` in the
    /// project].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Leaves out workspaces that have not been built: their size is not known.
    #[arg(long)]
    skip_unbuilt: bool,
}

#[derive(Debug, Args)]
struct Check {
    /// The registry: a folder, or an address.
    #[arg(value_name = "URL|DIR")]
    registry: String,
    /// An earlier state of it: what changed since must have another `sha`.
    #[arg(long, value_name = "URL|DIR")]
    previous: Option<String>,
    /// Fails on warnings, too.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Args)]
struct Import {
    /// A workspace.json, or a list.json.
    #[arg(value_name = "FILE|URL")]
    from: String,
    /// The workspace whose definition it is for.
    #[arg(value_name = "NAME")]
    workspace: Option<String>,
    /// Which entry of a list.json, by its friendly name.
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Writes it into the definition, and the icon beside it.
    #[arg(long, requires = "workspace")]
    write: bool,
}

/// Carries one of the commands out.
pub(crate) fn run(wanted: &Registry, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    match &wanted.command {
        RegistryCommand::Build(wanted) => build::run(wanted, global, printer),
        RegistryCommand::Check(wanted) => check::run(wanted, global, printer),
        RegistryCommand::Import(wanted) => import::run(wanted, global, printer),
    }
}
