//! What an interrupted upgrade left is finished or undone.

use super::{UpgradeEvent, Upgraded, new_name, step};
use crate::Error;
use crate::container::is_running;
use crate::desktop::Health;
use crate::engine::Engine;
use crate::ledger::{Incoming, Journal, Ledger, Outgoing, Step};
use crate::settings;

/// What became of an interrupted upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// It was finished.
    Finished(Upgraded),
    /// Nothing was interrupted, or too early to be finished: nothing had been touched yet.
    Nothing,
    /// It was being undone when it was interrupted, and now is undone.
    Undone,
}

impl Engine {
    /// Finishes an upgrade or a rollback that was interrupted.
    ///
    /// # Errors
    /// As of [`Engine::upgrade`].
    pub fn resume(
        &self,
        name: &str,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Resumed, Error> {
        let ledger = self.ledger(name)?;
        let Some(journal) = self.interrupted(name, &ledger, true)? else {
            return Ok(Resumed::Nothing);
        };
        let there = self.container(journal.incoming.key())?.is_some();
        match journal.step {
            Step::Stopping | Step::Adopting | Step::Starting | Step::Waiting if there => {
                progress(UpgradeEvent::Recovering {
                    container: name.to_owned(),
                    step: journal.step,
                });
                let upgraded = self.replace(name, &ledger, journal, health, progress)?;
                Ok(Resumed::Finished(upgraded))
            }
            Step::Naming | Step::Tidying => {
                self.recover(name, &ledger, true, progress)?;
                let Some(container) = self.container(name)? else {
                    return Ok(Resumed::Nothing);
                };
                match self.well(name, &container, health, progress) {
                    Ok(well) => Ok(Resumed::Finished(Upgraded {
                        from: journal.outgoing.map(|one| one.image),
                        unchanged: false,
                        ..well
                    })),
                    Err(reason) => Err(Error::Ill {
                        container: name.to_owned(),
                        reason,
                    }),
                }
            }
            step => {
                self.recover(name, &ledger, true, progress)?;
                Ok(if step == Step::Creating {
                    Resumed::Nothing
                } else {
                    Resumed::Undone
                })
            }
        }
    }

    /// Finishes or undoes what an interrupted upgrade or rollback left, so that there is one
    /// desktop, as it was before or as it was to be. Answers whether it was undone; `None` if
    /// nothing was left.
    ///
    /// `ours`: whether a new container that nobody here has written about is taken for one of an
    /// interrupted upgrade, and not for one that another machine is about to start.
    pub(super) fn recover(
        &self,
        name: &str,
        ledger: &Ledger,
        ours: bool,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Option<bool>, Error> {
        let Some(mut journal) = self.interrupted(name, ledger, ours)? else {
            return Ok(None);
        };
        progress(UpgradeEvent::Recovering {
            container: name.to_owned(),
            step: journal.step,
        });
        let undone = match journal.step {
            Step::Creating => {
                self.discard(&journal)?;
                true
            }
            Step::Naming | Step::Tidying => {
                self.give_names(name, &journal)?;
                self.tidy(name, &journal)?;
                false
            }
            Step::Stopping | Step::Adopting | Step::Starting | Step::Waiting | Step::Undoing => {
                step(ledger, &mut journal, Step::Undoing, progress)?;
                // Nobody knows yet that it failed: its remains are of no use.
                self.undo(name, &journal, true)?;
                true
            }
        };
        ledger.clear()?;
        Ok(Some(undone))
    }

    /// The upgrade that was interrupted: as it was written down, or as the containers tell it if
    /// that was on another machine or the record is lost.
    fn interrupted(
        &self,
        name: &str,
        ledger: &Ledger,
        ours: bool,
    ) -> Result<Option<Journal>, Error> {
        if let Some(journal) = ledger.journal()? {
            return Ok(Some(journal));
        }
        let new = new_name(name);
        let Some(container) = self.container(&new)? else {
            return Ok(None);
        };
        if !ours {
            return Err(Error::UnderWay {
                container: name.to_owned(),
                waiting: Some(new),
            });
        }
        let old = self.container(name)?;
        let policy = settings::policy_kept(&container);
        let started = is_running(&container);
        let outgoing = old
            .as_ref()
            .map(|old| self.outgoing(old, name))
            .transpose()?
            .map(|old| Outgoing {
                // Stopped while the new one runs, it was stopped for it.
                was_running: old.was_running || started,
                policy: policy.or(old.policy.clone()),
                ..old
            });
        let untouched = outgoing
            .as_ref()
            .is_some_and(|_| old.as_ref().is_some_and(is_running) && !started);
        Ok(Some(Journal {
            step: if untouched {
                Step::Creating
            } else {
                Step::Starting
            },
            outgoing,
            incoming: Incoming {
                name: new,
                id: container.id.clone().unwrap_or_default(),
                image: container.image.clone().unwrap_or_default(),
                generation: super::generations::number(&container, name),
                made: true,
            },
            keep: None,
            adopt: Vec::new(),
            record: None,
        }))
    }

    /// Removes a new container that was never started.
    pub(super) fn discard(&self, journal: &Journal) -> Result<(), Error> {
        let incoming = &journal.incoming;
        if !incoming.made {
            return Ok(());
        }
        self.remove(&incoming.name)?;
        if let Some(name) = incoming.name.strip_suffix("-kf-new") {
            self.drop_image(name, incoming.generation);
        }
        Ok(())
    }

    /// What is under way or was interrupted, and how far it is; asked without disturbing it.
    ///
    /// # Errors
    /// If the record cannot be read or the engine cannot be asked.
    pub fn interruption(&self, name: &str) -> Result<Option<Step>, Error> {
        let journal = crate::ledger::journal(&self.ledger_folder(name)?)?;
        if let Some(journal) = journal {
            return Ok(Some(journal.step));
        }
        let new = self.container(&new_name(name))?;
        Ok(new.map(|_| Step::Creating))
    }
}
