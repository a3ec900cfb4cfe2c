//! `kasmforge rollback`

use super::{Context, engine, upgrade};
use crate::cli::Rollback;
use crate::printer::Printer;

/// Goes back to the container before the last upgrade.
pub(crate) fn run(wanted: &Rollback, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let health = engine::health(&workspace);
    let container = &workspace.deploy.container;
    let back = engine
        .rollback(container, &health, &mut |event| {
            engine::tell(&event, printer)
        })
        .map_err(|error| upgrade::failed(error, printer))?;
    upgrade::report(&engine, &back, &workspace.deploy.environment, printer)
}
