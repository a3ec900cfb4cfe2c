//! Patience: the same file from several mirrors, several times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::Cause;
use crate::transport::Failed;
use crate::{Error, Event, Progress, Retry, address};

/// How often one mirror may give wrong bytes before it is not asked for that file again. Twice,
/// because a proxy on the way may have damaged them once.
const STRIKES: u32 = 2;

/// How long a pause lasts before it looks whether all is to stop.
const NAP: Duration = Duration::from_millis(100);

/// How one attempt at one mirror failed.
pub(crate) enum Attempt {
    /// It may go better another time.
    Passing {
        cause: Cause,
        /// Whether more of the file is there than ever before.
        further: bool,
    },
    /// It will not go better with this mirror.
    Failed(Cause),
    /// The mirror has no such file.
    Absent,
    /// The mirror gave something wrong, which a damaged transfer may explain.
    Wrong(Error),
    /// The mirror gave something that is refused.
    Refused(Error),
    /// It does not depend on the mirror: a full disk, or all is to stop.
    Fatal(Error),
}

impl From<Failed> for Attempt {
    fn from(failed: Failed) -> Self {
        if failed.passing {
            Self::Passing {
                cause: failed.cause,
                further: false,
            }
        } else {
            Self::Failed(failed.cause)
        }
    }
}

/// Which hosts failed lately, so that a dead mirror does not cost every file its timeout.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<String, u32>>);

impl Health {
    fn failures(&self, address: &str) -> u32 {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(address::host(address)).copied().unwrap_or(0)
    }

    fn tell(&self, address: &str, good: bool) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good {
            hosts.remove(address::host(address));
        } else {
            *hosts.entry(address::host(address).into()).or_default() += 1;
        }
    }
}

/// What all attempts of a client have in common.
#[derive(Clone, Copy)]
pub(crate) struct Rounds<'a> {
    pub(crate) retry: Retry,
    pub(crate) health: &'a Health,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a AtomicBool,
}

impl Rounds<'_> {
    /// Tries all addresses, and again after a pause, until one gives what is wanted.
    pub(crate) fn run<T>(
        &self,
        name: &str,
        addresses: &[String],
        mut attempt: impl FnMut(&str) -> Result<T, Attempt>,
    ) -> Result<T, Error> {
        let mut left: Vec<(&String, u32)> = addresses.iter().map(|address| (address, 0)).collect();
        let mut refused = None;
        let mut failed = None;
        let mut total = 0;
        let mut tries = 0;
        loop {
            tries += 1;
            total += 1;
            // Stable: of equally healthy mirrors the first named is asked first.
            left.sort_by_key(|(address, _)| self.health.failures(address));
            let mut passing: Option<(String, Cause)> = None;
            let mut next = Vec::new();
            for (address, strikes) in left {
                self.check_stop(name)?;
                match attempt(address) {
                    Ok(value) => {
                        self.health.tell(address, true);
                        return Ok(value);
                    }
                    Err(Attempt::Passing { cause, further }) => {
                        if further {
                            tries = 0;
                        } else {
                            self.health.tell(address, false);
                        }
                        passing = Some((address.clone(), cause));
                        next.push((address, strikes));
                    }
                    Err(Attempt::Wrong(_)) if strikes + 1 < STRIKES => {
                        next.push((address, strikes + 1));
                    }
                    Err(Attempt::Wrong(error) | Attempt::Refused(error)) => {
                        refused = refused.or(Some(error));
                    }
                    Err(Attempt::Failed(cause)) => {
                        self.health.tell(address, false);
                        failed = Some((address.clone(), cause));
                    }
                    Err(Attempt::Absent) => {}
                    Err(Attempt::Fatal(error)) => return Err(error),
                }
            }
            left = next;
            let unreachable = |(address, source)| Error::Unreachable {
                name: name.into(),
                address,
                tries: total,
                source,
            };
            if left.is_empty() {
                // Something wrong tells more than something absent.
                return Err(match (refused, failed) {
                    (Some(error), _) => error,
                    (None, Some(failed)) => unreachable(failed),
                    (None, None) => Error::Gone {
                        name: name.into(),
                        addresses: addresses.to_vec(),
                    },
                });
            }
            // Only wrong bytes so far: asked again at once.
            let Some((address, cause)) = passing else {
                continue;
            };
            if tries >= self.retry.attempts.max(1) {
                return Err(refused.unwrap_or_else(|| unreachable((address, cause))));
            }
            let mut pause = self.retry.pause(tries.max(1));
            if let Cause::Status {
                pause: Some(asked), ..
            } = &cause
            {
                pause = pause.max(*asked);
            }
            self.progress.event(Event::Retrying {
                name,
                cause: &cause,
                pause,
            });
            self.sleep(pause);
        }
    }

    fn check_stop(&self, name: &str) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::GivenUp { name: name.into() });
        }
        Ok(())
    }

    fn sleep(&self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}
