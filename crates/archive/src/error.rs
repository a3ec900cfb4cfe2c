//! What can go wrong between a mirror and the store.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kasmforge_deb::ReleaseError;
use kasmforge_digest::Digest;

use crate::progress::Date;
use crate::{KeyringError, SignatureError};

/// How many failures a message lists before it says how many more there are.
const LISTED: usize = 20;

/// Something that could not be fetched, verified or kept.
///
/// After each the store is valid, and the next run continues with the bytes that are there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mirror's address cannot be used.
    #[error("`{address}` is no address of a mirror: {why}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody named a mirror.
    #[error(
        "no mirror of {distribution} is known; name one with --mirror, in KASMFORGE_MIRROR or in \
         the settings file: the address of the folder that holds `dists` and `pool`"
    )]
    NoMirror {
        /// The distribution.
        distribution: String,
    },
    /// The proxy or the certificates for https are no good.
    #[error(transparent)]
    Connection(#[from] kasmforge_connection::Error),
    /// A keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Something is not in the store, and the network must not be asked.
    #[error("{what} is not in the store, and the network is not asked (--offline)")]
    Offline {
        /// What.
        what: String,
    },
    /// No mirror answered as it should, after all tries.
    #[error("{}", unreachable(name, address, *tries))]
    Unreachable {
        /// The path or address wanted.
        name: String,
        /// The address tried last.
        address: String,
        /// How often.
        tries: u32,
        /// What happened last.
        source: Cause,
    },
    /// Every mirror answered, and none has the file.
    #[error("no mirror has {name} (asked: {})", asked(addresses))]
    Gone {
        /// The path or address wanted.
        name: String,
        /// The addresses asked.
        addresses: Vec<String>,
    },
    /// A file's bytes are not the ones wanted.
    #[error(
        "{} has other bytes than the archive promises: {found}, where {expected} is wanted; the \
         mirror is damaged or half updated: try again later, or another mirror",
        crate::address::shown(address)
    )]
    OtherBytes {
        /// The address.
        address: String,
        /// The digest wanted.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A file's length is not the one wanted.
    #[error(
        "{} has {found} bytes where the archive promises {expected}; the mirror is damaged or half \
         updated: try again later, or another mirror",
        crate::address::shown(address)
    )]
    OtherLength {
        /// The address.
        address: String,
        /// The bytes wanted.
        expected: u64,
        /// The bytes offered.
        found: u64,
    },
    /// A file is longer than anything of its kind.
    #[error(
        "{} is longer than {limit} bytes: refused",
        crate::address::shown(address)
    )]
    TooLong {
        /// The address.
        address: String,
        /// The limit for its kind.
        limit: u64,
    },
    /// Some files of many could not be fetched.
    #[error("{}", failed(failures, *wanted))]
    Fetch {
        /// Those that could not, in the order they were asked for.
        failures: Vec<Failure>,
        /// How many were asked for.
        wanted: usize,
    },
    /// A Release file is not signed by somebody trusted.
    #[error("{} is refused", crate::address::shown(address))]
    Signature {
        /// The Release file's address.
        address: String,
        /// Why.
        source: SignatureError,
    },
    /// A Release file, although verified, cannot be understood.
    #[error("{} cannot be understood", crate::address::shown(address))]
    Release {
        /// The Release file's address.
        address: String,
        /// Why.
        source: ReleaseError,
    },
    /// A Release file is of another suite than the one asked for.
    #[error(
        "{} is the Release file of {found}, not of {wanted}: the mirror mixes up its folders, or \
         the definition names the suite by an alias; write the name the archive gives itself",
        crate::address::shown(address)
    )]
    OtherSuite {
        /// The Release file's address.
        address: String,
        /// The suite asked for.
        wanted: String,
        /// The names it gives itself.
        found: String,
    },
    /// A Release file is long past its date.
    #[error(
        "{} was good until {}: the mirror no longer follows its archive, or keeps updates from \
         you. Take another mirror; for an archive of the past set check-valid-until = false",
        crate::address::shown(address), Date(*valid_until)
    )]
    Stale {
        /// The Release file's address.
        address: String,
        /// The date.
        valid_until: Timestamp,
    },
    /// A Release file is older than one that packages were locked from.
    #[error(
        "{} is of {}, and kasmforge.lock was made with one of {}: the mirror lags, or somebody \
         withholds updates from you; take another mirror, or allow it with --allow-older",
        crate::address::shown(address), Date(*date), Date(*seen)
    )]
    Older {
        /// The Release file's address.
        address: String,
        /// Its date.
        date: Timestamp,
        /// The date it must have at least.
        seen: Timestamp,
    },
    /// A Release file is from the future.
    #[error(
        "{} is of {}, which is yet to come: is this machine's clock right?",
        crate::address::shown(address), Date(*date)
    )]
    Future {
        /// The Release file's address.
        address: String,
        /// Its date.
        date: Timestamp,
    },
    /// An archive has no such component or architecture.
    #[error(
        "{archive} has no packages of component {component} for {architecture}; it has {offered}"
    )]
    NoIndex {
        /// The archive's name and the suite.
        archive: String,
        /// The component asked for.
        component: String,
        /// The architecture asked for.
        architecture: String,
        /// The components and architectures there are.
        offered: String,
    },
    /// An index could not be decompressed, although its digest is right.
    #[error("cannot decompress {name}")]
    Decode {
        /// The index's path.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An index decompresses to other bytes than the Release file promises.
    #[error("{name} decompresses to {found}, where its Release file promises {expected}")]
    OtherText {
        /// The index's path.
        name: String,
        /// The digest promised.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// A file of a download that is under way could not be read or written.
    #[error("cannot keep bytes in {}{}", path.display(), room(source))]
    Partial {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store could not do its part.
    #[error("the store failed")]
    Store(#[from] kasmforge_store::Error),
    /// The work was given up because of the failure of another file.
    #[error("{name} was not tried any more")]
    GivenUp {
        /// The path or address wanted.
        name: String,
    },
}

impl Error {
    /// Whether all mirrors answered and none has it: asking again will not help, another version
    /// or another mirror may.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// One file of many that could not be fetched.
#[derive(Debug)]
pub struct Failure {
    /// Its place in the list that was asked for.
    pub index: usize,
    /// Its path or address.
    pub name: String,
    /// Why not.
    pub error: Error,
}

/// What happened to one request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The host's name has no address just now.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The host.
        host: String,
        /// What the system says.
        source: Box<ureq::Error>,
    },
    /// The server could not be spoken with.
    #[error("{host} cannot be reached")]
    Network {
        /// The host.
        host: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The server is in trouble itself.
    #[error("{host} answered with status {status}")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
        /// How long it asks to wait.
        pause: Option<Duration>,
    },
    /// The server wants to know who asks.
    #[error("{}", login(host, known.as_deref()))]
    Login {
        /// The host.
        host: String,
        /// Where the login it refused was found; absent where none is known.
        known: Option<String>,
    },
    /// The answer ended before the file did.
    #[error("the connection was cut after {received}{} bytes", of(*expected))]
    Cut {
        /// The bytes that came.
        received: u64,
        /// The bytes there should be.
        expected: Option<u64>,
        /// Why, where the system says so.
        source: Option<io::Error>,
    },
    /// The server answered with another part of the file than the one asked for.
    #[error("{host} answered with another part of the file than the one asked for")]
    Range {
        /// The host.
        host: String,
    },
    /// A file of a `file:` mirror could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn login(host: &str, known: Option<&str>) -> String {
    match known {
        Some(origin) => format!("{host} refuses the login found in {origin}"),
        None => format!(
            "{host} wants a login, and none is known; put `machine {host} login USER password \
             WORD` into ~/.netrc (for https only), or set KASMFORGE_ARCHIVE_NAME_TOKEN, with the \
             archive's name in capital letters"
        ),
    }
}

fn of(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |bytes| format!(" of {bytes}"))
}

fn asked(addresses: &[String]) -> String {
    if addresses.is_empty() {
        return "nobody, because no mirror is set".into();
    }
    let shown: Vec<_> = addresses
        .iter()
        .map(|address| crate::address::shown(address))
        .collect();
    shown.join(", ")
}

fn unreachable(name: &str, address: &str, tries: u32) -> String {
    let address = crate::address::shown(address);
    let mut text = format!("cannot fetch {name}");
    if address != name {
        let _ = write!(text, " from {address}");
    }
    if tries > 1 {
        let _ = write!(
            text,
            " ({tries} tries); the next run continues where this one stopped"
        );
    }
    text
}

/// A list of failures, each with its causes: a list cannot hang on a chain of sources.
fn failed(failures: &[Failure], wanted: usize) -> String {
    let given_up = |failure: &&Failure| matches!(failure.error, Error::GivenUp { .. });
    let untried = failures.iter().filter(given_up).count();
    let mut text = format!("{} of {wanted} files could not be fetched", failures.len());
    if untried > 0 {
        let _ = write!(text, " ({untried} of them were not tried any more)");
    }
    let told = failures.iter().filter(|failure| !given_up(failure));
    for failure in told.clone().take(LISTED) {
        let _ = write!(text, "\n  {}", causes(&failure.error));
    }
    let rest = told.count().saturating_sub(LISTED);
    if rest > 0 {
        let _ = write!(text, "\n  and {rest} more");
    }
    text
}

/// An error and its sources on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let _ = write!(text, ": {error}");
        next = error.source();
    }
    text
}

/// A word on full disks, where that is the cause.
fn room(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (the disk is full: make room, or name another place with --store; the next run \
             continues where this one stopped)"
        }
        _ => "",
    }
}
