//! One container takes another's place, or gives it back.

use std::time::Instant;

use bollard::models::{ContainerInspectResponse, RestartPolicy};

use super::{UpgradeEvent, failed_name, new_prefix};
use crate::Error;
use crate::container::{is_running, never};
use crate::desktop::Health;
use crate::engine::Engine;
use crate::error::{Failure, Old, Reason};
use crate::health::{Address, Healthy};

/// How many lines of a failed container's log are kept.
const LOG_LINES: usize = 40;
/// How many lines of a failed container's health log are kept.
const HEALTH_LINES: usize = 20;
/// How long a failed container is given to stop, in seconds.
const HURRY: i32 = 5;
/// Where a desktop's services write about their health.
const HEALTH_LOG: &str = "/tmp/container-health.log";
/// One container takes another's place.
pub(super) struct Exchange<'a> {
    /// The desktop's name.
    pub(super) name: &'a str,
    pub(super) outgoing: Option<Outgoing>,
    /// The id of the container that is to run.
    pub(super) incoming: String,
    /// Its image's id.
    pub(super) to: String,
    pub(super) health: &'a Health,
}

/// How an exchange went.
pub(super) struct Exchanged {
    pub(super) downtime_ms: u64,
    pub(super) healthy_after_ms: u64,
    pub(super) address: Option<Address>,
}

/// A container that is being replaced.
pub(super) struct Outgoing {
    pub(super) id: String,
    pub(super) image: String,
    pub(super) was_running: bool,
    pub(super) policy: Option<RestartPolicy>,
}

impl Outgoing {
    pub(super) fn of(container: &ContainerInspectResponse) -> Self {
        Self {
            id: container.id.clone().unwrap_or_default(),
            image: container.image.clone().unwrap_or_default(),
            was_running: is_running(container),
            policy: container
                .host_config
                .as_ref()
                .and_then(|host| host.restart_policy.clone()),
        }
    }
}

impl Engine {
    /// Stops the one, starts the other and waits until it is healthy; if it does not become so,
    /// brings back the one.
    pub(super) fn exchange(
        &self,
        exchange: &Exchange<'_>,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Exchanged, Error> {
        let started = Instant::now();
        match self.switch(exchange, progress) {
            Ok((healthy, start)) => Ok(Exchanged {
                downtime_ms: match &exchange.outgoing {
                    Some(outgoing) if outgoing.was_running => {
                        milliseconds(started, healthy.answered)
                    }
                    _ => 0,
                },
                healthy_after_ms: milliseconds(start, Instant::now()),
                address: healthy.address,
            }),
            Err(reason) => Err(self.undo(exchange, reason, started, progress)),
        }
    }

    /// Answers when the incoming container was started, once it is healthy.
    fn switch(
        &self,
        exchange: &Exchange<'_>,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<(Healthy, Instant), Reason> {
        let engine = |error: Error| Reason::Engine(Box::new(error));
        let container = exchange.name.to_owned();
        if let Some(outgoing) = &exchange.outgoing {
            if outgoing.was_running {
                progress(UpgradeEvent::Stopping {
                    container: container.clone(),
                });
            }
            // In this order: a container that is being restarted refuses another policy.
            self.stop(&outgoing.id, None).map_err(engine)?;
            self.set_policy(&outgoing.id, never()).map_err(engine)?;
        }
        progress(UpgradeEvent::Starting { container });
        let start = Instant::now();
        self.start(&exchange.incoming).map_err(engine)?;
        let healthy = self.wait_until_healthy(&exchange.incoming, 0, exchange.health, progress)?;
        Ok((healthy, start))
    }

    /// Brings back what was, and tells why.
    fn undo(
        &self,
        exchange: &Exchange<'_>,
        reason: Reason,
        since: Instant,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Error {
        progress(UpgradeEvent::RollingBack {
            reason: reason.to_string(),
        });
        let logs = self.logs(&exchange.incoming, LOG_LINES).unwrap_or_default();
        let health_log = self.last_lines_of(&exchange.incoming, HEALTH_LOG, HEALTH_LINES);
        let never_started =
            matches!(&reason, Reason::Engine(error) if matches!(**error, Error::PortTaken { .. }));
        let kept = self
            .put_aside(exchange, never_started)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the failed container could not be stopped");
                None
            });
        let old = match &exchange.outgoing {
            None => match reason {
                Reason::Engine(error) if never_started => return *error,
                _ => Old::None,
            },
            Some(outgoing) => self
                .restore(outgoing)
                .unwrap_or_else(|error| Old::Lost(Box::new(error))),
        };
        let downtime_ms = match &old {
            Old::Restored | Old::Lost(_) => milliseconds(since, Instant::now()),
            Old::None | Old::LeftStopped => 0,
        };
        Error::Failed(Box::new(Failure {
            container: exchange.name.to_owned(),
            from: exchange
                .outgoing
                .as_ref()
                .map(|outgoing| outgoing.image.clone()),
            to: exchange.to.clone(),
            reason,
            logs,
            health_log,
            kept,
            old,
            downtime_ms,
        }))
    }

    /// Stops the container that failed and, if it was made for this, gives it the name of failed
    /// ones or, of no use to anybody, removes it. Answers the name under which it is kept.
    fn put_aside(&self, exchange: &Exchange<'_>, useless: bool) -> Result<Option<String>, Error> {
        let id = &exchange.incoming;
        let Some(container) = self.container(id)? else {
            return Ok(None);
        };
        let current = container.name.unwrap_or_default();
        let current = current.trim_start_matches('/');
        let made = current.starts_with(&new_prefix(exchange.name));
        if made && useless {
            self.remove(id)?;
            return Ok(None);
        }
        if !made {
            self.stop(id, Some(HURRY))?;
            return Ok(Some(current.to_owned()));
        }
        let aside = failed_name(exchange.name);
        if let Err(error) = self.keep(id, &aside) {
            // The place must be free for the old container; what could be learned has been.
            tracing::warn!(%error, "the failed container could not be kept");
            self.remove(id)?;
            return Ok(None);
        }
        Ok(Some(aside))
    }

    fn keep(&self, failed: &str, aside: &str) -> Result<(), Error> {
        self.stop(failed, Some(HURRY))?;
        self.set_policy(failed, never())?;
        self.remove(aside)?;
        self.rename(failed, aside)
    }

    fn restore(&self, outgoing: &Outgoing) -> Result<Old, Error> {
        if let Some(policy) = &outgoing.policy {
            self.set_policy(&outgoing.id, policy.clone())?;
        }
        if !outgoing.was_running {
            return Ok(Old::LeftStopped);
        }
        self.start(&outgoing.id)?;
        Ok(Old::Restored)
    }
}

fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
