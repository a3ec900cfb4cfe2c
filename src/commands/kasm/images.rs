//! `kasmforge kasm images`

use clap::Args;
use serde_json::json;

use super::World;
use super::connection::ConnectionArguments;
use crate::printer::bytes;

#[derive(Debug, Args)]
pub(super) struct Images {
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Lists the workspaces the server has.
pub(super) fn run(wanted: &Images, world: &World<'_>) -> anyhow::Result<()> {
    let connection = world.connect(&wanted.connection)?;
    let images = connection.client.images()?;
    let lines = images.iter().map(|image| {
        let mut line = format!("{}  {}", image.id, image.name);
        if let Some(name) = &image.friendly_name {
            line.push_str(&format!("  {name}"));
        }
        if let Some(cores) = image.cores {
            line.push_str(&format!("  {cores} cores"));
        }
        if let Some(memory) = image.memory {
            line.push_str(&format!("  {}", bytes(memory)));
        }
        for (value, word) in [
            (image.enabled, "disabled"),
            (image.available, "not available"),
        ] {
            if value == Some(false) {
                line.push_str(&format!("  {word}"));
            }
        }
        line
    });
    let text = match images.is_empty() {
        true => "the server has no workspaces".into(),
        false => lines.collect::<Vec<_>>().join("\n"),
    };
    let json: Vec<_> = images
        .iter()
        .map(|image| {
            json!({
                "image_id": image.id.as_str(),
                "name": image.name,
                "friendly_name": image.friendly_name,
                "enabled": image.enabled,
                "available": image.available,
                "cores": image.cores,
                "memory": image.memory,
            })
        })
        .collect();
    let json = json!({"server": connection.client.server().to_string(), "images": json});
    Ok(world.printer.result(&text, &json)?)
}
