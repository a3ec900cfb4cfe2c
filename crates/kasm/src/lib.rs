//! Kasm Workspaces: what its servers read, and what they are told.
//!
//! - [`registry`] makes and checks the static site that a Kasm server installs workspaces from;
//! - [`api`] speaks with a Kasm server;
//! - [`host`] writes down how a machine becomes one.
//!
//! Neither knows of definitions or of the lock: whoever calls translates.

pub mod api;
pub mod host;
pub mod registry;
