//! Engines: load, upgrade, roll back.
//!
//! * [`connect`] finds a Docker engine as the `docker` command would and answers an [`Engine`];
//! * [`Engine::load`] gives it an [`ImageArchive`], sending only what it lacks, and verifies that
//!   it has exactly that image before the image's name is moved;
//! * [`Engine::upgrade`] replaces the container of a [`Desktop`] and waits until the new one is
//!   healthy; the old one is stopped, never removed, before that, and comes back if it must;
//! * [`Engine::rollback`] goes back to an earlier generation, [`Engine::history`] lists them;
//! * [`Engine::trial`] runs a container for the time of some questions.
//!
//! Everything blocks. The futures of the client below are known here and nowhere else, and none
//! of its types is seen from outside. The environment is a value ([`Environment`]); the only files
//! touched are the image archive, Docker's configuration and the records of upgrades.

mod archive;
mod container;
mod containerd;
mod desktop;
mod endpoint;
mod engine;
mod error;
mod everyday;
mod health;
mod http;
mod inside;
mod ledger;
mod load;
mod picture;
mod probe;
mod reference;
mod settings;
mod ssh;
mod trial;
mod upgrade;

pub use archive::{ArchivePart, ImageArchive};
pub use containerd::{Containerd, Imported};
pub use desktop::{Adoption, Check, Desktop, Health, Probe, Settings};
pub use endpoint::{Endpoint, Environment, Transport};
pub use engine::{About, Engine, Product, Store, connect};
pub use error::{Cause, Danger, Error, Failure, Old, Reason};
pub use everyday::{Execution, Standing, Stream};
pub use health::Outcome;
pub use http::Address;
pub use ledger::Step;
pub use load::{LoadEvent, Loaded};
pub use reference::Reference;
pub use settings::SettingChange;
pub use ssh::SshHost;
pub use trial::{Answer, Condition, ImageFacts, Trial, TrialSettings};
pub use upgrade::{
    Generation, GenerationState, PackageChange, Plan, Remains, Resumed, UpgradeEvent, Upgraded,
};
