//! Speaks with a Kasm Workspaces server over its developer API.
//!
//! * [`Client`] is a connection: an address ([`Server`]), whom to trust ([`Trust`]), and an API key
//!   ([`Credentials`]) that is never printed;
//! * [`Image`] and [`Registration`] are what a server has and what it is to have: [`register`]
//!   makes the second of the first, and says what it changed;
//! * sessions are requested, watched ([`Client::wait_until_running`]) and destroyed;
//! * [`Client::permissions`] finds out what the key may do, without changing anything.
//!
//! ```text
//! POST https://SERVER/api/public/NAME   {"api_key": …, "api_key_secret": …, …}
//! POST https://SERVER/api/admin/NAME    the same, for what is not documented
//! ```
//!
//! A server says no in two manners: with a status of 400 and above, or with status 200 and an
//! `error_message`. Both are errors here. Ids come with dashes from some endpoints and without
//! from others; an [`Id`] is the same either way.
//!
//! Everything blocks, every answer is bounded in size and time, and no redirection is followed:
//! the key is part of each request's body.

mod address;
mod agent;
mod answer;
mod client;
mod credentials;
mod error;
mod exchange;
mod explain;
mod field;
mod id;
mod image;
mod permission;
mod registration;
mod session;
mod tls;
mod user;

pub use address::{AddressError, Server};
pub use agent::{Agent, NO_PRUNING};
pub use client::{Client, Settings};
pub use credentials::{Credentials, CredentialsError};
pub use error::{Error, Loss};
pub use id::Id;
pub use image::Image;
pub use permission::{Permission, Probe, Verdict};
pub use registration::{
    Change, Done, Plan, Registration, Selection, masked_request, plan, register,
};
pub use session::{Request, Session, Started, State, Status, Waiting};
pub use tls::{Fingerprint, Trust};
pub use user::User;
