//! `kasmforge stop` and `kasmforge down`

use clap::Args;
use serde_json::json;

use super::{Context, engine};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// Whose container is meant.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Stops a desktop; `kasmforge upgrade` starts it again.
pub(crate) fn stop(wanted: &Stop, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    engine.stop_desktop(container)?;
    let text = format!("{container} is stopped; `kasmforge upgrade` starts it again");
    let json = json!({ "container": container, "state": "stopped" });
    Ok(printer.result(&text, &json)?)
}

/// Removes a desktop and its earlier generations; its volumes stay.
pub(crate) fn down(wanted: &Stop, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    let removed = engine.take_down(container)?;
    let volumes: Vec<&str> = workspace
        .deploy
        .volumes
        .iter()
        .filter_map(|volume| volume.value.split(':').next())
        .filter(|source| !source.starts_with('/'))
        .collect();
    let mut text = match removed.len() {
        0 => format!("{container} does not exist"),
        1 => format!("{container} is removed"),
        many => format!(
            "{container} and {} earlier or failed ones are removed",
            many - 1
        ),
    };
    if !volumes.is_empty() {
        text.push_str(&format!("; its volumes stay: {}", volumes.join(", ")));
    }
    let json = json!({ "container": container, "removed": removed, "volumes": volumes });
    Ok(printer.result(&text, &json)?)
}
