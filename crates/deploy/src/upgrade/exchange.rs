//! One container takes another's place, or gives it back.

use std::time::{Duration, Instant};

use super::{UpgradeEvent, failed_name, step};
use crate::Error;
use crate::container::never;
use crate::desktop::Health;
use crate::engine::Engine;
use crate::error::{Failure, Old, Reason};
use crate::health::Healthy;
use crate::http::Address;
use crate::ledger::{GenerationRecord, Journal, Ledger, Outgoing, Step};
use crate::picture;

/// How many lines of a failed container's log are kept.
const LOG_LINES: usize = 40;
/// How many lines of a failed container's own log files are kept.
const FILE_LINES: usize = 20;
/// How long a failed container is given to stop, in seconds.
const HURRY: i32 = 5;
/// Where a desktop's services write about their health.
const HEALTH_LOG: &str = "/tmp/container-health.log";
/// Where a desktop's session writes.
const SESSION_LOG: &str = "/tmp/xstartup.log";
/// How long an engine that went away in the middle of an upgrade is waited for.
const RETURN: Duration = Duration::from_secs(90);
/// The pause between two questions whether it is back.
const KNOCK: Duration = Duration::from_millis(500);

/// How an exchange went.
pub(super) struct Exchanged {
    pub(super) downtime_ms: u64,
    pub(super) healthy_after_ms: u64,
    pub(super) address: Option<Address>,
}

impl Engine {
    /// Stops the one, starts the other and waits until it is healthy; if it does not become so,
    /// brings back the one.
    pub(super) fn exchange(
        &self,
        name: &str,
        ledger: &Ledger,
        journal: &mut Journal,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Exchanged, Error> {
        let begun = Instant::now();
        match self.switch(name, ledger, journal, health, progress) {
            Ok((healthy, start)) => Ok(Exchanged {
                downtime_ms: match &journal.outgoing {
                    Some(outgoing) if outgoing.was_running => milliseconds(begun, healthy.answered),
                    _ => 0,
                },
                healthy_after_ms: milliseconds(start, Instant::now()),
                address: healthy.address,
            }),
            Err(reason) => Err(self.fail(name, ledger, journal, reason, begun, progress)),
        }
    }

    /// Answers when the incoming container was started, once it is healthy.
    fn switch(
        &self,
        name: &str,
        ledger: &Ledger,
        journal: &mut Journal,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<(Healthy, Instant), Reason> {
        let engine = |error: Error| Reason::Engine(Box::new(error));
        let container = name.to_owned();
        if let Some(outgoing) = journal.outgoing.clone() {
            if outgoing.was_running {
                progress(UpgradeEvent::Stopping {
                    container: container.clone(),
                });
            }
            step(ledger, journal, Step::Stopping, progress).map_err(engine)?;
            // In this order: a container that is being restarted refuses another policy.
            self.steadily(progress, || self.stop(&outgoing.id, None))
                .and_then(|()| self.steadily(progress, || self.set_policy(&outgoing.id, never())))
                .map_err(engine)?;
            if !journal.adopt.is_empty() {
                step(ledger, journal, Step::Adopting, progress).map_err(engine)?;
                self.adopt(&journal.adopt, &outgoing.id, &journal.incoming.id, progress)
                    .map_err(engine)?;
            }
        }
        progress(UpgradeEvent::Starting { container });
        step(ledger, journal, Step::Starting, progress).map_err(engine)?;
        let start = Instant::now();
        self.steadily(progress, || self.start(&journal.incoming.id))
            .map_err(engine)?;
        step(ledger, journal, Step::Waiting, progress).map_err(engine)?;
        let healthy = self.wait_until_healthy(&journal.incoming.id, 0, health, progress)?;
        Ok((healthy, start))
    }

    /// Brings back what was, and tells why.
    fn fail(
        &self,
        name: &str,
        ledger: &Ledger,
        journal: &mut Journal,
        reason: Reason,
        since: Instant,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Error {
        progress(UpgradeEvent::RollingBack {
            reason: reason.to_string(),
        });
        if let Err(error) = step(ledger, journal, Step::Undoing, progress) {
            // The earlier step's note leads to the same.
            tracing::warn!(%error, "the journal could not be written");
        }
        let incoming = &journal.incoming;
        let never_started =
            matches!(&reason, Reason::Engine(error) if matches!(**error, Error::PortTaken { .. }));
        let logs = self
            .steadily(progress, || self.logs(&incoming.id, LOG_LINES))
            .unwrap_or_default();
        let health_log = self.last_lines_of(&incoming.id, HEALTH_LOG, FILE_LINES);
        let session_log = self.last_lines_of(&incoming.id, SESSION_LOG, FILE_LINES);
        let screenshot = self.picture(&incoming.id).and_then(|picture| {
            let png = picture::png(&picture);
            ledger.keep_picture(incoming.generation, &png).ok()
        });
        let record = GenerationRecord {
            image: incoming.image.clone(),
            reason: Some(reason.to_string()),
            created: self.created(&incoming.id),
            ..journal.record.clone().unwrap_or_default()
        };
        if incoming.made && !never_started {
            ledger
                .note(incoming.generation, &record)
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "the failure could not be noted");
                });
        }
        let undone = self.steadily(progress, || self.undo(name, journal, never_started));
        let (kept, old) = match undone {
            Ok((kept, old)) => (kept, old),
            Err(error) => (None, Old::Lost(Box::new(error))),
        };
        if !matches!(old, Old::Lost(_))
            && let Err(error) = ledger.clear()
        {
            tracing::warn!(%error, "the journal could not be removed");
        }
        if let (Old::None, Reason::Engine(_), true) = (&old, &reason, never_started) {
            let Reason::Engine(error) = reason else {
                unreachable!("it has just been looked at")
            };
            return *error;
        }
        let downtime_ms = match &old {
            Old::Restored | Old::Lost(_) => milliseconds(since, Instant::now()),
            Old::None | Old::LeftStopped => 0,
        };
        Error::Failed(Box::new(Failure {
            container: name.to_owned(),
            from: journal
                .outgoing
                .as_ref()
                .map(|outgoing| outgoing.image.clone()),
            to: journal.incoming.image.clone(),
            reason,
            logs,
            health_log,
            session_log,
            screenshot,
            kept,
            old,
            downtime_ms,
        }))
    }

