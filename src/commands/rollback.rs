//! `kasmforge rollback`

use clap::Args;

use super::{Context, engine, upgrade};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// Where to go back to.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The generation, as `kasmforge history` numbers them [default: the one that ran before].
    generation: Option<u64>,
    /// The workspace [default: the one built last].
    #[arg(short, long, value_name = "NAME")]
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Goes back to an earlier generation, or undoes an upgrade that was interrupted.
pub(crate) fn run(wanted: &Rollback, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let health = engine::health(&workspace);
    let container = &workspace.deploy.container;
    let back = engine
        .rollback(container, wanted.generation, &health, &mut |event| {
            engine::tell(&event, printer);
        })
        .map_err(|error| upgrade::failed(&engine, container, &health, error, printer))?;
    let (text, json) = upgrade::report(&engine, &back, &workspace)?;
    Ok(printer.result(&text, &json)?)
}
