//! All packages there are: the indexes of several archives, side by side.

use std::collections::HashMap;
use std::sync::Arc;

use kasmforge_deb::stanza::{Stanza, StanzaError, Stanzas};
use kasmforge_deb::{MultiArch, RelationError, Version, VersionError, relations};

use crate::package::Package;

/// All packages of some archives, for one native architecture.
///
/// The texts of the indexes are kept, and a package's relations are read only when somebody asks:
/// a desktop touches a twentieth of what an index holds.
#[derive(Clone)]
pub struct Universe {
    archives: Vec<Archive>,
    /// Architectures by number; the native one is 0, and stands for `all` too.
    architectures: Vec<Arc<str>>,
    texts: Vec<Arc<str>>,
    packages: Vec<Entry>,
    names: Vec<Name>,
    name_numbers: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    /// The names that have an essential version for the native architecture, as they came.
    essential: Vec<u32>,
}

/// An archive, and how much its versions count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// What the archive is called in messages and in the lock.
    pub name: String,
    /// Whether its versions are taken without being asked for by version. Backports and
    /// experimental archives are not automatic (`NotAutomatic: yes` in their Release files).
    pub automatic: bool,
}

/// Names an archive of a [`Universe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(u16);

/// Names a package of a [`Universe`]: one version for one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(pub(crate) u32);

impl PackageId {
    /// Its place among all packages.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An archive's index.
    Archive(ArchiveId),
    /// A `.deb` outside any archive, by its place in [`crate::Stage::debs`].
    Deb(usize),
}

/// What is known of every package without reading its stanza again.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    text: u32,
    start: usize,
    end: usize,
    pub(crate) name: u32,
    pub(crate) slot: u32,
    /// The architecture by number, where it is not `all`.
    pub(crate) architecture: Option<u16>,
    pub(crate) multi_arch: MultiArch,
    pub(crate) priority: Priority,
    /// Whether apt refuses to remove it (`Important` or `Protected`).
    pub(crate) important: bool,
    pub(crate) version: Version,
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

#[derive(Clone)]
struct Name {
    text: Arc<str>,
    /// The architecture's number and the slot, for each architecture that has the name.
    slots: Vec<(u16, u32)>,
    providers: Vec<Provider>,
}

/// One package that stands for a name which is not its own.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) package: PackageId,
    /// The version it stands for, if it says so.
    pub(crate) version: Option<Version>,
}

/// A name for one architecture: of its packages, one at most can be installed.
#[derive(Clone, Default)]
struct Slot {
    name: u32,
    architecture: u16,
    /// Best first.
    packages: Vec<PackageId>,
}

/// The slot that no package has: what cannot be satisfied is looked for in it.
pub(crate) const NOWHERE: u32 = 0;

/// How many architectures the archives may speak of: Debian and its ports have about forty.
const MAX_ARCHITECTURES: usize = 128;

/// How many versions a package may have for one architecture: an archive has a handful, and private
/// ones that keep everything a few hundred. Each is compared with the others.
const MAX_VERSIONS: usize = 1024;

/// An index that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UniverseError {
    /// The index is not deb822.
    #[error("an index of the archive {archive} cannot be read")]
    Stanza {
        /// The archive's name.
        archive: String,
        /// Why not.
        source: StanzaError,
    },
    /// There is more of something than any archive has.
    #[error("an index of the archive {archive}, line {line}: there are more than {limit} {what}")]
    TooMany {
        /// The archive's name.
        archive: String,
        /// Where the stanza begins.
        line: usize,
        /// Of what.
        what: String,
        /// The most that are read.
        limit: usize,
    },
    /// A stanza lacks a field every package has.
    #[error("an index of the archive {archive}, line {line}: the field {field} is missing")]
    Missing {
        /// The archive's name.
        archive: String,
        /// Where the stanza begins.
        line: usize,
        /// The field.
        field: &'static str,
    },
    /// A package has no version that can be compared.
    #[error("an index of the archive {archive}, line {line}: {package} has no proper version")]
    Version {
        /// The archive's name.
        archive: String,
        /// Where the stanza begins.
        line: usize,
        /// The package.
        package: String,
        /// Why not.
        source: VersionError,
    },
    /// What a package provides cannot be read.
    #[error("an index of the archive {archive}, line {line}: {package} has bad Provides")]
    Provides {
        /// The archive's name.
        archive: String,
        /// Where the stanza begins.
        line: usize,
        /// The package.
        package: String,
        /// Why not.
        source: RelationError,
    },
}

