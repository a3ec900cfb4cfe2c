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

use std::collections::HashMap;

use kasmforge_deb::stanza::{Stanza, Stanzas};
use kasmforge_deb::{MultiArch, Version, relations};

use crate::universe::UniverseError;

/// What a file of the binary form begins with.
const MAGIC: &[u8; 16] = b"kasmforge index\n";

/// The number of the binary form, and of what is read from an index. Raise it when either changes.
pub const INDEX_FORMAT: u32 = 1;

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

/// `Priority`, the most important first; absent ones go before all, as apt has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Priority {
    #[default]
    Absent,
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

const PRIORITIES: [Priority; 6] = [
    Priority::Absent,
    Priority::Required,
    Priority::Important,
    Priority::Standard,
    Priority::Optional,
    Priority::Extra,
];

const MULTI_ARCHS: [MultiArch; 4] = [
    MultiArch::No,
    MultiArch::Same,
    MultiArch::Foreign,
    MultiArch::Allowed,
];

impl Priority {
    fn read(text: &str) -> Self {
        match text {
            "required" => Self::Required,
            "important" => Self::Important,
            "standard" => Self::Standard,
            "optional" => Self::Optional,
            _ => Self::Extra,
        }
    }
}

impl Index {
    /// Reads a `Packages` file, decompressed. The archive's name is for messages.
    ///
    /// # Errors
    /// Refuses an index that is damaged anywhere. Relations but `Provides` are looked at later,
    /// package by package.
    pub fn read(text: &str, archive: &str) -> Result<Self, UniverseError> {
        let mut reader = Reader {
            archive,
            numbers: HashMap::new(),
            index: Self {
                name_text: String::new(),
                name_ends: Vec::new(),
                architectures: Vec::new(),
                rows: Vec::new(),
                provides: Vec::new(),
                text: String::with_capacity(text.len() / 2),
            },
        };
        for stanza in Stanzas::new(text) {
            let stanza = stanza.map_err(|source| UniverseError::Stanza {
                archive: archive.into(),
                source,
            })?;
            reader.add(&stanza)?;
        }
        Ok(reader.index)
    }

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

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let architectures: String = self
            .architectures
            .iter()
            .map(|architecture| format!("{architecture}\n"))
            .collect();
        let mut bytes = Vec::with_capacity(
            MAGIC.len()
                + 28
                + self.name_text.len()
                + 4 * self.name_ends.len()
                + ROW * self.rows.len()
                + PROVIDES * self.provides.len()
                + self.text.len(),
        );
        bytes.extend_from_slice(MAGIC);
        let number = |bytes: &mut Vec<u8>, number: usize| {
            let number = u32::try_from(number).expect("indexes are read up to 1 GiB");
            bytes.extend_from_slice(&number.to_le_bytes());
        };
        number(&mut bytes, INDEX_FORMAT as usize);
        for length in [
            self.name_text.len(),
            self.name_ends.len(),
            architectures.len(),
            self.rows.len(),
            self.provides.len(),
            self.text.len(),
        ] {
            number(&mut bytes, length);
        }
        bytes.extend_from_slice(self.name_text.as_bytes());
        for end in &self.name_ends {
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        bytes.extend_from_slice(architectures.as_bytes());
        for row in &self.rows {
            for number in [
                row.name,
                row.start,
                row.end,
                row.version.0,
                row.version.1,
                row.line,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&row.architecture.to_le_bytes());
            let multi_arch = MULTI_ARCHS.iter().position(|&kind| kind == row.multi_arch);
            bytes.extend_from_slice(&[
                u8::try_from(multi_arch.unwrap_or_default()).expect("there are four"),
                row.priority as u8,
                u8::from(row.essential),
                u8::from(row.important),
                0,
                0,
            ]);
        }
        for provides in &self.provides {
            for number in [
                provides.row,
                provides.name,
                provides.version.0,
                provides.version.1,
                0,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes.extend_from_slice(self.text.as_bytes());
        bytes
    }

    /// Takes up the binary form; nothing if it is damaged or of another format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        if take(&mut left, MAGIC.len())? != MAGIC || number(&mut left)? != INDEX_FORMAT {
            return None;
        }
        let mut lengths = [0_usize; 6];
        for length in &mut lengths {
            *length = number(&mut left)? as usize;
        }
        let [names, name_count, architectures, rows, provides, text] = lengths;
        let string = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
        let name_text = string(take(&mut left, names)?)?;
        let name_ends: Vec<u32> = numbers(take(&mut left, name_count.checked_mul(4)?)?).collect();
        let architectures = string(take(&mut left, architectures)?)?;
        let rows = take(&mut left, rows.checked_mul(ROW)?)?
            .chunks_exact(ROW)
            .map(Row::decode)
            .collect::<Option<Vec<_>>>()?;
        let provides: Vec<Provides> = take(&mut left, provides.checked_mul(PROVIDES)?)?
            .chunks_exact(PROVIDES)
            .map(Provides::decode)
            .collect::<Option<_>>()?;
        let text = string(take(&mut left, text)?)?;
        let index = Self {
            name_text,
            name_ends,
            architectures: architectures.lines().map(ToOwned::to_owned).collect(),
            rows,
            provides,
            text,
        };
        (left.is_empty() && index.is_whole()).then_some(index)
    }

