//! Why there is no solution, in the user's words.

use std::collections::BTreeSet;
use std::fmt;

use kasmforge_deb::{PackageError, Version};

use crate::solution::Relation;
use crate::stage::Identity;
use crate::universe::UniverseError;

/// Why a stage cannot be resolved.
#[derive(Debug)]
pub struct Unsatisfiable {
    /// All that is wrong, in the order of the requests. Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Unsatisfiable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
            for because in problem.because() {
                write!(f, "\n  {because}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unsatisfiable {}

/// One thing that is wrong. The Display is one line; [`Problem::because`] and [`Problem::help`]
/// give the lines to show below it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No archive has a package of that name, nor does any provide it.
    #[error("no archive has a package `{name}`")]
    NotFound {
        /// The request's place.
        request: usize,
        /// The name.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// The name stands for several packages.
    #[error("`{name}` is a virtual package: name one that provides it ({})", list(.providers))]
    Virtual {
        /// The request's place.
        request: usize,
        /// The name.
        name: String,
        /// The packages that provide it, best first.
        providers: Vec<String>,
    },
    /// The package exists, and a pin says that it must not be taken.
    #[error("`{name}` is asked for, and kept out by a pin")]
    KeptOut {
        /// The request's place.
        request: usize,
        /// The name.
        name: String,
    },
    /// The package exists, but in no version that was asked for.
    #[error("no archive has `{wanted}`{}", available_versions(.available))]
    Version {
        /// The request's place.
        request: usize,
        /// What was asked for.
        wanted: String,
        /// The versions there are, best first, with the archive that has each.
        available: Vec<(Version, Option<String>)>,
    },
    /// The package exists, but not for that architecture.
    #[error("no archive has `{name}` for {wanted}, only for {}", .architectures.join(", "))]
    Architecture {
        /// The request's place.
        request: usize,
        /// The name.
        name: String,
        /// The architecture asked for.
        wanted: String,
        /// The architectures that have it.
        architectures: Vec<String>,
    },
    /// The requests cannot be met, by themselves or together.
    #[error("{}", cannot(.names))]
    Conflict {
        /// The places of the requests that cannot be met together: without any one of them the
        /// others could be. Empty if the packages that every system must have are at fault.
        requests: Vec<usize>,
        /// What those requests say.
        names: Vec<String>,
        /// The chain of reasons.
        because: Vec<Because>,
    },
    /// The packages need each other in so many ways that the search was given up.
    #[error(
        "the search for a solution was given up: it took far more work than any desktop does; ask for less, or name versions"
    )]
    TooHard,
    /// A package of a lower stage that is in no index any more.
    #[error(
        "{} {} ({}) of the stage `{}` is in no archive any more; resolve that stage again",
        .kept.name, .kept.version, .kept.architecture, .kept.stage
    )]
    KeptGone {
        /// The package.
        kept: Identity,
    },
    /// A `.deb`'s control file that cannot be read.
    #[error("the control file of a given .deb cannot be read")]
    Deb {
        /// The place among the debs.
        deb: usize,
        /// Why not.
        source: Box<UniverseError>,
    },
    /// A `.deb`'s control file that holds nothing.
    #[error("the control file of a given .deb is empty")]
    EmptyDeb {
        /// The place among the debs.
        deb: usize,
    },
}

impl Problem {
    /// The places of the requests at fault, to show their lines; may be empty.
    #[must_use]
    pub fn requests(&self) -> &[usize] {
        match self {
            Self::NotFound { request, .. }
            | Self::Virtual { request, .. }
            | Self::Version { request, .. }
            | Self::KeptOut { request, .. }
            | Self::Architecture { request, .. } => std::slice::from_ref(request),
            Self::Conflict { requests, .. } => requests,
            Self::TooHard | Self::KeptGone { .. } | Self::Deb { .. } | Self::EmptyDeb { .. } => &[],
        }
    }

    /// The chain of reasons, one a line; empty for all but conflicts.
    #[must_use]
    pub fn because(&self) -> &[Because] {
        match self {
            Self::Conflict { because, .. } => because,
            _ => &[],
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { near, .. } if !near.is_empty() => {
                Some(format!("did you mean {}?", list(near)))
            }
            Self::Conflict { because, .. } => {
                let mut kept: Vec<(&str, &str)> = because
                    .iter()
                    .filter_map(|because| match because {
                        Because::Kept { package, stage } => {
                            Some((package.split(' ').next()?, stage.as_str()))
                        }
                        _ => None,
                    })
                    .collect();
                kept.sort_unstable();
                kept.dedup();
                let (_, stage) = *kept.first()?;
                let packages: Vec<&str> = kept.iter().map(|(package, _)| *package).collect();
                let held = because
                    .iter()
                    .any(|because| matches!(because, Because::Holds { .. }));
                // What is held at its version is no newer after an update.
                let more = match held {
                    true => ", or leave out there what holds it".to_owned(),
                    false => format!(
                        ", or take newer ones with `kasmforge update {}`",
                        packages.join(" ")
                    ),
                };
                Some(format!(
                    "what `{stage}` has, every workspace on top of it has: ask there for a \
                     version that serves both{more}"
                ))
            }
            _ => None,
        }
    }
}

