//! `kasmforge store`

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use kasmforge_store::{Generation, Store};
use serde_json::json;

use crate::printer::{Printer, bytes};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Reads everything again, and tells what is not what its name says.
    #[arg(long)]
    verify: bool,
    /// With --verify: removes what is damaged, so that the next build makes or fetches it again.
    #[arg(long, requires = "verify")]
    repair: bool,
}

/// Tells what is in the store.
pub(crate) fn run(
    wanted: &StoreArguments,
    settings: &Settings,
    printer: &Printer,
) -> anyhow::Result<()> {
    let store = Store::open(&settings.store)?;
    if wanted.verify {
        return verify(&store, wanted.repair, printer);
    }
    let sizes = store.sizes()?;
    let generations = store.generations()?;
    let total: u64 = sizes.values().map(|(_, size)| size).sum();
    let mut lines = vec![format!("{}  {}", bytes(total), store.root().display())];
    for (kind, (count, size)) in &sizes {
        lines.push(format!("{:>10}  {count} {}", bytes(*size), kind.name()));
    }
    let mut by_workspace: BTreeMap<&str, Vec<&Generation>> = BTreeMap::new();
    for one in &generations {
        by_workspace.entry(&one.workspace).or_default().push(one);
    }
    for (workspace, all) in &by_workspace {
        let size: u64 = all.iter().map(|one| one.length).sum();
        lines.push(format!(
            "{:>10}  {} images of {workspace}",
            bytes(size),
            all.len()
        ));
        for one in all {
            let mut notes = Vec::new();
            if one.latest {
                notes.push("the last built".to_owned());
            }
            notes.extend(one.links.iter().map(|link| link.display().to_string()));
            let notes = notes.join(", ");
            lines.push(format!(
                "            sha256:{}  {}  {notes}",
                one.manifest.get(..12).unwrap_or(&one.manifest),
                bytes(one.length)
            ));
        }
    }
    let json = json!({
        "store": store.root(),
        "size": total,
        "kinds": sizes.iter().map(|(kind, (count, size))| json!({
            "kind": kind.name(), "count": count, "size": size,
        })).collect::<Vec<_>>(),
        "images": generations.iter().map(|one| json!({
            "workspace": one.workspace,
            "digest": format!("sha256:{}", one.manifest),
            "archive": one.archive,
            "size": one.length,
            "latest": one.latest,
            "links": one.links,
        })).collect::<Vec<_>>(),
    });
    Ok(printer.result(lines.join("\n").trim_end(), &json)?)
}

fn verify(store: &Store, repair: bool, printer: &Printer) -> anyhow::Result<()> {
    let damaged = store.damaged()?;
    if repair {
        for path in &damaged {
            store.discard(path)?;
        }
    }
    let text = if damaged.is_empty() {
        "everything in the store is what its name says".to_owned()
    } else {
        let lines: Vec<String> = damaged
            .iter()
            .map(|path| format!("damaged: {}", path.display()))
            .collect();
        lines.join("\n")
    };
    let json = json!({ "store": store.root(), "damaged": damaged, "removed": repair });
    printer.result(&text, &json)?;
    match (damaged.len(), repair) {
        (0, _) => Ok(()),
        (_, true) => {
            printer.say("what was damaged is removed; the next build makes or fetches it again");
            Ok(())
        }
        (count, false) => bail!(
            "{count} things in the store are damaged; `kasmforge store --verify --repair` removes \
             them, and the next build makes or fetches them again"
        ),
    }
}
