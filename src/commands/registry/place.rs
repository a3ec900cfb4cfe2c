//! Where a registry or a file of one is: on disk, or on the web.

use std::path::Path;

use anyhow::Context as _;
use kasmforge_kasm::registry::{Source, Web};

use crate::settings::Settings;

/// Whether a text is an address rather than a path.
pub(super) fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The files of a registry; a `list.json` named itself stands for its folder.
pub(super) fn source(text: &str, settings: &Settings) -> anyhow::Result<Box<dyn Source>> {
    if is_address(text) {
        let base = text.strip_suffix("list.json").unwrap_or(text);
        return Ok(Box::new(Web::new(&settings.route, base)?));
    }
    let path = Path::new(text);
    let folder = if path.is_file() { parent(path) } else { path };
    let found = std::fs::metadata(folder);
    found.with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(Box::new(folder.to_owned()))
}

/// A file's folder, and its name there.
pub(super) fn file(text: &str, settings: &Settings) -> anyhow::Result<(Box<dyn Source>, String)> {
    if is_address(text) {
        let (folder, name) = Web::folder_of(text);
        return Ok((
            Box::new(Web::new(&settings.route, folder)?),
            name.to_owned(),
        ));
    }
    let path = Path::new(text);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{text} is not the name of a file"))?;
    Ok((Box::new(parent(path).to_owned()), name.to_owned()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
