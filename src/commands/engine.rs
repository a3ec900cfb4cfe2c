//! What the commands share that talk to an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kasmforge_build::{Built, latest};
use kasmforge_deploy::{
    ArchivePart, Check, Containerd, Desktop, Engine, Environment, Health, ImageArchive, Plan,
    Probe, Reference, Settings, UpgradeEvent, connect,
};
use kasmforge_spec as spec;

use super::Context;
use crate::cli::EngineArguments;
use crate::printer::Printer;
use crate::settings;

/// Connects to the engine that is meant.
pub(super) fn connected(arguments: &EngineArguments) -> anyhow::Result<Engine> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let path = |name: &str| variable(name).map(PathBuf::from);
    let environment = Environment {
        docker_host: variable("DOCKER_HOST"),
        docker_context: variable("DOCKER_CONTEXT"),
        docker_config: path("DOCKER_CONFIG"),
        docker_tls_verify: variable("DOCKER_TLS_VERIFY"),
        docker_cert_path: path("DOCKER_CERT_PATH"),
        home: path("HOME"),
        xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        state: settings::state(),
    };
    let host = arguments.host.clone().filter(|host| !host.is_empty());
    let named = host.as_ref().or(environment.docker_host.as_ref());
    if let Some(containerd) = named.and_then(|host| Containerd::parse(host)) {
        anyhow::bail!(
            "{containerd} keeps and runs images, but has no desktops to upgrade or look at: that \
             needs Docker's engine or Podman's service. `kasmforge load` gives it images"
        );
    }
    connect(host.as_deref(), &environment).map_err(|error| {
        let none = matches!(error, kasmforge_deploy::Error::NoSocket { .. });
        match Containerd::there() {
            Some(containerd) if none => anyhow::Error::new(error).context(format!(
                "this machine has containerd and no Docker engine; `kasmforge load --host \
                 {containerd}` gives it images, but it cannot run desktops by itself"
            )),
            _ => error.into(),
        }
    })
}

/// The containerd that is meant instead of an engine, if one is.
pub(super) fn containerd(arguments: &EngineArguments) -> Option<Containerd> {
    let variable = std::env::var("DOCKER_HOST").ok();
    let host = arguments.host.clone().or(variable);
    host.and_then(|host| Containerd::parse(&host))
}

/// The beginning of an image's id: `sha256:0123456789ab` is `0123456789ab`.
pub(super) fn short_id(id: &str) -> String {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.chars().take(12).collect()
}

/// The workspace that is meant: the one named, else the one `result` is of, else the only one.
pub(super) fn workspace(named: Option<&String>, context: &Context) -> anyhow::Result<String> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let result = std::fs::read_link(context.project.root.join("result"));
    let built = result.ok().and_then(|archive| {
        let folder = archive.parent()?.file_name()?.to_str()?;
        Some(folder.to_owned())
    });
    match built {
        Some(name) if latest(&context.store, &context.project.root, &name).is_some() => Ok(name),
        _ => context.project.only(),
    }
}

/// What the workspace's last build made.
pub(super) fn built(name: &str, context: &Context) -> anyhow::Result<Built> {
    if let Some(built) = latest(&context.store, &context.project.root, name) {
        return Ok(built);
    }
    // A name that nobody defined is the likelier mistake.
    context.project.load(name)?;
    anyhow::bail!("`{name}` has not been built yet; run `kasmforge build {name}`")
}

/// An image for the engine.
pub(super) fn archive(built: &Built) -> ImageArchive {
    ImageArchive {
        path: built.archive.clone(),
        manifest: built.manifest,
        config: built.config,
        diff_ids: built.layers.iter().map(|layer| layer.diff_id).collect(),
        reference: built.references.first().cloned().unwrap_or_default(),
        parts: built
            .parts
            .iter()
            .map(|part| ArchivePart {
                name: part.name.clone(),
                offset: part.offset,
                length: part.length,
                digest: part.digest,
            })
            .collect(),
    }
}

/// When a workspace's container counts as healthy.
pub(super) fn health(workspace: &spec::Workspace) -> Health {
    let serves = workspace.image.ports.iter().any(|port| {
        port.split('/').next() == Some(workspace.deploy.desktop_port.to_string().as_str())
    });
    Health {
        timeout: Duration::from_secs(workspace.deploy.health_timeout),
        desktop_port: serves.then_some(workspace.deploy.desktop_port),
        picture: workspace.deploy.picture,
        checks: workspace.checks.iter().map(check).collect(),
    }
}

