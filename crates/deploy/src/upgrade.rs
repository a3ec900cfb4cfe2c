//! Replacing a running desktop, with a way back.
//!
//! The names of a desktop's containers tell how far things went:
//!
//! ```text
//! NAME               the desktop
//! NAME-kf-new-<id>   the next one: created, started, not yet healthy
//! NAME-kf-old        the previous one, stopped, for `rollback`
//! NAME-kf-failed     the last one that did not become healthy, stopped, for a closer look
//! NAME-kf-swap       the desktop while a rollback exchanges it with the previous one
//! ```
//!
//! The old container is never removed before the new one is healthy, and only has its restart
//! policy taken away meanwhile (an engine that restarts would start both). An upgrade that was
//! interrupted is finished or undone by the next one.

use bollard::models::{ContainerInspectResponse, ImageConfig, RestartPolicy};
use bollard::query_parameters::RemoveImageOptionsBuilder;

use crate::Error;
use crate::container::{is_running, summary_name};
use crate::desktop::{Desktop, Health};
use crate::engine::Engine;
use crate::error::Reason;
use crate::health::Address;
use crate::settings::{self, Creation, Record};

use exchange::{Exchange, Outgoing};
use guards::belongs;

mod exchange;
mod guards;
mod remains;

/// What happens during an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeEvent {
    /// A container is created.
    Creating {
        /// The name it will have.
        container: String,
    },
    /// Files that were changed in the old container, outside any volume, stay behind in it.
    LeftBehind {
        /// The first of them.
        files: Vec<String>,
        /// How many there are.
        total: usize,
    },
    /// The running container is stopped: from here on nothing answers.
    Stopping {
        /// Its name.
        container: String,
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
    /// It did not become healthy; the old container is brought back.
    RollingBack {
        /// Why.
        reason: String,
    },
    /// What an interrupted upgrade left is finished or undone.
    Recovering {
        /// The container concerned.
        container: String,
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

pub(crate) fn old_name(name: &str) -> String {
    format!("{name}-kf-old")
}

fn failed_name(name: &str) -> String {
    format!("{name}-kf-failed")
}

fn swap_name(name: &str) -> String {
    format!("{name}-kf-swap")
}

fn new_prefix(name: &str) -> String {
    format!("{name}-kf-new-")
}

impl Engine {
    /// Brings a container to the wanted image and settings, and waits until it is healthy. If it
    /// does not become so, the old container runs again when this returns.
    ///
    /// # Errors
    /// [`Error::Failed`] if the new container did not become healthy. Any other error came before
    /// the running container was touched, or after the new one was found healthy.
    pub fn upgrade(
        &self,
        wanted: &Desktop,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let name = &wanted.container;
        self.check_image(wanted)?;
        let kept = self.recover(name, progress)?;
        let old = self.container(name)?;
        let outgoing = match &old {
            None => None,
            Some(old) => {
                if !wanted.force {
                    if let Some(same) = self.up_to_date(old, wanted, progress)? {
                        return Ok(same);
                    }
                    belongs(old, wanted)?;
                }
                self.check_safety(old, name)?;
                let mut outgoing = Outgoing::of(old);
                // The upgrade that was interrupted had taken these away.
                if let Some(kept) = kept {
                    outgoing.was_running = true;
                    outgoing.policy = Some(kept);
                }
                Some(outgoing)
            }
        };
        let creation = match (&old, &outgoing) {
            (Some(old), Some(outgoing)) => self.like(old, outgoing, wanted)?,
            _ => settings::fresh(wanted)?,
        };
        self.check_ports(&creation, outgoing.as_ref())?;

        progress(UpgradeEvent::Creating {
            container: name.clone(),
        });
        let new_name = format!("{}{}", new_prefix(name), &wanted.image_id.hex()[..8]);
        let new = self.create(&new_name, creation)?;
        if let Some(old) = &old {
            self.tell_left_behind(old, progress);
        }

        let to = wanted.image_id.to_string();
        let exchange = Exchange {
            name,
            outgoing,
            incoming: new,
            to,
            health: &wanted.health,
        };
        let exchanged = self.exchange(&exchange, progress)?;
        let Exchange {
            outgoing,
            incoming,
            to,
            ..
        } = exchange;
        let previous = outgoing.as_ref().map(|_| old_name(name));
        if let (Some(outgoing), Some(previous)) = (&outgoing, &previous) {
            self.forget(previous, &outgoing.image)?;
            self.rename(&outgoing.id, previous)?;
        }
        self.rename(&incoming, name)?;
        self.remove(&failed_name(name))?;
        Ok(Upgraded {
            container: name.clone(),
            container_id: incoming,
            created: outgoing.is_none(),
            unchanged: false,
            downtime_ms: exchanged.downtime_ms,
            healthy_after_ms: exchanged.healthy_after_ms,
            from: outgoing.map(|outgoing| outgoing.image),
            to,
            address: exchanged.address,
            previous,
        })
    }

    /// Exchanges a desktop's container with the previous one. Done twice, it changes nothing: the
    /// one that is left becomes the previous one.
    ///
    /// # Errors
    /// [`Error::NoPrevious`] if there is none to go back to; [`Error::Failed`] if the previous
    /// one does not become healthy either, and then the present one runs again.
    pub fn rollback(
        &self,
        name: &str,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let kept = self.recover(name, progress)?;
        let present = self.container(name)?;
        if let (Some(policy), Some(present)) = (&kept, &present) {
            // An upgrade was interrupted: the one it was about to replace is the way back.
            self.set_policy(name, policy.clone())?;
            if !is_running(present) {
                return self.bring_up(name, present, health, progress);
            }
        }
        let previous = old_name(name);
        let back = self
            .container(&previous)?
            .ok_or_else(|| Error::NoPrevious {
                container: name.to_owned(),
            })?;
        if let Some(present) = &present {
            self.check_safety(present, name)?;
        }
        let mut outgoing = present.as_ref().map(Outgoing::of);
        if let (Some(outgoing), Some(kept)) = (&mut outgoing, kept) {
            outgoing.policy = Some(kept);
        }
        let exchange = Exchange {
            name,
            outgoing,
            incoming: back.id.unwrap_or_default(),
            to: back.image.unwrap_or_default(),
            health,
        };
        let exchanged = self.exchange(&exchange, progress)?;
        let Exchange {
            outgoing,
            incoming,
            to,
            ..
        } = exchange;
        if let Some(outgoing) = &outgoing {
            self.rename(&outgoing.id, &swap_name(name))?;
        }
        self.rename(&incoming, name)?;
        if let Some(outgoing) = &outgoing {
            self.rename(&outgoing.id, &previous)?;
        }
        if let Some(policy) = outgoing
            .as_ref()
            .and_then(|outgoing| outgoing.policy.clone())
        {
            self.set_policy(&incoming, policy)?;
        }
        Ok(Upgraded {
            container: name.to_owned(),
            container_id: incoming,
            created: false,
            unchanged: false,
            downtime_ms: exchanged.downtime_ms,
            healthy_after_ms: exchanged.healthy_after_ms,
            previous: outgoing.as_ref().map(|_| previous),
            from: outgoing.map(|outgoing| outgoing.image),
            to,
            address: exchanged.address,
        })
    }

    /// Starts a desktop that an interrupted upgrade had stopped.
    fn bring_up(
        &self,
        name: &str,
        stopped: &ContainerInspectResponse,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Upgraded, Error> {
        let incoming = stopped.id.clone().unwrap_or_default();
        let to = stopped.image.clone().unwrap_or_default();
        let exchange = Exchange {
            name,
            outgoing: None,
            incoming,
            to,
            health,
        };
        let exchanged = self.exchange(&exchange, progress)?;
        Ok(Upgraded {
            container: name.to_owned(),
            container_id: exchange.incoming,
            from: None,
            to: exchange.to,
            created: false,
            unchanged: false,
            downtime_ms: exchanged.downtime_ms,
            healthy_after_ms: exchanged.healthy_after_ms,
            address: exchanged.address,
            previous: self.previous(name)?,
        })
    }

    /// The name of the previous generation's container, if there is one.
    fn previous(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.container(&old_name(name))?.map(|_| old_name(name)))
    }

    /// Finishes or undoes what an interrupted upgrade or rollback left. Answers the restart policy
    /// that the desktop's container had before it was interrupted, if it was taken away.
    fn recover(
        &self,
        name: &str,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Option<RestartPolicy>, Error> {
        let names: Vec<_> = self.containers()?.iter().filter_map(summary_name).collect();
        let there = |name: &str| names.iter().any(|one| one == name);
        let (old, swap) = (old_name(name), swap_name(name));
        let mut present = there(name);
        if there(&swap) {
            progress(UpgradeEvent::Recovering {
                container: swap.clone(),
            });
            if !present {
                self.rename(&old, name)?;
                present = true;
            }
            self.rename(&swap, &old)?;
        }
        let mut kept = None;
        for new in names
            .iter()
            .filter(|one| one.starts_with(&new_prefix(name)))
        {
            progress(UpgradeEvent::Recovering {
                container: new.clone(),
            });
            let Some(container) = self.container(new)? else {
                continue;
            };
            if !present && there(&old) && is_running(&container) {
                // Names change only when all is well: only this one was missing.
                self.rename(new, name)?;
                present = true;
                continue;
            }
            kept = settings::policy_kept(&container);
            self.remove(new)?;
        }
        Ok(kept)
    }

    /// Whether the container runs the wanted image with the wanted settings, and is well.
    fn up_to_date(
        &self,
        old: &ContainerInspectResponse,
        wanted: &Desktop,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Option<Upgraded>, Error> {
        let same_image = old.image.as_ref() == Some(&wanted.image_id.to_string());
        let same_settings =
            Record::of(old).is_some_and(|record| record == Record::from(&wanted.settings));
        if !same_image || !same_settings || !is_running(old) {
            return Ok(None);
        }
        let id = old.id.clone().unwrap_or_default();
        let restarts = old.restart_count.unwrap_or_default();
        match self.wait_until_healthy(&id, restarts, &wanted.health, progress) {
            Ok(healthy) => Ok(Some(Upgraded {
                container: wanted.container.clone(),
                container_id: id,
                from: old.image.clone(),
                to: wanted.image_id.to_string(),
                created: false,
                unchanged: true,
                downtime_ms: 0,
                healthy_after_ms: 0,
                address: healthy.address,
                previous: self.previous(&wanted.container)?,
            })),
            Err(Reason::Engine(error)) => Err(*error),
            // Right, but not well: a new one is worth a try.
            Err(_) => Ok(None),
        }
    }

    fn like(
        &self,
        old: &ContainerInspectResponse,
        outgoing: &Outgoing,
        wanted: &Desktop,
    ) -> Result<Creation, Error> {
        let mut old = old.clone();
        if let Some(host) = &mut old.host_config {
            host.restart_policy = outgoing.policy.clone();
        }
        let image = self.image(&outgoing.image)?.and_then(|image| image.config);
        settings::carried(
            &old,
            &image.unwrap_or_else(ImageConfig::default),
            wanted,
            self.speaks(1, 44),
        )
    }

    /// Removes the generation before the previous one, and its image if it has no name any more
    /// and is not the one that is becoming the previous one's.
    fn forget(&self, name: &str, except: &str) -> Result<(), Error> {
        let Some(container) = self.container(name)? else {
            return Ok(());
        };
        self.remove(name)?;
        let id = container.image.unwrap_or_default();
        if id == except {
            return Ok(());
        }
        let nameless = |image: &bollard::models::ImageInspect| {
            image.id.is_some() && image.repo_tags.iter().flatten().next().is_none()
        };
        if self.image(&id)?.as_ref().is_some_and(nameless) {
            let options = RemoveImageOptionsBuilder::default().build();
            // Another container may use it; then it stays.
            if let Err(error) = self.wait(self.docker.remove_image(&id, Some(options), None)) {
                tracing::debug!(%error, id, "an image without a name stays");
            }
        }
        Ok(())
    }
}
