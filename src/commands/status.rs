//! `kasmforge status`

use clap::Args;
use kasmforge_build::latest;
use serde_json::json;

use super::{Context, engine};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// Whose state is told.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
}

/// Tells how a workspace's desktop stands.
pub(crate) fn run(wanted: &Status, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    let about = engine.about();
    let place = json!({
        "product": about.product.name(),
        "version": about.version,
        "endpoint": about.endpoint,
        "context": about.context,
        "store": about.store.name(),
        "rootless": about.rootless,
    });
    let Some(one) = engine.standing(container, &engine::health(&workspace))? else {
        let json = json!({ "container": container, "state": "absent", "engine": place });
        let text = format!(
            "{container} does not exist; `kasmforge run {name}` builds, loads and starts it"
        );
        return Ok(printer.result(&text, &json)?);
    };
    let built = latest(&context.store, &context.project.root, &name);
    let current = built.as_ref().map(|built| {
        [built.config, built.manifest]
            .iter()
            .any(|id| id.to_string() == one.image)
    });
    let url = one.address.as_ref().map(ToString::to_string);
    let mut text = format!("{container}  {}", one.state);
    if let Some(health) = &one.health {
        text.push_str(&format!(", {health}"));
    }
    if let Some(status) = one.exit_status {
        text.push_str(&format!(", exit status {status}"));
    }
    text.push_str(&format!(
        "\ngeneration {}, {} of {}",
        one.generation,
        engine::short_id(&one.image),
        one.reference
    ));
    match current {
        Some(true) => text.push_str(", the one built last"),
        Some(false) => text.push_str("; a newer one is built: `kasmforge upgrade`"),
        None => {}
    }
    if let Some(url) = &url {
        text.push_str(&format!("\n{url}"));
    }
    if let Some(clients) = one.clients.filter(|_| one.running) {
        text.push_str(&format!("\n{clients} connected"));
    }
    if let Some(step) = one.interrupted {
        text.push_str(&format!(
            "\nan upgrade is under way or was interrupted when {}; `kasmforge upgrade --resume` \
             finishes it, `kasmforge rollback` undoes it",
            step.name()
        ));
    }
    let json = json!({
        "container": container,
        "state": one.state,
        "running": one.running,
        "health": one.health,
        "generation": one.generation,
        "image": one.image,
        "reference": one.reference,
        "current": current,
        "started": one.started,
        "exit_status": one.exit_status,
        "url": url,
        "clients": one.clients,
        "previous": one.previous,
        "interrupted": one.interrupted.map(kasmforge_deploy::Step::name),
        "engine": place,
    });
    Ok(printer.result(&text, &json)?)
}
