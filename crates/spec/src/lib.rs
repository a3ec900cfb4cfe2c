//! The workspace definition: from text to one resolved value, with locations.
//!
//! ```text
//! workspaces/
//!   core.toml              a workspace: `[debian]`, packages, files, users, services, …
//!   desktop.toml           another, with `extends = "core"` and `use = ["modules/xfce"]`
//!   modules/xfce.toml      a module: merged into the file that uses it
//! ```
//!
//! [`load`] reads a workspace's file, its parents and their modules through [`Sources`], and gives
//! one [`Workspace`], or a [`Report`] of everything that is wrong, each with its place. [`schema`]
//! is the same format told to editors.
//!
//! There are two types and one way between them. What was typed stands in `raw`: tables of optional
//! keys, one shape to each, their strings already words that cannot be wrong. What it means stands
//! in [`Workspace`]. Between them `fragment` makes the entries of one file whole, `chain` finds
//! the files, `merge` lays them over each other and `finish` fills in the defaults:
//!
//! - a single value: the nearest one holds (a module is nearer than those before it, a file nearer
//!   than its modules, a child nearer than its parent);
//! - entries with a name (files by target, users, services, checks, archives, debconf's questions):
//!   the nearer one replaces the whole other;
//! - lists: appended, each element once; published ports and volumes displace those for the same
//!   place in the container;
//! - maps: key by key;
//! - commands are single values, and `packages.remove` takes away what modules asked for;
//! - what names or describes one workspace (`description`, `image.repository`, `image.tags`,
//!   `deploy.container`, `kasm.friendly-name`, `kasm.notes`, `kasm.screenshot`,
//!   `kasm.available-tags`) is not inherited from a parent.
//!
//! [`registry`] reads the one file beside the definitions that is none: `registry.toml`, what the
//! registry of all workspaces is called and where it is served.

mod chain;
mod decode;
mod diagnostic;
mod entries;
mod finish;
mod fragment;
mod merge;
mod model;
mod near;
mod raw;
mod registry;
mod schema;
mod services;
mod sources;
mod table;
mod words;

pub use chain::load;
pub use diagnostic::{Diagnostic, Report};
pub use model::*;
pub use registry::{REGISTRY, Registry, registry};
pub use schema::{registry_schema, schema};
pub use sources::{Folder, Memory, Sources};
