//! Relations between packages: `Depends`, `Conflicts`, `Provides` and their like (policy 7.1).

use std::fmt;

use crate::version::{Version, VersionError};

/// A whole relation field: every clause must hold.
pub type Relations = Vec<Alternatives>;

/// One clause of a relation field: any atom will do, the first is preferred.
pub type Alternatives = Vec<Atom>;

/// One package named in a relation: `name[:qualifier] [(operator version)] [[architectures]]`.
///
/// Build profiles (`<!nocheck>`) concern builds from source only, and are read over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    /// The package's name, real or virtual.
    pub name: String,
    /// What follows the name's colon: `any`, `native` or an architecture.
    pub qualifier: Option<String>,
    /// Which versions are meant; all when absent.
    pub constraint: Option<Constraint>,
    /// For which architectures the atom holds; all when empty.
    pub architectures: Vec<Architecture>,
}

impl Atom {
    /// Whether the atom's list of architectures, if it has one, counts this one in.
    ///
    /// Wildcards (`linux-any`) are taken as they stand in binary packages of Linux: only `any` and
    /// `linux-any` match everything.
    #[must_use]
    pub fn concerns(&self, architecture: &str) -> bool {
        let listed = |entry: &Architecture| {
            entry.name == architecture || matches!(&*entry.name, "any" | "linux-any")
        };
        match self.architectures.first() {
            None => true,
            Some(first) if first.negated => !self.architectures.iter().any(listed),
            Some(_) => self.architectures.iter().any(listed),
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, " ({constraint})")?;
        }
        if !self.architectures.is_empty() {
            f.write_str(" [")?;
            for (at, entry) in self.architectures.iter().enumerate() {
                let space = if at == 0 { "" } else { " " };
                let mark = if entry.negated { "!" } else { "" };
                write!(f, "{space}{mark}{}", entry.name)?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// One entry of a list of architectures: `[amd64]` or `[!amd64]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The architecture's name, or a wildcard.
    pub name: String,
    /// Whether a `!` stood before it.
    pub negated: bool,
}

/// Which versions a relation means: `>= 1.2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// How a version is compared with the one written.
    pub operator: Operator,
    /// The version written.
    pub version: Version,
}

impl Constraint {
    /// Whether a version is one of those meant.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        let ordering = version.cmp(&self.version);
        match self.operator {
            Operator::Earlier => ordering.is_lt(),
            Operator::EarlierOrEqual => ordering.is_le(),
            Operator::Equal => ordering.is_eq(),
            Operator::LaterOrEqual => ordering.is_ge(),
            Operator::Later => ordering.is_gt(),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operator, self.version)
    }
}

/// How a relation compares versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the obsolete `<`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

/// A text that is not a relation field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the relations, near `{near}`")]
pub struct RelationError {
    /// Where in the text the mistake stands.
    pub offset: usize,
    /// The text from there on, cut short.
    pub near: String,
    /// What is wrong.
    #[source]
    pub mistake: RelationMistake,
}

/// What can be wrong with a relation field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationMistake {
    /// No package name where one must stand.
    #[error("a package name is missing")]
    Name,
    /// A colon with nothing after it.
    #[error("an architecture must follow the colon")]
    Qualifier,
    /// A parenthesis that holds no operator.
    #[error("one of <<, <=, =, >=, >> must stand before the version")]
    Operator,
    /// A version that cannot be read.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// An opening mark whose closing mark is missing.
    #[error("`{0}` is missing")]
    Unclosed(char),
    /// Something that is neither a comma nor a bar after an atom.
    #[error("`,` or `|` must stand between two packages")]
    Garbage,
}

