//! `kasmforge load`

use kasmforge_deploy::{LoadEvent, Loaded};
use serde_json::json;

use super::{Context, engine};
use crate::cli::Load;
use crate::printer::{Printer, bytes};
use crate::progress::Progress;

/// Gives the image that was built last to the engine, and verifies that it has it.
pub(crate) fn run(wanted: &Load, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let built = engine::built(&name, context)?;
    let engine = engine::connected(&wanted.engine)?;
    let loaded = give(&engine, &built, printer)?;
    let about = engine.about();
    let text = if loaded.already_there {
        format!("{}  is in the engine already  0 B sent", loaded.reference)
    } else {
        format!(
            "{}  {} of {} layers sent, {}  {:.1} s",
            loaded.reference,
            loaded.layers_sent,
            loaded.layers_total,
            bytes(loaded.bytes_sent),
            loaded.seconds
        )
    };
    let json = json!({
        "engine": about.version,
        "endpoint": about.endpoint.to_string(),
        "store": loaded.store.name(),
        "reference": loaded.reference.to_string(),
        "image_id": loaded.image_id,
        "layers_total": loaded.layers_total,
        "layers_sent": loaded.layers_sent,
        "bytes_sent": loaded.bytes_sent,
        "already_there": loaded.already_there,
        "seconds": loaded.seconds,
    });
    Ok(printer.result(&text, &json)?)
}

/// Loads an image with progress.
pub(super) fn give(
    engine: &kasmforge_deploy::Engine,
    built: &kasmforge_build::Built,
    printer: &Printer,
) -> anyhow::Result<Loaded> {
    let progress = Progress::new(printer);
    let mut begun = false;
    let loaded = engine.load(&engine::archive(built), &mut |event| match event {
        LoadEvent::Sending { sent, length } => {
            if !begun {
                begun = true;
                progress.begin_bytes("sending", length);
            }
            progress.at(sent);
        }
        LoadEvent::Unpacking => progress.say("the engine unpacks"),
        LoadEvent::Verifying => progress.say("verifying"),
        LoadEvent::SendingAll { problem } => {
            begun = false;
            progress.warn(&format!("{problem}; everything is sent again"));
        }
    })?;
    progress.end();
    Ok(loaded)
}
