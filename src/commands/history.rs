//! `kasmforge history`

use clap::Args;
use kasmforge_deploy::{Generation, GenerationState, PackageChange};
use serde_json::json;

use super::{Context, engine};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// How many changed packages of a generation are named on its line.
const NAMED: usize = 4;

/// Whose generations are listed.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    #[command(flatten)]
    engine: EngineArguments,
    /// Names every changed package.
    #[arg(long)]
    packages: bool,
}

/// Lists the generations of a desktop, oldest first.
pub(crate) fn run(wanted: &History, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    let container = &workspace.deploy.container;
    let history = engine.history(container)?;
    let mut text: Vec<String> = history
        .iter()
        .map(|one| line(one, wanted.packages))
        .collect();
    if text.is_empty() {
        text.push(format!("{container} has never run in this engine"));
    }
    let generations: Vec<_> = history
        .iter()
        .map(|one| {
            let changes = one.changes.as_ref().map(|changes| {
                let one = |one: &PackageChange| {
                    json!({ "package": one.package, "from": one.from, "to": one.to })
                };
                changes.iter().map(one).collect::<Vec<_>>()
            });
            json!({
                "generation": one.number,
                "state": one.state.name(),
                "container": one.container,
                "image": one.image,
                "reference": one.reference,
                "digest": one.manifest,
                "created": one.created,
                "healthy": one.healthy,
                "reason": one.reason,
                "healthy_after_ms": one.healthy_after_ms,
                "changes": changes,
            })
        })
        .collect();
    let json = json!({ "container": container, "generations": generations });
    Ok(printer.result(&text.join("\n"), &json)?)
}

fn line(one: &Generation, packages: bool) -> String {
    let mark = match one.state {
        GenerationState::Running | GenerationState::Stopped => '*',
        _ => ' ',
    };
    let digest = one
        .manifest
        .map_or_else(|| engine::short_id(&one.image), |digest| digest.short());
    // Seconds are enough: `2026-01-31T12:34:56`.
    let when = one.created.as_deref().unwrap_or("").split('.').next();
    let health = match (one.healthy, one.healthy_after_ms) {
        (Some(true), Some(after)) => format!("healthy after {:.1} s", after as f64 / 1000.0),
        (Some(true), None) => "healthy".to_owned(),
        (Some(false), _) => format!("failed: {}", one.reason.as_deref().unwrap_or("unknown why")),
        (None, _) => String::new(),
    };
    let mut text = format!(
        "{mark}{:>3}  {:<10}  {digest}  {:<20}  {health}",
        one.number,
        one.state.name(),
        when.unwrap_or_default().replace('T', " ")
    );
    let changes = one.changes.as_deref().unwrap_or_default();
    let named = if packages { changes.len() } else { NAMED };
    for change in changes.iter().take(named) {
        text.push_str("\n        ");
        text.push_str(&words(change));
    }
    if changes.len() > named {
        let more = changes.len() - named;
        text.push_str(&format!("\n        and {more} more packages (--packages)"));
    }
    text.trim_end().to_owned()
}

fn words(change: &PackageChange) -> String {
    let name = &change.package;
    match (&change.from, &change.to) {
        (None, Some(to)) => format!("+ {name} {to}"),
        (Some(from), None) => format!("- {name} {from}"),
        (from, to) => format!(
            "  {name} {} -> {}",
            from.as_deref().unwrap_or_default(),
            to.as_deref().unwrap_or_default()
        ),
    }
}
