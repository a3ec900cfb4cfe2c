//! `kasmforge upgrade`

use clap::Args;
use kasmforge_build::Built;
use kasmforge_deploy::{
    Adoption, Desktop, Engine, Error, Health, Loaded, Old, Plan, Resumed, Upgraded,
};
use kasmforge_spec::Workspace;
use serde_json::{Value, json};

use super::{Context, engine, load};
use crate::cli::EngineArguments;
use crate::printer::Printer;

/// Which container is upgraded, and how.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The workspace [default: the one built last].
    pub(crate) workspace: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) how: How,
    /// Shows what would be done, and touches nothing.
    #[arg(long)]
    dry_run: bool,
    /// Upgrades this container of the same image instead; may be given several times.
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    container: Vec<String>,
    /// Upgrades all containers of the same image, one after the other, until one fails.
    #[arg(long)]
    all: bool,
    /// Finishes an upgrade that was interrupted.
    #[arg(long, conflicts_with_all = ["dry_run", "container", "all"])]
    resume: bool,
}

/// How a container is replaced.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct How {
    /// Replaces the container although it is up to date, was not made from this image, or the
    /// image is for another architecture.
    #[arg(long)]
    pub(crate) force: bool,
    /// Waits until nobody is connected to the desktop.
    #[arg(long)]
    pub(crate) when_idle: bool,
    /// Takes a folder of the old container over into a volume, so that it is kept from now on.
    #[arg(long, value_name = "PATH[=VOLUME]")]
    pub(crate) adopt_volume: Vec<String>,
}

/// Runs the image that was built last in the place of the one that runs.
pub(crate) fn run(wanted: &Upgrade, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let workspace = context.project.load(&name)?;
    let engine = engine::connected(&wanted.engine)?;
    if wanted.resume && resume(&engine, &workspace, printer)? {
        return Ok(());
    }
    let built = engine::built(&name, context)?;
    // An image that is there costs one question; one that is not would fail later and worse.
    let loaded = load::give(&engine, &built, printer)?;
    let desktops = desktops(wanted, &engine, &workspace, &built, &loaded, context)?;
    let mut told = Vec::new();
    for desktop in &desktops {
        let (text, json) = if wanted.dry_run {
            let plan = engine.plan(desktop)?;
            (engine::planned(&plan, true), json_of_plan(&plan))
        } else {
            let upgraded = replace(&engine, desktop, &built, printer)?;
            report(&engine, &upgraded, &workspace)?
        };
        if desktops.len() > 1 {
            printer.say(&text);
        }
        told.push((text, json));
    }
    match told.len() {
        1 => {
            let (text, json) = told.remove(0);
            Ok(printer.result(&text, &json)?)
        }
        many => {
            let all: Vec<Value> = told.into_iter().map(|(_, json)| json).collect();
            let text = format!("{many} containers are done");
            Ok(printer.result(&text, &Value::from(all))?)
        }
    }
}

/// Upgrades one desktop. An image that somebody prunes between load and creation is loaded again.
pub(super) fn replace(
    engine: &Engine,
    desktop: &Desktop,
    built: &Built,
    printer: &Printer,
) -> anyhow::Result<Upgraded> {
    let mut tell = |event| engine::tell(&event, printer);
    let mut upgraded = engine.upgrade(desktop, &mut tell);
    if let Err(Error::ImageMissing { .. }) = &upgraded {
        printer.warn("somebody removed the image from the engine meanwhile; it is loaded again");
        load::give(engine, built, printer)?;
        upgraded = engine.upgrade(desktop, &mut tell);
    }
    upgraded.map_err(|error| failed(engine, &desktop.container, &desktop.health, error, printer))
}

