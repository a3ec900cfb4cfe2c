//! `registry.toml`: what the registry of a project's workspaces is called, and where it is served.

use toml::de::DeTable;

use crate::decode::Decoder;
use crate::diagnostic::{Diagnostic, Report, quoted};
use crate::entries::located;
use crate::fragment::syntax_error;
use crate::model::{Files, Located};
use crate::raw::RawRegistry;
use crate::sources::Sources;
use crate::table::Table;

/// The file's name, in the project's folder.
pub const REGISTRY: &str = "registry.toml";

/// The registry of a project's workspaces.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Where it is served, without a version and with a `/` at the end: Kasm's `list_url`.
    pub url: String,
    /// Its icon, a file of the project.
    pub icon: Located<String>,
    /// Where people find help.
    pub contact: String,
    /// The lines of Kasm's versions that workspaces work with which name none; may be empty.
    pub compatibility: Vec<String>,
    /// The channel shown first.
    pub default_channel: Option<Located<String>>,
    /// The text the locations speak of.
    pub files: Files,
}

/// Reads `registry.toml`. `None` if there is none.
///
/// # Errors
/// Everything that is wrong with it.
pub fn registry(sources: &dyn Sources) -> Result<Option<Registry>, Report> {
    let mut files = Files::default();
    let text = match sources.read(REGISTRY) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", quoted(REGISTRY));
            return Err(Report::new(files, vec![Diagnostic::nowhere(message)]));
        }
    };
    let file = files.add(REGISTRY, text);
    let text = files.text(file);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut decoder = Decoder::new(file, "", text);
    decoder.whole = "the file";
    let raw = RawRegistry::fields(document.get_ref(), 0..0, &mut decoder);
    let mut found = decoder.diagnostics;
    if !errors.is_empty() {
        found = errors
            .iter()
            .map(|error| syntax_error(file, text, error))
            .collect();
    }
    if let Some(icon) = &raw.icon
        && !sources.exists(&icon.value.0)
    {
        let message = format!("{} does not exist", quoted(&icon.value.0));
        let help = "the path is relative to the project's folder";
        found.push(Diagnostic::new(icon.at.clone(), message, "no such file").help(help));
    }
    match (
        raw.name,
        raw.description,
        raw.url,
        raw.icon,
        raw.contact,
        found.is_empty(),
    ) {
        (Some(name), Some(description), Some(url), Some(icon), Some(contact), true) => {
            let versions = raw.compatibility.into_iter().flatten();
            Ok(Some(Registry {
                name: name.value.0,
                description: description.value.0,
                url: url.value.0,
                icon: located(&icon, |icon| icon.0.clone()),
                contact: contact.value.0,
                compatibility: versions.map(|version| version.value.0).collect(),
                default_channel: raw
                    .default_channel
                    .map(|tag| located(&tag, |tag| tag.0.clone())),
                files,
            }))
        }
        _ => Err(Report::new(files, found)),
    }
}
