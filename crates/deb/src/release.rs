//! Release files: what an archive says about itself and its indexes.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::fmt::rfc2822::DateTimeParser;
use kasmforge_digest::{Digest, ParseDigestError};

use crate::stanza::{StanzaError, Stanzas};

/// The longest Release file accepted, in bytes: the largest real ones are near 1 MiB.
const MAX_RELEASE_LENGTH: usize = 16 << 20;

/// A Release file: the head of an archive, from which every index is named by digest.
///
/// The text must be verified before it is believed; this reads it only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who makes the archive.
    pub origin: Option<String>,
    /// What the archive is called.
    pub label: Option<String>,
    /// The suite: `stable`, `stable-security` …
    pub suite: Option<String>,
    /// The code name: `trixie`, `trixie-security` …
    pub codename: Option<String>,
    /// The version of the distribution: `13.2`.
    pub version: Option<String>,
    /// When it was made, in seconds since 1970.
    pub date: i64,
    /// After when it must not be believed any more, in seconds since 1970.
    pub valid_until: Option<i64>,
    /// The architectures it has indexes for.
    pub architectures: Vec<String>,
    /// The components it has indexes for.
    pub components: Vec<String>,
    /// Whether its indexes can be fetched by their digest.
    pub acquire_by_hash: bool,
    /// Whether its versions are taken without being asked for (`NotAutomatic` is absent): those of
    /// backports and experimental archives are not.
    pub automatic: bool,
    /// Whether what was taken from it is kept up to date from it (`ButAutomaticUpgrades: yes`):
    /// Debian's backports, though they are not automatic.
    pub but_automatic_upgrades: bool,
    /// Its indexes, by their path below the Release file's folder.
    pub sha256: BTreeMap<String, IndexFile>,
}

/// One index a Release file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFile {
    /// The digest of the index.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Release {
    /// The path by which an index can be fetched whatever the archive changes meanwhile:
    /// `main/binary-amd64/by-hash/SHA256/<digest>`.
    ///
    /// `None` where the Release file does not name the index, or the archive has no such paths.
    #[must_use]
    pub fn by_hash(&self, path: &str) -> Option<String> {
        let index = self.sha256.get(path).filter(|_| self.acquire_by_hash)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        Some(format!(
            "{folder}{slash}by-hash/SHA256/{}",
            index.digest.hex()
        ))
    }
}

/// A text that is not a Release file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The text is not deb822.
    #[error("the Release file cannot be read")]
    Stanza(#[from] StanzaError),
    /// The text holds no stanza, or several.
    #[error("the Release file must hold exactly one stanza")]
    NotOne,
    /// A field that every Release file must have is absent.
    #[error("the Release file has no field {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field that holds a date does not.
    #[error("the Release file's {field} is no date: `{value}`")]
    Date {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A line of the field `SHA256` is not "digest size path".
    #[error("the Release file's SHA256 has a line that is not `digest size path`: `{line}`")]
    Index {
        /// The line.
        line: String,
    },
    /// A line of the field `SHA256` does not begin with a digest.
    #[error("the Release file's SHA256 has no digest for {path}")]
    Digest {
        /// The path of the index.
        path: String,
        /// Why not.
        source: ParseDigestError,
    },
    /// An index's path that leads out of the Release file's folder.
    #[error("the Release file names an index outside its folder: `{path}`")]
    Path {
        /// The path.
        path: String,
    },
}

/// Reads the text of a Release file, or the body of an InRelease file.
impl FromStr for Release {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut stanzas = Stanzas::with_limit(text, MAX_RELEASE_LENGTH);
        let stanza = stanzas.next().ok_or(ReleaseError::NotOne)??;
        if stanzas.next().is_some() {
            return Err(ReleaseError::NotOne);
        }
        let text = |field| stanza.get(field).map(String::from);
        let flag = |field| {
            let value = stanza.get(field);
            value.is_some_and(|value| value.eq_ignore_ascii_case("yes"))
        };
        let words = |field| {
            stanza
                .get(field)
                .map(|value| value.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let seconds = |field: &'static str| {
            stanza
                .get(field)
                .map(|value| {
                    date(&value).ok_or_else(|| ReleaseError::Date {
                        field,
                        value: value.chars().take(80).collect(),
                    })
                })
                .transpose()
        };
        Ok(Self {
            origin: text("Origin"),
            label: text("Label"),
            suite: text("Suite"),
            codename: text("Codename"),
            version: text("Version"),
            date: seconds("Date")?.ok_or(ReleaseError::Missing { field: "Date" })?,
            valid_until: seconds("Valid-Until")?,
            architectures: words("Architectures"),
            components: words("Components"),
            acquire_by_hash: flag("Acquire-By-Hash"),
            automatic: !flag("NotAutomatic"),
            but_automatic_upgrades: flag("ButAutomaticUpgrades"),
            sha256: indexes(
                &stanza
                    .get("SHA256")
                    .ok_or(ReleaseError::Missing { field: "SHA256" })?,
            )?,
        })
    }
}

/// Reads `Sat, 15 Nov 2025 10:05:39 UTC`.
///
/// Archives write the zone as `UTC`, which RFC 2822 does not know; some write a week day that is
/// not the date's, or an hour of one digit, which nobody minds.
fn date(value: &str) -> Option<i64> {
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let words = value.split_whitespace().map(|word| match word.find(':') {
        Some(1) => format!("0{word}"),
        _ if matches!(word, "UTC" | "Z") => "+0000".to_owned(),
        _ => word.to_owned(),
    });
    let value = words.collect::<Vec<_>>().join(" ");
    let parsed = PARSER.parse_timestamp(value).ok()?;
    Some(parsed.as_second())
}

fn indexes(value: &str) -> Result<BTreeMap<String, IndexFile>, ReleaseError> {
    let mut indexes = BTreeMap::new();
    for line in value.lines().filter(|line| !line.trim().is_empty()) {
        let refused = || ReleaseError::Index {
            line: line.chars().take(160).collect(),
        };
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(refused());
        };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ReleaseError::Path { path: path.into() });
        }
        let index = IndexFile {
            digest: Digest::from_hex(digest).map_err(|source| ReleaseError::Digest {
                path: path.into(),
                source,
            })?,
            size: size.parse().map_err(|_| refused())?,
        };
        indexes.insert(path.to_owned(), index);
    }
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Origin: Debian
Label: Debian-Security
Suite: stable-security
Codename: trixie-security
Version: 13
Date: Sat, 15 Nov 2025 10:05:39 UTC
Valid-Until: Sat, 22 Nov 2025 10:05:39 UTC
Acquire-By-Hash: yes
Architectures: all amd64 arm64
Components: main contrib
Description: Debian 13
MD5Sum:
 00000000000000000000000000000000  12 main/binary-amd64/Packages
