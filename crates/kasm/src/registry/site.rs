//! Every file of a registry's site, as a value.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::entry::{Channels, ListJson, Listed, Registry};
use super::{Schema, Source, SourceError, gallery};

/// Paths and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// The files, by their path below the site's root.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A site that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A page could not be written from its template.
    #[error("the page {page} could not be made")]
    Page {
        /// The page.
        page: String,
        /// Why.
        source: minijinja::Error,
    },
    /// A document could not be written.
    #[error("{path} could not be made")]
    Document {
        /// The document.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Makes a registry's site. It is a function of the registry alone.
///
/// # Errors
/// When a template or document refuses a value; this would be a mistake of kasmforge.
pub fn site(registry: &Registry) -> Result<Site, SiteError> {
    let mut site = Site::default();
    for schema in Schema::ALL {
        list(registry, schema, &mut site)?;
    }
    let versions = Schema::ALL.map(|schema| format!("{}\n", schema.name()));
    site.put("versions.txt", versions.concat());
    let icon = &registry.icon;
    site.put(&registry.icon_path(), icon.bytes.clone());
    // Hosts that run a site generator over what they serve are told not to.
    site.put(".nojekyll", Vec::new());
    gallery::pages(registry, &mut site)?;
    Ok(site)
}

impl Registry {
    /// The path of its icon below the site's root.
    pub(crate) fn icon_path(&self) -> String {
        format!("icon.{}", self.icon.format.extension())
    }

    /// The channels there are: every tag of every entry, each once, as first named.
    pub(crate) fn channels(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let entries = self
            .entries
            .iter()
            .filter(|entry| !entry.versions(Schema::V11).is_empty());
        entries
            .flat_map(|entry| &entry.available_tags)
            .map(String::as_str)
            .filter(|tag| seen.insert(*tag))
            .collect()
    }
}

fn list(registry: &Registry, schema: Schema, site: &mut Site) -> Result<(), SiteError> {
    let folder = schema.name();
    let mut workspaces = Vec::new();
    let mut versions: Vec<&str> = Vec::new();
    for entry in &registry.entries {
        let Some(document) = entry.document(schema) else {
            continue;
        };
        let home = format!("{folder}/workspaces/{}", entry.name);
        let path = format!("{home}/workspace.json");
        let bytes = json(&path, &document)?;
        let sha = entry.sha(&bytes);
        site.put(&path, bytes);
        for path in [
            format!("{home}/{}", entry.icon_name()),
            format!("{folder}/icons/{}", entry.icon_name()),
        ] {
            site.put(&path, entry.icon.bytes.clone());
        }
        workspaces.push(Listed {
            workspace: document,
            sha,
        });
        for version in entry.versions(schema) {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
    let channels = (schema == Schema::V11).then(|| {
        let channels = registry.channels();
        let default_channel = registry
            .default_channel
            .as_deref()
            .filter(|wanted| channels.contains(wanted))
            .or_else(|| channels.first().copied());
        Channels {
            channels,
            default_channel,
        }
    });
    let document = ListJson {
        name: &registry.name,
        workspacecount: workspaces.len(),
        icon: format!("{}{}", registry.url, registry.icon_path()),
        description: &registry.description,
        list_url: &registry.url,
        contact_url: &registry.contact,
        modified: registry.modified.saturating_mul(1000),
        workspaces,
        channels,
    };
    let path = format!("{folder}/list.json");
    let bytes = json(&path, &document)?;
    site.put(&path, bytes);
    if schema == Schema::V11 {
        let path = format!("{folder}/versions.json");
        let bytes = json(&path, &serde_json::json!({ "versions": versions }))?;
        site.put(&path, bytes);
    }
    Ok(())
}

fn json(path: &str, value: &impl Serialize) -> Result<Vec<u8>, SiteError> {
    let failed = |source| SiteError::Document {
        path: path.to_owned(),
        source,
    };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A site is read as it will be served.
impl Source for Site {
    fn name(&self, path: &str) -> String {
        path.to_owned()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.files.get(path).cloned())
    }

    fn is_near(&self) -> bool {
        true
    }
}

impl Site {
    pub(crate) fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.to_owned(), bytes.into());
    }
}
