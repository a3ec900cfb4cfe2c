//! What a person asks for: one package, perhaps in a version, perhaps for an architecture.

use std::fmt;
use std::str::FromStr;

use kasmforge_deb::{Atom, Constraint, Operator, RelationError, VersionError, relations};

use crate::index::Priority;

/// One package asked for: `name`, `name=version`, `name (>= 1.2)`, `name/suite`, `name:arch`. Or all
/// native packages of a priority, as apt's patterns have it (apt-patterns(7)): `?priority(required)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of a priority, only the name says something: the whole request.
    pub(crate) atom: Atom,
    /// The suite whose version is wanted.
    pub(crate) suite: Option<String>,
    /// The priority whose packages are wanted.
    pub(crate) priority: Option<Priority>,
}

/// A text that asks for no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text cannot be read as a package.
    #[error(
        "`{text}` names no package; write `name`, `name=version`, `name (>= 1.2)`, `name/suite` or \
         `name:arch`"
    )]
    Relation {
        /// The text.
        text: String,
        /// Why not.
        source: RelationError,
    },
    /// The version after `=` is none.
    #[error("`{text}` asks for a version that is none")]
    Version {
        /// The text.
        text: String,
        /// Why not.
        source: VersionError,
    },
    /// The text names no package, or several.
    #[error("`{text}` must name one package; write each in an entry of its own")]
    NotOne {
        /// The text.
        text: String,
    },
    /// The pattern is none, or another one of apt's.
    #[error(
        "`{text}` is not a pattern that is understood: `?priority(required)`, `?priority(important)` \
         and `?priority(standard)` are"
    )]
    Pattern {
        /// The text.
        text: String,
    },
    /// A list of architectures or a qualifier that makes sense between packages only.
    #[error("`{text}`: after the name only an architecture may stand, as in `wine:i386`")]
    Qualifier {
        /// The text.
        text: String,
    },
}

impl Request {
    /// The name asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.atom.name
    }

    /// The architecture asked for, where one is.
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.atom.qualifier.as_deref()
    }
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |source| RequestError::Relation {
            text: text.into(),
            source,
        };
        if text.starts_with('?') {
            let priority = match text {
                "?priority(required)" => Priority::Required,
                "?priority(important)" => Priority::Important,
                "?priority(standard)" => Priority::Standard,
                _ => return Err(RequestError::Pattern { text: text.into() }),
            };
            return Ok(Self {
                atom: Atom {
                    name: text.into(),
                    qualifier: None,
                    constraint: None,
                    architectures: Vec::new(),
                },
                suite: None,
                priority: Some(priority),
            });
        }
        let (wanted, suite) = match text.split_once('/') {
            Some((wanted, suite)) if !wanted.contains(['(', '=']) => {
                (wanted, Some(suite.trim().to_owned()))
            }
            _ => (text, None),
        };
        let (name, version) = match wanted.split_once('=') {
            Some((name, version)) if !name.contains('(') => (name, Some(version.trim())),
            _ => (wanted, None),
        };
        let clauses = relations(name).map_err(refused)?;
        let Ok([clause]) = <[_; 1]>::try_from(clauses) else {
            return Err(RequestError::NotOne { text: text.into() });
        };
        let Ok([mut atom]) = <[_; 1]>::try_from(clause) else {
            return Err(RequestError::NotOne { text: text.into() });
        };
        if matches!(atom.qualifier.as_deref(), Some("any" | "native" | "all"))
            || !atom.architectures.is_empty()
        {
            return Err(RequestError::Qualifier { text: text.into() });
        }
        if let Some(version) = version {
            atom.constraint = Some(Constraint {
                operator: Operator::Equal,
                version: version.parse().map_err(|source| RequestError::Version {
                    text: text.into(),
                    source,
                })?,
            });
        }
        Ok(Self {
            atom,
            suite,
            priority: None,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.atom.fmt(f)?;
        match &self.suite {
            Some(suite) => write!(f, "/{suite}"),
            None => Ok(()),
        }
    }
}
