//! `kasmforge registry build`

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use kasmforge_kasm::registry::{self, Level, Schema};
use kasmforge_spec::{Diagnostic, Files, Folder, Location, REGISTRY};
use kasmforge_store::Store;
use serde_json::json;

use super::gather::{Gathered, gather};
use super::{Build, check, write};
use crate::cli::Global;
use crate::commands::Context;
use crate::exit::{Mistakes, NOTHING_WRITTEN};
use crate::printer::{Printer, bytes};
use crate::project::Project;
use crate::settings::Settings;

/// Makes the site of a project's registry.
pub(super) fn run(wanted: &Build, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let named = wanted.project.as_deref().or(global.directory.as_deref());
    let project = Project::find(named)?;
    let settings = Settings::resolve(global)?;
    let store = Store::open(&settings.store)?;
    let context = Context {
        project,
        settings,
        store,
    };
    let root = &context.project.root;
    let Some(about) = kasmforge_spec::registry(&Folder(root.clone()))? else {
        bail!(
            "there is no {REGISTRY} in {}; it says what the registry is called and where it is \
             served:\n\n  name = \"Example desktops\"\n  description = \"Desktops for everybody at \
             Example\"\n  url = \"https://desktops.example/\"\n  icon = \"icon.svg\"\n  contact = \
             \"https://desktops.example/help\"\n",
            root.display()
        );
    };
    let Gathered {
        registry,
        left_out,
        mistakes,
        doubts,
    } = gather(&about, &context, wanted.skip_unbuilt)?;
    for (files, doubt) in &doubts {
        printer.doubt(files, doubt);
    }
    if !mistakes.is_empty() {
        return Err(together(&mistakes).into());
    }
    for (name, why) in &left_out {
        printer.say(&format!("{name} is not listed: {why}"));
    }
    if registry.entries.is_empty() {
        bail!(
            "no workspace is listed: give those that shall be a `friendly-name` in `[kasm]`, and \
             build them"
        );
    }
    let site = registry::site(&registry)?;
    let checked = registry::check(&site, None)?;
    if checked
        .findings
        .iter()
        .any(|finding| finding.level == Level::Error)
    {
        check::show(&checked, printer);
        bail!("the registry would be refused by servers; nothing was written");
    }
    let out = match &wanted.out {
        Some(out) => out.clone(),
        None => root.join("public"),
    };
    write::write(&site, &out)?;
    let size: usize = site.files.values().map(Vec::len).sum();
    let count = registry.entries.len();
    let text = format!(
        "{}  {count} {}  {} files, {}",
        out.display(),
        if count == 1 {
            "workspace"
        } else {
            "workspaces"
        },
        site.files.len(),
        bytes(size as u64)
    );
    let json = json!({
        "out": absolute(out),
        "url": registry.url,
        "modified": registry.modified.saturating_mul(1000),
        "schemas": Schema::ALL.map(Schema::name),
        "workspaces": registry.entries.iter().map(|entry| json!({
            "name": entry.name,
            "friendly_name": entry.friendly_name,
            "image": entry.image,
            "uncompressed_size_mb": entry.size_mb(),
            "architecture": entry.architecture,
            "compatibility": entry.compatibility,
        })).collect::<Vec<_>>(),
        "left_out": left_out.iter().map(|(name, why)| json!({
            "name": name,
            "why": why,
        })).collect::<Vec<_>>(),
        "files": site.files.len(),
        "bytes": size,
    });
    Ok(printer.result(&text, &json)?)
}

/// The mistakes of several definitions, told as one report.
fn together(mistakes: &[(Files, Diagnostic)]) -> Mistakes {
    let mut files = Files::default();
    let mut known = BTreeMap::new();
    let mut moved = |of: &Files, at: &Location| Location {
        file: *known
            .entry(of.path(at.file).to_owned())
            .or_insert_with(|| files.add(of.path(at.file), of.text(at.file))),
        span: at.span.clone(),
    };
    let diagnostics = mistakes
        .iter()
        .map(|(of, mistake)| Diagnostic {
            at: mistake.at.as_ref().map(|at| moved(of, at)),
            related: mistake
                .related
                .iter()
                .map(|(at, label)| (moved(of, at), label.clone()))
                .collect(),
            ..mistake.clone()
        })
        .collect();
    Mistakes {
        files,
        diagnostics,
        closing: NOTHING_WRITTEN,
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
