//! A lock from text.

use std::collections::{BTreeMap, BTreeSet};

use kasmforge_digest::Digest;
use serde::Deserialize;
use toml::Spanned;

use crate::render::References;
use crate::{ArchiveState, Ids, Lock, Package, Workspace};

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
    name: String,
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
    packages: Vec<Spanned<String>>,
    layers: Vec<Vec<String>>,
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
    version: String,
    architecture: String,
    source: Option<String>,
    archive: Option<Spanned<String>>,
    path: String,
    size: u64,
    sha256: Spanned<String>,
    installed_size: u64,
    #[serde(default)]
    depends: Vec<String>,
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// Names the line of whatever is not a lock of [`crate::FORMAT`]: syntax, an unresolved merge,
    /// another format, a name that stands for nothing.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if let Some(line) = text.lines().position(|line| line.starts_with("<<<<<<< ")) {
            return Err(ParseError {
                line: line + 1,
                message: "this is an unresolved merge; take either side whole (`git checkout \
                          --ours kasmforge.lock`), then run `kasmforge lock` to bring it up to date"
                    .into(),
            });
        }
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
        if raw.format != crate::FORMAT {
            return Err(fail(0, refusal(raw.format)));
        }
        let archives = archives(raw.archive, &fail)?;
        let packages = packages(raw.package, &archives, &fail)?;
        let workspaces = workspaces(raw.workspace, &packages, &fail)?;
        Ok(Self {
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

fn refusal(found: u32) -> String {
    format!(
        "this lock has format {found}, this kasmforge reads format {}; use the kasmforge that \
         wrote it, or remove it and run `kasmforge lock`",
        crate::FORMAT
    )
}

/// A newer format may well hold keys this one does not know: its number is the better word.
fn other_format(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let found = toml::from_str::<Format>(text).ok()?.format;
    (found != crate::FORMAT).then(|| refusal(found))
}

fn archives(raw: Vec<RawArchive>, fail: Fail<'_>) -> Result<Vec<ArchiveState>, ParseError> {
    raw.into_iter()
        .map(|one| {
            let offset = one.date.span().start;
            let date: jiff::Timestamp = one.date.get_ref().parse().map_err(|_| {
                fail(
                    offset,
                    format!(
                        "`{}` is not a date like 2026-01-31T00:00:00Z",
                        one.date.get_ref()
                    ),
                )
            })?;
            Ok(ArchiveState {
                name: one.name,
                release: one.release,
                date: date.as_second(),
                signer: one.signer,
            })
        })
        .collect()
}

fn packages(
    raw: Vec<RawPackage>,
    archives: &[ArchiveState],
    fail: Fail<'_>,
) -> Result<Vec<Package>, ParseError> {
    let mut packages = Vec::with_capacity(raw.len());
    for one in raw {
        let sha256 = Digest::from_hex(one.sha256.get_ref())
            .map_err(|error| fail(one.sha256.span().start, error.to_string()))?;
        if let Some(archive) = &one.archive
            && !archives
                .iter()
                .any(|known| known.name == *archive.get_ref())
        {
            let name = archive.get_ref();
            let message = format!("there is no [[archive]] named `{name}`");
            return Err(fail(archive.span().start, message));
        }
        let offset = one.name.span().start;
        let name = one.name.into_inner();
        let package = Package {
            source: one.source.unwrap_or_else(|| name.clone()),
            name,
            version: one.version,
            architecture: one.architecture,
            archive: one.archive.map(Spanned::into_inner).unwrap_or_default(),
            path: one.path,
            size: one.size,
            sha256,
            installed_size: one.installed_size,
            depends: one.depends,
        };
        if packages
            .last()
            .is_some_and(|last: &Package| last.identity() >= package.identity())
        {
            let message = format!("the package `{}` is not in its place", package.name);
            return Err(fail(offset, message));
        }
        packages.push(package);
    }
    Ok(packages)
}

fn workspaces(
    raw: Vec<RawWorkspace>,
    packages: &[Package],
    fail: Fail<'_>,
) -> Result<Vec<Workspace>, ParseError> {
    let references = References::of(packages);
    let by_name = references.by_name();
    let names: BTreeSet<String> = raw.iter().map(|one| one.name.get_ref().clone()).collect();
    raw.into_iter()
        .map(|one| {
            if let Some(parent) = &one.extends
                && !names.contains(parent.get_ref())
            {
                let message = format!("there is no [[workspace]] named `{}`", parent.get_ref());
                return Err(fail(parent.span().start, message));
            }
            let packages = one
                .packages
                .iter()
                .map(|name| {
                    by_name
                        .get(name.get_ref().as_str())
                        .copied()
                        .ok_or_else(|| {
                            let message = format!("there is no [[package]] `{}`", name.get_ref());
                            fail(name.span().start, message)
                        })
                })
                .collect::<Result<_, _>>()?;
            Ok(Workspace {
                name: one.name.into_inner(),
                architecture: one.architecture,
                extends: one.extends.map(Spanned::into_inner),
                request: one.request,
                packages,
                layers: one.layers,
                image: one.image,
            })
        })
        .collect()
}