/// Finishes what was interrupted. Answers whether that was all there is to do.
fn resume(engine: &Engine, workspace: &Workspace, printer: &Printer) -> anyhow::Result<bool> {
    let health = engine::health(workspace);
    let container = &workspace.deploy.container;
    let resumed = engine
        .resume(container, &health, &mut |event| {
            engine::tell(&event, printer);
        })
        .map_err(|error| failed(engine, container, &health, error, printer))?;
    match resumed {
        Resumed::Finished(upgraded) => {
            let (text, json) = report(engine, &upgraded, workspace)?;
            printer.result(&text, &json)?;
            Ok(true)
        }
        Resumed::Nothing => {
            printer.say("nothing was left half done; this is an upgrade like any other");
            Ok(false)
        }
        Resumed::Undone => {
            let json = json!({ "container": container, "rolled_back": true });
            let text = format!(
                "{container} runs as before: the upgrade had failed, and is now undone; \
                 `kasmforge upgrade` tries again"
            );
            printer.result(&text, &json)?;
            Ok(true)
        }
    }
}

fn desktops(
    wanted: &Upgrade,
    engine: &Engine,
    workspace: &Workspace,
    built: &Built,
    loaded: &Loaded,
    context: &Context,
) -> anyhow::Result<Vec<Desktop>> {
    let own = desktop(workspace, built, loaded, &wanted.how, context)?;
    let names = if wanted.all {
        engine.containers_of(&own.reference)?
    } else {
        wanted.container.clone()
    };
    if names.is_empty() {
        return Ok(vec![own]);
    }
    let other = |name: String| Desktop {
        own: name == workspace.deploy.container,
        container: name,
        ..own.clone()
    };
    Ok(names.into_iter().map(other).collect())
}

/// The container a workspace is to have.
pub(super) fn desktop(
    workspace: &Workspace,
    built: &Built,
    loaded: &Loaded,
    how: &How,
    context: &Context,
) -> anyhow::Result<Desktop> {
    let mut desktop = engine::desktop(workspace, built, loaded.image_id, context)?;
    desktop.force = how.force;
    desktop.when_idle = how.when_idle;
    desktop.adopt = how
        .adopt_volume
        .iter()
        .map(|text| adoption(text, &desktop.container))
        .collect::<anyhow::Result<_>>()?;
    Ok(desktop)
}

/// Reads `PATH` or `PATH=VOLUME`.
fn adoption(text: &str, container: &str) -> anyhow::Result<Adoption> {
    let (path, volume) = match text.split_once('=') {
        Some((path, volume)) => (path, Some(volume)),
        None => (text, None),
    };
    let path = path.trim_end_matches('/');
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        anyhow::bail!(
            "`{text}`: write the folder's absolute path, `/opt/data` or `/opt/data=NAME`"
        );
    }
    let volume = match volume {
        Some(volume) => volume.to_owned(),
        None => format!("{container}{}", path.replace(['/', ' '], "-")),
    };
    let fits = volume
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && volume.len() > 1;
    if !fits {
        anyhow::bail!("`{volume}` is not a volume's name; write `{path}=NAME`");
    }
    Ok(Adoption {
        path: path.to_owned(),
        volume,
    })
}

/// Shows what the container that failed said, tells which one serves, and tells machines how it
/// ended.
pub(super) fn failed(
    engine: &Engine,
    container: &str,
    health: &Health,
    error: Error,
    printer: &Printer,
) -> anyhow::Error {
    let Error::Failed(failure) = &error else {
        tell_who_serves(engine, container, health, printer);
        return error.into();
    };
    for (title, lines) in [
        ("the last lines of its log", &failure.logs),
        (
            "the last lines of /tmp/container-health.log",
            &failure.health_log,
        ),
        ("the last lines of /tmp/xstartup.log", &failure.session_log),
    ] {
        if !lines.is_empty() {
            printer.say(&format!("{title}:\n  | {}", lines.join("\n  | ")));
        }
    }
    if let Some(path) = &failure.screenshot {
        printer.say(&format!("its screen: {}", path.display()));
    }
    tell_who_serves(engine, container, health, printer);
    let json = json!({
        "container": failure.container,
        "from": failure.from,
        "to": failure.to,
        "rolled_back": matches!(failure.old, Old::Restored),
        "downtime_ms": failure.downtime_ms,
        "kept": failure.kept,
        "reason": failure.reason.to_string(),
        "logs": failure.logs,
        "health_log": failure.health_log,
        "session_log": failure.session_log,
        "screenshot": failure.screenshot,
    });
    if printer.json()
        && let Err(error) = printer.result("", &json)
    {
        return error.into();
    }
    error.into()
}