fn check(check: &spec::Check) -> Check {
    let probe = match &check.probe {
        spec::Probe::Port(port) => Probe::Port(*port),
        spec::Probe::Http {
            port,
            tls,
            path,
            status,
        } => Probe::Http {
            port: *port,
            tls: *tls,
            path: path.clone(),
            status: *status,
        },
        spec::Probe::Command(command) => Probe::Command(command.clone()),
        spec::Probe::File(file) => Probe::File(file.clone()),
        spec::Probe::Process(name) => Probe::Process(name.clone()),
    };
    Check {
        name: check.name.clone(),
        probe,
        within: Duration::from_secs(check.within),
    }
}

/// The container a workspace is to have.
pub(super) fn desktop(
    workspace: &spec::Workspace,
    built: &Built,
    image_id: kasmforge_digest::Digest,
    context: &Context,
) -> anyhow::Result<Desktop> {
    let deploy = &workspace.deploy;
    let reference = built.references.first().context("the image has no name")?;
    let text =
        |values: &[spec::Located<String>]| values.iter().map(|value| value.value.clone()).collect();
    let mut volumes: Vec<String> = text(&deploy.volumes);
    volumes.extend(home_volume(workspace, &volumes));
    Ok(Desktop {
        reference: Reference::parse(reference)?,
        image_id,
        container: deploy.container.clone(),
        settings: Settings {
            ports: text(&deploy.ports),
            volumes,
            shm_size: deploy.shm_size,
            memory: deploy.memory,
            restart: deploy.restart.clone(),
            environment: deploy.environment.clone(),
        },
        health: health(workspace),
        force: false,
        own: true,
        keep: usize::try_from(deploy.keep).unwrap_or(usize::MAX),
        manifest: Some(built.manifest),
        contents: contents(built, &context.project.lock()?),
        adopt: Vec::new(),
        when_idle: false,
        remains: None,
    })
}

/// The volume on which the home of a desktop's user outlives upgrades, unless the definition
/// says where it is to be.
fn home_volume(workspace: &spec::Workspace, volumes: &[String]) -> Option<String> {
    let home = workspace.image.environment.get("HOME")?;
    let home = home.trim_end_matches('/');
    let there = volumes.iter().any(|volume| {
        let target = volume.split(':').nth(1).unwrap_or_default();
        let target = target.trim_end_matches('/');
        // A folder above it holds it, too.
        home == target
            || home
                .strip_prefix(target)
                .is_some_and(|rest| rest.starts_with('/'))
    });
    let wanted = workspace.deploy.home_volume && !there && home.len() > 1 && home != "/root";
    wanted.then(|| format!("{}-home:{home}", workspace.deploy.container))
}

/// The packages of an image and their versions, if the lock is still the one it was built from.
fn contents(built: &Built, lock: &kasmforge_lock::Lock) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut next = Some(built.workspace.clone());
    let mut first = true;
    while let Some(name) = next {
        let one = lock.workspace(&name, &built.architecture)?;
        if first && one.image != Some(built.manifest) {
            return None;
        }
        first = false;
        for index in &one.packages {
            let package = lock.packages.get(*index)?;
            found.insert(package.name.clone(), package.version.clone());
        }
        next = one.extends.clone();
    }
    Some(found)
}

/// How to log in: the definition's password by its variable's name, or the words in which the
/// container told the one it made.
pub(super) fn login(
    engine: &Engine,
    container: &str,
    workspace: &spec::Workspace,
) -> anyhow::Result<String> {
    /// What an image of ours says before the password it made.
    const TOLD: &str = "log in as ";
    /// How far back the words may be. They are said when the container starts.
    const LINES: usize = 10_000;
    if workspace.deploy.environment.contains_key("VNC_PW") {
        return Ok("log in as kasm_user with the VNC_PW of [deploy.environment]".into());
    }
    let lines = engine.logs(container, LINES)?;
    let told = lines.iter().rev().find_map(|line| {
        let start = line.find(TOLD)?;
        line.contains("password").then(|| line[start..].to_owned())
    });
    let otherwise = "log in as kasm_user with the VNC_PW the container was given";
    Ok(told.unwrap_or_else(|| otherwise.into()))
}