    /// Whether every place is one in the texts.
    fn is_whole(&self) -> bool {
        let mut before = 0;
        let names = self.name_ends.iter().all(|&end| {
            let fits = before <= end && self.name_text.is_char_boundary(end as usize);
            before = end;
            fits
        });
        let span = |start: u32, end: u32| self.text.get(start as usize..end as usize).is_some();
        let known = |name: u32| (name as usize) < self.name_ends.len();
        names
            && self.rows.iter().all(|row| {
                known(row.name)
                    && span(row.start, row.end)
                    && span(row.version.0, row.version.1)
                    && (row.architecture == ALL
                        || usize::from(row.architecture) < self.architectures.len())
            })
            && self.provides.iter().all(|provides| {
                known(provides.name)
                    && (provides.row as usize) < self.rows.len()
                    && span(provides.version.0, provides.version.1)
            })
    }
}

/// The length of a package in the binary form.
const ROW: usize = 32;

/// The length of a `Provides` in the binary form.
const PROVIDES: usize = 20;

fn take<'a>(left: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some(taken)
}

fn number(left: &mut &[u8]) -> Option<u32> {
    numbers(take(left, 4)?).next()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

impl Row {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = numbers(bytes);
        let mut next = || numbers.next();
        let row = [next()?, next()?, next()?, next()?, next()?, next()?];
        let [a, b, multi_arch, priority, essential, important, ..] = bytes.get(24..)? else {
            return None;
        };
        Some(Self {
            name: row[0],
            start: row[1],
            end: row[2],
            version: (row[3], row[4]),
            line: row[5],
            architecture: u16::from_le_bytes([*a, *b]),
            multi_arch: *MULTI_ARCHS.get(usize::from(*multi_arch))?,
            priority: *PRIORITIES.get(usize::from(*priority))?,
            essential: *essential != 0,
            important: *important != 0,
        })
    }
}

impl Provides {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = numbers(bytes);
        let mut next = || numbers.next();
        Some(Self {
            row: next()?,
            name: next()?,
            version: (next()?, next()?),
        })
    }
}

/// The fields that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Package,
    Version,
    Architecture,
    Essential,
    Important,
    MultiArch,
    Priority,
    /// A field that names other packages, by its place in the order in which apt reads them.
    Relation(usize),
    /// A field that only [`crate::Package::stanza`] reads.
    Other,
}

impl Kept {
    fn of(name: &str) -> Option<Self> {
        let mut lower = [0_u8; 16];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"package" => Self::Package,
            b"version" => Self::Version,
            b"architecture" => Self::Architecture,
            b"essential" => Self::Essential,
            b"important" | b"protected" => Self::Important,
            b"multi-arch" => Self::MultiArch,
            b"priority" => Self::Priority,
            b"pre-depends" => Self::Relation(0),
            b"depends" => Self::Relation(1),
            b"conflicts" => Self::Relation(2),
            b"breaks" => Self::Relation(3),
            b"recommends" => Self::Relation(4),
            b"suggests" => Self::Relation(5),
            b"replaces" => Self::Relation(6),
            b"enhances" => Self::Relation(7),
            b"provides" => Self::Relation(PROVIDES_FIELD),
            b"source" | b"section" | b"filename" | b"size" | b"sha256" | b"installed-size" => {
                Self::Other
            }
            _ => return None,
        })
    }
}

/// The place of `Provides` among the fields that name other packages.
const PROVIDES_FIELD: usize = 8;

struct Reader<'a> {
    archive: &'a str,
    numbers: HashMap<String, u32>,
    index: Index,
}

