//! A lock from text.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_digest::Digest;
use serde::Deserialize;
use toml::Spanned;

use crate::render::{MET_BY, References};
use crate::{ArchiveState, Asked, FORMAT, Ids, Lock, OLDEST_FORMAT, Package, Workspace};

/// A text that is not a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kasmforge.lock:{line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    format: u32,
    #[serde(default)]
    left_out: Vec<Spanned<String>>,
    #[serde(default)]
    archive: Vec<RawArchive>,
    #[serde(default)]
    workspace: Vec<RawWorkspace>,
    #[serde(default)]
    ids: RawIds,
    #[serde(default)]
    urls: BTreeMap<String, Digest>,
    #[serde(default)]
    package: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArchive {
    name: Spanned<String>,
    release: Digest,
    date: Spanned<String>,
    #[serde(default)]
    signer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkspace {
    name: Spanned<String>,
    architecture: String,
    extends: Option<Spanned<String>>,
    request: Digest,
    image: Option<Digest>,
    #[serde(default)]
    asked: Vec<Spanned<String>>,
    packages: Vec<Spanned<String>>,
    layers: Spanned<Vec<Vec<String>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawIds {
    #[serde(default)]
    users: BTreeMap<String, u32>,
    #[serde(default)]
    groups: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPackage {
    name: Spanned<String>,
    version: Spanned<String>,
    architecture: Spanned<String>,
    source: Option<String>,
    archive: Option<Spanned<String>>,
    path: Spanned<String>,
    size: u64,
    sha256: Spanned<String>,
    installed_size: u64,
    #[serde(default)]
    essential: bool,
    #[serde(default)]
    depends: Vec<Spanned<String>>,
    #[serde(default)]
    recommends: Vec<Spanned<String>>,
}

impl Lock {
    /// Reads a lock.
    ///
    /// What is read makes sense in itself: every name stands for something, every package is in
    /// its place, and what only a hand can have written is refused.
    ///
    /// # Errors
    /// Names the line of whatever is not a lock of formats [`OLDEST_FORMAT`] to [`FORMAT`]: syntax,
    /// an unresolved merge, another format, a name that stands for nothing, a package twice.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        merge_marks(text)?;
        let at = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let fail = |offset: usize, message: String| ParseError {
            line: at(offset),
            message,
        };
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                if let Some(found) = other_format(text) {
                    return Err(fail(0, found));
                }
                let offset = error.span().map_or(0, |span| span.start);
                return Err(fail(offset, error.message().to_owned()));
            }
        };
        if !(OLDEST_FORMAT..=FORMAT).contains(&raw.format) {
            return Err(fail(0, refusal(raw.format)));
        }
        let archives = archives(raw.archive, &fail)?;
        let packages = packages(raw.package, &archives, &fail)?;
        let workspaces = workspaces(raw.workspace, &packages, &fail)?;
        let left_out = left_out(raw.left_out, &workspaces, &fail)?;
        Ok(Self {
            left_out,
            archives,
            packages,
            workspaces,
            ids: Ids {
                users: raw.ids.users,
                groups: raw.ids.groups,
            },
            urls: raw.urls,
        })
    }
}

/// Makes an error of an offset and a message.
type Fail<'a> = &'a dyn Fn(usize, String) -> ParseError;

/// Refuses what git leaves in a file that it could not merge.
fn merge_marks(text: &str) -> Result<(), ParseError> {
    let mark = |line: &str| {
        ["<<<<<<< ", "||||||| ", ">>>>>>> "]
            .iter()
            .any(|mark| line.starts_with(mark))
            || line.trim_end() == "======="
    };
    let Some(line) = text.lines().position(mark) else {
        return Ok(());
    };
    Err(ParseError {
        line: line + 1,
        message: "this is an unresolved merge; take either side whole (`git checkout --ours \
                  kasmforge.lock`), then run `kasmforge lock` to bring it up to date"
            .into(),
    })
}

fn refusal(found: u32) -> String {
    format!(
        "this lock has format {found}, this kasmforge reads formats {OLDEST_FORMAT} to {FORMAT}; \
         use the kasmforge that wrote it, or remove it and run `kasmforge lock`"
    )
}

/// A newer format may well hold keys this one does not know: its number is the better word.
fn other_format(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let found = toml::from_str::<Format>(text).ok()?.format;
    (!(OLDEST_FORMAT..=FORMAT).contains(&found)).then(|| refusal(found))
}

