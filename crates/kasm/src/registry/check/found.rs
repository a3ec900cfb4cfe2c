//! Which lists a registry has, and whether `versions.txt` names them.

use std::collections::BTreeSet;

use super::super::json;
use super::super::{Schema, Source};
use super::{At, CheckError, Ledger, Text};

/// A `list.json` that was found.
pub(super) struct List {
    pub(super) schema: Schema,
    /// Its path below the source's root.
    pub(super) path: String,
    /// Its folder there: empty, or ends in `/`.
    pub(super) folder: String,
    pub(super) content: String,
    pub(super) text: usize,
    pub(super) workspaces: usize,
}

/// The lists a registry has: one for each schema, or a single one where the source is already the
/// folder of one schema.
pub(super) fn found(source: &dyn Source) -> Result<Vec<List>, CheckError> {
    let mut lists = Vec::new();
    let mut tried = Vec::new();
    let folders = Schema::ALL.map(|schema| (Some(schema), format!("{}/", schema.name())));
    for (schema, folder) in folders.into_iter().chain([(None, String::new())]) {
        if schema.is_none() && !lists.is_empty() {
            break;
        }
        let path = format!("{folder}list.json");
        let Some(bytes) = source.read(&path)? else {
            tried.push(source.name(&path));
            continue;
        };
        let content = String::from_utf8(bytes).map_err(|_| CheckError::NotText {
            name: source.name(&path),
        })?;
        lists.push(List {
            schema: schema.unwrap_or_else(|| told(&content)),
            path,
            folder,
            content,
            text: 0,
            workspaces: 0,
        });
    }
    if lists.is_empty() {
        return Err(CheckError::Nothing { tried });
    }
    Ok(lists)
}

/// The schema a list is written in, where nothing but the list says so.
fn told(content: &str) -> Schema {
    let document = json::parse(content).ok();
    let newer = document.is_some_and(|document| {
        let workspaces = document.get("workspaces").map(|member| &member.value);
        let first = workspaces.and_then(|list| list.elements().first());
        document.get("channels").is_some() || first.is_some_and(|one| one.get("name").is_none())
    });
    if newer { Schema::V11 } else { Schema::V10 }
}

/// Judges `versions.txt`: each line must be a schema that is there.
pub(super) fn versions(
    source: &dyn Source,
    lists: &[List],
    ledger: &mut Ledger,
) -> Result<(), CheckError> {
    if lists.iter().any(|list| list.folder.is_empty()) {
        return Ok(());
    }
    let path = "versions.txt";
    let Some(bytes) = source.read(path)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let index = ledger.texts.len();
    let mut start = 0;
    let mut listed = BTreeSet::new();
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        let at = At::new(index, "", start..start + line.trim_end().len());
        start += line.len();
        if word.is_empty() {
            continue;
        }
        listed.insert(word.to_owned());
        if !Schema::ALL.iter().any(|schema| schema.name() == word) {
            let message = format!("`{word}` is not a version of the registry's schema");
            let label = "no server asks for this; `1.0` and `1.1` are known";
            ledger.warning("unknown-schema-version", &at, message, label);
        } else if !lists.iter().any(|list| list.schema.name() == word) {
            let message = format!("{} is not there", source.name(&format!("{word}/list.json")));
            ledger.error("schema-version-missing", &at, message, "promised here");
        }
    }
    let end = At::new(index, "", text.len()..text.len());
    for list in lists {
        if !listed.contains(list.schema.name()) {
            let message = format!("{path} does not name {}", list.schema.name());
            ledger.warning("schema-version-unlisted", &end, message, "it belongs here");
        }
    }
    ledger.texts.push(Text {
        name: source.name(path),
        text,
    });
    Ok(())
}
