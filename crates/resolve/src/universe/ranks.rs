//! Which versions of a universe go before others, and which are taken out of it: pins, and what is
//! taken only where it is asked for.

use std::sync::Arc;

use super::{Archive, ArchiveId, Origin, PackageId, Universe};
use crate::pin::Pin;

impl Universe {
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
}
