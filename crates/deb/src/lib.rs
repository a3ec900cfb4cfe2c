//! Debian's formats, read from text and bytes that somebody else opened.
//!
//! Nothing here touches a disk or a network. Five things to know:
//!
//! * [`Version`] orders as Debian policy 5.6.12 says;
//! * [`relations`] reads a `Depends`-like field into an "and" of "or"s of [`Atom`]s;
//! * [`stanza::Stanzas`] walks deb822 text without copying it, and [`PackageStanza`] is what one
//!   stanza of a `Packages` file, or the `control` file of a `.deb`, means;
//! * [`Release`] is what an archive says about its own indexes;
//! * [`archive::DebReader`] streams a `.deb`: first its control files, then its data.
//!
//! ```
//! use kasmforge_deb::{Version, relations};
//!
//! let clauses = relations("libc6 (>= 2.36), default-mta | mail-transport-agent")?;
//! assert_eq!(clauses[1][1].name, "mail-transport-agent");
//! let version: Version = "2.36-9+deb12u13".parse()?;
//! assert!(clauses[0][0].constraint.as_ref().is_some_and(|wanted| wanted.accepts(&version)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod archive;
mod package;
mod relation;
mod release;
pub mod stanza;
mod version;

pub use package::{MultiArch, PackageError, PackageStanza};
pub use relation::{
    Alternatives, Architecture, Atom, Constraint, Operator, RelationError, RelationMistake,
    Relations, relations,
};
pub use release::{IndexFile, Release, ReleaseError};
pub use version::{MAX_VERSION_LENGTH, Version, VersionError, VersionMistake};
