//! Reads a `workspace.json` that somebody wrote, in either schema.

use serde_json::Value;

use super::json::{self, Node};

/// What a `workspace.json` says, in the words of both schemas.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Imported {
    /// `friendly_name`.
    pub friendly_name: String,
    /// `description`.
    pub description: Option<String>,
    /// `image_src`: the icon's file name.
    pub icon: Option<String>,
    /// The image's name with its tag; in schema 1.1 that of the newest version named.
    pub image: Option<String>,
    /// Further images, which other versions of Kasm are given.
    pub other_images: Vec<String>,
    /// `docker_registry`.
    pub docker_registry: Option<String>,
    /// `architecture`.
    pub architecture: Vec<String>,
    /// The versions of Kasm named.
    pub compatibility: Vec<String>,
    /// `available_tags`, of all versions.
    pub available_tags: Vec<String>,
    /// `categories`.
    pub categories: Vec<String>,
    /// `run_config`, if it says anything.
    pub run_config: Option<Value>,
    /// `exec_config`, if it says anything.
    pub exec_config: Option<Value>,
    /// `notes`.
    pub notes: Option<String>,
    /// `cores`.
    pub cores: Option<u64>,
    /// `memory`, in MB.
    pub memory: Option<u64>,
    /// `gpu_count`.
    pub gpu_count: Option<u64>,
    /// `require_gpu`.
    pub require_gpu: Option<bool>,
    /// `cpu_allocation_method`.
    pub cpu_allocation_method: Option<String>,
    /// Keys that say something a definition has no place for.
    pub left_out: Vec<String>,
}

/// A text that is no `workspace.json`.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no JSON.
    #[error("{name}:{line}:{column}: this is not JSON: {message}")]
    NotJson {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        message: &'static str,
    },
    /// It is JSON, but of something else.
    #[error("{name} is no workspace.json: it has no `friendly_name`")]
    NotWorkspace {
        /// The file.
        name: String,
    },
    /// It is a list of several workspaces.
    #[error(
        "{name} lists several workspaces; name one with --entry: {}", entries.join(", ")
    )]
    Several {
        /// The file.
        name: String,
        /// Their names.
        entries: Vec<String>,
    },
    /// It is a list that has no such workspace.
    #[error("{name} has no workspace `{wanted}`; it has: {}", entries.join(", "))]
    Absent {
        /// The file.
        name: String,
        /// The one wanted.
        wanted: String,
        /// Those there are.
        entries: Vec<String>,
    },
}

/// Keys that are understood, or rightly dropped: the size is measured, the `sha` computed.
const UNDERSTOOD: [&str; 20] = [
    "friendly_name",
    "description",
    "image_src",
    "name",
    "docker_registry",
    "architecture",
    "compatibility",
    "uncompressed_size_mb",
    "categories",
    "run_config",
    "exec_config",
    "notes",
    "cores",
    "memory",
    "gpu_count",
    "require_gpu",
    "cpu_allocation_method",
    "sha",
    "image_type",
    "enabled",
];

/// Reads a `workspace.json`, or one entry of a `list.json` by its `friendly_name`.
///
/// # Errors
/// It is neither, or the entry is not there.
pub fn import(name: &str, text: &str, entry: Option<&str>) -> Result<Imported, ImportError> {
    let document = json::parse(text).map_err(|error| {
        let before = &text[..floor(text, error.at)];
        ImportError::NotJson {
            name: name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1,
            message: error.message,
        }
    })?;
    let Some(list) = document.get("workspaces") else {
        return workspace(&document).ok_or_else(|| ImportError::NotWorkspace {
            name: name.to_owned(),
        });
    };
    let entries = list.value.elements();
    let named = |node: &Node| {
        node.get("friendly_name")
            .and_then(|one| one.value.text())
            .map(str::to_owned)
    };
    let names = || entries.iter().filter_map(named).collect::<Vec<_>>();
    let found = match entry {
        Some(wanted) => entries
            .iter()
            .find(|node| named(node).is_some_and(|one| one.eq_ignore_ascii_case(wanted)))
            .ok_or_else(|| ImportError::Absent {
                name: name.to_owned(),
                wanted: wanted.to_owned(),
                entries: names(),
            })?,
        None if entries.len() == 1 => &entries[0],
        None => {
            return Err(ImportError::Several {
                name: name.to_owned(),
                entries: names(),
            });
        }
    };
    workspace(found).ok_or_else(|| ImportError::NotWorkspace {
        name: name.to_owned(),
    })
}

fn workspace(node: &Node) -> Option<Imported> {
    let text = |key: &str| {
        let text = node.get(key)?.value.text()?;
        (!text.trim().is_empty()).then(|| text.to_owned())
    };
    let whole = |key: &str| node.get(key)?.value.whole();
    let config = |key: &str| {
        let value = node.get(key)?.value.plain();
        let said = value.as_object().is_some_and(|object| !object.is_empty());
        said.then_some(value)
    };
    let mut imported = Imported {
        friendly_name: text("friendly_name")?,
        description: text("description"),
        icon: text("image_src"),
        image: text("name"),
        docker_registry: text("docker_registry"),
        architecture: strings(node, "architecture"),
        categories: strings(node, "categories"),
        run_config: config("run_config"),
        exec_config: config("exec_config"),
        notes: text("notes"),
        cores: whole("cores"),
        memory: whole("memory"),
        gpu_count: whole("gpu_count"),
        require_gpu: node
            .get("require_gpu")
            .and_then(|one| one.value.plain().as_bool()),
        cpu_allocation_method: text("cpu_allocation_method"),
        ..Imported::default()
    };
    let versions = node.get("compatibility");
    for version in versions.map_or(&[][..], |list| list.value.elements()) {
        let text = |key: &str| Some(version.get(key)?.value.text()?.to_owned());
        let named = version
            .text()
            .map(str::to_owned)
            .or_else(|| text("version"));
        imported.compatibility.extend(named);
        // The last is the newest: what was there before is for older servers.
        if let Some(image) = text("image") {
            let older = imported.image.replace(image.clone());
            imported.other_images.extend(older);
            imported.other_images.retain(|other| *other != image);
            imported.other_images.dedup();
        }
        for tag in strings(version, "available_tags") {
            if !imported.available_tags.contains(&tag) {
                imported.available_tags.push(tag);
            }
        }
        let number = |key: &str| version.get(key)?.value.whole();
        imported.cores = imported.cores.or_else(|| number("cores"));
        imported.memory = imported.memory.or_else(|| number("memory"));
    }
    let keys = node.members().iter().map(|member| &member.key);
    let unknown = keys.filter(|key| !UNDERSTOOD.contains(&key.as_str()));
    imported.left_out = unknown.cloned().collect();
    Some(imported)
}

fn strings(node: &Node, key: &str) -> Vec<String> {
    let list = node.get(key).map_or(&[][..], |list| list.value.elements());
    list.iter()
        .filter_map(|one| one.text().map(str::to_owned))
        .collect()
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
