//! What one stanza about a binary package means.

use std::fmt;
use std::str::FromStr;

use kasmforge_digest::{Digest, ParseDigestError};

use crate::relation::{RelationError, Relations, relations};
use crate::stanza::{Stanza, StanzaError, Stanzas};
use crate::version::{Version, VersionError};

/// A binary package, as a stanza of `Packages` or the `control` file of its `.deb` tells it.
///
/// Fields that only an index has (`filename`, `size`, `sha256`) are absent from a `control` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageStanza {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The architecture it was built for, or `all`.
    pub architecture: String,
    /// The source package it was built from; its own name where the stanza names none.
    pub source: String,
    /// That source package's version; its own where the stanza names none.
    pub source_version: Version,
    /// Whether every system must have it (`Essential: yes`).
    pub essential: bool,
    /// Whether dpkg refuses to remove it (`Protected: yes`).
    pub protected: bool,
    /// Whether apt refuses to remove it (`Important: yes`).
    pub important: bool,
    /// Its priority: `required`, `optional` …
    pub priority: Option<String>,
    /// Its section: `net`, `x11` …
    pub section: Option<String>,
    /// How it may be shared between architectures.
    pub multi_arch: MultiArch,
    /// What must be configured before it is unpacked.
    pub pre_depends: Relations,
    /// What must be there for it to work.
    pub depends: Relations,
    /// What is there in all but unusual systems.
    pub recommends: Relations,
    /// What makes it more useful.
    pub suggests: Relations,
    /// What may not be unpacked beside it.
    pub conflicts: Relations,
    /// What it makes unusable.
    pub breaks: Relations,
    /// Whose files it may overwrite.
    pub replaces: Relations,
    /// The virtual packages it stands for.
    pub provides: Relations,
    /// The path of its `.deb`, below the archive's root.
    pub filename: Option<String>,
    /// The length of its `.deb`, in bytes.
    pub size: Option<u64>,
    /// The digest of its `.deb`.
    pub sha256: Option<Digest>,
    /// What it needs when unpacked, in KiB, as its maker estimated.
    pub installed_size: Option<u64>,
}

/// How packages of several architectures share one package (`Multi-Arch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MultiArch {
    /// It serves its own architecture alone.
    #[default]
    No,
    /// It can be installed for several architectures at once.
    Same,
    /// It serves packages of every architecture.
    Foreign,
    /// It serves whoever asks for `name:any`.
    Allowed,
}

impl fmt::Display for MultiArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Same => "same",
            Self::Foreign => "foreign",
            Self::Allowed => "allowed",
        })
    }
}

/// A stanza that describes no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The text is not deb822.
    #[error("the control file cannot be read")]
    Stanza(#[from] StanzaError),
    /// The text holds no stanza, or several.
    #[error("the control file must hold exactly one stanza")]
    NotOne,
    /// A field that every package has is absent.
    #[error("{package}: the field {field} is missing")]
    Missing {
        /// The package, or where its stanza begins if it has no name.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// A name, or an architecture, that none can have.
    #[error("{package}: `{value}` cannot be the {field} of a package")]
    Name {
        /// The package, or where its stanza begins if that is what has no good name.
        package: String,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A field that holds a version does not.
    #[error("{package}: the field {field} holds no version")]
    Version {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// Why not.
        source: VersionError,
    },
    /// A relation field cannot be read.
    #[error("{package}: the field {field} cannot be read")]
    Relations {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// Why not.
        source: RelationError,
    },
    /// A field that holds a number does not.
    #[error("{package}: the field {field} holds `{value}` where a number must stand")]
    Number {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// The field `SHA256` holds no digest.
    #[error("{package}: the field SHA256 holds no digest")]
    Digest {
        /// The package.
        package: String,
        /// Why not.
        source: ParseDigestError,
    },
}

impl PackageStanza {
    /// Reads a stanza.
    ///
    /// # Errors
    /// Refuses a stanza without `Package`, `Version` or `Architecture`, and one with a field that
    /// cannot be read. Unknown fields are read over.
    pub fn read(stanza: &Stanza<'_>) -> Result<Self, PackageError> {
        Reader::new(stanza)?.finish()
    }

    /// `name:architecture`: what tells a package from all others of one system.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.name, self.architecture)
    }
}

/// Reads the text of a `control` file.
impl FromStr for PackageStanza {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut stanzas = Stanzas::new(text);
        let stanza = stanzas.next().ok_or(PackageError::NotOne)??;
        match stanzas.next() {
            None => Self::read(&stanza),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) => Err(PackageError::NotOne),
        }
    }
}

struct Reader<'a> {
    stanza: Stanza<'a>,
    package: String,
}

impl<'a> Reader<'a> {
    fn new(stanza: &Stanza<'a>) -> Result<Self, PackageError> {
        let mut reader = Self {
            stanza: *stanza,
            package: format!("the stanza at line {}", stanza.line()),
        };
        reader.package = reader.name("Package")?;
        Ok(reader)
    }

    fn text(&self, field: &'static str) -> Option<String> {
        self.stanza
            .get(field)
            .filter(|value| !value.is_empty())
            .map(Into::into)
    }

    fn required(&self, field: &'static str) -> Result<String, PackageError> {
        self.text(field).ok_or_else(|| PackageError::Missing {
            package: self.package.clone(),
            field,
        })
    }

    /// A name becomes part of paths and messages, so what no name can hold is refused here.
    fn name(&self, field: &'static str) -> Result<String, PackageError> {
        let value = self.required(field)?;
        let good = value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
        if good {
            return Ok(value);
        }
        Err(PackageError::Name {
            package: self.package.clone(),
            field,
            value: value.chars().take(80).collect(),
        })
    }

