//! `kasmforge kasm register` and `unregister`

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use kasmforge_kasm::api::{
    Change, Id, Plan, Registration, Selection, masked_request, plan, register,
};
use kasmforge_spec::Workspace;
use serde_json::{Value, json};

use super::connection::{Connection, ConnectionArguments};
use super::handover::{HandoverArguments, Output};
use super::{World, reference};

#[derive(Debug, Args)]
pub(super) struct Register {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// The server's workspace to change [default: the one that fits].
    #[arg(long, value_name = "ID", value_parser = id)]
    image_id: Option<Id>,
    /// The address of an icon, as a browser of the web interface asks for it.
    #[arg(long, value_name = "URL")]
    icon: Option<String>,
    /// Shows what would change and the request that would be sent, and sends nothing but questions.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    handover: HandoverArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
pub(super) struct Unregister {
    /// The workspace [default: the only one].
    workspace: Option<String>,
    /// The server's workspace to remove [default: the one with exactly this image].
    #[arg(long, value_name = "ID", value_parser = id)]
    image_id: Option<Id>,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Reads an id of the command line.
pub(super) fn id(text: &str) -> Result<Id, String> {
    Id::parse(text)
        .ok_or_else(|| "this is no id: 32 hexadecimal digits, with or without dashes".into())
}

/// Creates or changes the server's workspace for a definition.
pub(super) fn run(wanted: &Register, world: &World<'_>) -> anyhow::Result<()> {
    let workspace = world.workspace(wanted.workspace.as_ref())?;
    let connection = world.connect(&wanted.connection)?;
    // Who cannot be told afterwards must be known before.
    let handover = wanted.handover.prepare(&connection)?;
    let registration = registration(&workspace, wanted.icon.as_ref())?;
    let selection = wanted
        .image_id
        .as_ref()
        .map_or(Selection::Fitting, Selection::Id);
    if wanted.dry_run {
        return rehearse(&registration, selection, &connection, world);
    }
    let done = register(&connection.client, &registration, selection)?;
    if done.available == Some(false) {
        world.printer.warn(&format!(
            "the server believes that no agent has {}: load it on the agent's host, for instance \
             with `kasmforge load {} --host …`",
            registration.name, workspace.name
        ));
    }
    let (what, changes) = told(&done.plan);
    let json = json!({
        "server": connection.client.server().to_string(),
        "image_id": done.id.as_str(),
        "name": registration.name,
        "did": what,
        "changes": changes.iter().map(change_json).collect::<Vec<_>>(),
        "available": done.available,
    });
    let text = format!(
        "{} {what}  {}{}",
        registration.name,
        done.id,
        listed(changes)
    );
    if handover.output == Output::Text || world.printer.json() {
        let json = handover.extend(json, &done.id, &connection)?;
        return Ok(world.printer.result(&text, &json)?);
    }
    world.printer.say(&text);
    handover.print(&done.id, &connection, world)
}

/// Shows what a registration would do.
fn rehearse(
    registration: &Registration,
    selection: Selection<'_>,
    connection: &Connection,
    world: &World<'_>,
) -> anyhow::Result<()> {
    let client = &connection.client;
    let plan = plan(registration, selection, &client.images()?)?;
    let (what, changes) = told(&plan);
    let mut text = format!("{} would be {what}{}", registration.name, listed(changes));
    let mut json = json!({
        "server": client.server().to_string(),
        "name": registration.name,
        "would": what,
        "changes": changes.iter().map(change_json).collect::<Vec<_>>(),
        "request": null,
    });
    match masked_request(&plan) {
        None => {
            text = format!(
                "{} is registered so already; nothing to do",
                registration.name
            )
        }
        Some((path, body)) => {
            let pretty = serde_json::to_string_pretty(&body).context("JSON is text")?;
            text.push_str(&format!("\nPOST {}{path}\n{pretty}", client.server()));
            json["request"] = json!({"path": path, "body": body});
        }
    }
    Ok(world.printer.result(&text, &json)?)
}

/// Removes the server's workspace for a definition.
pub(super) fn remove(wanted: &Unregister, world: &World<'_>) -> anyhow::Result<()> {
    let workspace = world.workspace(wanted.workspace.as_ref())?;
    let connection = world.connect(&wanted.connection)?;
    let client = &connection.client;
    let name = reference(&workspace);
    let images = client.images()?;
    let found: Vec<&Id> = match &wanted.image_id {
        Some(id) => images
            .iter()
            .map(|image| &image.id)
            .filter(|one| *one == id)
            .collect(),
        // Another tag may be in use by somebody else.
        None => images
            .iter()
            .filter(|image| image.name == name)
            .map(|image| &image.id)
            .collect(),
    };
    let (text, id) = match found.as_slice() {
        [] => (format!("{name} is not registered; nothing to do"), None),
        [id] => {
            client.delete_image(id)?;
            (format!("{name} unregistered  {id}"), Some(*id))
        }
        several => {
            let ids = several.iter().map(ToString::to_string).collect();
            return Err(kasmforge_kasm::api::Error::Ambiguous { ids }.into());
        }
    };
    let json = json!({
        "server": client.server().to_string(),
        "name": name,
        "did": if id.is_some() { "unregistered" } else { "nothing" },
        "image_id": id.map(Id::as_str),
    });
    Ok(world.printer.result(&text, &json)?)
}

/// What a definition says to a server.
fn registration(workspace: &Workspace, icon: Option<&String>) -> anyhow::Result<Registration> {
    let kasm = &workspace.kasm;
    let config = |text: &Option<String>| {
        let value = text.as_deref().map(serde_json::from_str::<Value>);
        value
            .transpose()
            .context("a definition's configurations are JSON")
    };
    let name = reference(workspace);
    let mut further = BTreeMap::new();
    let mut add = |name, value: Option<Value>| further.extend(value.map(|value| (name, value)));
    add("gpu_count", kasm.gpu_count.map(|count| json!(count)));
    add("require_gpu", kasm.require_gpu.map(|flag| json!(flag)));
    let method = kasm.cpu_allocation_method.as_ref();
    add("cpu_allocation_method", method.map(|method| json!(method)));
    add("launch_config", config(&kasm.launch_config)?);
    add("volume_mappings", config(&kasm.volume_mappings)?);
    let path = kasm.persistent_profile_path.as_ref();
    add("persistent_profile_path", path.map(|path| json!(path)));
    add(
        "session_time_limit",
        kasm.session_time_limit.map(|limit| json!(limit)),
    );
    add(
        "filter_policy_id",
        kasm.filter_policy_id.as_ref().map(|id| json!(id)),
    );
    if let Some(zone) = &kasm.zone_id {
        add("zone_id", Some(json!(zone)));
        add("restrict_to_zone", Some(json!(true)));
    }
    if !kasm.restrict_network_names.is_empty() {
        add(
            "restrict_network_names",
            Some(json!(kasm.restrict_network_names)),
        );
        add("restrict_to_network", Some(json!(true)));
    }
    add("hidden", kasm.hidden.map(|flag| json!(flag)));
    let friendly_name = kasm
        .friendly_name
        .as_ref()
        .map_or(&workspace.name, |name| &name.value);
    Ok(Registration {
        docker_registry: kasm.docker_registry.clone().or_else(|| registry(&name)),
        name,
        friendly_name: friendly_name.clone(),
        description: workspace.description.clone(),
        icon: icon.cloned(),
        cores: kasm.cores.map(f64::from),
        memory: kasm.memory,
        categories: kasm
            .categories
            .iter()
            .map(|one| one.value.clone())
            .collect(),
        run_config: config(&kasm.run_config)?,
        exec_config: config(&kasm.exec_config)?,
        notes: kasm.notes.clone(),
        enabled: kasm.enabled,
        further,
    })
}

/// The registry an image's name says it is in: its first part, where that is a host.
fn registry(name: &str) -> Option<String> {
    let (first, _) = name.split_once('/')?;
    let is_host = first.contains(['.', ':']) || first == "localhost";
    is_host.then(|| format!("https://{first}/"))
}

fn told(plan: &Plan) -> (&'static str, &[Change]) {
    match plan {
        Plan::Create { changes } => ("created", changes),
        Plan::Update { changes, .. } => ("updated", changes),
        Plan::Nothing { .. } => ("unchanged", &[]),
    }
}

fn listed(changes: &[Change]) -> String {
    let lines = changes.iter().map(|change| match &change.from {
        Value::Null => format!("\n  {}: {}", change.field, change.to),
        from => format!("\n  {}: {from} -> {}", change.field, change.to),
    });
    lines.collect()
}

fn change_json(change: &Change) -> Value {
    json!({"field": change.field, "from": change.from, "to": change.to})
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn a_registry_is_the_host_of_a_name() {
        assert_eq!(
            registry("ghcr.io/a/desktop:1").as_deref(),
            Some("https://ghcr.io/")
        );
        assert_eq!(
            registry("localhost:5000/a:1").as_deref(),
            Some("https://localhost:5000/")
        );
        assert_eq!(registry("kasmforge/desktop:latest"), None);
    }
}
