//! What the commands share that talk to an engine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kasmforge_build::{Built, latest};
use kasmforge_deploy::{
    ArchivePart, Check, Desktop, Engine, Environment, Health, ImageArchive, Probe, Reference,
    Settings, UpgradeEvent, connect,
};
use kasmforge_spec as spec;

use super::Context;
use crate::cli::EngineArguments;
use crate::printer::Printer;

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
    };
    Ok(connect(
        arguments.host.as_deref().filter(|host| !host.is_empty()),
        &environment,
    )?)
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
        Some(name) if latest(&context.store, &name).is_some() => Ok(name),
        _ => context.project.only(),
    }
}

/// What the workspace's last build made.
pub(super) fn built(name: &str, context: &Context) -> anyhow::Result<Built> {
    if let Some(built) = latest(&context.store, name) {
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
    force: bool,
) -> anyhow::Result<Desktop> {
    let deploy = &workspace.deploy;
    let reference = built.references.first().context("the image has no name")?;
    let text =
        |values: &[spec::Located<String>]| values.iter().map(|value| value.value.clone()).collect();
    Ok(Desktop {
        reference: Reference::parse(reference)?,
        image_id,
        container: deploy.container.clone(),
        settings: Settings {
            ports: text(&deploy.ports),
            volumes: text(&deploy.volumes),
            shm_size: deploy.shm_size,
            memory: deploy.memory,
            restart: deploy.restart.clone(),
            environment: deploy.environment.clone(),
        },
        health: health(workspace),
        force,
    })
}

/// Tells what an upgrade is doing.
pub(super) fn tell(event: &UpgradeEvent, printer: &Printer) {
    let text = match event {
        UpgradeEvent::Creating { .. } => "creating the new container".into(),
        UpgradeEvent::LeftBehind { files, total } => {
            let more = total.saturating_sub(files.len());
            let mut text = format!(
                "{total} files of the old container are on no volume and stay behind in it:"
            );
            for file in files {
                text.push_str(&format!("\n  {file}"));
            }
            if more > 0 {
                text.push_str(&format!("\n  and {more} more"));
            }
            text
        }
        UpgradeEvent::Stopping { .. } => "stopping the old container".into(),
        UpgradeEvent::Starting { .. } => "starting the new container".into(),
        UpgradeEvent::Waiting { waiting } => match waiting.as_slice() {
            [] => return,
            [one] => format!("waiting: {one}"),
            [first, rest @ ..] => format!("waiting: {first}, and {} more", rest.len()),
        },
        UpgradeEvent::Answering { address } => format!("the desktop answers at {address}"),
        UpgradeEvent::Passed { check } => format!("check passed: {check}"),
        UpgradeEvent::RollingBack { reason } => format!("rolling back: {reason}"),
        UpgradeEvent::Recovering { .. } => "finishing what an earlier, interrupted run left".into(),
        _ => return,
    };
    printer.say(&text);
}
