//! Replacing a running desktop, with a way back.
//!
//! The names of a desktop's containers tell what they are:
//!
//! ```text
//! NAME            the desktop
//! NAME-kf-new     the next one: created, perhaps started, not yet found healthy
//! NAME-kf-<n>     generation n, stopped, for `rollback`
//! NAME-kf-failed  the last one that did not become healthy, stopped, for a closer look
//! ```
//!
//! The old container is never removed before the new one is healthy, and only has its restart
//! policy taken away meanwhile (an engine that restarts would start both). Each step is written
//! down before it is taken (see [`crate::ledger`]), so an upgrade that was interrupted is finished
//! or undone by whatever is asked for next.

use std::time::Instant;

use bollard::models::ContainerInspectResponse;

use crate::Error;
use crate::container::is_running;
use crate::desktop::{Desktop, Health};
use crate::engine::Engine;
use crate::error::Reason;
use crate::http::Address;
use crate::ledger::{GenerationRecord, Incoming, Journal, Ledger, Outgoing, Step};
use crate::settings::{self, Record};

pub use generations::{Generation, GenerationState, PackageChange};
pub use plan::Plan;

mod adopt;
mod exchange;
mod generations;
mod guards;
mod idle;
mod plan;
mod recovery;
mod remains;

pub use recovery::Resumed;
pub use remains::Remains;

/// What happens during an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeEvent {
    /// What will be done; nothing has been touched yet.
    Planned(Plan),
    /// A step begins, and is written down.
    Step(Step),
    /// A container is created.
    Creating {
        /// The name it will have.
        container: String,
    },
    /// People are connected to the desktop; the upgrade waits until they have left.
    Busy {
        /// How many connections there are.
        clients: usize,
    },
    /// The running container is stopped: from here on nothing answers.
    Stopping {
        /// Its name.
        container: String,
    },
    /// Files of the old container are taken over into a volume.
    Adopting {
        /// The path, in both containers.
        path: String,
        /// The volume.
        volume: String,
    },
    /// The other container is started.
    Starting {
        /// The name it will have.
        container: String,
    },
    /// It is not healthy yet.
    Waiting {
        /// What is waited for.
        waiting: Vec<String>,
    },
    /// The desktop answers.
    Answering {
        /// Where.
        address: Address,
    },
    /// A check holds.
    Passed {
        /// The check's name.
        check: String,
    },
    /// The screen cannot be looked at, and is taken for good.
    NotLooked {
        /// Why.
        why: String,
    },
    /// The engine does not answer; for some time it is waited for.
    EngineGone,
    /// The engine answers again.
    EngineBack,
    /// It did not become healthy; the old container is brought back.
    RollingBack {
        /// Why.
        reason: String,
    },
    /// What an interrupted upgrade left is finished or undone.
    Recovering {
        /// The container concerned.
        container: String,
        /// How far it was.
        step: Step,
    },
}

/// A desktop that runs and is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The container's name.
    pub container: String,
    /// Its id.
    pub container_id: String,
    /// The image id it ran before, if there was a container.
    pub from: Option<String>,
    /// The image id it runs now.
    pub to: String,
    /// The generation it is: they are counted from 1.
    pub generation: u64,
    /// Whether there was no container before.
    pub created: bool,
    /// Whether nothing was done, because all was as wanted.
    pub unchanged: bool,
    /// From the stop of the old container until the desktop answered again, in milliseconds.
    pub downtime_ms: u64,
    /// From the start of the container until it was healthy, in milliseconds.
    pub healthy_after_ms: u64,
    /// Where the desktop answers, if it is published.
    pub address: Option<Address>,
    /// The container that `rollback` would go back to.
    pub previous: Option<String>,
}

/// The container that waits to become a desktop.
pub(crate) fn new_name(name: &str) -> String {
    format!("{name}-kf-new")
}

fn failed_name(name: &str) -> String {
    format!("{name}-kf-failed")
}

fn kept_name(name: &str, generation: u64) -> String {
    format!("{name}-kf-{generation}")
}

