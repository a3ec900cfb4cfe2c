//! The workspaces' own folders, where they are published beside the list: each entry must say what
//! its `workspace.json` says, and its `sha` must be that of the folder.

use super::super::json::{self, Node};
use super::super::source::{is_file_name, read_all};
use super::super::{Source, sha};
use super::found::List;
use super::{At, CheckError, Ledger, Text, entries, quoted};

/// An entry whose folder may be there.
struct Published<'d> {
    index: usize,
    entry: &'d Node,
    icon: &'d str,
    /// The folder's own name, which its hash covers.
    name: &'d str,
    /// Its path below the registry's root.
    folder: String,
}

/// Looks at each folder that is there. Other registries do not publish them: far away, nothing more
/// is asked once the first is missing.
pub(super) fn judge(
    source: &dyn Source,
    list: &List,
    document: &Node,
    ledger: &mut Ledger,
) -> Result<(), CheckError> {
    let mut published: Vec<Published<'_>> = entries(document)
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| {
            let icon = entry.get("image_src")?.value.text()?;
            let (name, _) = icon.rsplit_once('.').filter(|_| is_file_name(icon))?;
            let folder = format!("{}workspaces/{name}", list.folder);
            Some(Published {
                index,
                entry,
                icon,
                name,
                folder,
            })
        })
        .collect();
    if let Some(first) = published.first()
        && !source.is_near()
        && source.read(&first.document())?.is_none()
    {
        published.clear();
    }
    let documents: Vec<String> = published.iter().map(Published::document).collect();
    let icons: Vec<String> = published
        .iter()
        .map(|one| format!("{}/{}", one.folder, one.icon))
        .collect();
    let documents = read_all(source, &documents);
    let icons = read_all(source, &icons);
    for ((one, json), icon) in published.iter().zip(documents).zip(icons) {
        let (Some(json), icon) = (json?, icon?) else {
            continue;
        };
        one.says_the_same(source, list, &json, ledger);
        if let Some(icon) = icon {
            one.has_its_sha(source, list, &json, &icon, ledger);
        }
    }
    Ok(())
}

impl Published<'_> {
    fn document(&self) -> String {
        format!("{}/workspace.json", self.folder)
    }

    /// Computes `sha` again.
    fn has_its_sha(
        &self,
        source: &dyn Source,
        list: &List,
        json: &[u8],
        icon: &[u8],
        ledger: &mut Ledger,
    ) {
        let Some(written) = self.entry.get("sha") else {
            return;
        };
        let children = [
            ("workspace.json", sha::file_hash("workspace.json", json)),
            (self.icon, sha::file_hash(self.icon, icon)),
        ];
        let right = sha::folder_hash(self.name, &children);
        if written.value.text() != Some(&right) {
            let path = format!("workspaces[{}].sha", self.index);
            let at = At::new(list.text, &path, written.value.span.clone());
            let message = format!("`sha` is not that of {}", source.name(&self.folder));
            ledger
                .error("sha-wrong", &at, message, "another folder has this")
                .help(format!("it is `{right}`"));
        }
    }

    /// Compares the entry with the document it was made of, key by key.
    fn says_the_same(&self, source: &dyn Source, list: &List, json: &[u8], ledger: &mut Ledger) {
        let file = source.name(&self.document());
        let text = String::from_utf8_lossy(json).into_owned();
        let own = match json::parse(&text) {
            Ok(own) => own,
            Err(error) => {
                let end = text.len().min(error.at + 1);
                let at = At::new(ledger.texts.len(), "", error.at.min(end)..end);
                ledger.texts.push(Text { name: file, text });
                ledger.error("not-json", &at, "this is not JSON", error.message);
                return;
            }
        };
        let below = format!("workspaces[{}]", self.index);
        for member in self.entry.members() {
            // The list adds the hash.
            if member.key == "sha" {
                continue;
            }
            let at = At::new(
                list.text,
                &format!("{below}.{}", member.key),
                member.value.span.clone(),
            );
            let there = own.get(&member.key).map(|other| other.value.plain());
            let key = quoted(&member.key);
            let (message, help) = match there {
                Some(there) if there == member.value.plain() => continue,
                Some(there) => (
                    format!("{key} is not what {file} says"),
                    format!("there it is {}", quoted(&there.to_string())),
                ),
                None => (
                    format!("{key} is not in {file}"),
                    "write it there too, and the list anew".to_owned(),
                ),
            };
            ledger
                .error("entry-differs", &at, message, "only the list has this")
                .help(help);
        }
        for member in own.members() {
            if self.entry.get(&member.key).is_none() {
                let start = self.entry.span.start;
                let at = At::new(list.text, &below, start..start + 1);
                let key = quoted(&member.key);
                let message = format!("this has no {key}, but {file} has");
                ledger
                    .error("entry-differs", &at, message, "it belongs in here")
                    .help("write the list anew: it is made of these files");
            }
        }
    }
}
