//! `kasmforge registry import`

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use kasmforge_kasm::registry::{self, IconFormat, Imported, Source};
use kasmforge_spec::{Folder, Sources};
use serde::Serialize;
use serde_json::json;

use super::{Import, place};
use crate::cli::Global;
use crate::printer::Printer;
use crate::project::Project;
use crate::settings::Settings;
use crate::whole_file;

/// Prints a `workspace.json` as a definition's table, or writes it there.
pub(super) fn run(wanted: &Import, global: &Global, printer: &Printer) -> anyhow::Result<()> {
    let settings = Settings::resolve(global)?;
    let (source, file) = place::file(&wanted.from, &settings)?;
    let bytes = source
        .read(&file)?
        .with_context(|| format!("{} is not there", wanted.from))?;
    let text = String::from_utf8(bytes).ok();
    let text = text.with_context(|| format!("{} is not UTF-8 text", wanted.from))?;
    let imported = registry::import(&wanted.from, &text, wanted.entry.as_deref())?;
    for note in notes(&imported) {
        printer.say(&note);
    }
    let written = match (&wanted.workspace, wanted.write) {
        (Some(name), true) => {
            let project = Project::find(global.directory.as_deref())?;
            Some(write(name, &imported, source.as_ref(), &project, printer)?)
        }
        _ => None,
    };
    let icon = wanted.workspace.as_ref().and_then(|name| {
        let extension = imported.icon.as_deref()?.rsplit_once('.')?.1;
        Some(format!("{name}/icon.{extension}"))
    });
    let icon = icon.or_else(|| imported.icon.clone());
    let fragment = fragment(&imported, icon.as_deref(), true)?;
    let json = json!({
        "friendly_name": imported.friendly_name,
        "image": imported.image,
        "definition": written,
        "toml": fragment,
        "left_out": imported.left_out,
    });
    match (&written, printer.json()) {
        (Some(path), false) => Ok(printer.result(&format!("{path} is written"), &json)?),
        (None, false) => Ok(printer.raw(&fragment)?),
        (_, true) => Ok(printer.result("", &json)?),
    }
}

/// What is said of what has no place in a definition.
fn notes(imported: &Imported) -> Vec<String> {
    let mut notes = Vec::new();
    if !imported.left_out.is_empty() {
        let keys = imported.left_out.join(", ");
        notes.push(format!(
            "left out, for no key of a definition says it: {keys}"
        ));
    }
    if !imported.other_images.is_empty() {
        let images = imported.other_images.join(", ");
        notes.push(format!(
            "other versions of Kasm are given other images, which one definition cannot say: {images}"
        ));
    }
    notes
}

/// The table, its keys in the order people write them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kasm<'a> {
    friendly_name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    categories: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    architecture: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    compatibility: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_registry: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    available_tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    require_gpu: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_allocation_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_config: Option<toml::Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec_config: Option<toml::Table>,
}

#[derive(Debug, Serialize)]
struct Definition<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    kasm: Kasm<'a>,
}

/// What is imported, as the text of a definition; `whole`: with what stands outside `[kasm]`.
fn fragment(imported: &Imported, icon: Option<&str>, whole: bool) -> anyhow::Result<String> {
    let definition = Definition {
        description: imported.description.as_deref().filter(|_| whole),
        kasm: Kasm {
            friendly_name: &imported.friendly_name,
            categories: &imported.categories,
            icon,
            architecture: &imported.architecture,
            compatibility: &imported.compatibility,
            docker_registry: imported.docker_registry.as_deref(),
            available_tags: &imported.available_tags,
            cores: imported.cores,
            memory: imported.memory.map(|mb| format!("{mb}m")),
            gpu_count: imported.gpu_count,
            require_gpu: imported.require_gpu,
            cpu_allocation_method: imported.cpu_allocation_method.as_deref(),
            notes: imported.notes.as_deref(),
            run_config: table(imported.run_config.as_ref())?,
            exec_config: table(imported.exec_config.as_ref())?,
        },
    };
    let mut text = toml::to_string(&definition)?;
    let image = imported.image.as_deref().filter(|_| whole);
    if let Some((repository, tag)) = image.and_then(|image| image.rsplit_once(':')) {
        // The image is the definition's own affair: it may well be meant to have another name.
        text.push_str(&format!(
            "\n# [image]\n# repository = {}\n# tags = [{}]\n",
            toml::Value::from(repository),
            toml::Value::from(tag)
        ));
    }
    Ok(text)
}

