//! A view of one package.

use kasmforge_deb::{MultiArch, PackageError, PackageStanza, Version};

use crate::index::Priority;
use crate::universe::{Entry, Origin, PackageId, Universe};

/// A view of one package of a [`Universe`].
#[derive(Clone, Copy)]
pub struct Package<'u> {
    universe: &'u Universe,
    id: PackageId,
}

impl<'u> Package<'u> {
    pub(crate) const fn new(universe: &'u Universe, id: PackageId) -> Self {
        Self { universe, id }
    }

    fn entry(&self) -> &'u Entry {
        self.universe.entry(self.id)
    }

    /// The package's id.
    #[must_use]
    pub const fn id(&self) -> PackageId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'u str {
        self.universe.name_text(self.entry().name)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &'u Version {
        &self.entry().version
    }

    /// Its architecture, or `all`.
    #[must_use]
    pub fn architecture(&self) -> &'u str {
        match self.entry().architecture {
            None => "all",
            Some(number) => self.universe.architecture_text(number),
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.entry().origin
    }

    /// How it may be shared between architectures.
    #[must_use]
    pub fn multi_arch(&self) -> MultiArch {
        self.entry().multi_arch
    }

    /// The text of its stanza, without the fields that nobody asks for.
    #[must_use]
    pub fn text(&self) -> &'u str {
        self.universe.stanza_text(self.entry())
    }

    /// All that its stanza says.
    ///
    /// # Errors
    /// Tells which field cannot be read.
    pub fn stanza(&self) -> Result<PackageStanza, PackageError> {
        self.text().parse()
    }

    pub(crate) fn priority(&self) -> Priority {
        self.entry().priority
    }

    pub(crate) fn is_important(&self) -> bool {
        self.entry().important
    }

    pub(crate) fn slot(&self) -> u32 {
        self.entry().slot
    }

    pub(crate) fn name_number(&self) -> u32 {
        self.entry().name
    }

    /// The architecture whose packages it works with: its own, or the native one if it is for all.
    pub(crate) fn architecture_number(&self) -> u16 {
        self.entry().architecture.unwrap_or(0)
    }
}
