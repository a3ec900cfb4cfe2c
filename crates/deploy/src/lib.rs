//! Engines: load, upgrade, roll back.
//!
//! * [`connect`] finds a Docker engine as the `docker` command would and answers an [`Engine`];
//! * [`Engine::load`] gives it an [`ImageArchive`], sending only what it lacks, and verifies that
//!   it has exactly that image before the image's name is moved;
//! * [`Engine::upgrade`] replaces the container of a [`Desktop`] and waits until the new one is
//!   healthy; the old one is stopped, never removed, before that, and comes back if it must;
//! * [`Engine::rollback`] exchanges the container with the one before;
//! * [`Engine::trial`] runs a container for the time of some questions.
//!
//! Everything blocks. The futures of the client below are known here and nowhere else, and none
//! of its types is seen from outside. The environment is a value ([`Environment`]); the only files
//! read are the image archive and Docker's configuration.

mod archive;
mod container;
mod desktop;
mod endpoint;
mod engine;
mod error;
mod health;
mod load;
mod reference;
mod settings;
mod trial;
mod upgrade;

pub use archive::{ArchivePart, ImageArchive};
pub use desktop::{Check, Desktop, Health, Probe, Settings};
pub use endpoint::{Endpoint, Environment, Transport};
pub use engine::{About, Engine, Store, connect};
pub use error::{Cause, Danger, Error, Failure, Old, Reason};
pub use health::{Address, Outcome};
pub use load::{LoadEvent, Loaded};
pub use reference::Reference;
pub use trial::{Answer, Condition, ImageFacts, Trial, TrialSettings};
pub use upgrade::{UpgradeEvent, Upgraded};
