//! `kasmforge kasm check`

use std::fmt::Write as _;

use anyhow::bail;
use clap::Args;
use kasmforge_kasm::api::{Agent, Client, Error, Image, NO_PRUNING, Probe, Verdict};
use kasmforge_spec::Workspace;
use serde_json::{Value, json};

use super::connection::ConnectionArguments;
use super::{World, reference};
use crate::printer::bytes;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The workspace whose image is looked for [default: none].
    workspace: Option<String>,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// What the check found, in words and for machines.
#[derive(Default)]
struct Findings {
    text: String,
    problems: Vec<String>,
}

impl Findings {
    fn line(&mut self, subject: &str, text: &str) {
        let _ = writeln!(self.text, "{subject:<12} {text}");
    }

    fn problem(&mut self, subject: &str, text: &str) {
        self.line(subject, text);
        self.problems.push(format!("{subject}: {text}"));
    }
}

/// Looks whether server, key and image are as they must be.
pub(super) fn run(wanted: &Check, world: &World<'_>) -> anyhow::Result<()> {
    let workspace = wanted.workspace.as_ref();
    let workspace = workspace
        .map(|name| world.workspace(Some(name)))
        .transpose()?;
    let connection = world.connect(&wanted.connection)?;
    let client = &connection.client;
    let mut found = Findings::default();

    client.healthy()?;
    found.line("server", &format!("{} answers", client.server()));
    let version = version(client, &mut found)?;
    let probes = client.permissions()?;
    permissions(&probes, &mut found);
    let agents = agents(client, &mut found)?;
    let image = match &workspace {
        Some(workspace) => image(client, workspace, &mut found)?,
        None => Value::Null,
    };

    let json = json!({
        "server": client.server().to_string(),
        "version": version,
        "permissions": probes.iter().map(permission_json).collect::<Vec<_>>(),
        "agents": agents.iter().flatten().map(agent_json).collect::<Vec<_>>(),
        "agents_visible": agents.is_some(),
        "image": image,
        "problems": found.problems,
    });
    world.printer.result(found.text.trim_end(), &json)?;
    match found.problems.len() {
        0 => Ok(()),
        1 => bail!("1 thing is not as it must be: {}", found.problems[0]),
        count => bail!("{count} things are not as they must be"),
    }
}

