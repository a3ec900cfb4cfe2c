//! `list.json` as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Schema;
use super::super::json::Node;
use super::fields::{self, Field, Kind, field, texts};
use super::{At, Ledger, entry, quoted};

/// The keys of both schemas.
const COMMON: [Field; 8] = [
    ("name", true, Kind::Text),
    ("workspacecount", true, Kind::Whole),
    ("icon", true, Kind::Text),
    ("description", true, Kind::Text),
    ("list_url", true, Kind::Text),
    ("contact_url", false, Kind::Text),
    ("modified", true, Kind::Whole),
    ("workspaces", true, Kind::List),
];

/// What 1.1 has besides.
const CHANNELS: [Field; 2] = [
    ("channels", true, Kind::List),
    ("default_channel", false, Kind::Text),
];

/// Milliseconds since 1970 are larger than this since 1973, seconds not before 5138.
const SECONDS: u64 = 100_000_000_000;

/// Judges a whole list.
pub(super) fn judge(document: &Node, at: &At, schema: Schema, ledger: &mut Ledger) {
    let mut keys = COMMON.to_vec();
    if schema == Schema::V11 {
        keys.extend(CHANNELS);
    }
    fields::judge(document, at, "the list", &keys, ledger);
    addresses(document, at, schema, ledger);
    times(document, at, ledger);
    let Some((list, list_at)) = field(document, at, "workspaces", Kind::List) else {
        return;
    };
    let entries = list.elements();
    if let Some((count, at)) = field(document, at, "workspacecount", Kind::Whole)
        && count.whole() != Some(entries.len() as u64)
    {
        let message = format!(
            "`workspacecount` is not the number of workspaces: {}",
            entries.len()
        );
        ledger.error("count-wrong", &at, message, "counted otherwise");
    }
    for (index, node) in entries.iter().enumerate() {
        let at = list_at.below(&format!("[{index}]"), node.span.clone());
        entry::judge(node, &at, schema, ledger);
    }
    same_names(entries, &list_at, ledger);
    if schema == Schema::V11 {
        channels(document, at, entries, &list_at, ledger);
    }
}

fn addresses(document: &Node, at: &At, schema: Schema, ledger: &mut Ledger) {
    if let Some((node, at)) = field(document, at, "list_url", Kind::Text) {
        let url = node.text().unwrap_or_default();
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        let versioned = url
            .trim_end_matches('/')
            .ends_with(&format!("/{}", schema.name()));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!("`list_url` is not a whole address: {}", quoted(url));
            ledger
                .error("list-url-not-whole", &at, message, "`https://` is wanted")
                .help("it is the registry's root, as in `https://registry.example/`");
        } else if versioned || url.ends_with(".json") {
            let message = "`list_url` names one schema or file, not the registry's root";
            ledger
                .error(
                    "list-url-not-root",
                    &at,
                    message,
                    "servers append the schema themselves",
                )
                .help("write the address without the version and `list.json`");
        } else if !url.ends_with('/') {
            let message = "`list_url` does not end in `/`";
            ledger
                .error(
                    "list-url-no-slash",
                    &at,
                    message,
                    "servers append to it as it is",
                )
                .help(format!("write `{url}/`"));
        }
    }
    if let Some((node, at)) = field(document, at, "icon", Kind::Text)
        && node.text().is_some_and(str::is_empty)
    {
        let message = "the registry's icon is empty";
        ledger.error("registry-icon-empty", &at, message, "an address is wanted");
    }
    if let Some((node, at)) = field(document, at, "contact_url", Kind::Text) {
        let url = node.text().unwrap_or_default();
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let message = "`contact_url` is not an address";
            ledger.warning("contact-url", &at, message, "people are sent here for help");
        }
    }
}

fn times(document: &Node, at: &At, ledger: &mut Ledger) {
    if let Some((node, at)) = field(document, at, "modified", Kind::Whole)
        && let Some(time) = node.whole()
        && (1..SECONDS).contains(&time)
    {
        let message = "`modified` is in seconds, where milliseconds are wanted";
        ledger
            .warning("modified-in-seconds", &at, message, "January 1970")
            .help(format!("write `{}`", time * 1000));
    }
}

fn same_names(entries: &[Node], at: &At, ledger: &mut Ledger) {
    let mut seen = BTreeMap::new();
    for (index, node) in entries.iter().enumerate() {
        let Some(name) = node.get("friendly_name") else {
            continue;
        };
        let Some(text) = name.value.text() else {
            continue;
        };
        if let Some(first) = seen.insert(text, index) {
            let path = format!("[{index}].friendly_name");
            let here = at.below(&path, name.value.span.clone());
            let message = format!("two workspaces are called {}", quoted(text));
            let label = format!("`workspaces[{first}]` is called so, too");
            ledger.warning("name-twice", &here, message, label);
        }
    }
}

/// `channels` is what `available_tags` name together, and all workspaces have these or none.
fn channels(document: &Node, at: &At, entries: &[Node], list_at: &At, ledger: &mut Ledger) {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut without = Vec::new();
    for (index, node) in entries.iter().enumerate() {
        let Some(versions) = node.get("compatibility") else {
            continue;
        };
        for (number, version) in versions.value.elements().iter().enumerate() {
            match version.get("available_tags") {
                Some(tags) => {
                    named.extend(tags.value.elements().iter().filter_map(Node::text));
                }
                None => {
                    let path = format!("[{index}].compatibility[{number}].available_tags");
                    let start = version.span.start;
                    without.push(list_at.below(&path, start..start + 1));
                }
            }
        }
    }
    if !named.is_empty() {
        for here in without {
            let message = "this has no `available_tags`, where other workspaces have";
            ledger
                .error("channels-mixed", &here, message, "shown in no channel")
                .help("give them to all workspaces, or to none");
        }
    }
    if let Some(written) = texts(document, at, "channels", ledger) {
        let have: BTreeSet<&str> = written.iter().map(|(text, _)| *text).collect();
        for (text, here) in &written {
            if !named.contains(text) {
                let message = format!("no workspace has the channel {}", quoted(text));
                ledger.warning("channel-empty", here, message, "nothing is shown in it");
            }
        }
        let Some((list, here)) = field(document, at, "channels", Kind::List) else {
            return;
        };
        for tag in named.difference(&have) {
            let start = list.span.start;
            let here = At {
                span: start..start + 1,
                ..here.clone()
            };
            let message = format!("`channels` lacks {}, which workspaces have", quoted(tag));
            ledger.error("channel-missing", &here, message, "it belongs here");
        }
        if let Some((node, here)) = field(document, at, "default_channel", Kind::Text)
            && let Some(text) = node.text()
            && !have.contains(text)
        {
            let message = format!("the default channel {} is no channel", quoted(text));
            ledger.error(
                "default-channel",
                &here,
                message,
                "nothing is shown at first",
            );
        } else if !have.is_empty() && field(document, at, "default_channel", Kind::Text).is_none() {
            let message = "there are channels, but no `default_channel`";
            let span = document
                .get("default_channel")
                .map_or(list.span.start..list.span.start + 1, |member| {
                    member.value.span.clone()
                });
            let here = At::new(at.text, "default_channel", span);
            ledger.error(
                "default-channel",
                &here,
                message,
                "nothing is shown at first",
            );
        }
    }
}