impl Engine {
    /// Brings a container to the wanted image and settings, and waits until it is healthy. If it
    /// does not become so, the old container runs again when this returns.
    ///
    /// # Errors
    /// [`Error::Failed`] if the new container did not become healthy; [`Error::Unfinished`] if it
    /// did and serves, but not all could be tidied up. With any other error the old container is
    /// as it was.
    pub fn upgrade(
        &self,
        wanted: &Desktop,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let name = &wanted.container;
        let ledger = self.ledger(name)?;
        self.check_image(wanted)?;
        self.recover(name, &ledger, false, progress)?;
        let old = self.container(name)?;
        if let Some(old) = old.as_ref().filter(|_| !wanted.force)
            && let Some(same) = self.up_to_date(old, wanted, progress)?
        {
            return Ok(same);
        }
        let prepared = self.prepare(wanted, old.as_ref())?;
        progress(UpgradeEvent::Planned(prepared.plan));
        progress(UpgradeEvent::Creating {
            container: name.clone(),
        });
        let mut journal = Journal {
            step: Step::Creating,
            outgoing: prepared.outgoing,
            incoming: Incoming {
                name: new_name(name),
                id: String::new(),
                image: wanted.image_id.to_string(),
                generation: prepared.generation,
                made: true,
            },
            keep: Some(wanted.keep),
            adopt: wanted.adopt.clone(),
            record: Some(GenerationRecord {
                reference: wanted.reference.to_string(),
                manifest: wanted.manifest,
                contents: wanted.contents.clone(),
                ..GenerationRecord::default()
            }),
        };
        step(&ledger, &mut journal, Step::Creating, progress)?;
        let prelude = self.create_incoming(wanted, prepared.creation, &mut journal, progress);
        if let Err(error) = prelude {
            // Nothing was touched; an engine that is gone keeps what there is for the next time.
            if !error.is_gone() && self.discard(&journal).is_ok() {
                ledger.clear()?;
            }
            return Err(error);
        }
        self.replace(name, &ledger, journal, &wanted.health, progress)
    }

    /// Goes back to an earlier generation; without a number, to the one that ran before. Done
    /// twice, that changes nothing: the generation that is left becomes the one before.
    ///
    /// # Errors
    /// [`Error::NoPrevious`] or [`Error::NoGeneration`] if there is none to go back to;
    /// [`Error::Failed`] if it does not become healthy either, and then the present one runs again.
    pub fn rollback(
        &self,
        name: &str,
        generation: Option<u64>,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let ledger = self.ledger(name)?;
        if let Some(undone) = self.recover(name, &ledger, true, progress)?
            && undone
            && generation.is_none()
        {
            // The upgrade that was interrupted is what was to be undone.
            return self.brought_back(name, health, progress);
        }
        let present = self.container(name)?;
        let target = self.way_back(name, present.as_ref(), generation)?;
        if let Some(present) = &present {
            self.check_safety(present, name)?;
        }
        let outgoing = present
            .as_ref()
            .map(|present| self.outgoing(present, name))
            .transpose()?;
        let mut journal = Journal {
            step: Step::Creating,
            outgoing,
            incoming: target,
            keep: None,
            adopt: Vec::new(),
            record: None,
        };
        step(&ledger, &mut journal, Step::Creating, progress)?;
        if journal.incoming.made {
            // Somebody removed the container, but its image is kept.
            let present = present.as_ref().ok_or_else(|| Error::NoPrevious {
                container: name.to_owned(),
            })?;
            if let Err(error) = self.create_again(name, present, &mut journal) {
                ledger.clear()?;
                return Err(error);
            }
        }
        self.replace(name, &ledger, journal, health, progress)
    }

    /// Carries out what the journal says, from the stop of the old container on.
    fn replace(
        &self,
        name: &str,
        ledger: &Ledger,
        mut journal: Journal,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let exchanged = self.exchange(name, ledger, &mut journal, health, progress)?;
        let finished = step(ledger, &mut journal, Step::Naming, progress)
            .and_then(|()| self.give_names(name, &journal))
            .and_then(|()| self.note_healthy(ledger, &journal, &exchanged))
            .and_then(|()| step(ledger, &mut journal, Step::Tidying, progress))
            .and_then(|()| self.tidy(name, &journal))
            .and_then(|()| ledger.clear())
            .and_then(|()| self.previous(name));
        let previous = finished.map_err(|source| Error::Unfinished {
            container: name.to_owned(),
            generation: journal.incoming.generation,
            source: Box::new(source),
        })?;
        Ok(Upgraded {
            container: name.to_owned(),
            container_id: journal.incoming.id,
            generation: journal.incoming.generation,
            created: journal.incoming.made && journal.outgoing.is_none(),
            unchanged: false,
            downtime_ms: exchanged.downtime_ms,
            healthy_after_ms: exchanged.healthy_after_ms,
            from: journal.outgoing.map(|outgoing| outgoing.image),
            to: journal.incoming.image,
            address: exchanged.address,
            previous,
        })
    }