/// An answer, or `None` if the key may not ask or the server does not know the question.
fn if_told<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(
            Error::Denied { .. }
            | Error::Refused { .. }
            | Error::Status { .. }
            | Error::NotJson { .. }
            | Error::Shape { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

fn version(client: &Client, found: &mut Findings) -> anyhow::Result<Option<String>> {
    let version = if_told(client.version())?.flatten();
    match &version {
        Some(version) => found.line("version", version),
        None => found.line("version", "not told to this key (it takes System View)"),
    }
    Ok(version)
}

fn permissions(probes: &[Probe], found: &mut Findings) {
    if probes.iter().all(|probe| probe.verdict == Verdict::Missing) {
        found.problem(
            "key",
            "every question was refused: the key or its secret is wrong, disabled or expired, or has \
             no permission at all (Settings > Developers > API Keys > Permissions)",
        );
    }
    for probe in probes {
        let names = probe.names();
        match &probe.verdict {
            Verdict::Held => found.line("permission", &format!("{names}: held")),
            Verdict::Missing if is_extra(probe) => found.line(
                "permission",
                &format!("{names}: missing; only for {}", probe.purpose),
            ),
            Verdict::Missing => found.problem(
                "permission",
                &format!("{names}: missing; for {}", probe.purpose),
            ),
            Verdict::Unknown(answer) => found.line(
                "permission",
                &format!("{names}: cannot be told ({})", answer.replace('\n', "; ")),
            ),
        }
    }
}

/// Whether the program does its work without these.
fn is_extra(probe: &Probe) -> bool {
    probe
        .permissions
        .iter()
        .all(|one| matches!(one.name, "Users View" | "Agents View"))
}

fn agents(client: &Client, found: &mut Findings) -> anyhow::Result<Option<Vec<Agent>>> {
    let Some(agents) = if_told(client.agents())? else {
        found.line(
            "agents",
            "not told to this key; look in the web interface: Infrastructure > Docker Agents",
        );
        return Ok(None);
    };
    if agents.is_empty() {
        found.problem("agents", "there are none, so nothing can run");
    }
    for agent in &agents {
        let mut text = agent.host.clone().unwrap_or_else(|| "unnamed".into());
        for (word, value) in [
            ("", agent.status.clone()),
            ("", agent.cores.map(|cores| format!("{cores} cores"))),
            ("", agent.memory.map(bytes)),
            ("pruning ", agent.pruning.clone()),
        ] {
            if let Some(value) = value {
                let _ = write!(text, ", {word}{value}");
            }
        }
        match (agent.enabled, agent.pruning.as_deref()) {
            (Some(false), _) => found.problem("agent", &format!("{text}: disabled")),
            (_, Some("Aggressive")) => found.problem(
                "agent",
                &format!(
                    "{text}: it removes images that no workspace names; set its pruning to \
                     {NO_PRUNING}"
                ),
            ),
            _ => found.line("agent", &text),
        }
    }
    Ok(Some(agents))
}

fn image(client: &Client, workspace: &Workspace, found: &mut Findings) -> anyhow::Result<Value> {
    let name = reference(workspace);
    let name = name.as_str();
    let Some(images) = if_told(client.images())? else {
        found.problem("image", &format!("{name}: the key may not look for it"));
        return Ok(json!({"name": name, "registered": null}));
    };
    let exact: Vec<&Image> = images.iter().filter(|image| image.name == name).collect();
    let same = |image: &&Image| {
        image.name.rsplit_once(':').map(|(name, _)| name)
            == name.rsplit_once(':').map(|(name, _)| name)
    };
    match exact.as_slice() {
        [] => {
            let near = images.iter().find(same);
            let near = near.map_or_else(String::new, |image| {
                format!("; there is {} ({})", image.name, image.id)
            });
            found.problem(
                "image",
                &format!(
                    "{name}: not registered{near}; run `kasmforge kasm register {}`",
                    workspace.name
                ),
            );
        }
        several => {
            for image in several {
                let place = format!("{name}: registered as {}", image.id);
                match (image.available, image.enabled) {
                    (Some(false), _) => found.problem(
                        "image",
                        &format!("{place}, but no agent has it: load it there"),
                    ),
                    (_, Some(false)) => found.problem("image", &format!("{place}, but disabled")),
                    _ => found.line("image", &place),
                }
            }
        }
    }
    let ids: Vec<_> = exact.iter().map(|image| image.id.as_str()).collect();
    Ok(json!({
        "name": name,
        "registered": !exact.is_empty(),
        "image_ids": ids,
        "available": exact.first().and_then(|image| image.available),
        "enabled": exact.first().and_then(|image| image.enabled),
    }))
}

fn permission_json(probe: &Probe) -> Value {
    let permissions = probe.permissions.iter();
    let permissions = permissions.map(|one| json!({"name": one.name, "id": one.id}));
    json!({
        "permissions": permissions.collect::<Vec<_>>(),
        "for": probe.purpose,
        "held": match probe.verdict {
            Verdict::Held => json!(true),
            Verdict::Missing => json!(false),
            Verdict::Unknown(_) => Value::Null,
        },
    })
}

fn agent_json(agent: &Agent) -> Value {
    json!({
        "agent_id": agent.id.as_ref().map(|id| id.as_str()),
        "hostname": agent.host,
        "status": agent.status,
        "enabled": agent.enabled,
        "cores": agent.cores,
        "memory": agent.memory,
        "pruning": agent.pruning,
    })
}
