//! `kasmforge gc`

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use kasmforge_store::{Keep, Kind, Store};
use serde_json::json;

use crate::printer::{Printer, bytes};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// How many images of each workspace stay, the newest ones. What a `result` leads to stays
    /// as well.
    #[arg(long, value_name = "N", default_value_t = 2)]
    keep: usize,
    /// Removes only what is older: `30d`, `12h`.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Goes on until the store is no larger: older images first, then downloads. `20GB`, `800MB`.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Only tells what would go.
    #[arg(long)]
    dry_run: bool,
}

/// Removes from the store what no image that is kept was made of.
pub(crate) fn run(wanted: &Gc, settings: &Settings, printer: &Printer) -> anyhow::Result<()> {
    let store = Store::open_alone(&settings.store, &mut || {
        printer.say("a build uses the store; waiting for its end");
    })?;
    let keep = Keep {
        generations: wanted.keep,
        younger_than: wanted.older_than.map(before_now).transpose()?,
        most: wanted.max_size,
    };
    let collected = store.collect(&keep, wanted.dry_run)?;
    let mut by_kind: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    for one in &collected.removed {
        let sum = by_kind.entry(one.kind).or_default();
        // What is written about an image is no image.
        let counts = one.kind != Kind::Images || one.path.extension() == Some("tar".as_ref());
        sum.0 += u64::from(counts);
        sum.1 += one.bytes;
    }
    let freed: u64 = by_kind.values().map(|sum| sum.1).sum();
    let mut lines: Vec<String> = by_kind
        .iter()
        .map(|(kind, (count, size))| match count {
            0 => format!("{:>10}  of notes on images", bytes(*size)),
            _ => format!("{:>10}  {count} {}", bytes(*size), kind.name()),
        })
        .collect();
    let verb = if wanted.dry_run { "would be" } else { "are" };
    lines.push(format!(
        "{} {verb} freed, {} left",
        bytes(freed),
        bytes(collected.left)
    ));
    if wanted.max_size.is_some_and(|most| collected.left > most) {
        lines.push("what is left is wanted by the newest images, and more than --max-size".into());
    }
    let json = json!({
        "dry_run": wanted.dry_run,
        "freed": freed,
        "left": collected.left,
        "removed": collected.removed.iter().map(|one| json!({
            "kind": one.kind.name(),
            "path": one.path,
            "size": one.bytes,
        })).collect::<Vec<_>>(),
    });
    Ok(printer.result(&lines.join("\n"), &json)?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "ages are what the user asked for"
)]
fn before_now(age: Duration) -> anyhow::Result<SystemTime> {
    SystemTime::now()
        .checked_sub(age)
        .context("--older-than reaches back before all time")
}

fn age(text: &str) -> Result<Duration, String> {
    let help = || format!("`{text}` is no age: a number and s, m, h, d or w, such as 30d");
    let unit = text.chars().last().ok_or_else(help)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(help()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| help())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(help)
}

fn size(text: &str) -> Result<u64, String> {
    let help = || format!("`{text}` is no size: a number and kB, MB, GB or TB, such as 20GB");
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| help())?;
    let unit = match text[end..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return Err(help()),
    };
    number.checked_mul(unit).ok_or_else(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes() {
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("2w").expect("weeks"), age("14d").expect("days"));
        assert!(age("d").is_err() && age("").is_err() && age("3y").is_err());
        assert_eq!(size("20GB"), Ok(20_000_000_000));
        assert_eq!(size("5"), Ok(5));
        assert!(size("GB").is_err() && size("1XB").is_err() && size("99999999TB").is_err());
    }
}