    /// Puts the incoming container aside and starts the outgoing one again. May be repeated.
    /// `useless`: the incoming one never ran, so there is nothing to learn from it.
    pub(super) fn undo(
        &self,
        name: &str,
        journal: &Journal,
        useless: bool,
    ) -> Result<(Option<String>, Old), Error> {
        let kept = self.put_aside(name, journal, useless)?;
        let old = match &journal.outgoing {
            None => Old::None,
            Some(outgoing) => self.restore(name, outgoing)?,
        };
        Ok((kept, old))
    }

    /// Stops the container that failed and, if it was made for this, gives it the name of failed
    /// ones or, of no use to anybody, removes it. Answers the name under which it is kept.
    fn put_aside(
        &self,
        name: &str,
        journal: &Journal,
        useless: bool,
    ) -> Result<Option<String>, Error> {
        let incoming = &journal.incoming;
        let key = incoming.key();
        let Some(container) = self.container(key)? else {
            return Ok(None);
        };
        let current = container.name.unwrap_or_default();
        let current = current.trim_start_matches('/').to_owned();
        if !incoming.made {
            self.stop(key, Some(HURRY))?;
            self.set_policy(key, never())?;
            return Ok(Some(current));
        }
        self.drop_image(name, incoming.generation);
        let aside = failed_name(name);
        if current == aside {
            return Ok(Some(aside));
        }
        if useless {
            self.remove(key)?;
            return Ok(None);
        }
        if let Err(error) = self.keep(key, &aside) {
            if error.is_gone() {
                return Err(error);
            }
            // The place must be free for the old container; what could be learned has been.
            tracing::warn!(%error, "the failed container could not be kept");
            self.remove(key)?;
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

    fn restore(&self, name: &str, outgoing: &Outgoing) -> Result<Old, Error> {
        let Some(container) = self.container(&outgoing.id)? else {
            return Err(Error::NoContainer {
                container: name.to_owned(),
            });
        };
        // Its name was given away only once the other one was healthy; then it was taken back.
        let current = container.name.unwrap_or_default();
        if current.trim_start_matches('/') != name {
            self.rename(&outgoing.id, name)?;
        }
        if let Some(policy) = &outgoing.policy {
            self.set_policy(&outgoing.id, policy.clone())?;
        }
        if !outgoing.was_running {
            return Ok(Old::LeftStopped);
        }
        self.start(&outgoing.id)?;
        Ok(Old::Restored)
    }

    /// Gives the containers the names of what they have become. May be repeated.
    pub(super) fn give_names(&self, name: &str, journal: &Journal) -> Result<(), Error> {
        let called = |id: &str| -> Result<Option<String>, Error> {
            let container = self.container(id)?;
            Ok(container.map(|container| {
                let name = container.name.unwrap_or_default();
                name.trim_start_matches('/').to_owned()
            }))
        };
        if let Some(outgoing) = &journal.outgoing {
            let aside = super::kept_name(name, outgoing.generation);
            if called(&outgoing.id)?.is_some_and(|current| current != aside) {
                self.rename(&outgoing.id, &aside)?;
            }
        }
        let incoming = &journal.incoming;
        let current = called(&incoming.id)?.ok_or_else(|| Error::NoContainer {
            container: incoming.name.clone(),
        })?;
        if current != name {
            self.rename(&incoming.id, name)?;
        }
        // A container that was kept had lost its policy.
        let policy = journal.outgoing.as_ref().and_then(|one| one.policy.clone());
        if let Some(policy) = policy.filter(|_| !incoming.made) {
            self.set_policy(&incoming.id, policy)?;
        }
        self.remove(&failed_name(name))
    }

    /// Does something that may be repeated; if the engine goes away meanwhile, waits for its
    /// return and does it again.
    pub(crate) fn steadily<T>(
        &self,
        progress: &mut dyn FnMut(UpgradeEvent),
        action: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match action() {
            Err(error) if error.is_gone() => {
                if self.returns(progress) {
                    action()
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    /// Waits until the engine answers again; whether it does.
    pub(crate) fn returns(&self, progress: &mut dyn FnMut(UpgradeEvent)) -> bool {
        progress(UpgradeEvent::EngineGone);
        let begun = Instant::now();
        while begun.elapsed() < RETURN {
            if self.answers() {
                progress(UpgradeEvent::EngineBack);
                return true;
            }
            std::thread::sleep(KNOCK);
        }
        false
    }

    /// When the engine created a container, as it tells it.
    pub(super) fn created(&self, id: &str) -> Option<String> {
        let container = self.container(id).ok().flatten()?;
        Some(container.created?.to_string())
    }
}

pub(super) fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
