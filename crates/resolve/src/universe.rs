//! All packages there are: the indexes of several archives, side by side.

use std::collections::HashMap;
use std::sync::Arc;

use kasmforge_deb::stanza::StanzaError;
use kasmforge_deb::{MultiArch, RelationError, Version, VersionError};

use crate::index::{Index, Priority, Row};
use crate::package::Package;
use crate::pin::Pin;

/// All packages of some archives, for one native architecture.
///
/// The stanzas are kept as text, and a package's relations are read only when somebody asks: a
/// desktop touches a twentieth of what an index holds.
#[derive(Clone)]
pub struct Universe {
    archives: Vec<Archive>,
    /// Architectures by number; the native one is 0, and stands for `all` too.
    architectures: Vec<Arc<str>>,
    indexes: Vec<Arc<Index>>,
    packages: Vec<Entry>,
    names: Vec<Name>,
    name_numbers: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    /// The names that have an essential version for the native architecture, as they came.
    essential: Vec<u32>,
    /// Further archives that have a package in the very same version.
    also: Vec<(PackageId, ArchiveId)>,
    /// What pins keep out.
    kept_out: Vec<PackageId>,
}

/// An archive, and how much its versions count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// What the archive is called in messages and in the lock.
    pub name: String,
    /// Its suite, by which requests (`name/suite`) and pins may ask for it.
    pub suite: String,
    /// Of several versions that of the highest priority is taken, and only then the newest.
    pub priority: i32,
}

