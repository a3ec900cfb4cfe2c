//! What changed since an earlier state of the same registry.

use std::collections::BTreeMap;

use super::super::Source;
use super::super::json::{self, Node};
use super::super::source::is_file_name;
use super::found::List;
use super::{At, CheckError, Ledger, entries};

/// One list, and what it was before.
pub(super) struct Since<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) previous: &'a dyn Source,
    pub(super) list: &'a List,
    pub(super) old: &'a List,
}

impl Since<'_> {
    /// An entry that changed must have another `sha`: servers notice changes by nothing else.
    pub(super) fn unchanged_shas(
        &self,
        document: &Node,
        ledger: &mut Ledger,
    ) -> Result<(), CheckError> {
        let Ok(old) = json::parse(&self.old.content) else {
            return Ok(());
        };
        let named: BTreeMap<&str, &Node> = entries(&old)
            .iter()
            .filter_map(|entry| Some((name_of(entry)?, entry)))
            .collect();
        for (index, entry) in entries(document).iter().enumerate() {
            let Some(before) = name_of(entry).and_then(|name| named.get(name)) else {
                continue;
            };
            let sha = |entry: &Node| entry.get("sha").map(|member| member.value.clone());
            let (Some(now), Some(then)) = (sha(entry), sha(before)) else {
                continue;
            };
            if now.text() != then.text() {
                continue;
            }
            let what = match changed(before, entry) {
                Some(key) => format!("`{key}`"),
                None if self.icon_changed(entry)? => "the icon".to_owned(),
                None => continue,
            };
            let path = format!("workspaces[{index}].sha");
            let at = At::new(self.list.text, &path, now.span);
            let message = format!("{what} changed, but `sha` did not");
            ledger
                .error("sha-unchanged", &at, message, "the same as before")
                .help("servers notice a change by `sha` alone: compute it again");
        }
        Ok(())
    }

    fn icon_changed(&self, entry: &Node) -> Result<bool, CheckError> {
        let Some(name) = entry.get("image_src").and_then(|name| name.value.text()) else {
            return Ok(false);
        };
        if !is_file_name(name) {
            return Ok(false);
        }
        let now = self
            .source
            .read(&format!("{}icons/{name}", self.list.folder))?;
        let then = self
            .previous
            .read(&format!("{}icons/{name}", self.old.folder))?;
        Ok(now.is_some() && then.is_some() && now != then)
    }
}

/// The first key whose value is another than before.
fn changed<'n>(before: &'n Node, now: &'n Node) -> Option<&'n str> {
    let keys = now.members().iter().chain(before.members());
    let mut keys = keys.map(|member| member.key.as_str());
    keys.find(|key| {
        let of = |node: &Node| node.get(key).map(|member| member.value.plain());
        *key != "sha" && of(before) != of(now)
    })
}

fn name_of(entry: &Node) -> Option<&str> {
    entry.get("friendly_name")?.value.text()
}