/// One reason in the chain that leads to a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Every system must have the package.
    Essential {
        /// Its name.
        name: String,
    },
    /// A lower stage has the package.
    Kept {
        /// Its name and version.
        package: String,
        /// The stage.
        stage: String,
    },
    /// A package of a lower stage lets another of its packages be in some versions only.
    Holds {
        /// Its name and version.
        package: String,
        /// The stage.
        stage: String,
        /// How it needs the other.
        relation: Relation,
        /// What it needs.
        clause: String,
    },
    /// A given `.deb` must be installed.
    Deb {
        /// Its name and version.
        package: String,
    },
    /// Packages of one name need something.
    Needs {
        /// The packages' name.
        name: String,
        /// Their versions.
        versions: Vec<Version>,
        /// How they need it.
        relation: Relation,
        /// What they need.
        clause: String,
        /// What there is instead, for each name in the clause, where nothing satisfies it.
        missing: Vec<Missing>,
    },
    /// Packages of one name forbid something.
    Forbids {
        /// The packages' name.
        name: String,
        /// Their versions.
        versions: Vec<Version>,
        /// How they forbid it.
        relation: Relation,
        /// What they forbid.
        clause: String,
        /// The packages concerned, where their names are not in the clause.
        providers: BTreeSet<String>,
    },
    /// Different versions of one package are needed.
    OneVersion {
        /// Its name.
        name: String,
    },
    /// A package's stanza cannot be read, so that the package is as good as absent.
    Unreadable {
        /// Its name and version.
        package: String,
        /// Why not.
        error: PackageError,
    },
    /// Reasons that were left out because there are too many.
    More {
        /// How many.
        count: usize,
    },
}

/// A name that nothing satisfies, and what there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name.
    pub name: String,
    /// The versions there are, best first.
    pub versions: Vec<Version>,
    /// Whether a pin keeps it out.
    pub kept_out: bool,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Essential { name } => write!(f, "every system must have {name}"),
            Self::Kept { package, stage } => {
                write!(f, "the stage `{stage}` has {package}, which stays as it is")
            }
            Self::Holds {
                package,
                stage,
                relation,
                clause,
            } => write!(f, "in the stage `{stage}` {package} {relation} {clause}"),
            Self::Deb { package } => write!(f, "the .deb of {package} is to be installed"),
            Self::Needs {
                name,
                versions,
                relation,
                clause,
                missing,
            } => {
                write!(f, "{name} {} {relation} {clause}", either(versions))?;
                for (at, missing) in missing.iter().enumerate() {
                    f.write_str(if at == 0 { ", but " } else { ", and " })?;
                    missing.fmt(f)?;
                }
                Ok(())
            }
            Self::Forbids {
                name,
                versions,
                relation,
                clause,
                providers,
            } => {
                write!(f, "{name} {} {relation} {clause}", either(versions))?;
                if !providers.is_empty() {
                    let providers: Vec<_> = providers.iter().map(String::as_str).collect();
                    write!(f, ", which {} provides", providers.join(" and "))?;
                }
                Ok(())
            }
            Self::OneVersion { name } => {
                write!(f, "only one version of {name} can be installed")
            }
            Self::Unreadable { package, error } => {
                write!(f, "{package} cannot be used: {error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::More { count } => write!(f, "… and {count} more reasons between these"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.versions.is_empty() && self.kept_out {
            write!(f, "{} is kept out by a pin", self.name)
        } else if self.versions.is_empty() {
            write!(f, "no archive has {}", self.name)
        } else {
            write!(
                f,
                "of {} there is only {}",
                self.name,
                either(&self.versions)
            )
        }
    }
}

/// `1.0`, `1.0 or 1.1`; many are cut short.
fn either(versions: &[Version]) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<_> = versions
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if versions.len() > SHOWN {
        words.push(format!("{} others", versions.len() - SHOWN));
    }
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, words)) => format!("{} or {last}", words.join(", ")),
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > SHOWN {
        words.push(format!("{} others", names.len() - SHOWN));
    }
    words.join(", ")
}

fn available_versions(available: &[(Version, Option<String>)]) -> String {
    let versions: Vec<_> = available
        .iter()
        .map(|(version, archive)| match archive {
            Some(archive) => format!("{version} ({archive})"),
            None => version.to_string(),
        })
        .collect();
    match versions.as_slice() {
        [] => "; packages that provide it do so without that version".into(),
        versions => format!("; there is {}", versions.join(", ")),
    }
}

fn cannot(names: &[String]) -> String {
    match names {
        [] => "the packages that must be there cannot be installed together".into(),
        [name] => format!("`{name}` cannot be installed"),
        [names @ .., last] => format!("{} and `{last}` cannot be installed together", list(names)),
    }
}