impl Archive {
    /// The priority of archives that say nothing of it.
    pub const AUTOMATIC: i32 = 500;
    /// That of archives whose versions are taken only where they are asked for, but then kept up to
    /// date: backports (`NotAutomatic` and `ButAutomaticUpgrades` in their Release files).
    pub const BUT_AUTOMATIC_UPGRADES: i32 = 100;
    /// That of archives whose versions are taken only where they are asked for: experimental
    /// (`NotAutomatic`).
    pub const NOT_AUTOMATIC: i32 = 1;
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
    index: u32,
    start: u32,
    end: u32,
    /// What comes first of several versions: an archive's priority, or a pin's.
    rank: i32,
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
            indexes: Vec::new(),
            packages: Vec::new(),
            names: vec![Name {
                text: "".into(),
                slots: Vec::new(),
                providers: Vec::new(),
            }],
            name_numbers: HashMap::new(),
            slots: vec![Slot::default()],
            essential: Vec::new(),
            also: Vec::new(),
            kept_out: Vec::new(),
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
        text: impl AsRef<str>,
    ) -> Result<(), UniverseError> {
        let index = Index::read(text.as_ref(), &self.archive(archive).name)?;
        self.add_read_index(archive, index)
    }

    /// Adds the packages of an index that was read before.
    ///
    /// # Errors
    /// Refuses an index with versions that are none.
    pub fn add_read_index(
        &mut self,
        archive: ArchiveId,
        index: Index,
    ) -> Result<(), UniverseError> {
        let name = self.archive(archive).name.clone();
        self.add(Origin::Archive(archive), &name, index)?;
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
        let archive = "of further packages";
        self.add(Origin::Deb(place), archive, Index::read(control, archive)?)
    }

    fn add(
        &mut self,
        origin: Origin,
        archive: &str,
        index: Index,
    ) -> Result<Option<PackageId>, UniverseError> {
        let number = u32::try_from(self.indexes.len()).expect("nobody has 2^32 indexes");
        let index = Arc::new(index);
        self.indexes.push(Arc::clone(&index));
        let names: Vec<u32> = index.names().map(|name| self.name_number(name)).collect();
        self.packages.reserve(index.len());
        let mut ids = Vec::with_capacity(index.len());
        for row in &index.rows {
            ids.push(self.add_row(origin, archive, number, &index, row, &names)?);
        }
        for provides in &index.provides {
            let (id, new) = ids[provides.row as usize];
            if !new {
                // Seen before: what it provides was taken then.
                continue;
            }
            let version = index.provided_version(provides).map(str::parse);
            let version = version.transpose().ok().flatten();
            let name = names[provides.name as usize];
            let provider = Provider {
                package: id,
                version,
            };
            self.names[name as usize].providers.push(provider);
        }
        Ok(ids.last().map(|&(id, _)| id))
    }

    fn add_row(
        &mut self,
        origin: Origin,
        archive: &str,
        number: u32,
        index: &Index,
        row: &Row,
        names: &[u32],
    ) -> Result<(PackageId, bool), UniverseError> {
        let name = names[row.name as usize];
        let version = index
            .version(row)
            .parse()
            .map_err(|source| UniverseError::Version {
                archive: archive.into(),
                line: row.line as usize,
                package: self.names[name as usize].text.to_string(),
                source,
            })?;
        let architecture = index
            .architecture(row)
            .map(|architecture| self.architecture_number(architecture));
        let too_many = |what: String, limit| UniverseError::TooMany {
            archive: archive.into(),
            line: row.line as usize,
            what,
            limit,
        };
        if self.architectures.len() > MAX_ARCHITECTURES {
            return Err(too_many("architectures".into(), MAX_ARCHITECTURES));
        }
        let entry = Entry {
            origin,
            index: number,
            start: row.start,
            end: row.end,
            rank: match origin {
                Origin::Deb(_) => i32::MAX,
                Origin::Archive(id) => self.archive(id).priority,
            },
            name,
            slot: self.slot_number(name, architecture.unwrap_or(0)),
            architecture,
            multi_arch: row.multi_arch,
            priority: row.priority,
            important: row.important,
            version,
        };
        if row.essential && architecture.unwrap_or(0) == 0 && !self.essential.contains(&name) {
            self.essential.push(name);
        }
        if self.slots[entry.slot as usize].packages.len() >= MAX_VERSIONS {
            let name = &self.names[name as usize].text;
            return Err(too_many(format!("versions of {name}"), MAX_VERSIONS));
        }
        Ok(self.insert(entry))
    }

    /// Puts an entry in its place among the packages of its slot, or tells which one is the same.
    fn insert(&mut self, entry: Entry) -> (PackageId, bool) {
        let slot = entry.slot;
        let same = |&&id: &&PackageId| {
            let known = &self.packages[id.0 as usize];
            known.version == entry.version && known.architecture == entry.architecture
        };
        let known = self.slots[slot as usize]
            .packages
            .iter()
            .find(same)
            .copied();
        if let (Some(known), Origin::Archive(archive)) = (known, entry.origin) {
            self.also.push((known, archive));
            let there = &mut self.packages[known.0 as usize];
            if there.rank < entry.rank {
                there.rank = entry.rank;
                self.sort(slot);
            }
            return (known, false);
        }
        let id = PackageId(u32::try_from(self.packages.len()).expect("fewer than 2^32 packages"));
        self.packages.push(entry);
        self.slots[slot as usize].packages.push(id);
        if self.slots[slot as usize].packages.len() > 1 {
            self.sort(slot);
        }
        (id, true)
    }

    /// Puts the packages of a slot into their order, the best first.
    fn sort(&mut self, slot: u32) {
        let mut packages = std::mem::take(&mut self.slots[slot as usize].packages);
        packages.sort_by(|one, other| {
            let key = |id: &PackageId| {
                let entry = &self.packages[id.index()];
                (entry.rank, &entry.version)
            };
            key(other).cmp(&key(one))
        });
        self.slots[slot as usize].packages = packages;
    }

    /// Whether a package is in an archive of this suite.
    pub(crate) fn is_of_suite(&self, id: PackageId, suite: &str) -> bool {
        let of = |archive: ArchiveId| self.archive(archive).suite == suite;
        matches!(self.packages[id.index()].origin, Origin::Archive(archive) if of(archive))
            || self
                .also
                .iter()
                .any(|&(known, archive)| known == id && of(archive))
    }

    /// Applies pins: of two that mean the same package, the first counts. What is pinned to nothing
    /// is taken out, as if no archive had it.
    pub(crate) fn pin(&mut self, pins: &[Pin]) {
        for name in 0..self.names.len() {
            let text = Arc::clone(&self.names[name].text);
            let pins: Vec<&Pin> = pins.iter().filter(|pin| pin.names(&text)).collect();
            if pins.is_empty() {
                continue;
            }
            for (_, slot) in self.names[name].slots.clone() {
                for id in self.slots[slot as usize].packages.clone() {
                    if let Some(pin) = pins.iter().find(|pin| pin.means(self, id)) {
                        self.packages[id.index()].rank = pin.priority;
                    }
                }
                self.sort(slot);
                let Self {
                    slots,
                    packages,
                    kept_out,
                    ..
                } = self;
                slots[slot as usize].packages.retain(|&id| {
                    let stays = packages[id.index()].rank > 0;
                    if !stays {
                        kept_out.push(id);
                    }
                    stays
                });
            }
        }
        if self.kept_out.is_empty() {
            return;
        }
        let packages = &self.packages;
        for name in &mut self.names {
            name.providers
                .retain(|provider| packages[provider.package.index()].rank > 0);
        }
    }

    /// Whether some archive's versions are taken only where they are asked for.
    pub(crate) fn has_unasked(&self) -> bool {
        let mut archives = self.archives.iter();
        archives.any(|archive| archive.priority < Archive::AUTOMATIC)
    }

    /// Whether a version is one that is taken only where it is asked for.
    pub(crate) fn is_unasked(&self, id: PackageId) -> bool {
        self.packages[id.index()].rank < Archive::AUTOMATIC
    }

    /// Whether a package is in one of the archives that have another.
    pub(crate) fn is_beside(&self, id: PackageId, other: PackageId) -> bool {
        self.archives.iter().any(|archive| {
            self.is_of_suite(id, &archive.suite) && self.is_of_suite(other, &archive.suite)
        })
    }

    /// Takes out the versions that nobody asked for, of names that have others: a solver must not
    /// take an experimental version because the usual one cannot be had.
    pub(crate) fn withhold(&mut self, asked: impl Fn(&Self, PackageId) -> bool) {
        for slot in 0..self.slots.len() {
            let packages = std::mem::take(&mut self.slots[slot].packages);
            let usual = packages.iter().any(|&id| !self.is_unasked(id));
            let stays = |&id: &PackageId| !usual || !self.is_unasked(id) || asked(self, id);
            self.slots[slot].packages = packages.into_iter().filter(stays).collect();
        }
        let Self {
            names,
            packages,
            slots,
            ..
        } = self;
        for name in names {
            name.providers.retain(|provider| {
                let slot = packages[provider.package.index()].slot;
                slots[slot as usize].packages.contains(&provider.package)
            });
        }
    }

    /// Whether pins keep out a package of this name.
    pub(crate) fn is_kept_out(&self, name: &str) -> bool {
        let mut names = self
            .kept_out
            .iter()
            .map(|id| self.name_text(self.packages[id.index()].name));
        names.any(|kept_out| kept_out == name)
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

    /// The archives, in the order in which they were made known.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.archives.iter()
    }

    /// Whether an archive has this suite.
    #[must_use]
    pub fn has_suite(&self, suite: &str) -> bool {
        self.archives.iter().any(|archive| archive.suite == suite)
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
        self.indexes[entry.index as usize].stanza(entry.start, entry.end)
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