fn archives(raw: Vec<RawArchive>, fail: Fail<'_>) -> Result<Vec<ArchiveState>, ParseError> {
    let mut archives: Vec<ArchiveState> = Vec::with_capacity(raw.len());
    for one in raw {
        let text = one.date.get_ref();
        let date: jiff::Timestamp = text.parse().map_err(|_| {
            let message = format!("`{text}` is not a date like 2026-01-31T00:00:00Z");
            fail(one.date.span().start, message)
        })?;
        let offset = one.name.span().start;
        let name = one.name.into_inner();
        if archives.last().is_some_and(|last| last.name >= name) {
            let message = format!("the archive `{name}` is not in its place, or there twice");
            return Err(fail(offset, message));
        }
        archives.push(ArchiveState {
            name,
            release: one.release,
            date: date.as_second(),
            signer: one.signer,
        });
    }
    Ok(archives)
}

/// Reads the packages. They become parts of paths and of scripts' worlds, so what no archive can
/// have is refused here, whoever wrote it.
fn packages(
    raw: Vec<RawPackage>,
    archives: &[ArchiveState],
    fail: Fail<'_>,
) -> Result<Vec<Package>, ParseError> {
    let names: BTreeSet<String> = raw
        .iter()
        .flat_map(|one| {
            let name = one.name.get_ref();
            [
                name.clone(),
                format!("{name}:{}", one.architecture.get_ref()),
            ]
        })
        .collect();
    let mut packages: Vec<Package> = Vec::with_capacity(raw.len());
    for one in raw {
        let sha256 = Digest::from_hex(one.sha256.get_ref())
            .map_err(|error| fail(one.sha256.span().start, error.to_string()))?;
        if let Some(archive) = &one.archive {
            let name = archive.get_ref();
            let known = archives.binary_search_by(|known| known.name.as_str().cmp(name));
            if known.is_err() {
                let message = format!("there is no [[archive]] named `{name}`");
                return Err(fail(archive.span().start, message));
            }
        }
        if let Some(wrong) = wrong_path(one.path.get_ref(), one.archive.is_some()) {
            return Err(fail(one.path.span().start, wrong));
        }
        for (what, word) in [("name", &one.name), ("architecture", &one.architecture)] {
            if !is_word(word.get_ref()) {
                let message = format!("`{}` cannot be the {what} of a package", word.get_ref());
                return Err(fail(word.span().start, message));
            }
        }
        if let Err(error) = one.version.get_ref().parse::<kasmforge_deb::Version>() {
            return Err(fail(one.version.span().start, error.to_string()));
        }
        let unknown = one.depends.iter().chain(&one.recommends);
        if let Some(unknown) = unknown
            .into_iter()
            .find(|name| !names.contains(name.get_ref()))
        {
            let message = format!("there is no [[package]] `{}`", unknown.get_ref());
            return Err(fail(unknown.span().start, message));
        }
        let offset = one.name.span().start;
        let name = one.name.into_inner();
        let list = |names: Vec<Spanned<String>>| names.into_iter().map(Spanned::into_inner);
        let package = Package {
            source: one.source.unwrap_or_else(|| name.clone()),
            name,
            version: one.version.into_inner(),
            architecture: one.architecture.into_inner(),
            archive: one.archive.map(Spanned::into_inner).unwrap_or_default(),
            path: one.path.into_inner(),
            size: one.size,
            sha256,
            installed_size: one.installed_size,
            essential: one.essential,
            depends: list(one.depends).collect(),
            recommends: list(one.recommends).collect(),
        };
        if packages
            .last()
            .is_some_and(|last: &Package| last.identity() >= package.identity())
        {
            let message = format!(
                "the package `{}` is not in its place, or there twice",
                package.name
            );
            return Err(fail(offset, message));
        }
        packages.push(package);
    }
    Ok(packages)
}

/// Whether a text can be a package's name or architecture.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

/// What is wrong with where a package is found.
fn wrong_path(path: &str, in_archive: bool) -> Option<String> {
    let address = path.contains("://") || path.starts_with("file:/");
    let leads_out = path.is_empty()
        || path.starts_with('/')
        || path.chars().any(char::is_control)
        || path.split('/').any(|part| part == "..");
    match in_archive {
        true if address || leads_out => {
            Some(format!("`{path}` is not a path below a mirror's base"))
        }
        false if !address && leads_out => Some(format!(
            "`{path}` is neither an address nor a path in the project; a package of an archive has \
             the key `archive`"
        )),
        _ => None,
    }
}

