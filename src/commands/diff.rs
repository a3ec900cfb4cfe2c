//! What changed between two locks, in words and for machines.

use kasmforge_lock::{Change, ChangeKind};
use serde_json::json;

use crate::printer::bytes;

/// A line for each change, and one for all of them.
pub(super) fn text(changes: &[Change<'_>]) -> String {
    let mut lines: Vec<String> = changes.iter().map(line).collect();
    lines.push(summary(changes));
    lines.join("\n")
}

fn line(change: &Change<'_>) -> String {
    let package = change.package();
    let name = &package.name;
    let mut text = match (change.before, change.after) {
        (Some(before), Some(after)) if before.version == after.version => {
            format!("~ {name} {} (rebuilt)", after.version)
        }
        (Some(before), Some(after)) => {
            let down = change.kind() == ChangeKind::Downgraded;
            let mark = if down { " (older)" } else { "" };
            format!("~ {name} {} -> {}{mark}", before.version, after.version)
        }
        (None, _) => format!("+ {name} {}", package.version),
        (_, None) => format!("- {name} {}", package.version),
    };
    if change.is_security() {
        text.push_str("  [security]");
    }
    if change.growth() != 0 {
        text.push_str(&format!("  {}", signed(change.growth())));
    }
    text
}

/// `2 upgraded (1 security), 1 added; 3.4 MB larger when installed`
fn summary(changes: &[Change<'_>]) -> String {
    let mut words = Vec::new();
    for (kind, word) in [
        (ChangeKind::Upgraded, "upgraded"),
        (ChangeKind::Downgraded, "downgraded"),
        (ChangeKind::Rebuilt, "rebuilt"),
        (ChangeKind::Added, "added"),
        (ChangeKind::Removed, "removed"),
    ] {
        let security = changes.iter().filter(|change| change.is_security()).count();
        match count(changes, kind) {
            0 => {}
            count if kind == ChangeKind::Upgraded && security > 0 => {
                words.push(format!("{count} {word} ({security} security)"));
            }
            count => words.push(format!("{count} {word}")),
        }
    }
    let growth: i64 = changes.iter().map(Change::growth).sum();
    let fetch: u64 = changes
        .iter()
        .filter_map(|change| change.after)
        .map(|package| package.size)
        .sum();
    format!(
        "{}; installed {}, packages to fetch {}",
        words.join(", "),
        signed(growth),
        bytes(fetch)
    )
}

fn signed(growth: i64) -> String {
    let sign = if growth < 0 { '-' } else { '+' };
    format!("{sign}{}", bytes(growth.unsigned_abs()))
}

/// How many changes are of a kind.
pub(super) fn count(changes: &[Change<'_>], kind: ChangeKind) -> usize {
    changes
        .iter()
        .filter(|change| change.kind() == kind)
        .count()
}

/// A change for machines.
pub(super) fn json(change: &Change<'_>) -> serde_json::Value {
    let package = change.package();
    json!({
        "package": package.name,
        "architecture": package.architecture,
        "source": package.source,
        "change": match change.kind() {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Upgraded => "upgraded",
            ChangeKind::Downgraded => "downgraded",
            ChangeKind::Rebuilt => "rebuilt",
        },
        "from": change.before.map(|before| &before.version),
        "to": change.after.map(|after| &after.version),
        "archive": change.after.map(|after| &after.archive),
        "security": change.is_security(),
        "installed_bytes": change.growth(),
        "fetch_bytes": change.after.map_or(0, |after| after.size),
    })
}
