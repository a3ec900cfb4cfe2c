//! The workspace registry: a static site that Kasm servers and people read.
//!
//! - [`site`] turns a [`Registry`] and its [`Entry`]s into every file of the site, as a value:
//!   both schemas of `list.json`, icons, and the gallery for people;
//! - [`check`] reads any registry through a [`Source`] and gives [`Finding`]s, each with its place;
//! - [`import`] reads an existing `workspace.json`.
//!
//! ```text
//! index.html                     the gallery; workspaces/NAME.html is a page of it
//! versions.txt                   the schemas below, one a line
//! 1.0/list.json                  what servers before 1.16 read
//! 1.1/list.json                  what servers since 1.16 read
//! 1.1/versions.json              the versions of Kasm that are named in it
//! V/icons/NAME.svg               icons, by `image_src`
//! V/workspaces/NAME/             the folder that an entry's `sha` is of
//! ```
//!
//! The format is Kasm's registry template's: what its README calls schema 1.0 and 1.1, and what
//! its generator makes of them.

mod check;
mod entry;
mod gallery;
mod icon;
mod import;
mod json;
mod markdown;
mod near;
mod sha;
mod site;
mod source;

pub use check::{CheckError, Checked, Finding, Level, Text, check};
pub use entry::{Entry, Package, Picture, Registry, Run};
pub use icon::{IconError, IconFormat, judge as judge_icon};
pub use import::{ImportError, Imported, import};
pub use sha::{file_hash, folder_hash};
pub use site::{Site, SiteError, site};
pub use source::{Source, SourceError, Web};

/// The categories that Kasm's own registry sorts workspaces by.
pub const CATEGORIES: [&str; 10] = [
    "Browser",
    "Communication",
    "Desktop",
    "Development",
    "Games",
    "Multimedia",
    "Office",
    "Privacy",
    "Productivity",
    "Remote Access",
];

/// A registry shows no more categories of a workspace.
pub const MOST_CATEGORIES: usize = 3;

/// A version of the registry's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Schema {
    /// Read by Kasm 1.12 to 1.15.
    V10,
    /// Read by Kasm since 1.16.
    V11,
}

impl Schema {
    /// Both, the older first.
    pub const ALL: [Schema; 2] = [Schema::V10, Schema::V11];

    /// Its name, and its folder's: `1.1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Schema::V10 => "1.0",
            Schema::V11 => "1.1",
        }
    }
}