fn workspaces(
    raw: Vec<RawWorkspace>,
    packages: &[Package],
    fail: Fail<'_>,
) -> Result<Vec<Workspace>, ParseError> {
    let references = References::of(packages);
    let by_name = references.by_name();
    let parents: BTreeMap<(String, String), Option<String>> = raw
        .iter()
        .map(|one| {
            let parent = one.extends.as_ref().map(|parent| parent.get_ref().clone());
            (
                (one.name.get_ref().clone(), one.architecture.clone()),
                parent,
            )
        })
        .collect();
    let mut workspaces: Vec<Workspace> = Vec::with_capacity(raw.len());
    for one in raw {
        let offset = one.name.span().start;
        let architecture = one.architecture;
        if let Some(parent) = &one.extends {
            let wrong = match chain(
                &parents,
                parent.get_ref(),
                &architecture,
                one.name.get_ref(),
            ) {
                Chain::Ends => None,
                Chain::Missing => Some("there is no [[workspace]] named"),
                Chain::Circle => Some("workspaces extend each other in a circle:"),
            };
            if let Some(wrong) = wrong {
                let message = format!("{wrong} `{}`", parent.get_ref());
                return Err(fail(parent.span().start, message));
            }
        }
        let mut own = Vec::with_capacity(one.packages.len());
        let mut seen = BTreeSet::new();
        for name in &one.packages {
            let told = |message: String| fail(name.span().start, message);
            let name = name.get_ref();
            let index = *by_name
                .get(name.as_str())
                .ok_or_else(|| told(format!("there is no [[package]] `{name}`")))?;
            if !seen.insert((&packages[index].name, &packages[index].architecture)) {
                return Err(told(format!("the package `{name}` is there twice")));
            }
            own.push(index);
        }
        if let Some(wrong) = wrong_layers(one.layers.get_ref(), &own, packages) {
            return Err(fail(one.layers.span().start, wrong));
        }
        let mut asked = Vec::with_capacity(one.asked.len());
        for text in one.asked {
            let offset = text.span().start;
            let text = text.into_inner();
            let read = match text.split_once(MET_BY) {
                Some((text, package)) => Asked {
                    text: text.into(),
                    package: package.into(),
                },
                None => Asked {
                    package: Asked::named(&text).into(),
                    text,
                },
            };
            if asked.last().is_some_and(|last: &Asked| *last >= read) {
                let message = format!("`{}` is not in its place, or there twice", read.text);
                return Err(fail(offset, message));
            }
            asked.push(read);
        }
        let name = one.name.into_inner();
        if workspaces
            .last()
            .is_some_and(|last| (&last.name, &last.architecture) >= (&name, &architecture))
        {
            let message = format!("the workspace `{name}` is not in its place, or there twice");
            return Err(fail(offset, message));
        }
        workspaces.push(Workspace {
            name,
            architecture,
            extends: one.extends.map(Spanned::into_inner),
            request: one.request,
            asked,
            packages: own,
            layers: one.layers.into_inner(),
            image: one.image,
        });
    }
    Ok(workspaces)
}

fn left_out(
    raw: Vec<Spanned<String>>,
    workspaces: &[Workspace],
    fail: Fail<'_>,
) -> Result<BTreeSet<String>, ParseError> {
    let mut names = BTreeSet::new();
    for one in raw {
        let offset = one.span().start;
        let name = one.into_inner();
        let wrong = if workspaces.iter().any(|other| other.name == name) {
            "is left out, and locked as well"
        } else if names.last().is_some_and(|last| *last >= name) {
            "is not in its place, or there twice"
        } else {
            names.insert(name);
            continue;
        };
        return Err(fail(offset, format!("the workspace `{name}` {wrong}")));
    }
    Ok(names)
}

/// How a chain of parents goes on.
enum Chain {
    Ends,
    Missing,
    Circle,
}

fn chain(
    parents: &BTreeMap<(String, String), Option<String>>,
    first: &str,
    architecture: &str,
    of: &str,
) -> Chain {
    let mut next = first;
    // Longer than there are workspaces means a circle.
    for _ in 0..=parents.len() {
        if next == of {
            return Chain::Circle;
        }
        match parents.get(&(next.to_owned(), architecture.to_owned())) {
            None => return Chain::Missing,
            Some(None) => return Chain::Ends,
            Some(Some(parent)) => next = parent,
        }
    }
    Chain::Circle
}

/// What is wrong with a layer plan: each source package of the workspace is in one layer.
fn wrong_layers(layers: &[Vec<String>], own: &[usize], packages: &[Package]) -> Option<String> {
    let wanted: BTreeSet<&str> = own
        .iter()
        .map(|&index| packages[index].source.as_str())
        .collect();
    let mut seen = BTreeSet::new();
    for source in layers.iter().flatten() {
        if !wanted.contains(source.as_str()) {
            return Some(format!(
                "no package of the workspace is of the source `{source}`"
            ));
        }
        if !seen.insert(source.as_str()) {
            return Some(format!("the source `{source}` is in two layers"));
        }
    }
    let missing = wanted.difference(&seen).next()?;
    Some(format!("the source `{missing}` is in no layer"))
}