/// Reads a field like `Depends`: commas are "and", bars are "or".
///
/// Empty clauses (a comma too many) are read over, as apt does.
///
/// # Errors
/// Tells the first mistake and where it stands.
pub fn relations(text: &str) -> Result<Relations, RelationError> {
    let mut parser = Parser { text, at: 0 };
    let mut clauses = Vec::new();
    loop {
        parser.skip(|byte| byte.is_ascii_whitespace() || byte == b',');
        if parser.peek().is_none() {
            return Ok(clauses);
        }
        let mut alternatives = vec![parser.atom()?];
        while parser.take(b'|') {
            alternatives.push(parser.atom()?);
        }
        if !matches!(parser.peek(), None | Some(b',')) {
            return Err(parser.error(RelationMistake::Garbage));
        }
        clauses.push(alternatives);
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) {
        self.skip(|byte| byte.is_ascii_whitespace());
    }

    /// Takes a mark and the space after it, if the mark is next.
    fn take(&mut self, mark: u8) -> bool {
        let taken = self.peek() == Some(mark);
        if taken {
            self.at += 1;
            self.skip_space();
        }
        taken
    }

    /// Takes the longest run of bytes that belong to a word. Words are ASCII, so that the text is
    /// only ever cut between characters.
    fn word(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        self.skip(|byte| byte.is_ascii() && belongs(byte));
        &self.text[start..self.at]
    }

    fn error(&self, mistake: RelationMistake) -> RelationError {
        self.error_at(self.at, mistake)
    }

    fn error_at(&self, offset: usize, mistake: RelationMistake) -> RelationError {
        RelationError {
            offset,
            near: self.text[offset..].chars().take(40).collect(),
            mistake,
        }
    }

    fn atom(&mut self) -> Result<Atom, RelationError> {
        self.skip_space();
        let name = self.word(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
        if name.is_empty() {
            return Err(self.error(RelationMistake::Name));
        }
        let qualifier = if self.peek() == Some(b':') {
            self.at += 1;
            let qualifier = self.word(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if qualifier.is_empty() {
                return Err(self.error(RelationMistake::Qualifier));
            }
            Some(qualifier.to_owned())
        } else {
            None
        };
        self.skip_space();
        let mut atom = Atom {
            name: name.to_owned(),
            qualifier,
            constraint: None,
            architectures: Vec::new(),
        };
        if self.take(b'(') {
            atom.constraint = Some(self.constraint()?);
        }
        if self.take(b'[') {
            while !self.take(b']') {
                let negated = self.take(b'!');
                let name = self.word(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                if name.is_empty() {
                    return Err(self.error(RelationMistake::Unclosed(']')));
                }
                atom.architectures.push(Architecture {
                    name: name.to_owned(),
                    negated,
                });
                self.skip_space();
            }
        }
        while self.take(b'<') {
            self.word(|byte| byte != b'>');
            if !self.take(b'>') {
                return Err(self.error(RelationMistake::Unclosed('>')));
            }
        }
        Ok(atom)
    }

    fn constraint(&mut self) -> Result<Constraint, RelationError> {
        let operator = match self.word(|byte| b"<=>".contains(&byte)) {
            "<<" => Operator::Earlier,
            "<=" | "<" => Operator::EarlierOrEqual,
            "=" => Operator::Equal,
            ">=" | ">" => Operator::LaterOrEqual,
            ">>" => Operator::Later,
            _ => return Err(self.error(RelationMistake::Operator)),
        };
        self.skip_space();
        let start = self.at;
        let version = self.word(|byte| !byte.is_ascii_whitespace() && byte != b')');
        let version = version
            .parse()
            .map_err(|mistake: VersionError| self.error_at(start, mistake.into()))?;
        self.skip_space();
        if !self.take(b')') {
            return Err(self.error(RelationMistake::Unclosed(')')));
        }
        Ok(Constraint { operator, version })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_stands_in_indexes() {
        let text = "libc6 (>= 2.36), default-mta | mail-transport-agent,python3:any(<<3.12),\n \
                    linux-image-amd64 [amd64 arm64] <!stage1 cross> <nocheck>, gcc:i386 (> 1),,";
        let clauses = relations(text).expect("a good field");
        let shown: Vec<Vec<_>> = clauses
            .iter()
            .map(|clause| clause.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            shown,
            [
                vec!["libc6 (>= 2.36)"],
                vec!["default-mta", "mail-transport-agent"],
                vec!["python3:any (<< 3.12)"],
                vec!["linux-image-amd64 [amd64 arm64]"],
                vec!["gcc:i386 (>= 1)"],
            ]
        );
        assert!(relations(" \n ").expect("an empty field").is_empty());
    }

    #[test]
    fn tells_where_a_mistake_stands() {
        let mistake = |text| {
            let error = relations(text).expect_err(text);
            (error.offset, error.mistake)
        };
        assert_eq!(mistake("a, | b"), (3, RelationMistake::Name));
        assert_eq!(mistake("a |"), (3, RelationMistake::Name));
        assert_eq!(mistake("a b"), (2, RelationMistake::Garbage));
        assert_eq!(mistake("a (1)"), (3, RelationMistake::Operator));
        assert_eq!(mistake("a (=> 1)"), (5, RelationMistake::Operator));
        assert_eq!(mistake("a (= 1"), (6, RelationMistake::Unclosed(')')));
        assert_eq!(mistake("a [amd64"), (8, RelationMistake::Unclosed(']')));
        assert_eq!(mistake("a <x"), (4, RelationMistake::Unclosed('>')));
        assert_eq!(mistake("a: b"), (2, RelationMistake::Qualifier));
        assert!(matches!(
            mistake("a (= )"),
            (5, RelationMistake::Version(_))
        ));
        assert!(matches!(mistake("ä"), (0, RelationMistake::Name)));
    }

    #[test]
    fn operators_accept_versions() {
        let accepted = |operator: &str| {
            let clauses = relations(&format!("a ({operator} 2)")).expect("a good field");
            let constraint = clauses[0][0].constraint.clone().expect("written above");
            ["1", "2", "3"].map(|text| constraint.accepts(&text.parse().expect("a version")))
        };
        assert_eq!(accepted("<<"), [true, false, false]);
        assert_eq!(accepted("<="), [true, true, false]);
        assert_eq!(accepted("="), [false, true, false]);
        assert_eq!(accepted(">="), [false, true, true]);
        assert_eq!(accepted(">>"), [false, false, true]);
    }

    #[test]
    fn lists_of_architectures_count_in_or_out() {
        let concerns = |list: &str| {
            let clauses = relations(&format!("a {list}")).expect("a good field");
            clauses[0][0].concerns("amd64")
        };
        assert!(concerns("") && concerns("[amd64]") && concerns("[linux-any]"));
        assert!(!concerns("[arm64]") && !concerns("[!amd64]") && concerns("[!arm64 !i386]"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(
            text in "[a-c]{1,2}(:any)?( \\((<<|<=|=|>=|>>) [0-9a.~-]{1,3}[0-9]\\))?( \\[!?[a-z]{2}\\])?"
        ) {
            if let Ok(clauses) = relations(&text) {
                prop_assert_eq!(clauses[0][0].to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-b ,|:()<>=\\[\\]!1é\n-]{0,40}") {
            if let Err(error) = relations(&text) {
                prop_assert!(text[error.offset..].starts_with(&error.near));
            }
        }
    }
}