/// A JSON object as a table; `null`, which TOML does not have, is left away.
fn table(value: Option<&serde_json::Value>) -> anyhow::Result<Option<toml::Table>> {
    fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(object) => object
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
            serde_json::Value::Array(list) => list
                .iter()
                .filter(|value| !value.is_null())
                .map(without_nulls)
                .collect(),
            other => other.clone(),
        }
    }
    value
        .map(|value| {
            toml::Table::try_from(without_nulls(value)).context("TOML cannot hold a value")
        })
        .transpose()
}

/// A project in which one file says something else.
struct Overlaid<'a> {
    folder: &'a Folder,
    path: &'a str,
    text: &'a str,
    icon: Option<&'a str>,
}

impl Sources for Overlaid<'_> {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        if path == self.path {
            return Ok(Some(self.text.to_owned()));
        }
        self.folder.read(path)
    }

    fn exists(&self, path: &str) -> bool {
        self.icon == Some(path) || self.folder.exists(path)
    }

    fn workspaces(&self) -> io::Result<Vec<String>> {
        self.folder.workspaces()
    }
}

/// Writes the table into a definition that has none, and the icon beside it. Nothing is written
/// that the definition would be refused for.
fn write(
    name: &str,
    imported: &Imported,
    source: &dyn Source,
    project: &Project,
    printer: &Printer,
) -> anyhow::Result<String> {
    // A name that nobody defined is told with those there are.
    project.load(name)?;
    let path = format!("workspaces/{name}.toml");
    let file = project.root.join(&path);
    let old =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let document: toml::Table = old.parse()?;
    if document.contains_key("kasm") {
        bail!(
            "{path} has a `[kasm]` table already; take it away, or print the other without --write"
        );
    }
    let icon = icon(imported, source)?;
    if icon.is_none() {
        printer.warn("the icon is not beside it; name one with `icon` in `[kasm]`");
    }
    let named = icon
        .as_ref()
        .map(|(format, _)| format!("{name}/icon.{}", format.extension()));
    let table = fragment(imported, named.as_deref(), false)?;
    let mut text = old.clone();
    if let Some(description) = &imported.description
        && !document.contains_key("description")
    {
        let line = format!(
            "description = {}\n",
            toml::Value::from(description.as_str())
        );
        text.insert_str(top(&old), &line);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("\n{table}"));
    let icon_path = named.as_ref().map(|named| format!("workspaces/{named}"));
    let overlaid = Overlaid {
        folder: &Folder(project.root.clone()),
        path: &path,
        text: &text,
        icon: icon_path.as_deref(),
    };
    kasmforge_spec::load(&overlaid, name)?;
    if let (Some((_, bytes)), Some(icon_path)) = (&icon, &icon_path) {
        let icon = project.root.join(icon_path);
        if icon.exists() {
            printer.say(&format!("{icon_path} is there already, and stays"));
        } else {
            whole_file::write(&icon, bytes)?;
        }
    }
    whole_file::write(&file, text.as_bytes())?;
    Ok(path)
}

/// Where a line at the top of a file goes: below its name, else above everything that is no comment.
fn top(text: &str) -> usize {
    let mut at = 0;
    let mut comments = 0;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with('[') {
            break;
        }
        at += line.len();
        if start.starts_with("name") && line.ends_with('\n') {
            return at;
        }
        if start.starts_with('#') && comments + line.len() == at {
            comments = at;
        }
    }
    comments
}

/// The icon: beside a `workspace.json`, or in `icons/` beside a list.
fn icon(imported: &Imported, source: &dyn Source) -> anyhow::Result<Option<(IconFormat, Vec<u8>)>> {
    let plain = |name: &&String| Path::new(name.as_str()).file_name() == Some(name.as_ref());
    let Some(name) = imported.icon.as_ref().filter(plain) else {
        return Ok(None);
    };
    for path in [name.clone(), format!("icons/{name}")] {
        if let Some(bytes) = source.read(&path)?
            && let Some(format) = IconFormat::of(&bytes)
        {
            return Ok(Some((format, bytes)));
        }
    }
    Ok(None)
}