    /// Whether the container runs the wanted image with the wanted settings, and is well.
    fn up_to_date(
        &self,
        old: &ContainerInspectResponse,
        wanted: &Desktop,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Option<Upgraded>, Error> {
        if !self.is_as_wanted(old, wanted) {
            return Ok(None);
        }
        match self.well(&wanted.container, old, &wanted.health, progress) {
            Ok(well) => Ok(Some(well)),
            Err(Reason::Engine(error)) => Err(*error),
            // Right, but not well: a new one is worth a try.
            Err(_) => Ok(None),
        }
    }

    /// Whether a container runs, from the wanted image and with the wanted settings.
    fn is_as_wanted(&self, old: &ContainerInspectResponse, wanted: &Desktop) -> bool {
        let same_image = old.image.as_ref() == Some(&wanted.image_id.to_string());
        let same_settings = !wanted.own
            || Record::of(old).is_some_and(|record| record == Record::from(&wanted.settings));
        same_image && same_settings && wanted.adopt.is_empty() && is_running(old)
    }

    /// Waits until the desktop that runs is healthy, which it should be at once.
    fn well(
        &self,
        name: &str,
        container: &ContainerInspectResponse,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Reason> {
        let engine = |error: Error| Reason::Engine(Box::new(error));
        let id = container.id.clone().unwrap_or_default();
        let restarts = container.restart_count.unwrap_or_default();
        let healthy = self.wait_until_healthy(&id, restarts, health, progress)?;
        let image = container.image.clone().unwrap_or_default();
        Ok(Upgraded {
            container: name.to_owned(),
            container_id: id,
            from: Some(image.clone()),
            to: image,
            generation: generations::number(container, name),
            created: false,
            unchanged: true,
            downtime_ms: 0,
            healthy_after_ms: 0,
            address: healthy.address,
            previous: self.previous(name).map_err(engine)?,
        })
    }

    /// Tells of the desktop that runs again after an interrupted upgrade was undone.
    fn brought_back(
        &self,
        name: &str,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let container = self.container(name)?.ok_or_else(|| Error::NoPrevious {
            container: name.to_owned(),
        })?;
        let started = Instant::now();
        match self.well(name, &container, health, progress) {
            Ok(well) => Ok(Upgraded {
                from: None,
                unchanged: false,
                healthy_after_ms: exchange::milliseconds(started, Instant::now()),
                ..well
            }),
            Err(Reason::Engine(error)) => Err(*error),
            Err(reason) => Err(Error::Ill {
                container: name.to_owned(),
                reason,
            }),
        }
    }

    pub(crate) fn ledger(&self, name: &str) -> Result<Ledger, Error> {
        Ledger::open(self.ledger_folder(name)?, name)
    }

    /// How a container is now, to be so again if need be.
    fn outgoing(
        &self,
        container: &ContainerInspectResponse,
        name: &str,
    ) -> Result<Outgoing, Error> {
        let numbers = self.numbers(name)?;
        let mut generation = generations::number(container, name);
        if generation == 0 && numbers.contains(&0) {
            // A container nobody counted takes the place of another such one.
            generation = numbers.iter().max().map_or(0, |highest| highest + 1);
        }
        Ok(Outgoing {
            id: container.id.clone().unwrap_or_default(),
            image: container.image.clone().unwrap_or_default(),
            generation,
            was_running: is_running(container),
            policy: container
                .host_config
                .as_ref()
                .and_then(|host| host.restart_policy.clone()),
        })
    }

    /// Creates the new container, keeps its image and waits until nobody is at the old one.
    fn create_incoming(
        &self,
        wanted: &Desktop,
        creation: settings::Creation,
        journal: &mut Journal,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<(), Error> {
        let incoming = &mut journal.incoming;
        incoming.id = self.create(&incoming.name, creation).map_err(|error| {
            error.of_creation(&wanted.container, &wanted.reference, wanted.image_id)
        })?;
        self.keep_image(&wanted.container, incoming.generation, &incoming.image)?;
        if let Some(outgoing) = journal.outgoing.as_ref().filter(|_| wanted.when_idle) {
            self.wait_until_idle(&outgoing.id, &wanted.health, progress)?;
        }
        Ok(())
    }
}

/// Writes a step down and tells of it.
fn step(
    ledger: &Ledger,
    journal: &mut Journal,
    step: Step,
    progress: &mut dyn FnMut(UpgradeEvent),
) -> Result<(), Error> {
    journal.step = step;
    ledger.write(journal)?;
    progress(UpgradeEvent::Step(step));
    Ok(())
}
