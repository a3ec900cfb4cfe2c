//! The gallery for people: a page of all workspaces, and one of each.
//!
//! Pages work from a file and from any static host. They hold their style and their script
//! themselves and allow no others: their policy names both by digest. Everything a definition says
//! is escaped by the templates, notes by [`markdown`].

use kasmforge_digest::Digest;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::entry::{Entry, Package, Registry};
use super::site::{Site, SiteError};
use super::{Schema, markdown};

const STYLE: &str = include_str!("gallery/style.css");
const SCRIPT: &str = include_str!("gallery/gallery.js");

const TEMPLATES: [(&str, &str); 5] = [
    ("page.html", include_str!("gallery/page.html")),
    ("index.html", include_str!("gallery/index.html")),
    ("workspace.html", include_str!("gallery/workspace.html")),
    ("elsewhere.html", include_str!("gallery/elsewhere.html")),
    ("absent.html", include_str!("gallery/absent.html")),
];

/// Writes the pages into a site.
pub(crate) fn pages(registry: &Registry, site: &mut Site) -> Result<(), SiteError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    for (name, text) in TEMPLATES {
        environment
            .add_template(name, text)
            .map_err(|source| SiteError::Page {
                page: name.to_owned(),
                source,
            })?;
    }
    let mut write = |path: &str, template: &str, context: Value| {
        let text = environment
            .get_template(template)
            .and_then(|template| template.render(context));
        let text = text.map_err(|source| SiteError::Page {
            page: path.to_owned(),
            source,
        })?;
        site.put(path, text);
        Ok::<(), SiteError>(())
    };
    let cards: Vec<Card<'_>> = registry.entries.iter().map(Card::of).collect();
    let page = |root: &str| Page::of(registry, root);
    let index = Index {
        page: page(""),
        categories: distinct(registry, |entry| &entry.categories),
        architectures: distinct(registry, |entry| &entry.architecture),
        cards,
    };
    write("index.html", "index.html", Value::from_serialize(&index))?;
    for entry in &registry.entries {
        let path = format!("workspaces/{}.html", entry.name);
        let context = Workspace::of(registry, entry);
        write(&path, "workspace.html", Value::from_serialize(&context))?;
    }
    for schema in Schema::ALL {
        let path = format!("{}/index.html", schema.name());
        let context = Value::from_serialize(page("../"));
        write(&path, "elsewhere.html", context)?;
    }
    let context = Value::from_serialize(page(&registry.url));
    write("404.html", "absent.html", context)?;
    for entry in &registry.entries {
        if let Some(picture) = &entry.screenshot {
            site.put(&screenshot_path(entry), picture.bytes.clone());
        }
    }
    Ok(())
}

fn screenshot_path(entry: &Entry) -> String {
    let extension = entry
        .screenshot
        .as_ref()
        .map_or("png", |picture| picture.format.extension());
    format!("workspaces/{}-screenshot.{extension}", entry.name)
}

/// The values some field has in all entries, sorted, each once.
fn distinct<'r>(
    registry: &'r Registry,
    field: impl Fn(&'r Entry) -> &'r Vec<String>,
) -> Vec<&'r str> {
    let mut values: Vec<&str> = registry
        .entries
        .iter()
        .flat_map(field)
        .map(String::as_str)
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// What every page knows.
#[derive(Debug, Serialize)]
struct Page<'a> {
    /// The way to the site's root.
    root: String,
    name: &'a str,
    description: &'a str,
    url: &'a str,
    contact: &'a str,
    icon: String,
    /// The day of the last change: `2026-11-20`.
    modified: String,
    count: usize,
    style: &'static str,
    script: &'static str,
    /// The Content-Security-Policy.
    policy: String,
}

impl<'a> Page<'a> {
    fn of(registry: &'a Registry, root: &str) -> Self {
        Self {
            root: root.to_owned(),
            name: &registry.name,
            description: &registry.description,
            url: &registry.url,
            contact: &registry.contact,
            icon: registry.icon_path(),
            modified: day(registry.modified),
            count: registry.entries.len(),
            style: STYLE,
            script: SCRIPT,
            policy: format!(
                "default-src 'none'; style-src '{}'; script-src '{}'; img-src 'self' file:; \
                 base-uri 'none'; form-action 'none'",
                source_hash(STYLE),
                source_hash(SCRIPT)
            ),
        }
    }
}

