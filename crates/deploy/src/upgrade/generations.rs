//! The generations of a desktop: which there are, which can be gone back to, and what changed from
//! one to the next.
//!
//! A generation is a container; its number is in a label. Its image also has a name of ours, so
//! that `docker image prune -a` spares it: when somebody removes a stopped container, its
//! generation can still be gone back to.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{ContainerInspectResponse, ImageConfig};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use kasmforge_digest::Digest;

use super::exchange::Exchanged;
use super::{failed_name, kept_name, new_name};
use crate::container::{is_running, summary_name};
use crate::engine::Engine;
use crate::ledger::{self, GenerationRecord, Incoming, Journal, Ledger};
use crate::settings::{self, GENERATION_LABEL};
use crate::{Error, Reference};

/// The repository that keeps the images of generations: `<this>/<container>:<generation>`.
const KEPT: &str = "docker.io/kasmforge-kept";

/// One generation of a desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; 0 for a container that was not made by an upgrade.
    pub number: u64,
    /// What there is of it.
    pub state: GenerationState,
    /// Its container's name, if there is one.
    pub container: Option<String>,
    /// Its image's id in this engine.
    pub image: String,
    /// The name the image was loaded under, where it is known.
    pub reference: Option<String>,
    /// The digest of the image's manifest, where it is known.
    pub manifest: Option<Digest>,
    /// When its container was created, as the engine tells it (RFC 3339).
    pub created: Option<String>,
    /// Whether it became healthy; `None` if no upgrade of this machine saw it.
    pub healthy: Option<bool>,
    /// Why it did not.
    pub reason: Option<String>,
    /// How long it took to become healthy, in milliseconds.
    pub healthy_after_ms: Option<u64>,
    /// The packages that changed since the generation before; `None` if that is not known.
    pub changes: Option<Vec<PackageChange>>,
}

/// What there is of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationState {
    /// It is the desktop, and runs.
    Running,
    /// It is the desktop, and is stopped.
    Stopped,
    /// It can be gone back to.
    Kept,
    /// Its container was removed, but its image is kept: it can be gone back to, with the
    /// settings of the present one.
    ImageOnly,
    /// It did not become healthy.
    Failed,
    /// Nothing is left of it.
    Gone,
}

impl GenerationState {
    /// The state's name: `running`, `stopped`, `kept`, `image-only`, `failed`, `gone`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Kept => "kept",
            Self::ImageOnly => "image-only",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// A package that differs between two generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name.
    pub package: String,
    /// Its version before; `None` if it was not there.
    pub from: Option<String>,
    /// Its version after; `None` if it is gone.
    pub to: Option<String>,
}

/// The number of a container of the desktop `name`: the one in its name, else in its label, else 0.
pub(super) fn number(container: &ContainerInspectResponse, name: &str) -> u64 {
    let own = container.name.as_deref().unwrap_or_default();
    let labels = container
        .config
        .as_ref()
        .and_then(|config| config.labels.as_ref());
    let label = labels.and_then(|labels| labels.get(GENERATION_LABEL)?.parse().ok());
    kept_number(own.trim_start_matches('/'), name)
        .or(label)
        .unwrap_or(0)
}

/// The number in the name of a kept container.
fn kept_number(container: &str, name: &str) -> Option<u64> {
    container
        .strip_prefix(name)?
        .strip_prefix("-kf-")?
        .parse()
        .ok()
}

fn kept_reference(name: &str, generation: u64) -> Reference {
    // Repositories are lower case; a container's name need not be.
    let component = name.to_ascii_lowercase();
    let component = component.trim_end_matches(['.', '_', '-']);
    Reference {
        repository: format!("{KEPT}/{component}"),
        tag: generation.to_string(),
    }
}

