//! All packages there are: the indexes of several archives, side by side.

mod adding;
mod ranks;

use std::collections::HashMap;
use std::sync::Arc;

use kasmforge_deb::{MultiArch, Version};

pub use self::adding::UniverseError;
use crate::index::{Index, Priority};
use crate::package::Package;

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

    /// The native slots whose best package has a priority, as the indexes first have their names.
    pub(crate) fn slots_of_priority(&self, priority: Priority) -> Vec<u32> {
        let slots = self.names.iter().flat_map(|name| &name.slots);
        let native = slots.filter(|&&(architecture, _)| architecture == 0);
        let of = |slot: &u32| {
            let best = self.slot_packages(*slot).first();
            best.is_some_and(|&id| self.entry(id).priority == priority)
        };
        native.map(|&(_, slot)| slot).filter(of).collect()
    }

    /// The slots whose packages every system must have.
    pub(crate) fn essential_slots(&self) -> impl Iterator<Item = u32> {
        self.essential.iter().filter_map(|&name| self.slot(name, 0))
    }
}