impl Universe {
    /// An empty universe for a native architecture (`amd64`).
    #[must_use]
    pub fn new(native: &str) -> Self {
        Self {
            archives: Vec::new(),
            architectures: vec![native.into()],
            texts: Vec::new(),
            packages: Vec::new(),
            names: vec![Name {
                text: "".into(),
                slots: Vec::new(),
                providers: Vec::new(),
            }],
            name_numbers: HashMap::new(),
            slots: vec![Slot::default()],
            essential: Vec::new(),
        }
    }

    /// Makes an archive known. Of archives that have the same version of a package, the one made
    /// known first gives it.
    pub fn add_archive(&mut self, archive: Archive) -> ArchiveId {
        let id = u16::try_from(self.archives.len()).expect("nobody has 65536 archives");
        self.archives.push(archive);
        ArchiveId(id)
    }

    /// Adds the packages of one `Packages` file of an archive, decompressed.
    ///
    /// # Errors
    /// Refuses an index that is damaged anywhere. Relations are read later, package by package.
    pub fn add_index(
        &mut self,
        archive: ArchiveId,
        text: impl Into<Arc<str>>,
    ) -> Result<(), UniverseError> {
        let name = self.archive(archive).name.clone();
        self.add_text(Origin::Archive(archive), &name, text.into())?;
        Ok(())
    }

    /// Adds a `.deb` outside any archive by its `control` file. It goes before all versions of its
    /// name. Gives its id, or that of the package that is the same in name, version and
    /// architecture.
    pub(crate) fn add_deb(
        &mut self,
        place: usize,
        control: &str,
    ) -> Result<Option<PackageId>, UniverseError> {
        self.add_text(Origin::Deb(place), "of further packages", control.into())
    }

    fn add_text(
        &mut self,
        origin: Origin,
        archive: &str,
        text: Arc<str>,
    ) -> Result<Option<PackageId>, UniverseError> {
        let number = u32::try_from(self.texts.len()).expect("nobody has 2^32 indexes");
        self.texts.push(Arc::clone(&text));
        let mut last = None;
        for stanza in Stanzas::new(&text) {
            let stanza = stanza.map_err(|source| UniverseError::Stanza {
                archive: archive.into(),
                source,
            })?;
            last = Some(self.add(origin, archive, number, &stanza)?);
        }
        Ok(last)
    }

    fn add(
        &mut self,
        origin: Origin,
        archive: &str,
        text: u32,
        stanza: &Stanza<'_>,
    ) -> Result<PackageId, UniverseError> {
        let head = Head::read(stanza);
        let missing = |field| UniverseError::Missing {
            archive: archive.into(),
            line: stanza.line(),
            field,
        };
        let name = head.name.ok_or_else(|| missing("Package"))?;
        let version = head.version.ok_or_else(|| missing("Version"))?;
        let version = version.parse().map_err(|source| UniverseError::Version {
            archive: archive.into(),
            line: stanza.line(),
            package: name.into(),
            source,
        })?;
        let architecture = match head.architecture.ok_or_else(|| missing("Architecture"))? {
            "all" => None,
            architecture => Some(self.architecture_number(architecture)),
        };
        let too_many = |what: String, limit| UniverseError::TooMany {
            archive: archive.into(),
            line: stanza.line(),
            what,
            limit,
        };
        if self.architectures.len() > MAX_ARCHITECTURES {
            return Err(too_many("architectures".into(), MAX_ARCHITECTURES));
        }
        let name_number = self.name_number(name);
        for field in head.mentions.into_iter().flatten() {
            self.mention(field);
        }
        let slot = self.slot_number(name_number, architecture.unwrap_or(0));
        let entry = Entry {
            origin,
            text,
            start: stanza.offset(),
            end: stanza.offset() + stanza.text().len(),
            name: name_number,
            slot,
            architecture,
            multi_arch: head.multi_arch,
            priority: head.priority,
            important: head.important,
            version,
        };
        if self.slots[slot as usize].packages.len() >= MAX_VERSIONS {
            return Err(too_many(format!("versions of {name}"), MAX_VERSIONS));
        }
        let id = match self.insert(entry) {
            Ok(id) => id,
            // Seen before: what it provides and whether it is essential was taken then.
            Err(known) => return Ok(known),
        };
        if head.essential
            && architecture.unwrap_or(0) == 0
            && !self.essential.contains(&name_number)
        {
            self.essential.push(name_number);
        }
        if let Some(provides) = head.provides {
            let provides = relations(provides).map_err(|source| UniverseError::Provides {
                archive: archive.into(),
                line: stanza.line(),
                package: name.into(),
                source,
            })?;
            for atom in provides.into_iter().flatten() {
                let virtual_name = self.name_number(&atom.name);
                let version = atom.constraint.map(|constraint| constraint.version);
                self.names[virtual_name as usize].providers.push(Provider {
                    package: id,
                    version,
                });
            }
        }
        Ok(id)
    }

