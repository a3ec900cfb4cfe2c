//! How a [`Client`](crate::Client) works; every value comes from the caller.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kasmforge_connection::Route;

use crate::Credentials;

/// How many connections work at once. HTTP/1.1 answers one request at a time, and eight hide the
/// latency of a mirror as well as pipelining does.
const PARALLEL: usize = 8;

/// How a client works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many files are fetched at once.
    pub parallel: usize,
    /// How temporary failures are answered.
    pub retry: Retry,
    /// Whether the network must not be touched.
    pub offline: bool,
    /// The present: signatures, keys and Release files are judged at this time.
    pub now: Timestamp,
    /// What becomes of Release files past their date.
    pub valid_until: ValidUntil,
    /// The way to servers: a proxy, and whom TLS trusts.
    pub route: Route,
    /// Further certificates, each for the servers of one private archive.
    pub authorities: Vec<Authority>,
    /// Logins for private archives.
    pub credentials: Credentials,
}

/// Who may vouch for a private archive's servers, besides those everybody trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The archive's address: the file counts for its host and port, and no others.
    pub address: String,
    /// A file of PEM certificates.
    pub certificates: PathBuf,
}

impl Settings {
    /// The usual settings, at this time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            parallel: PARALLEL,
            retry: Retry::default(),
            offline: false,
            now,
            valid_until: ValidUntil::default(),
            route: Route::default(),
            authorities: Vec::new(),
            credentials: Credentials::none(),
        }
    }
}

/// How often and after what pauses a file is tried again.
///
/// Failures that pass are tried again: names that do not resolve, refused and cut connections,
/// timeouts, answers 5xx, 408 and 429. An attempt that brought the file further starts the count
/// anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often all mirrors are tried before giving up; at least 1.
    pub attempts: u32,
    /// The first pause; each later one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Default for Retry {
    /// Seven tries over half a minute: names that cease to resolve for some seconds are common.
    fn default() -> Self {
        Self {
            attempts: 7,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(15),
        }
    }
}

impl Retry {
    /// The pause after this many tries in a row, none of which brought anything.
    pub(crate) fn pause(&self, tries: u32) -> Duration {
        let factor = 1_u32 << tries.saturating_sub(1).min(16);
        self.first_pause
            .saturating_mul(factor)
            .min(self.longest_pause)
    }
}

/// What becomes of a Release file past its Valid-Until.
///
/// The date guards against a mirror that withholds updates. A lock names every package by digest,
/// so a stale Release file cannot change what is built from it: it is told loudly, and refused
/// only when it is older than any honest mirror's lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidUntil {
    /// Refused when it is past its date by more than this many days, else told as a warning.
    Tolerate {
        /// The days.
        days: u16,
    },
    /// Told as a warning, however old it is: for archives of the past.
    Warn,
}

impl Default for ValidUntil {
    /// Two weeks: as long as Debian's Release files are good for at most.
    fn default() -> Self {
        Self::Tolerate { days: 14 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_in_all() {
        let retry = Retry::default();
        let pauses: Vec<_> = (1..retry.attempts)
            .map(|tries| retry.pause(tries))
            .collect();
        assert_eq!(pauses[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(
            pauses.iter().sum::<Duration>(),
            Duration::from_millis(30_500)
        );
        assert_eq!(retry.pause(u32::MAX), retry.longest_pause);
    }
}
