//! Mirrors: fetch, verify, keep.
//!
//! The one room that speaks with archives of packages. Three things to know:
//!
//! * [`Mirrors`] says where a distribution is served: what the user named, else what the host's
//!   apt sources say;
//! * [`Client::release`] gives a [`VerifiedRelease`]: a Release file signed by a key of a
//!   [`Keyring`], and from it [`Client::packages_index`] the text of an index;
//! * [`Client::fetch`] brings files into the store by SHA-256: several at once, continued where an
//!   earlier run was cut off, tried again when the network fails for a while, and from the next
//!   mirror when one has not got them.
//!
//! Trust flows one way: keyring → signature → Release file → index → package, each naming the next
//! by digest. Nothing is believed because of where it came from; plain HTTP is as good as https.
//!
//! Whatever fails, the store stays valid: bytes that are not checked yet lie in its `partial`
//! folder only, and the next run begins there. The clock, the environment and the terminal belong
//! to the caller: the present time, proxies and certificates come in [`Settings`], and what
//! happens goes out through [`Progress`].

mod address;
mod client;
mod credentials;
mod error;
mod fetch;
mod gather;
mod index;
mod keyring;
mod mirrors;
mod names;
mod progress;
mod release;
mod rounds;
mod settings;
mod signature;
mod sources;
mod transport;

pub use client::Client;
pub use credentials::Credentials;
pub use error::{Cause, Error, Failure};
pub use fetch::{Download, Fetched, Wanted};
pub use index::Index;
pub use keyring::{Keyring, KeyringError};
pub use mirrors::{Choice, Mirrors, Origin};
pub use progress::{Event, Progress, Silent, Warning};
pub use release::{Suite, Trust, VerifiedRelease};
pub use settings::{Authority, Retry, Settings, ValidUntil};
pub use signature::SignatureError;
pub use sources::{AptSource, Host, host_sources};
