//! How packages come into a universe: index by index, each with a number for its name, its architecture
//! and its slot.

use std::sync::Arc;

use kasmforge_deb::stanza::StanzaError;
use kasmforge_deb::{RelationError, VersionError};

use super::{Archive, ArchiveId, Entry, Name, Origin, PackageId, Provider, Slot, Universe};
use crate::index::{Index, Row};

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
    pub(super) fn sort(&mut self, slot: u32) {
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
}