impl Engine {
    /// The generations of a desktop, oldest first: those the engine has, and those that are
    /// remembered on this machine.
    ///
    /// # Errors
    /// If the engine cannot be asked or a record cannot be read.
    pub fn history(&self, name: &str) -> Result<Vec<Generation>, Error> {
        let folder = self.ledger_folder(name)?;
        let records = ledger::records(&folder)?;
        let mut found: BTreeMap<u64, Generation> = records
            .iter()
            .map(|(number, record)| (*number, remembered(*number, record)))
            .collect();
        for (number, image) in self.kept_images(name)? {
            let one = found.entry(number).or_insert_with(|| unknown(number));
            one.state = GenerationState::ImageOnly;
            one.image = image;
        }
        for (container, state) in self.family(name)? {
            let number = number(&container, name);
            let one = found.entry(number).or_insert_with(|| unknown(number));
            one.state = state;
            one.container = container
                .name
                .as_deref()
                .map(|name| name.trim_start_matches('/').to_owned());
            one.image = container.image.clone().unwrap_or_default();
            one.created = container.created.clone();
            let config = container.config.as_ref();
            one.reference = config.and_then(|config| config.image.clone());
        }
        let mut before: Option<&BTreeMap<String, String>> = None;
        for (number, one) in &mut found {
            let contents = records
                .get(number)
                .and_then(|record| record.contents.as_ref());
            if let (Some(before), Some(contents)) = (before, contents) {
                one.changes = Some(differences(before, contents));
            }
            // What never served changed nothing.
            if one.healthy != Some(false) {
                before = contents.or(before);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The number of a container of a desktop.
    pub(crate) fn generation_of(container: &ContainerInspectResponse, name: &str) -> u64 {
        number(container, name)
    }

    /// The names of all containers.
    pub(crate) fn container_names(&self) -> Result<Vec<String>, Error> {
        Ok(self.containers()?.iter().filter_map(summary_name).collect())
    }

    /// The desktop's containers, and what they are.
    fn family(
        &self,
        name: &str,
    ) -> Result<Vec<(ContainerInspectResponse, GenerationState)>, Error> {
        let mut found = Vec::new();
        for own in self.containers()?.iter().filter_map(summary_name) {
            let kept = kept_number(&own, name).is_some();
            let failed = own == failed_name(name);
            if !kept && !failed && own != name {
                continue;
            }
            let Some(container) = self.container(&own)? else {
                continue;
            };
            let state = match (kept, failed) {
                (true, _) => GenerationState::Kept,
                (_, true) => GenerationState::Failed,
                _ if is_running(&container) => GenerationState::Running,
                _ => GenerationState::Stopped,
            };
            found.push((container, state));
        }
        Ok(found)
    }

    /// The numbers of the generations the engine has something of, and of those remembered.
    pub(super) fn numbers(&self, name: &str) -> Result<BTreeSet<u64>, Error> {
        let mut numbers: BTreeSet<u64> = self.kept_images(name)?.into_keys().collect();
        for (container, _) in self.family(name)? {
            numbers.insert(number(&container, name));
        }
        numbers.extend(ledger::records(&self.ledger_folder(name)?)?.into_keys());
        Ok(numbers)
    }

    /// The name of the container `rollback` would go back to: the one that was stopped last.
    pub(crate) fn previous(&self, name: &str) -> Result<Option<String>, Error> {
        let last = self.stopped_last(name)?;
        Ok(last.map(|(number, _)| kept_name(name, number)))
    }

    fn stopped_last(&self, name: &str) -> Result<Option<(u64, ContainerInspectResponse)>, Error> {
        let finished = |container: &ContainerInspectResponse| {
            let state = container.state.as_ref()?;
            // As engines write them, these times sort as text does.
            state.finished_at.as_ref().map(ToString::to_string)
        };
        let family = self.family(name)?.into_iter();
        Ok(family
            .filter(|(_, state)| *state == GenerationState::Kept)
            .map(|(container, _)| (number(&container, name), container))
            .max_by_key(|(number, container)| (finished(container), *number)))
    }

    /// What to go back to.
    pub(super) fn way_back(
        &self,
        name: &str,
        present: Option<&ContainerInspectResponse>,
        generation: Option<u64>,
    ) -> Result<Incoming, Error> {
        let current = present.map(|present| number(present, name));
        let kept = self.kept_images(name)?;
        let container = match generation {
            None => self.stopped_last(name)?,
            Some(wanted) => self
                .container(&kept_name(name, wanted))?
                .map(|container| (wanted, container)),
        };
        if let Some((number, container)) = container {
            return Ok(Incoming {
                name: kept_name(name, number),
                id: container.id.unwrap_or_default(),
                image: container.image.unwrap_or_default(),
                generation: number,
                made: false,
            });
        }
        let image = match generation {
            Some(wanted) => kept.get(&wanted).map(|image| (wanted, image)),
            None => kept
                .iter()
                .rfind(|(number, _)| Some(**number) != current)
                .map(|(number, image)| (*number, image)),
        };
        let image = image.filter(|(number, _)| Some(*number) != current);
        match (image, generation) {
            (Some((number, image)), _) => Ok(Incoming {
                name: new_name(name),
                id: String::new(),
                image: image.clone(),
                generation: number,
                made: true,
            }),
            (None, Some(wanted)) => Err(Error::NoGeneration {
                container: name.to_owned(),
                wanted,
                current: current == Some(wanted),
                there: self.ways_back(name, current)?,
            }),
            (None, None) => Err(Error::NoPrevious {
                container: name.to_owned(),
            }),
        }
    }

    fn ways_back(&self, name: &str, current: Option<u64>) -> Result<Vec<u64>, Error> {
        let mut numbers: BTreeSet<u64> = self.kept_images(name)?.into_keys().collect();
        let family = self.family(name)?.into_iter();
        numbers.extend(
            family
                .filter(|(_, state)| *state == GenerationState::Kept)
                .map(|(container, _)| number(&container, name)),
        );
        numbers.retain(|number| Some(*number) != current);
        Ok(numbers.into_iter().collect())
    }

    /// Creates a container of a generation whose own one was removed, like the present one.
    pub(super) fn create_again(
        &self,
        name: &str,
        present: &ContainerInspectResponse,
        journal: &mut Journal,
    ) -> Result<(), Error> {
        let incoming = &mut journal.incoming;
        let image = present.image.clone().unwrap_or_default();
        let old = self.image(&image)?.and_then(|image| image.config);
        let creation = settings::again(
            present,
            &old.unwrap_or_else(ImageConfig::default),
            &kept_reference(name, incoming.generation).to_string(),
            incoming.generation,
            self.speaks(1, 44),
        );
        incoming.id = self.create(&incoming.name, creation)?;
        Ok(())
    }

    /// Gives a generation's image its name of ours.
    pub(super) fn keep_image(&self, name: &str, generation: u64, image: &str) -> Result<(), Error> {
        self.tag(image, &kept_reference(name, generation))
    }

    /// Takes a generation's image its name of ours. Worth no failure.
    pub(super) fn drop_image(&self, name: &str, generation: u64) {
        let reference = kept_reference(name, generation).to_string();
        let options = RemoveImageOptionsBuilder::default().build();
        let removed = self.wait(self.docker.remove_image(&reference, Some(options), None));
        if let Err(error) = removed {
            tracing::debug!(%error, reference, "an image keeps its name");
        }
    }

    /// The images kept for a desktop's generations.
    fn kept_images(&self, name: &str) -> Result<BTreeMap<u64, String>, Error> {
        let options = ListImagesOptionsBuilder::default().all(false).build();
        let images = self.ask("list", "images", self.docker.list_images(Some(options)))?;
        let repository = kept_reference(name, 0).repository;
        let mut found = BTreeMap::new();
        for image in &images {
            for tag in &image.repo_tags {
                let Ok(reference) = Reference::parse(tag) else {
                    continue;
                };
                if reference.repository == repository
                    && let Ok(number) = reference.tag.parse()
                {
                    found.insert(number, image.id.clone());
                }
            }
        }
        Ok(found)
    }

    /// Notes that a generation became healthy.
    pub(super) fn note_healthy(
        &self,
        ledger: &Ledger,
        journal: &Journal,
        exchanged: &Exchanged,
    ) -> Result<(), Error> {
        let incoming = &journal.incoming;
        let mut record = match &journal.record {
            Some(record) => record.clone(),
            None => {
                let before = ledger.records()?.remove(&incoming.generation);
                before.unwrap_or_default()
            }
        };
        record.image.clone_from(&incoming.image);
        record.created = self.created(&incoming.id);
        record.healthy = true;
        record.reason = None;
        record.healthy_after_ms = Some(exchanged.healthy_after_ms);
        record.downtime_ms = Some(exchanged.downtime_ms);
        ledger.note(incoming.generation, &record)
    }

    /// Removes the generations that are not to be kept. May be repeated.
    pub(super) fn tidy(&self, name: &str, journal: &Journal) -> Result<(), Error> {
        let Some(keep) = journal.keep else {
            return Ok(());
        };
        let replaced = journal.outgoing.as_ref().map(|one| one.generation);
        let mut kept = self.ways_back(name, Some(journal.incoming.generation))?;
        // What was replaced is the way back, whatever its number; then the newest.
        kept.sort_by_key(|number| std::cmp::Reverse((Some(*number) == replaced, *number)));
        for number in kept.into_iter().skip(keep) {
            self.forget(name, number)?;
        }
        Ok(())
    }

    /// Removes a generation: its container, its image's name of ours and, if it has no other name
    /// and nobody uses it, its image.
    pub(super) fn forget(&self, name: &str, generation: u64) -> Result<(), Error> {
        let container = self.container(&kept_name(name, generation))?;
        let image = match container.and_then(|container| container.image) {
            Some(image) => Some(image),
            None => self.kept_images(name)?.remove(&generation),
        };
        self.remove(&kept_name(name, generation))?;
        self.drop_image(name, generation);
        let nameless = |image: &bollard::models::ImageInspect| {
            image.id.is_some() && image.repo_tags.iter().flatten().next().is_none()
        };
        if let Some(id) = image
            && self.image(&id)?.as_ref().is_some_and(nameless)
        {
            let options = RemoveImageOptionsBuilder::default().build();
            // Another container may use it; then it stays.
            if let Err(error) = self.wait(self.docker.remove_image(&id, Some(options), None)) {
                tracing::debug!(%error, id, "an image without a name stays");
            }
        }
        Ok(())
    }

    /// Removes a desktop: its container, its earlier generations, what failed and what is
    /// remembered of it. Its volumes stay. Answers the names of the removed containers.
    ///
    /// # Errors
    /// [`Error::UnderWay`] while it is upgraded; otherwise if the engine refuses.
    pub fn take_down(&self, name: &str) -> Result<Vec<String>, Error> {
        let ledger = self.ledger(name)?;
        let mut removed = Vec::new();
        for own in self.containers()?.iter().filter_map(summary_name) {
            let ours = kept_number(&own, name).is_some()
                || [new_name(name), failed_name(name), name.to_owned()].contains(&own);
            if !ours {
                continue;
            }
            if own == name {
                // Gently, as it would be stopped; what is removed at once loses its last words.
                self.stop(&own, None)?;
            }
            self.remove(&own)?;
            removed.push(own);
        }
        for (number, _) in self.kept_images(name)? {
            self.forget(name, number)?;
        }
        ledger.forget()?;
        removed.sort();
        Ok(removed)
    }
}

fn unknown(number: u64) -> Generation {
    Generation {
        number,
        state: GenerationState::Gone,
        container: None,
        image: String::new(),
        reference: None,
        manifest: None,
        created: None,
        healthy: None,
        reason: None,
        healthy_after_ms: None,
        changes: None,
    }
}

fn remembered(number: u64, record: &GenerationRecord) -> Generation {
    Generation {
        state: if record.healthy {
            GenerationState::Gone
        } else {
            GenerationState::Failed
        },
        image: record.image.clone(),
        reference: Some(record.reference.clone()).filter(|reference| !reference.is_empty()),
        manifest: record.manifest,
        created: record.created.clone(),
        healthy: Some(record.healthy),
        reason: record.reason.clone(),
        healthy_after_ms: record.healthy_after_ms,
        ..unknown(number)
    }
}

/// What changed from one set of packages to another, by name.
fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<PackageChange> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| PackageChange {
            package: name.clone(),
            from: before.get(name).cloned(),
            to: after.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_containers_are_known_by_their_names() {
        assert_eq!(kept_number("desk-kf-12", "desk"), Some(12));
        for other in ["desk", "desk-kf-new", "desk-kf-failed", "desk2-kf-1", "x"] {
            assert_eq!(kept_number(other, "desk"), None, "{other}");
        }
    }

    #[test]
    fn kept_images_have_names_an_engine_takes() {
        for name in ["desk", "Kasm.Desk-", "a_b"] {
            let text = kept_reference(name, 7).to_string();
            let parsed = Reference::parse(&text).expect(&text);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn packages_are_compared_by_name() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                .collect()
        };
        let before = map(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = map(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let text: Vec<_> = differences(&before, &after)
            .into_iter()
            .map(|one| (one.package, one.from.is_some(), one.to.is_some()))
            .collect();
        assert_eq!(
            text,
            [
                ("b".to_owned(), true, true),
                ("c".to_owned(), true, false),
                ("d".to_owned(), false, true)
            ]
        );
    }
}