    /// Puts an entry in its place among the packages of its slot, or tells which one is the same.
    fn insert(&mut self, entry: Entry) -> Result<PackageId, PackageId> {
        let slot = &self.slots[entry.slot as usize];
        let same = |&&id: &&PackageId| {
            let known = &self.packages[id.0 as usize];
            known.version == entry.version && known.architecture == entry.architecture
        };
        if let (Some(&known), Origin::Archive(_)) = (slot.packages.iter().find(same), entry.origin)
        {
            return Err(known);
        }
        let rank = |entry: &Entry| {
            let origin = match entry.origin {
                Origin::Deb(_) => 2,
                Origin::Archive(id) => u8::from(self.archive(id).automatic),
            };
            (origin, entry.version.clone())
        };
        let wanted = rank(&entry);
        let place = slot
            .packages
            .iter()
            .position(|id| rank(&self.packages[id.0 as usize]) < wanted)
            .unwrap_or(slot.packages.len());
        let id = PackageId(u32::try_from(self.packages.len()).expect("fewer than 2^32 packages"));
        self.slots[entry.slot as usize].packages.insert(place, id);
        self.packages.push(entry);
        Ok(id)
    }

    /// Numbers the names a relation field has, so that numbers tell which name the indexes have
    /// first. apt prefers the last of several providers that are alike in everything else.
    fn mention(&mut self, field: &str) {
        for atom in field.split([',', '|']) {
            let atom = atom.trim_start();
            let end = atom.find(|c: char| c.is_ascii_whitespace() || "(:[<".contains(c));
            let (name, rest) = atom.split_at(end.unwrap_or(atom.len()));
            // `name:any` is a name of its own to apt.
            if !name.is_empty() && !rest.starts_with(':') {
                self.name_number(name);
            }
        }
    }

