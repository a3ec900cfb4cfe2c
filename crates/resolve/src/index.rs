//! One index, read: what choosing needs of every package, and their stanzas cut down to the fields
//! that somebody asks for.
//!
//! To read the 50 MB of a `Packages` file takes ten times as long as to take up what was read
//! before. So an [`Index`] has a binary form, to be kept by the digest of the text it was read from:
//!
//! ```text
//! 16  "kasmforge index\n"
//!  4  the number of the format
//!  6 × 4  lengths: names' text, names, architectures' text, packages, provides, stanzas' text
//!  names' text, each name's end (4), architectures (lines), packages (32 each), provides (20 each),
//!  stanzas' text
//! ```
//!
//! Numbers are little-endian. Names stand in the order in which the index first has them, be it only
//! in a relation.

mod binary;
mod reader;

use kasmforge_deb::MultiArch;

pub use self::binary::INDEX_FORMAT;

/// The architecture number of `all`.
const ALL: u16 = u16::MAX;

/// The packages of one `Packages` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// All names, one after the other.
    name_text: String,
    /// Where each name ends in that text.
    name_ends: Vec<u32>,
    architectures: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) provides: Vec<Provides>,
    /// The stanzas, one after the other.
    text: String,
}

/// One package: a version for an architecture. Places are those in the index's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    version: (u32, u32),
    /// Where its stanza begins in the text the index was read from.
    pub(crate) line: u32,
    architecture: u16,
    pub(crate) multi_arch: MultiArch,
    pub(crate) priority: Priority,
    pub(crate) essential: bool,
    pub(crate) important: bool,
}

/// That a package stands for a name which is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Provides {
    pub(crate) row: u32,
    pub(crate) name: u32,
    /// Where the version it stands for is in the text; empty if it names none.
    version: (u32, u32),
}

/// `Priority` (Debian Policy 2.5), the most important first; absent ones go before all, as apt has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Priority {
    /// The package names none.
    #[default]
    Absent,
    /// What a system needs to be one at all.
    Required,
    /// What is expected of every system.
    Important,
    /// What a small system for working in text has.
    Standard,
    /// All else.
    Optional,
    /// As optional; an older word.
    Extra,
}

impl Index {
    /// How many packages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.name_ends.iter().copied());
        starts
            .zip(&self.name_ends)
            .map(|(start, &end)| &self.name_text[start as usize..end as usize])
    }

    pub(crate) fn stanza(&self, start: u32, end: u32) -> &str {
        &self.text[start as usize..end as usize]
    }

    pub(crate) fn version(&self, row: &Row) -> &str {
        self.stanza(row.version.0, row.version.1)
    }

    /// The architecture of a package, where it is not `all`.
    pub(crate) fn architecture(&self, row: &Row) -> Option<&str> {
        let architecture = self.architectures.get(usize::from(row.architecture))?;
        Some(architecture)
    }

    pub(crate) fn provided_version(&self, provides: &Provides) -> Option<&str> {
        let (start, end) = provides.version;
        (start < end).then(|| self.stanza(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Package: app
Version: 1:2.0-1
Architecture: amd64
Description: kept by nobody
 at all
Depends: lib (>= 1),
 other | third
Provides: virtual (= 3), plain
Multi-Arch: same
Priority: standard

Package: lib
Architecture: all
Version: 1.5
Essential: yes
Protected: yes
";

    fn read(text: &str) -> Index {
        Index::read(text, "debian").expect("a good index")
    }

    #[test]
    fn keeps_what_choosing_needs() {
        let index = read(TEXT);
        let names: Vec<_> = index.names().collect();
        assert_eq!(names, ["app", "lib", "other", "third", "virtual", "plain"]);
        let [app, lib] = &index.rows[..] else {
            panic!("two packages");
        };
        assert_eq!((index.version(app), index.version(lib)), ("1:2.0-1", "1.5"));
        assert_eq!(
            (index.architecture(app), index.architecture(lib)),
            (Some("amd64"), None)
        );
        assert_eq!(app.priority, Priority::Standard);
        assert!(lib.essential && lib.important && !app.essential);
        assert_eq!(index.provided_version(&index.provides[0]), Some("3"));
        assert_eq!(index.provided_version(&index.provides[1]), None);
        let stanza = index.stanza(app.start, app.end);
        assert!(!stanza.contains("nobody"), "{stanza}");
        let stanza: kasmforge_deb::PackageStanza = stanza.parse().expect("a stanza");
        assert_eq!(stanza.depends.len(), 2);
        assert_eq!(stanza.version.as_str(), "1:2.0-1");
    }

    #[test]
    fn the_binary_form_gives_the_same_back() {
        for text in [TEXT, "", "Package: a\nVersion:\t1 \nArchitecture: x\n"] {
            let index = read(text);
            assert_eq!(Index::decode(&index.encode()), Some(index));
        }
    }

    #[test]
    fn a_damaged_form_is_none() {
        let good = read(TEXT).encode();
        for length in 0..good.len() {
            assert_eq!(Index::decode(&good[..length]), None, "cut at {length}");
        }
        assert_eq!(Index::decode(&[good.clone(), vec![0]].concat()), None);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            // It may say something else, but every place in it is one.
            if let Some(index) = Index::decode(&bad) {
                let _ = index.names().count();
                for row in &index.rows {
                    let _ = (index.version(row), index.architecture(row));
                    let _ = index.stanza(row.start, row.end);
                }
                for provides in &index.provides {
                    let _ = index.provided_version(provides);
                }
            }
        }
    }
}
