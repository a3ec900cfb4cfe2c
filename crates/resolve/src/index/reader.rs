//! An [`Index`] from the text of a `Packages` file.

use std::collections::HashMap;

use kasmforge_deb::stanza::{Stanza, Stanzas};
use kasmforge_deb::{MultiArch, Version, relations};

use super::{ALL, Index, Priority, Provides, Row};
use crate::universe::UniverseError;

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
}

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