    fn name_number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.name_numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 names");
        let text: Arc<str> = text.into();
        self.names.push(Name {
            text: Arc::clone(&text),
            slots: Vec::new(),
            providers: Vec::new(),
        });
        self.name_numbers.insert(text, number);
        number
    }

    fn architecture_number(&mut self, text: &str) -> u16 {
        let known = self.architectures.iter().position(|known| &**known == text);
        let number = known.unwrap_or_else(|| {
            self.architectures.push(text.into());
            self.architectures.len() - 1
        });
        u16::try_from(number).expect("nobody has 65536 architectures")
    }

    fn slot_number(&mut self, name: u32, architecture: u16) -> u32 {
        if let Some(slot) = self.slot(name, architecture) {
            return slot;
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots");
        self.slots.push(Slot {
            name,
            architecture,
            packages: Vec::new(),
        });
        self.names[name as usize].slots.push((architecture, slot));
        slot
    }

    /// An archive by its id.
    #[must_use]
    pub fn archive(&self, id: ArchiveId) -> &Archive {
        &self.archives[usize::from(id.0)]
    }

    /// The native architecture.
    #[must_use]
    pub fn native(&self) -> &str {
        &self.architectures[0]
    }

    /// How many packages there are, of all versions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there is no package.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// A package by its id.
    #[must_use]
    pub fn package(&self, id: PackageId) -> Package<'_> {
        Package::new(self, id)
    }

    /// The packages of a name for an architecture, best first; those for `all` count as native.
    pub fn packages_of(&self, name: &str, architecture: &str) -> impl Iterator<Item = Package<'_>> {
        let slot = self.name(name).zip(self.architecture(architecture));
        let slot = slot.and_then(|(name, architecture)| self.slot(name, architecture));
        self.slot_packages(slot.unwrap_or(NOWHERE))
            .iter()
            .map(|&id| self.package(id))
    }

    /// The packages of a name for all architectures, best first for each.
    pub fn versions_of(&self, name: &str) -> impl Iterator<Item = Package<'_>> {
        self.name_slots(self.name(name).unwrap_or(0))
            .iter()
            .flat_map(|&(_, slot)| self.slot_packages(slot))
            .map(|&id| self.package(id))
    }

    /// The names that every system of the native architecture must have, as the indexes list them.
    pub fn essential(&self) -> impl Iterator<Item = &str> {
        self.essential
            .iter()
            .map(|&name| &*self.names[name as usize].text)
    }

    pub(crate) fn entry(&self, id: PackageId) -> &Entry {
        &self.packages[id.0 as usize]
    }

    pub(crate) fn name_text(&self, number: u32) -> &str {
        &self.names[number as usize].text
    }

    pub(crate) fn architecture_text(&self, number: u16) -> &str {
        &self.architectures[usize::from(number)]
    }

    pub(crate) fn stanza_text(&self, entry: &Entry) -> &str {
        &self.texts[entry.text as usize][entry.start..entry.end]
    }

    pub(crate) fn name(&self, text: &str) -> Option<u32> {
        self.name_numbers.get(text).copied()
    }

    pub(crate) fn architecture(&self, text: &str) -> Option<u16> {
        let text = if text == "all" { self.native() } else { text };
        let known = self
            .architectures
            .iter()
            .position(|known| &**known == text)?;
        u16::try_from(known).ok()
    }

    pub(crate) fn slot(&self, name: u32, architecture: u16) -> Option<u32> {
        let slots = &self.names[name as usize].slots;
        slots
            .iter()
            .find(|(known, _)| *known == architecture)
            .map(|&(_, slot)| slot)
    }

    /// The slots of a name, with the number of each one's architecture.
    pub(crate) fn name_slots(&self, name: u32) -> &[(u16, u32)] {
        &self.names[name as usize].slots
    }

    pub(crate) fn slot_packages(&self, slot: u32) -> &[PackageId] {
        &self.slots[slot as usize].packages
    }

    pub(crate) fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("counted when they were added")
    }

    /// What a slot is called: its name, and its architecture if that is foreign.
    pub(crate) fn slot_name(&self, slot: u32) -> String {
        let Slot {
            name, architecture, ..
        } = self.slots[slot as usize];
        let name = &self.names[name as usize].text;
        match architecture {
            0 => name.to_string(),
            foreign => format!("{name}:{}", self.architectures[usize::from(foreign)]),
        }
    }

    pub(crate) fn slot_own_name(&self, slot: u32) -> &str {
        &self.names[self.slots[slot as usize].name as usize].text
    }

    pub(crate) fn providers(&self, name: u32) -> &[Provider] {
        &self.names[name as usize].providers
    }

    /// The names of all packages of all architectures, as the indexes first have them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .filter(|name| !name.slots.is_empty())
            .map(|name| &*name.text)
    }

    /// The names whose versions for the native architecture every system must have, by number.
    pub(crate) fn is_essential(&self, name: u32) -> bool {
        self.essential.contains(&name)
    }

    /// The slots whose packages every system must have.
    pub(crate) fn essential_slots(&self) -> impl Iterator<Item = u32> {
        self.essential.iter().filter_map(|&name| self.slot(name, 0))
    }
}

/// The fields of a stanza that are needed of every package.
#[derive(Default)]
struct Head<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    essential: bool,
    multi_arch: MultiArch,
    priority: Priority,
    important: bool,
    provides: Option<&'a str>,
    /// The fields that name other packages, in the order in which apt reads them.
    mentions: [Option<&'a str>; 9],
}

/// The fields that name other packages, in the order in which apt reads them.
const MENTIONS: [&str; 9] = [
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Recommends",
    "Suggests",
    "Replaces",
    "Enhances",
    "Provides",
];

impl<'a> Head<'a> {
    fn read(stanza: &Stanza<'a>) -> Self {
        let mut head = Self::default();
        for field in stanza.fields() {
            let value = field.raw.trim();
            let known = |name: &str| field.name.eq_ignore_ascii_case(name);
            if let Some(at) = MENTIONS.iter().position(|name| known(name)) {
                head.mentions[at] = Some(value);
            }
            match field.name.as_bytes().first().map(u8::to_ascii_lowercase) {
                Some(b'p') if known("Package") => head.name = Some(value),
                Some(b'p') if known("Provides") => head.provides = Some(value),
                Some(b'p') if known("Priority") => head.priority = Priority::read(value),
                Some(b'p') if known("Protected") => head.important |= value == "yes",
                Some(b'i') if known("Important") => head.important |= value == "yes",
                Some(b'v') if known("Version") => head.version = Some(value),
                Some(b'a') if known("Architecture") => head.architecture = Some(value),
                Some(b'e') if known("Essential") => head.essential = value == "yes",
                Some(b'm') if known("Multi-Arch") => {
                    head.multi_arch = match value {
                        "same" => MultiArch::Same,
                        "foreign" => MultiArch::Foreign,
                        "allowed" => MultiArch::Allowed,
                        _ => MultiArch::No,
                    };
                }
                _ => {}
            }
        }
        head
    }
}
