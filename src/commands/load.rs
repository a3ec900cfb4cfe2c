//! `kasmforge load`

use kasmforge_build::Built;
use kasmforge_deploy::{Containerd, Engine, LoadEvent, Loaded};
use serde_json::{Value, json};

use super::{Context, engine};
use crate::cli::Load;
use crate::printer::{Printer, bytes};
use crate::progress::Progress;

/// Gives the image that was built last to the engine, and verifies that it has it.
pub(crate) fn run(wanted: &Load, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let name = engine::workspace(wanted.workspace.as_ref(), context)?;
    let built = engine::built(&name, context)?;
    if let Some(containerd) = engine::containerd(&wanted.engine) {
        return import(&containerd, &built, printer);
    }
    let engine = engine::connected(&wanted.engine)?;
    let loaded = give(&engine, &built, printer)?;
    Ok(printer.result(&told(&loaded), &json(&engine, &loaded))?)
}

/// What was loaded, in words.
pub(super) fn told(loaded: &Loaded) -> String {
    if loaded.already_there {
        return format!("{}  is in the engine already  0 B sent", loaded.reference);
    }
    format!(
        "{}  {} of {} layers sent, {}  {:.1} s",
        loaded.reference,
        loaded.layers_sent,
        loaded.layers_total,
        bytes(loaded.bytes_sent),
        loaded.seconds
    )
}

/// What was loaded, for machines.
pub(super) fn json(engine: &Engine, loaded: &Loaded) -> Value {
    let about = engine.about();
    json!({
        "engine": about.version,
        "product": about.product.name(),
        "endpoint": about.endpoint,
        "context": about.context,
        "store": loaded.store.name(),
        "reference": loaded.reference.to_string(),
        "image_id": loaded.image_id,
        "layers_total": loaded.layers_total,
        "layers_sent": loaded.layers_sent,
        "bytes_sent": loaded.bytes_sent,
        "already_there": loaded.already_there,
        "seconds": loaded.seconds,
    })
}

/// Gives an image to a containerd that stands alone.
fn import(containerd: &Containerd, built: &Built, printer: &Printer) -> anyhow::Result<()> {
    let (progress, mut shown) = (Progress::new(printer), Shown::default());
    let imported = containerd.load(&engine::archive(built), &mut |event| {
        shown.event(&progress, event);
    })?;
    progress.end();
    let text = if imported.already_there {
        format!("{}  is in {containerd} already", imported.reference)
    } else {
        format!(
            "{}  {} given to {containerd}  {:.1} s",
            imported.reference,
            bytes(imported.bytes_sent),
            imported.seconds
        )
    };
    let json = json!({
        "product": "containerd",
        "endpoint": containerd.to_string(),
        "reference": imported.reference.to_string(),
        "image_id": built.manifest,
        "bytes_sent": imported.bytes_sent,
        "already_there": imported.already_there,
        "seconds": imported.seconds,
    });
    Ok(printer.result(&text, &json)?)
}

/// Loads an image with progress.
pub(super) fn give(engine: &Engine, built: &Built, printer: &Printer) -> anyhow::Result<Loaded> {
    let (progress, mut shown) = (Progress::new(printer), Shown::default());
    let loaded = engine.load(&engine::archive(built), &mut |event| {
        shown.event(&progress, event);
    })?;
    progress.end();
    Ok(loaded)
}

/// What has been shown of a load so far.
#[derive(Default)]
struct Shown {
    begun: bool,
}

impl Shown {
    fn event(&mut self, progress: &Progress<'_>, event: LoadEvent) {
        match event {
            LoadEvent::Sending { sent, length } => {
                if !self.begun {
                    self.begun = true;
                    progress.begin_bytes("sending", length);
                }
                progress.at(sent);
            }
            LoadEvent::Unpacking => progress.say("the engine unpacks"),
            LoadEvent::Verifying => progress.say("verifying"),
            LoadEvent::SendingAll { problem } => {
                self.begun = false;
                progress.warn(&format!("{problem}; everything is sent again"));
            }
        }
    }
}