/// Shows what an upgrade will do. `complete`: also what goes without saying when it is done at
/// once.
pub(super) fn planned(plan: &Plan, complete: bool) -> String {
    let mut lines = Vec::new();
    if complete {
        lines.push(match (&plan.from, plan.unchanged) {
            (_, true) => format!("{} is up to date: nothing would be done", plan.container),
            (None, _) => format!(
                "{} would be created with {}",
                plan.container,
                short_id(&plan.to)
            ),
            (Some(from), _) => format!(
                "{} would go from {} to {} as generation {}{}",
                plan.container,
                short_id(from),
                short_id(&plan.to),
                plan.generation,
                if plan.running {
                    "; it would be without service for a moment"
                } else {
                    "; it does not run now, and would"
                }
            ),
        });
        if let Some(step) = plan.interrupted {
            lines.push(format!(
                "an upgrade that was interrupted when {} would be finished or undone first",
                step.name()
            ));
        }
    }
    if !plan.unchanged {
        for change in &plan.changes {
            lines.push(match (&change.from, &change.to) {
                (Some(from), Some(to)) => {
                    format!("[deploy] {}: {from} becomes {to}", change.setting)
                }
                (Some(from), None) => format!("[deploy] {}: {from} goes", change.setting),
                (None, Some(to)) => format!("[deploy] {}: {to} comes", change.setting),
                (None, None) => continue,
            });
        }
        for one in &plan.adopted {
            lines.push(format!(
                "{} is kept, on the volume {}",
                one.path, one.volume
            ));
        }
        if plan.left_behind_total > 0 {
            let more = plan.left_behind_total - plan.left_behind.len();
            lines.push(format!(
                "{} files of the old container are on no volume and stay behind in it \
                 (--adopt-volume keeps a folder):",
                plan.left_behind_total
            ));
            lines.extend(plan.left_behind.iter().map(|file| format!("  {file}")));
            if more > 0 {
                lines.push(format!("  and {more} more"));
            }
        }
        if let Some(project) = &plan.compose {
            lines.push(format!(
                "Compose made this container (project {project}); what its file says of the image \
                 and the settings counts again at the next `docker compose up`"
            ));
        }
    }
    lines.join("\n")
}

/// Tells what an upgrade is doing.
pub(super) fn tell(event: &UpgradeEvent, printer: &Printer) {
    let text = match event {
        UpgradeEvent::Planned(plan) => planned(plan, false),
        UpgradeEvent::Creating { .. } => "creating the new container".into(),
        UpgradeEvent::Busy { clients: 1 } => "one person is connected; waiting".into(),
        UpgradeEvent::Busy { clients } => format!("{clients} connections are open; waiting"),
        UpgradeEvent::Stopping { .. } => "stopping the old container".into(),
        UpgradeEvent::Adopting { path, volume } => {
            format!("copying {path} into the volume {volume}")
        }
        UpgradeEvent::Starting { .. } => "starting the new container".into(),
        UpgradeEvent::Waiting { waiting } => match waiting.as_slice() {
            [] => return,
            [one] => format!("waiting: {one}"),
            [first, rest @ ..] => format!("waiting: {first}, and {} more", rest.len()),
        },
        UpgradeEvent::Answering { address } => format!("the desktop answers at {address}"),
        UpgradeEvent::Passed { check } => format!("check passed: {check}"),
        UpgradeEvent::NotLooked { why } => format!("not checked: {why}"),
        UpgradeEvent::EngineGone => "the engine does not answer; waiting for it".into(),
        UpgradeEvent::EngineBack => "the engine is back".into(),
        UpgradeEvent::RollingBack { reason } => format!("rolling back: {reason}"),
        UpgradeEvent::Recovering { step, .. } => format!(
            "an earlier run was interrupted when {}; making that good",
            step.name()
        ),
        _ => return,
    };
    if !text.is_empty() {
        printer.say(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("x"), "x");
    }

    #[test]
    fn plans_are_told_in_full() {
        let plan = Plan {
            container: "desk".into(),
            from: Some("sha256:0123456789abcdef".into()),
            to: "sha256:fedcba9876543210".into(),
            generation: 4,
            unchanged: false,
            running: true,
            changes: vec![kasmforge_deploy::SettingChange {
                setting: "memory",
                from: Some("1g".into()),
                to: Some("2g".into()),
            }],
            left_behind: vec!["/etc/x".into()],
            left_behind_total: 3,
            adopted: Vec::new(),
            compose: None,
            interrupted: None,
            keep: 2,
        };
        assert_eq!(
            planned(&plan, true),
            "desk would go from 0123456789ab to fedcba987654 as generation 4; it would be without \
             service for a moment\n[deploy] memory: 1g becomes 2g\n3 files of the old container \
             are on no volume and stay behind in it (--adopt-volume keeps a folder):\n  /etc/x\n  \
             and 2 more"
        );
    }
}
