//! The entries' icons: that they are there, and are icons.

use std::collections::BTreeMap;

use super::super::json::Node;
use super::super::source::{is_file_name, read_all};
use super::super::{Source, icon};
use super::found::List;
use super::{At, CheckError, Ledger, entries};

/// Looks at each icon that an entry names.
pub(super) fn judge(
    source: &dyn Source,
    list: &List,
    document: &Node,
    ledger: &mut Ledger,
) -> Result<(), CheckError> {
    let mut wanted: BTreeMap<&str, Vec<At>> = BTreeMap::new();
    for (index, entry) in entries(document).iter().enumerate() {
        if let Some(name) = entry.get("image_src").and_then(|name| {
            let text = name.value.text()?;
            Some((text, &name.value)).filter(|(text, _)| is_file_name(text))
        }) {
            let path = format!("workspaces[{index}].image_src");
            let at = At::new(list.text, &path, name.1.span.clone());
            wanted.entry(name.0).or_default().push(at);
        }
    }
    let paths: Vec<String> = wanted
        .keys()
        .map(|name| format!("{}icons/{name}", list.folder))
        .collect();
    for ((name, places), bytes) in wanted.iter().zip(read_all(source, &paths)) {
        let at = &places[0];
        let Some(bytes) = bytes? else {
            let message = format!("the icon `{name}` is not there");
            let file = source.name(&format!("{}icons/{name}", list.folder));
            ledger
                .error("icon-missing", at, message, "named here")
                .help(format!(
                    "{file} is what a server fetches; names are case-sensitive"
                ));
            continue;
        };
        let judged = icon::judge(&bytes);
        if let Err(problem) = judged {
            let message = format!("the icon `{name}` is no good icon: {problem}");
            let code = "icon-unsuitable";
            ledger.warning(code, at, message, "named here");
        }
    }
    Ok(())
}