#[derive(Debug, Serialize)]
struct Index<'a> {
    #[serde(flatten)]
    page: Page<'a>,
    categories: Vec<&'a str>,
    architectures: Vec<&'a str>,
    cards: Vec<Card<'a>>,
}

/// A workspace in the index.
#[derive(Debug, Serialize)]
struct Card<'a> {
    name: &'a str,
    friendly_name: &'a str,
    description: &'a str,
    icon: String,
    categories: &'a [String],
    architecture: &'a [String],
    size: String,
    /// What a search looks through, in small letters.
    text: String,
}

impl<'a> Card<'a> {
    fn of(entry: &'a Entry) -> Self {
        let asked = entry.contents.iter().filter(|package| package.asked_for);
        let words = [&entry.friendly_name, &entry.description, &entry.name]
            .into_iter()
            .chain(&entry.categories)
            .chain(asked.map(|package| &package.name));
        let words: Vec<String> = words.map(|word| word.to_lowercase()).collect();
        Self {
            name: &entry.name,
            friendly_name: &entry.friendly_name,
            description: &entry.description,
            icon: icon_path(entry),
            categories: &entry.categories,
            architecture: &entry.architecture,
            size: bytes(entry.size),
            text: words.join(" "),
        }
    }
}

#[derive(Debug, Serialize)]
struct Workspace<'a> {
    #[serde(flatten)]
    page: Page<'a>,
    workspace: Card<'a>,
    screenshot: Option<String>,
    image: &'a str,
    digest: &'a str,
    origin: &'a str,
    /// HTML.
    notes: Option<String>,
    compatibility: &'a [String],
    cores: Option<u32>,
    memory: Option<u64>,
    gpu_count: Option<u32>,
    asked_for: Vec<&'a Package>,
    contents: &'a [Package],
    command: String,
    desktop_port: &'a str,
}

impl<'a> Workspace<'a> {
    fn of(registry: &'a Registry, entry: &'a Entry) -> Self {
        Self {
            page: Page::of(registry, "../"),
            workspace: Card::of(entry),
            screenshot: entry.screenshot.as_ref().map(|_| screenshot_path(entry)),
            image: &entry.image,
            digest: &entry.digest,
            origin: &entry.origin,
            notes: entry.notes.as_deref().map(markdown::to_html),
            compatibility: &entry.compatibility,
            cores: entry.cores,
            memory: entry.memory,
            gpu_count: entry.gpu_count.filter(|count| *count > 0),
            asked_for: entry
                .contents
                .iter()
                .filter(|package| package.asked_for)
                .collect(),
            contents: &entry.contents,
            command: command(entry),
            desktop_port: &entry.run.desktop_port,
        }
    }
}

/// How a container is run with Docker, one option a line.
fn command(entry: &Entry) -> String {
    let run = &entry.run;
    let mut lines = vec![format!("docker run --detach --name {}", run.container)];
    lines.extend(run.ports.iter().map(|port| format!("--publish {port}")));
    if let Some(size) = run.shm_size {
        lines.push(format!("--shm-size {}m", size.div_ceil(1 << 20)));
    }
    lines.push("--env VNC_PW=choose-a-password".to_owned());
    lines.push(entry.image.clone());
    lines.join(" \\\n  ")
}

fn icon_path(entry: &Entry) -> String {
    format!("{}/icons/{}", Schema::V10.name(), entry.icon_name())
}

/// A text's digest as a Content-Security-Policy names it.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", base64(Digest::of(text.as_bytes()).as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// Bytes in the unit people read.
fn bytes(count: u64) -> String {
    if count >= 999_500_000 {
        format!("{:.1} GB", count as f64 / 1e9)
    } else {
        format!("{} MB", count.div_ceil(1_000_000))
    }
}

/// The day of a time in seconds since 1970, as `2026-11-20`. From Howard Hinnant's
/// `civil_from_days`.
fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_133_562, "2026-11-20"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(day(seconds), text);
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