impl Reader<'_> {
    fn add(&mut self, stanza: &Stanza<'_>) -> Result<(), UniverseError> {
        let head = Head::read(stanza);
        let archive = self.archive;
        let missing = |field| UniverseError::Missing {
            archive: archive.into(),
            line: stanza.line(),
            field,
        };
        let name = head.name.ok_or_else(|| missing("Package"))?;
        let version = head.version.ok_or_else(|| missing("Version"))?;
        let _: Version = version.parse().map_err(|source| UniverseError::Version {
            archive: archive.into(),
            line: stanza.line(),
            package: name.into(),
            source,
        })?;
        let architecture = match head.architecture.ok_or_else(|| missing("Architecture"))? {
            "all" => ALL,
            architecture => self.architecture(architecture),
        };
        let name_number = self.number(name);
        for field in head.relations.into_iter().flatten() {
            self.mention(field);
        }
        let row = place(self.index.rows.len());
        if let Some(provides) = head.relations[PROVIDES_FIELD] {
            self.provides(row, name, provides, stanza.line())?;
        }
        let start = place(self.index.text.len());
        let text = &mut self.index.text;
        let mut at = (0, 0);
        for field in stanza.fields() {
            let Some(kept) = Kept::of(field.name) else {
                continue;
            };
            // Whom it enhances counts for the order of names only.
            if kept == Kept::Relation(7) {
                continue;
            }
            text.push_str(field.name);
            text.push(':');
            let raw = field.raw.trim_end();
            if kept == Kept::Version && at == (0, 0) {
                let value = place(text.len() + raw.len() - raw.trim_start().len());
                at = (value, value + place(version.len()));
            }
            text.push_str(raw);
            text.push('\n');
        }
        self.index.rows.push(Row {
            name: name_number,
            start,
            end: place(self.index.text.len()),
            version: at,
            line: place(stanza.line()),
            architecture,
            multi_arch: head.multi_arch,
            priority: head.priority,
            essential: head.essential,
            important: head.important,
        });
        Ok(())
    }

    fn provides(
        &mut self,
        row: u32,
        package: &str,
        field: &str,
        line: usize,
    ) -> Result<(), UniverseError> {
        let provides = relations(field).map_err(|source| UniverseError::Provides {
            archive: self.archive.into(),
            line,
            package: package.into(),
            source,
        })?;
        for atom in provides.into_iter().flatten() {
            let name = self.number(&atom.name);
            let version = atom.constraint.map_or((0, 0), |constraint| {
                let start = place(self.index.text.len());
                self.index.text.push_str(constraint.version.as_str());
                (start, place(self.index.text.len()))
            });
            self.index.provides.push(Provides { row, name, version });
        }
        Ok(())
    }

    /// Numbers the names a relation field has, so that numbers tell which name the index has first.
    /// apt prefers the last of several providers that are alike in everything else.
    fn mention(&mut self, field: &str) {
        for atom in field.split([',', '|']) {
            let atom = atom.trim_start();
            let end = atom.find(|c: char| c.is_ascii_whitespace() || "(:[<".contains(c));
            let (name, rest) = atom.split_at(end.unwrap_or(atom.len()));
            // `name:any` is a name of its own to apt.
            if !name.is_empty() && !rest.starts_with(':') {
                self.number(name);
            }
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = place(self.index.name_ends.len());
        self.index.name_text.push_str(name);
        self.index.name_ends.push(place(self.index.name_text.len()));
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The number of an architecture; of more than there are numbers, some share one, and the
    /// universe refuses them.
    fn architecture(&mut self, name: &str) -> u16 {
        let architectures = &mut self.index.architectures;
        let full = architectures.len() > usize::from(u8::MAX);
        let known = architectures.iter().position(|known| known == name);
        let known = known.or(full.then_some(0));
        let number = known.unwrap_or_else(|| {
            architectures.push(name.to_owned());
            architectures.len() - 1
        });
        u16::try_from(number).unwrap_or(ALL - 1)
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("indexes are read up to 1 GiB")
}

/// The fields of a stanza that are needed of every package. Of two fields of one name the first
/// counts.
#[derive(Default)]
struct Head<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    essential: bool,
    important: bool,
    multi_arch: MultiArch,
    priority: Priority,
    relations: [Option<&'a str>; 9],
}

impl<'a> Head<'a> {
    fn read(stanza: &Stanza<'a>) -> Self {
        let mut head = Self::default();
        for field in stanza.fields() {
            let Some(kept) = Kept::of(field.name) else {
                continue;
            };
            let value = field.raw.trim();
            match kept {
                Kept::Package => head.name = head.name.or(Some(value)),
                Kept::Version => head.version = head.version.or(Some(value)),
                Kept::Architecture => head.architecture = head.architecture.or(Some(value)),
                Kept::Essential => head.essential |= value == "yes",
                Kept::Important => head.important |= value == "yes",
                Kept::Priority => head.priority = Priority::read(value),
                Kept::MultiArch => {
                    head.multi_arch = match value {
                        "same" => MultiArch::Same,
                        "foreign" => MultiArch::Foreign,
                        "allowed" => MultiArch::Allowed,
                        _ => MultiArch::No,
                    };
                }
                Kept::Relation(at) => {
                    head.relations[at] = head.relations[at].or(Some(value));
                }
                Kept::Other => {}
            }
        }
        head
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
