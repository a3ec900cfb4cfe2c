//! What the room tells while it works. It never prints: whoever listens decides.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// Listens to the work. Called from several threads at once.
pub trait Progress: Sync {
    /// Takes one event. MUST be quick: fetching waits for it.
    fn event(&self, event: Event<'_>);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

/// One thing that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A suite's Release file is asked for.
    Checking {
        /// The archive's name.
        archive: &'a str,
        /// The suite.
        suite: &'a str,
    },
    /// A call of [`Client::fetch`](crate::Client::fetch) begins, where what the store has already is not
    /// counted; or an index is fetched.
    Started {
        /// How many files.
        files: usize,
        /// How many bytes.
        bytes: u64,
    },
    /// Work on one file begins.
    FileStarted {
        /// Its path or address.
        name: &'a str,
        /// Its size in bytes, where it is known.
        size: Option<u64>,
    },
    /// More bytes of a file are on disk. Bytes of an earlier, cut-off run are told too.
    Advanced {
        /// How many more.
        bytes: u64,
    },
    /// Bytes told as [`Event::Advanced`] were thrown away and are fetched again.
    Restarted {
        /// How many.
        bytes: u64,
    },
    /// One file is in the store.
    FileFinished {
        /// Its path or address.
        name: &'a str,
    },
    /// All that was [`Event::Started`] is done, or was given up.
    Finished,
    /// An index is being decompressed.
    Decoding {
        /// Its path.
        name: &'a str,
    },
    /// No mirror could give a file just now; another try follows.
    Retrying {
        /// The file's path or address.
        name: &'a str,
        /// The cause of the last failure, with its sources.
        cause: &'a (dyn std::error::Error + 'static),
        /// How long the pause is.
        pause: Duration,
    },
    /// Something the user should read.
    Warning(Warning),
}

/// Something that is not an error, and that the user should read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A Release file is past its Valid-Until.
    Stale {
        /// The archive's name.
        archive: String,
        /// The suite.
        suite: String,
        /// The date it was good for.
        valid_until: Timestamp,
    },
    /// A mirror serves an older Release file than an earlier run saw.
    Older {
        /// The archive's name.
        archive: String,
        /// The suite.
        suite: String,
        /// The date of what is served now.
        date: Timestamp,
        /// The date of what was seen before.
        seen: Timestamp,
    },
    /// An archive is taken without a signature because the definition says so.
    Unsigned {
        /// The archive's name.
        archive: String,
        /// The suite.
        suite: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale {
                archive,
                suite,
                valid_until,
            } => write!(
                f,
                "the Release file of {archive} {suite} was good until {}: the mirror lags, or \
                 keeps newer packages from you",
                Date(*valid_until)
            ),
            Self::Older {
                archive,
                suite,
                date,
                seen,
            } => write!(
                f,
                "the mirror's Release file of {archive} {suite} is of {}, older than the one seen \
                 before, of {}",
                Date(*date),
                Date(*seen)
            ),
            Self::Unsigned { archive, suite } => write!(
                f,
                "{archive} {suite} is taken without a signature, as `trusted = true` asks"
            ),
        }
    }
}

/// Shows a time as `2026-11-21 23:06 UTC`.
pub(crate) struct Date(pub(crate) Timestamp);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // RFC 3339: `2026-11-21T23:06:56Z`.
        match (text.get(..10), text.get(11..16)) {
            (Some(day), Some(minute)) => write!(f, "{day} {minute} UTC"),
            _ => f.write_str(&text),
        }
    }
}