    fn flag(&self, field: &'static str) -> bool {
        self.stanza
            .get(field)
            .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    fn version(&self, field: &'static str, text: &str) -> Result<Version, PackageError> {
        text.parse().map_err(|source| PackageError::Version {
            package: self.package.clone(),
            field,
            source,
        })
    }

    fn relations(&self, field: &'static str) -> Result<Relations, PackageError> {
        let Some(text) = self.stanza.get(field) else {
            return Ok(Relations::new());
        };
        relations(&text).map_err(|source| PackageError::Relations {
            package: self.package.clone(),
            field,
            source,
        })
    }

    fn number(&self, field: &'static str) -> Result<Option<u64>, PackageError> {
        let Some(value) = self.text(field) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| PackageError::Number {
            package: self.package.clone(),
            field,
            value,
        })
    }

    /// Reads `Source: name (version)`, of which either half may be absent.
    fn source(&self, version: &Version) -> Result<(String, Version), PackageError> {
        let Some(value) = self.text("Source") else {
            return Ok((self.package.clone(), version.clone()));
        };
        match value.split_once('(') {
            None => Ok((value, version.clone())),
            Some((name, rest)) => {
                let rest = rest.trim_end().trim_end_matches(')').trim();
                Ok((name.trim().to_owned(), self.version("Source", rest)?))
            }
        }
    }

    fn finish(self) -> Result<PackageStanza, PackageError> {
        let version = self.version("Version", &self.required("Version")?)?;
        let (source, source_version) = self.source(&version)?;
        Ok(PackageStanza {
            architecture: self.name("Architecture")?,
            source,
            source_version,
            essential: self.flag("Essential"),
            protected: self.flag("Protected"),
            important: self.flag("Important"),
            priority: self.text("Priority"),
            section: self.text("Section"),
            multi_arch: match self.text("Multi-Arch").as_deref() {
                Some("same") => MultiArch::Same,
                Some("foreign") => MultiArch::Foreign,
                Some("allowed") => MultiArch::Allowed,
                _ => MultiArch::No,
            },
            pre_depends: self.relations("Pre-Depends")?,
            depends: self.relations("Depends")?,
            recommends: self.relations("Recommends")?,
            suggests: self.relations("Suggests")?,
            conflicts: self.relations("Conflicts")?,
            breaks: self.relations("Breaks")?,
            replaces: self.relations("Replaces")?,
            provides: self.relations("Provides")?,
            filename: self.text("Filename"),
            size: self.number("Size")?,
            sha256: self
                .text("SHA256")
                .map(|text| Digest::from_hex(&text))
                .transpose()
                .map_err(|source| PackageError::Digest {
                    package: self.package.clone(),
                    source,
                })?,
            installed_size: self.number("Installed-Size")?,
            name: self.package,
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "\
Package: libssl3
Source: openssl (3.0.17-1)
Version: 3.0.17-1~deb12u3
Architecture: amd64
Multi-Arch: same
Essential: yes
Protected: no
Priority: optional
Section: libs
Installed-Size: 6021
Depends: libc6 (>= 2.34),
 a | b
Breaks: openssh-client (<< 1:9.4p1)
Provides: virtual (= 3)
Filename: pool/main/o/openssl/libssl3_3.0.17-1~deb12u3_amd64.deb
Size: 2028292
SHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
Description: short
 long
";

    #[test]
    fn reads_a_stanza() {
        let package: PackageStanza = CONTROL.parse().expect("a good stanza");
        assert_eq!(package.key(), "libssl3:amd64");
        assert_eq!(package.source, "openssl");
        assert_eq!(package.source_version.as_str(), "3.0.17-1");
        assert!(package.essential && !package.protected && !package.important);
        assert_eq!(package.multi_arch, MultiArch::Same);
        assert_eq!(package.depends.len(), 2);
        assert_eq!(package.depends[1].len(), 2);
        assert_eq!(package.size, Some(2_028_292));
        assert_eq!(package.sha256, Some(Digest::of(b"abc")));
        assert_eq!(package.installed_size, Some(6021));
        assert_eq!(package.priority.as_deref(), Some("optional"));
    }

    #[test]
    fn a_package_is_its_own_source_unless_it_says_so() {
        let package: PackageStanza = "Package: a\nVersion: 1\nArchitecture: all\nSource: b\n"
            .parse()
            .expect("a good stanza");
        assert_eq!(
            (&*package.source, package.source_version.as_str()),
            ("b", "1")
        );
        let package: PackageStanza = "Package: a\nVersion: 1\nArchitecture: all\n"
            .parse()
            .expect("a good stanza");
        assert_eq!(
            (&*package.source, package.source_version.as_str()),
            ("a", "1")
        );
    }

    #[test]
    fn names_the_package_and_the_field_at_fault() {
        let told = |from: &str, to: &str| {
            let error = CONTROL
                .replace(from, to)
                .parse::<PackageStanza>()
                .expect_err(to);
            error.to_string()
        };
        assert_eq!(
            told("Package: libssl3\n", ""),
            "the stanza at line 1: the field Package is missing"
        );
        assert_eq!(
            told("Package: libssl3", "Package: ../etc"),
            "the stanza at line 1: `../etc` cannot be the Package of a package"
        );
        assert_eq!(
            told("Version: 3", "Version: ?"),
            "libssl3: the field Version holds no version"
        );
        assert_eq!(
            told("| b", "|"),
            "libssl3: the field Depends cannot be read"
        );
        assert_eq!(
            told("Size: 2028292", "Size: x"),
            "libssl3: the field Size holds `x` where a number must stand"
        );
        assert_eq!(
            told("SHA256: ba", "SHA256: "),
            "libssl3: the field SHA256 holds no digest"
        );
        assert_eq!(
            told("Priority", "\nPriority"),
            "the control file must hold exactly one stanza"
        );
    }
}
