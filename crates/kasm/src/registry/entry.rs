//! What a registry is made of, and an entry's documents in both schemas.

use serde::Serialize;
use serde_json::Value;

use super::{IconFormat, Schema, sha};

/// A registry: what is said of it as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Where it is served, with a `/` at its end.
    pub url: String,
    /// Where people find help.
    pub contact: String,
    /// Its icon.
    pub icon: Picture,
    /// When it changed last, in seconds since 1970.
    pub modified: i64,
    /// The channel shown first, where there are channels; `None`: the first there is.
    pub default_channel: Option<String>,
    /// The workspaces, in the order they are listed.
    pub entries: Vec<Entry>,
}

/// A workspace, for servers and for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name in file names: small letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The name people see.
    pub friendly_name: String,
    /// One sentence for people.
    pub description: String,
    /// Its icon.
    pub icon: Picture,
    /// A picture of it running.
    pub screenshot: Option<Picture>,
    /// `amd64`, `arm64`, or both.
    pub architecture: Vec<String>,
    /// The lines of Kasm's versions it works with: `1.17.x`.
    pub compatibility: Vec<String>,
    /// The image's name with its tag.
    pub image: String,
    /// The address of the image's registry, as Docker's configuration has it.
    pub docker_registry: String,
    /// Tags to choose between.
    pub available_tags: Vec<String>,
    /// The size of its layers, uncompressed, in bytes.
    pub size: u64,
    /// Its categories.
    pub categories: Vec<String>,
    /// What docker-py's `run` is given; an object.
    pub run_config: Value,
    /// What is executed at events; an object.
    pub exec_config: Value,
    /// Markdown for people.
    pub notes: Option<String>,
    /// CPU cores a session gets.
    pub cores: Option<u32>,
    /// MB of memory a session gets.
    pub memory: Option<u64>,
    /// GPUs a session gets.
    pub gpu_count: Option<u32>,
    /// Whether it needs a GPU.
    pub require_gpu: Option<bool>,
    /// How CPUs are shared out.
    pub cpu_allocation_method: Option<String>,
    /// What is in the image.
    pub contents: Vec<Package>,
    /// Where that comes from, in words: `Debian trixie, state of 2026-11-20`.
    pub origin: String,
    /// The image's manifest digest.
    pub digest: String,
    /// How a container is run without Kasm.
    pub run: Run,
}

/// A picture: its format and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its format.
    pub format: IconFormat,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A package in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether the definition asks for it by name; the others are needed by these.
    pub asked_for: bool,
}

/// How a container is run with Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The container's name.
    pub container: String,
    /// Published ports, as `docker run -p` takes them.
    pub ports: Vec<String>,
    /// The size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// The port of the host that serves the desktop.
    pub desktop_port: String,
}

/// The first version that reads schema 1.1.
const FIRST_OF_1_1: (u32, u32) = (1, 16);

impl Entry {
    /// The icon's file name.
    #[must_use]
    pub fn icon_name(&self) -> String {
        format!("{}.{}", self.name, self.icon.format.extension())
    }

    /// The size as registries have it: MB of a million bytes, rounded up.
    #[must_use]
    pub const fn size_mb(&self) -> u64 {
        self.size.div_ceil(1_000_000)
    }

    /// The versions of Kasm that a schema's list names. Servers that read 1.1 are named in 1.0
    /// too, as published registries have it: other programs read that.
    #[must_use]
    pub fn versions(&self, schema: Schema) -> Vec<&str> {
        let number = |version: &str| -> Option<(u32, u32)> {
            let (major, rest) = version.split_once('.')?;
            let (minor, _) = rest.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        let new = |version: &&str| number(version).is_some_and(|one| one >= FIRST_OF_1_1);
        let versions = self.compatibility.iter().map(String::as_str);
        match schema {
            Schema::V10 => versions.collect(),
            Schema::V11 => versions.filter(new).collect(),
        }
    }

    /// Its `workspace.json`; `None` in a schema whose servers it does not work with.
    pub(crate) fn document(&self, schema: Schema) -> Option<WorkspaceJson<'_>> {
        let versions = self.versions(schema);
        if versions.is_empty() {
            return None;
        }
        let older = schema == Schema::V10;
        let compatibility = match schema {
            Schema::V10 => Compatibility::Names(versions),
            Schema::V11 => Compatibility::Versions(
                versions
                    .into_iter()
                    .map(|version| Version {
                        version,
                        image: &self.image,
                        uncompressed_size_mb: self.size_mb(),
                        available_tags: &self.available_tags,
                    })
                    .collect(),
            ),
        };
        Some(WorkspaceJson {
            description: &self.description,
            docker_registry: &self.docker_registry,
            image_src: self.icon_name(),
            name: older.then_some(&self.image),
            run_config: &self.run_config,
            exec_config: &self.exec_config,
            categories: &self.categories,
            friendly_name: &self.friendly_name,
            architecture: &self.architecture,
            compatibility,
            uncompressed_size_mb: older.then(|| self.size_mb()),
            notes: self.notes.as_deref(),
            cores: self.cores,
            memory: self.memory,
            gpu_count: self.gpu_count,
            require_gpu: self.require_gpu,
            cpu_allocation_method: self.cpu_allocation_method.as_deref(),
        })
    }

    /// The `sha` of its folder, whose `workspace.json` is this.
    pub(crate) fn sha(&self, workspace_json: &[u8]) -> String {
        let icon = self.icon_name();
        let children = [
            (
                "workspace.json",
                sha::file_hash("workspace.json", workspace_json),
            ),
            (icon.as_str(), sha::file_hash(&icon, &self.icon.bytes)),
        ];
        sha::folder_hash(&self.name, &children)
    }
}

/// An entry as JSON, its keys in the order that Kasm's own registry writes them.
#[derive(Debug, Serialize)]
pub(crate) struct WorkspaceJson<'a> {
    description: &'a str,
    docker_registry: &'a str,
    image_src: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a String>,
    run_config: &'a Value,
    exec_config: &'a Value,
    categories: &'a [String],
    friendly_name: &'a str,
    architecture: &'a [String],
    compatibility: Compatibility<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncompressed_size_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    require_gpu: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_allocation_method: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Compatibility<'a> {
    Names(Vec<&'a str>),
    Versions(Vec<Version<'a>>),
}

#[derive(Debug, Serialize)]
struct Version<'a> {
    version: &'a str,
    image: &'a str,
    uncompressed_size_mb: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    available_tags: &'a [String],
}

/// `list.json`.
#[derive(Debug, Serialize)]
pub(crate) struct ListJson<'a> {
    pub(crate) name: &'a str,
    pub(crate) workspacecount: usize,
    pub(crate) icon: String,
    pub(crate) description: &'a str,
    pub(crate) list_url: &'a str,
    pub(crate) contact_url: &'a str,
    pub(crate) modified: i64,
    pub(crate) workspaces: Vec<Listed<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<Channels<'a>>,
}

/// An entry of `list.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<'a> {
    #[serde(flatten)]
    pub(crate) workspace: WorkspaceJson<'a>,
    pub(crate) sha: String,
}

/// What schema 1.1 has besides.
#[derive(Debug, Serialize)]
pub(crate) struct Channels<'a> {
    pub(crate) channels: Vec<&'a str>,
    pub(crate) default_channel: Option<&'a str>,
}
