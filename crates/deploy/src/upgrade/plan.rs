//! What an upgrade will do, known before anything is touched.

use bollard::models::{ContainerInspectResponse, ImageConfig};

use super::guards::belongs;
use crate::Error;
use crate::desktop::{Adoption, Desktop};
use crate::engine::Engine;
use crate::ledger::{Outgoing, Step};
use crate::settings::{self, Creation, SettingChange};

/// What an upgrade will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The container.
    pub container: String,
    /// The image id it runs, if there is a container.
    pub from: Option<String>,
    /// The image id it will run.
    pub to: String,
    /// The number of the generation it will be.
    pub generation: u64,
    /// Whether nothing will be done, because all is as wanted.
    pub unchanged: bool,
    /// Whether the container runs now, and so will be without service for a moment.
    pub running: bool,
    /// The definition's settings that changed since they were last applied.
    pub changes: Vec<SettingChange>,
    /// Files that were changed in the container outside any volume, and stay behind in it: the
    /// first of them.
    pub left_behind: Vec<String>,
    /// How many such files there are.
    pub left_behind_total: usize,
    /// What is taken over into volumes.
    pub adopted: Vec<Adoption>,
    /// The Compose project that made the container, if one did.
    pub compose: Option<String>,
    /// An earlier upgrade that was interrupted, and is undone or finished first.
    pub interrupted: Option<Step>,
    /// The generations that will be removed afterwards are beyond so many.
    pub keep: usize,
}

/// A plan, and what it is carried out with.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) creation: Creation,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) generation: u64,
}

impl Engine {
    /// What [`Engine::upgrade`] would do. Refuses what it would refuse, and touches nothing.
    ///
    /// # Errors
    /// If it would refuse, or the engine cannot be asked.
    pub fn plan(&self, wanted: &Desktop) -> Result<Plan, Error> {
        self.check_image(wanted)?;
        let old = self.container(&wanted.container)?;
        let interrupted = self.interruption(&wanted.container)?;
        let unchanged = interrupted.is_none()
            && !wanted.force
            && old
                .as_ref()
                .is_some_and(|old| self.is_as_wanted(old, wanted));
        let mut plan = self.prepare(wanted, old.as_ref())?.plan;
        plan.unchanged = unchanged;
        plan.interrupted = interrupted;
        Ok(plan)
    }

    /// Makes the plan, and refuses what cannot be done or could not be undone.
    pub(super) fn prepare(
        &self,
        wanted: &Desktop,
        old: Option<&ContainerInspectResponse>,
    ) -> Result<Prepared, Error> {
        let name = &wanted.container;
        let mut outgoing = None;
        if let Some(old) = old {
            if !wanted.force {
                belongs(old, wanted)?;
            }
            self.check_safety(old, name)?;
            outgoing = Some(self.outgoing(old, name)?);
        }
        self.check_adoptions(wanted, old)?;
        let highest = self.numbers(name)?.into_iter().max().unwrap_or(0);
        let taken = outgoing.as_ref().map_or(0, |outgoing| outgoing.generation);
        let generation = highest.max(taken) + 1;
        let creation = match (old, &outgoing) {
            (Some(old), Some(outgoing)) => self.like(old, outgoing, wanted, generation)?,
            _ => settings::fresh(wanted, generation)?,
        };
        self.check_ports(&creation, outgoing.as_ref())?;
        let (left_behind, left_behind_total) = match old {
            Some(old) => self.left_behind(old, wanted),
            None => (Vec::new(), 0),
        };
        let labels = old
            .and_then(|old| old.config.as_ref())
            .and_then(|config| config.labels.as_ref());
        let plan = Plan {
            container: name.clone(),
            from: outgoing.as_ref().map(|outgoing| outgoing.image.clone()),
            to: wanted.image_id.to_string(),
            generation,
            unchanged: false,
            running: outgoing
                .as_ref()
                .is_some_and(|outgoing| outgoing.was_running),
            changes: old.map_or_else(Vec::new, |old| settings::changes(old, wanted)),
            left_behind,
            left_behind_total,
            adopted: wanted.adopt.clone(),
            compose: labels.and_then(|labels| labels.get("com.docker.compose.project").cloned()),
            interrupted: None,
            keep: wanted.keep,
        };
        Ok(Prepared {
            plan,
            creation,
            outgoing,
            generation,
        })
    }

    fn like(
        &self,
        old: &ContainerInspectResponse,
        outgoing: &Outgoing,
        wanted: &Desktop,
        generation: u64,
    ) -> Result<Creation, Error> {
        let image = self.image(&outgoing.image)?.and_then(|image| image.config);
        settings::carried(
            old,
            &image.unwrap_or_else(ImageConfig::default),
            wanted,
            generation,
            self.speaks(1, 44),
        )
    }
}
