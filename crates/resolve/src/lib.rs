//! Which packages, why, and why not.
//!
//! A [`Universe`] holds the indexes of some archives; a [`Stage`] says what is asked for;
//! [`resolve`] gives a [`Solution`], or tells in the user's words why there is none
//! ([`Unsatisfiable`]). Nothing here reads a file or guesses: the same universe and the same stage
//! give the same solution on every machine.
//!
//! What is chosen is what apt chooses on an empty system, name by name and version by version, with
//! Recommends and without: apt's own way is gone (see `marking`), and what it comes to is checked
//! against every rule. Where apt would give up, a solver (resolvo; its names stay inside) finds a
//! solution if there is one, or proves that there is none. `examples/beside_apt` compares.
//!
//! ```
//! use kasmforge_resolve::{Archive, Request, Stage, Universe, resolve};
//!
//! let mut universe = Universe::new("amd64");
//! let debian = universe.add_archive(Archive {
//!     name: "debian".into(),
//!     suite: "trixie".into(),
//!     priority: Archive::AUTOMATIC,
//! });
//! universe.add_index(
//!     debian,
//!     "Package: app\nVersion: 1.0\nArchitecture: amd64\nDepends: lib (>= 2)\n\n\
//!      Package: lib\nVersion: 2.1\nArchitecture: all\n",
//! )?;
//! let requests: Vec<Request> = vec!["app".parse()?];
//! let solution = resolve(&universe, &Stage { requests: &requests, ..Stage::default() })?;
//! let names: Vec<_> = solution.packages.iter().map(|chosen| &*chosen.stanza.name).collect();
//! assert_eq!(names, ["lib", "app"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod explain;
mod index;
mod marking;
mod matching;
mod model;
mod near;
mod order;
mod package;
mod pin;
mod provider;
mod recommends;
mod request;
mod solution;
mod stage;
mod universe;
mod unsatisfiable;

pub use index::{INDEX_FORMAT, Index};
pub use package::Package;
pub use pin::{Pin, PinTo};
pub use request::{Request, RequestError};
pub use solution::{Chosen, Link, Relation, Root, Solution, Why};
pub use stage::{Identity, Stage, resolve};
pub use universe::{Archive, ArchiveId, Origin, PackageId, Universe, UniverseError};
pub use unsatisfiable::{Because, Missing, Problem, Unsatisfiable};
