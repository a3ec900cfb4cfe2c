//! Registries of images, by the OCI distribution protocol: what is there, and what is sent.
//!
//! [`Registry::connect`] finds out where and how a registry answers; a [`Repository`] of it is asked
//! for blobs and manifests, and given them; [`push`] brings a whole [`Image`] there, and sends only
//! what is missing.
//!
//! The pieces stand for themselves ([`Repository::has_blob`], [`Repository::mount`],
//! [`Repository::upload`]): whatever else is kept in a registry by its digest goes through the same
//! doors.
//!
//! Everything is synchronous. Secrets are in no error, no log, no other program's arguments, and go
//! to no server but the one they are for.

mod address;
mod challenge;
mod error;
mod guard;
mod helper;
mod logins;
mod patience;
mod push;
mod registry;
mod transport;
mod upload;
mod words;

pub use error::Error;
pub use logins::Logins;
pub use push::{Event, Fate, Image, Memory, Observer, Order, Pushed, PushedLayer, push};
pub use registry::{Put, Registry, Repository, Settings};
pub use upload::{Blob, Mount, Sending, Session};