/// Says what runs now, as the engine sees it: after a failure nobody should have to guess.
fn tell_who_serves(engine: &Engine, container: &str, health: &Health, printer: &Printer) {
    // An engine that does not answer has been told of already.
    let Ok(standing) = engine.standing(container, health) else {
        return;
    };
    let text = match standing {
        None => format!("there is no container `{container}`: nothing serves"),
        Some(one) if one.running => {
            let at = one
                .address
                .map_or_else(String::new, |address| format!(" at {address}"));
            format!(
                "now serving: {container}, generation {}, {}{at}",
                one.generation,
                engine::short_id(&one.image)
            )
        }
        Some(one) => format!(
            "{container} (generation {}) is stopped: nothing serves",
            one.generation
        ),
    };
    printer.say(&text);
}

fn json_of_plan(plan: &Plan) -> Value {
    let changes: Vec<_> = plan
        .changes
        .iter()
        .map(|one| json!({ "setting": one.setting, "from": one.from, "to": one.to }))
        .collect();
    let adopted: Vec<_> = plan
        .adopted
        .iter()
        .map(|one| json!({ "path": one.path, "volume": one.volume }))
        .collect();
    json!({
        "container": plan.container,
        "dry_run": true,
        "from": plan.from,
        "to": plan.to,
        "generation": plan.generation,
        "unchanged": plan.unchanged,
        "running": plan.running,
        "changes": changes,
        "left_behind": plan.left_behind,
        "left_behind_total": plan.left_behind_total,
        "adopted": adopted,
        "compose": plan.compose,
        "interrupted": plan.interrupted.map(kasmforge_deploy::Step::name),
        "keep": plan.keep,
    })
}

/// Tells where the desktop is and how to log in.
pub(super) fn report(
    engine: &Engine,
    upgraded: &Upgraded,
    workspace: &Workspace,
) -> anyhow::Result<(String, Value)> {
    let url = upgraded.address.as_ref().map(ToString::to_string);
    let what = if upgraded.unchanged {
        "is up to date".to_owned()
    } else if upgraded.created {
        format!(
            "runs, healthy after {:.1} s",
            seconds(upgraded.healthy_after_ms)
        )
    } else if upgraded.from.is_none() {
        "runs as before; the interrupted upgrade is undone".to_owned()
    } else {
        format!(
            "is generation {}, healthy after {:.1} s ({:.1} s without service); `kasmforge \
             rollback` goes back",
            upgraded.generation,
            seconds(upgraded.healthy_after_ms),
            seconds(upgraded.downtime_ms)
        )
    };
    let mut text = format!("{} {what}", upgraded.container);
    if let Some(url) = &url {
        text.push_str(&format!(
            "\n{url}  {}",
            engine::login(engine, &upgraded.container, workspace)?
        ));
    }
    let json = json!({
        "container": upgraded.container,
        "container_id": upgraded.container_id,
        "from": upgraded.from,
        "to": upgraded.to,
        "generation": upgraded.generation,
        "created": upgraded.created,
        "unchanged": upgraded.unchanged,
        "downtime_ms": upgraded.downtime_ms,
        "healthy_after_ms": upgraded.healthy_after_ms,
        "rolled_back": false,
        "previous": upgraded.previous,
        "url": url,
    });
    Ok((text, json))
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::adoption;

    #[test]
    fn folders_to_take_over_are_read() {
        let read = |text| adoption(text, "desk").map(|one| (one.path, one.volume));
        assert_eq!(
            read("/opt/my data/").expect("a folder"),
            ("/opt/my data".into(), "desk-opt-my-data".into())
        );
        assert_eq!(
            read("/srv=files").expect("a folder"),
            ("/srv".into(), "files".into())
        );
        for wrong in ["opt", "/", "", "/a/../b", "/a=b/c", "/ü"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
