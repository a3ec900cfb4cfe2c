//! `kasmforge upgrade`

use kasmforge_deploy::{Engine, Upgraded};
use serde_json::json;

use super::{Context, engine, load};
use crate::cli::Upgrade;
use crate::printer::Printer;

/// Runs the image that was built last in the place of the one that runs.
pub(crate) fn run(wanted: &Upgrade, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let built = engine::built(&name, context)?;
    let engine = engine::connected(&wanted.engine)?;
    // An image that is there costs one question; one that is not would fail later and worse.
    let loaded = load::give(&engine, &built, printer)?;
    let desktop = engine::desktop(&workspace, &built, loaded.image_id, wanted.force)?;
    let upgraded = engine.upgrade(&desktop, &mut |event| engine::tell(&event, printer));
    let upgraded = upgraded.map_err(|error| failed(error, printer))?;
    report(&engine, &upgraded, &workspace.deploy.environment, printer)
}

/// Shows what the container that failed said, and tells machines how it ended.
pub(super) fn failed(error: kasmforge_deploy::Error, printer: &Printer) -> anyhow::Error {
    let kasmforge_deploy::Error::Failed(failure) = &error else {
        return error.into();
    };
    for (title, lines) in [
        ("the last lines of its log", &failure.logs),
        (
            "the last lines of /tmp/container-health.log",
            &failure.health_log,
        ),
    ] {
        if !lines.is_empty() {
            printer.say(&format!("{title}:\n  | {}", lines.join("\n  | ")));
        }
    }
    let json = json!({
        "container": failure.container,
        "from": failure.from,
        "to": failure.to,
        "rolled_back": matches!(failure.old, kasmforge_deploy::Old::Restored),
        "downtime_ms": failure.downtime_ms,
        "kept": failure.kept,
        "reason": failure.reason.to_string(),
        "logs": failure.logs,
        "health_log": failure.health_log,
    });
    if printer.json()
        && let Err(error) = printer.result("", &json)
    {
        return error.into();
    }
    error.into()
}

/// Tells where the desktop is and how to log in.
pub(super) fn report(
    engine: &Engine,
    upgraded: &Upgraded,
    environment: &std::collections::BTreeMap<String, String>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let url = upgraded.address.as_ref().map(ToString::to_string);
    let what = if upgraded.unchanged {
        "is up to date".to_owned()
    } else if upgraded.created {
        format!(
            "runs, healthy after {:.1} s",
            seconds(upgraded.healthy_after_ms)
        )
    } else {
        format!(
            "was replaced, healthy after {:.1} s ({:.1} s without service); `kasmforge rollback` \
             goes back",
            seconds(upgraded.healthy_after_ms),
            seconds(upgraded.downtime_ms)
        )
    };
    let mut text = format!("{} {what}", upgraded.container);
    if let Some(url) = &url {
        text.push_str(&format!(
            "\n{url}  {}",
            login(engine, upgraded, environment)?
        ));
    }
    let json = json!({
        "container": upgraded.container,
        "container_id": upgraded.container_id,
        "from": upgraded.from,
        "to": upgraded.to,
        "created": upgraded.created,
        "unchanged": upgraded.unchanged,
        "downtime_ms": upgraded.downtime_ms,
        "healthy_after_ms": upgraded.healthy_after_ms,
        "rolled_back": false,
        "previous": upgraded.previous,
        "url": url,
    });
    Ok(printer.result(&text, &json)?)
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// How to log in: the definition's password by its variable's name, or the words in which the
/// container told the one it made.
fn login(
    engine: &Engine,
    upgraded: &Upgraded,
    environment: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<String> {
    /// What an image of ours says before the password it made.
    const TOLD: &str = "log in as ";
    /// How far back the words may be. They are said when the container starts.
    const LINES: usize = 10_000;
    if environment.contains_key("VNC_PW") {
        return Ok("log in as kasm_user with the VNC_PW of [deploy.environment]".into());
    }
    let lines = engine.logs(&upgraded.container, LINES)?;
    let told = lines.iter().rev().find_map(|line| {
        let start = line.find(TOLD)?;
        line.contains("password").then(|| line[start..].to_owned())
    });
    let otherwise = "log in as kasm_user with the VNC_PW the container was given";
    Ok(told.unwrap_or_else(|| otherwise.into()))
}