SHA256:
 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad        3 main/binary-amd64/Packages.xz
 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 Contents
";

    #[test]
    fn reads_a_release_file() {
        let release: Release = TEXT.parse().expect("a good file");
        assert_eq!(release.origin.as_deref(), Some("Debian"));
        assert_eq!(release.codename.as_deref(), Some("trixie-security"));
        assert_eq!(release.date, 1_763_201_139);
        assert_eq!(release.valid_until, Some(1_763_201_139 + 7 * 86_400));
        assert_eq!(release.architectures, ["all", "amd64", "arm64"]);
        assert_eq!(release.components, ["main", "contrib"]);
        assert!(release.automatic);
        let path = "main/binary-amd64/Packages.xz";
        assert_eq!(
            release.sha256[path],
            IndexFile {
                digest: Digest::of(b"abc"),
                size: 3
            }
        );
        let hex = Digest::of(b"abc").hex();
        assert_eq!(
            release.by_hash(path),
            Some(format!("main/binary-amd64/by-hash/SHA256/{hex}"))
        );
        assert_eq!(
            release.by_hash("Contents"),
            Some(format!("by-hash/SHA256/{hex}"))
        );
        assert_eq!(release.by_hash("main/binary-amd64/Packages"), None);
    }

    #[test]
    fn reads_dates_as_archives_write_them() {
        for text in [
            "Sat, 15 Nov 2025 10:05:39 UTC",
            "Sat, 15 Nov 2025 10:05:39 +0000",
            "Sat, 15 Nov 2025 11:05:39 +0100",
            "Mon, 15 Nov 2025 10:05:39 GMT",
            "Sat, 15 Nov 2025 10:05:39 Z",
        ] {
            assert_eq!(date(text), Some(1_763_201_139), "{text}");
        }
        assert_eq!(date("Sat, 1 Jan 2000  0:00:00 UTC"), Some(946_684_800));
        assert_eq!(date("2025-11-15"), None);
    }

    #[test]
    fn tells_what_is_wrong() {
        let told = |from: &str, to: &str| {
            TEXT.replace(from, to)
                .parse::<Release>()
                .expect_err(to)
                .to_string()
        };
        assert_eq!(
            told("Date: Sat", "X: Sat"),
            "the Release file has no field Date"
        );
        assert_eq!(
            told("Until: Sat, 22", "Until: soon"),
            "the Release file's Valid-Until is no date: `soon Nov 2025 10:05:39 UTC`"
        );
        assert_eq!(
            told("SHA256:\n", "SHA512:\n"),
            "the Release file has no field SHA256"
        );
        assert_eq!(
            told("3 Contents", "3 ../Contents"),
            "the Release file names an index outside its folder: `../Contents`"
        );
        assert_eq!(
            told("3 Contents", "3 /Contents"),
            "the Release file names an index outside its folder: `/Contents`"
        );
        assert_eq!(
            told("ad 3 Contents", "a 3 Contents"),
            "the Release file's SHA256 has no digest for Contents"
        );
        assert!(told("3 Contents", "Contents").contains("not `digest size path`"));
    }
}
